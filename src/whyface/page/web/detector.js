// CenterFace in two passes, as whyface.faces.centerface: over the whole photo, then over a close-up of each face.

import { alignment, apply, invert, rollOf } from "./geometry.js";
import { planes, resizeArea, resizeLinear, turned, warp } from "./pixels.js";

const SEARCH = { shortest: 256, longest: 640, threshold: 0.5, overlap: 0.3, closeUp: 128, framing: 1.8 };
const STRIDE = 4;
const MULTIPLE = 32;
const UPRIGHT = 25;
const LOOKS = 3;
const SURE = 0.75;
const SURER = 0.1;

export class Detector {
  /** @param {function(Float32Array, number, number): Promise<Object[]>} network planes, height, width -> four outputs */
  constructor(network) {
    this.network = network;
  }

  /** Find the faces of a photo, the largest first. */
  async detect(photo) {
    let faces = [];
    for (const face of await this.search(photo)) faces.push((await this.lookCloser(photo, face)) ?? face);
    if (!faces.length) faces = await this.searchTurned(photo);
    faces = suppress(faces).filter((face) => alignment(face.landmarks));
    return faces.sort((a, b) => area(b.box) - area(a.box) || b.score - a.score || a.box[0] - b.box[0]);
  }

  async search(photo) {
    const { width, height } = photo;
    const longest = Math.max(width, height);
    const scale = Math.min(Math.max(longest, SEARCH.shortest), SEARCH.longest) / longest;
    const size = [Math.max(1, evenRound(width * scale)), Math.max(1, evenRound(height * scale))];
    const resized = size[0] === width && size[1] === height ? photo : size[0] < width ? resizeArea(photo, ...size) : resizeLinear(photo, ...size);
    const zoom = [size[0] / width, size[1] / height];
    return this.marked(resized, [1 / zoom[0], 0, 0.5 / zoom[0] - 0.5, 0, 1 / zoom[1], 0.5 / zoom[1] - 0.5]);
  }

  async searchTurned(photo) {
    const { width, height } = photo;
    const back = { 1: [0, -1, width - 1, 1, 0, 0], 2: [-1, 0, width - 1, 0, -1, height - 1], 3: [0, 1, 0, -1, 0, height - 1] };
    let best = [];
    const surest = (faces) => Math.max(0, ...faces.map((face) => face.score));
    for (const quarters of [1, 2, 3]) {
      const seen = [];
      for (const face of await this.search(turned(photo, quarters))) {
        const closer = await this.lookCloser(photo, mapped(back[quarters], face));
        if (closer) seen.push(closer);
      }
      if (surest(seen) > surest(best)) best = seen;
    }
    return best;
  }

  async lookCloser(photo, face) {
    let seen = null;
    let turn = turnOf(face);
    for (let look = 0; look < LOOKS; look++) {
      const view = await this.look(photo, seen ?? face, turn);
      if (!view) break;
      const before = turn;
      [seen, turn] = [view, turnOf(view)];
      if (Math.abs(angle(turn - before)) <= UPRIGHT) break;
    }
    if (!seen || seen.score < SURE) {
      let surest = null;
      for (const quarter of [90, 180, 270]) {
        const view = await this.look(photo, seen ?? face, turn + quarter);
        if (view && (!surest || view.score > surest.score)) surest = view;
      }
      if (surest && (!seen || surest.score > seen.score + SURER)) seen = surest;
    }
    return seen && turnOf(seen) === 0 ? { ...seen, score: face.score } : seen;
  }

  async look(photo, face, turn) {
    const [x0, y0, x1, y1] = face.box;
    const side = Math.max(x1 - x0, y1 - y0);
    const zoom = SEARCH.closeUp / (SEARCH.framing * Math.max(side, 1));
    const middle = (SEARCH.closeUp - 1) / 2;
    const radians = (turn * Math.PI) / 180;
    const [cosine, sine] = [zoom * Math.cos(radians), zoom * Math.sin(radians)];
    const [cx, cy] = [(x0 + x1) / 2, (y0 + y1) / 2];
    const toView = [cosine, sine, middle - cosine * cx - sine * cy, -sine, cosine, middle + sine * cx - cosine * cy];
    const seen = await this.marked(warp(photo, toView, SEARCH.closeUp), invert(toView));
    if (!seen.length) return null;
    const closest = seen.reduce((best, one) => (distance(face, one) < distance(face, best) ? one : best));
    return distance(face, closest) <= 0.5 * side ? closest : null;
  }

  async marked(picture, toPhoto) {
    const [height, width] = [picture.height, picture.width].map((side) => Math.ceil(side / MULTIPLE) * MULTIPLE);
    const [heat, sizes, offsets, shares] = await this.network(planes(picture, width, height), height, width);
    const [rows, columns] = [height / STRIDE, width / STRIDE];
    const cells = rows * columns;
    const found = [];
    for (let cell = 0; cell < cells; cell++) {
      if (!(heat[cell] > SEARCH.threshold)) continue;
      const size = [0, 1].map((axis) => STRIDE * Math.exp(sizes[axis * cells + cell]));
      const at = [Math.floor(cell / columns), cell % columns];
      const centre = [0, 1].map((axis) => STRIDE * (at[axis] + offsets[axis * cells + cell] + 0.5) - 0.5);
      const points = [0, 1, 2, 3, 4].map((k) => [1, 0].map((axis) => centre[axis] - size[axis] / 2 + shares[(2 * k + axis) * cells + cell] * size[axis]));
      const landmarks = points.map((point) => apply(toPhoto, point).map(Math.fround));
      found.push({ box: mappedBox(toPhoto, [centre[1], centre[0]], [size[1], size[0]]), landmarks, score: Math.min(1, heat[cell]) });
    }
    return suppress(found).filter((face) => [...face.box, ...face.landmarks.flat()].every(Number.isFinite));
  }
}

function suppress(faces) {
  const kept = [];
  for (const face of [...faces].sort((a, b) => b.score - a.score)) {
    const clear = kept.every((other) => {
      const across = Math.max(0, Math.min(face.box[2], other.box[2]) - Math.max(face.box[0], other.box[0]));
      const down = Math.max(0, Math.min(face.box[3], other.box[3]) - Math.max(face.box[1], other.box[1]));
      return across * down <= SEARCH.overlap * Math.max(area(face.box) + area(other.box) - across * down, 1e-12);
    });
    if (clear) kept.push(face);
  }
  return kept;
}

function mappedBox(map, centre, size) {
  const [x, y] = apply(map, centre);
  const [halfX, halfY] = [Math.hypot(map[0] * size[0], map[1] * size[1]) / 2, Math.hypot(map[3] * size[0], map[4] * size[1]) / 2];
  return [x - halfX, y - halfY, x + halfX, y + halfY];
}

function mapped(map, face) {
  const [x0, y0, x1, y1] = face.box;
  return {
    box: mappedBox(map, [(x0 + x1) / 2, (y0 + y1) / 2], [x1 - x0, y1 - y0]),
    landmarks: face.landmarks.map((point) => apply(map, point).map(Math.fround)), score: face.score,
  };
}

function turnOf(face) {
  const roll = rollOf(face.landmarks);
  return Math.abs(roll) > UPRIGHT ? roll : 0;
}

function angle(degrees) {
  return ((((degrees + 180) % 360) + 360) % 360) - 180;
}

function distance(one, other) {
  const total = (first, second) => one.box[first] + one.box[second] - other.box[first] - other.box[second];
  return Math.hypot(total(0, 2), total(1, 3)) / 2;
}

function area([x0, y0, x1, y1]) {
  return Math.max(0, x1 - x0) * Math.max(0, y1 - y0);
}

function evenRound(value) {
  const low = Math.floor(value);
  return value - low === 0.5 ? low + (low % 2) : Math.round(value);
}
