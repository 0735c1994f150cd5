// Quality of a face, and whether it can support a verdict; the formulas of whyface.faces.quality and quality_meter.

import { TEMPLATE } from "./regions.js";
import { alignment, apply, FACE_SIZE } from "./geometry.js";

const DIRECTIONS = [[0, 1, 9], [1, 2, 5], [1, 1, 7], [2, 1, 5], [1, 0, 9], [2, -1, 5], [1, -1, 7], [1, -2, 5]];
const DEPTHS = [0, 0, -0.52, -0.12, -0.12];
const [TOP, BOTTOM, LEFT, RIGHT] = [28, 108, 22, 90];
const FAULTS = {
  outside: () => "cut off by the edge of the photo",
  dynamic_range: (found) => (found.luminance_mean < 0.25 ? "too dark" : found.luminance_mean > 0.75 ? "too bright"
    : found.luminance_variance < 0.005 ? "too low in contrast" : "too poor in shades"),
  noise: () => "too noisy",
  sharpness: () => "too blurred",
  inter_eye_distance: () => "too small",
  landmark_misfit: () => "without the shape of a face",
  recognisability: () => "hardly recognisable as a face",
};

/**
 * Measure a face.
 * @param {Object} crop the aligned face
 * @param {number[]} toPhoto map from crop to photo
 * @param {Object} photo width and height
 * @param {Object} face landmarks and score
 * @param {number} recognisability from the quality network
 * @param {Object} settings components, scale and limit
 */
export function measure(crop, toPhoto, photo, face, recognisability, settings) {
  const grey = luminance(crop);
  const values = grey.values;
  const mean = values.reduce((total, value) => total + value, 0) / values.length;
  const variance = values.reduce((total, value) => total + (value - mean) ** 2, 0) / values.length;
  const eyes = Math.hypot(face.landmarks[1][0] - face.landmarks[0][0], face.landmarks[1][1] - face.landmarks[0][1]);
  const found = {
    sharpness: sharpness(grey),
    noise: noise(grey),
    luminance_mean: mean / 255,
    luminance_variance: variance / 255 ** 2,
    dynamic_range: entropy(values),
    under_exposure: values.filter((value) => value < 26).length / values.length,
    over_exposure: values.filter((value) => value > 246).length / values.length,
    outside: shareOutside(toPhoto, photo),
    inter_eye_distance: eyes,
    landmark_misfit: misfit(face.landmarks),
    pose: pose(face.landmarks),
    detection_score: face.score,
    recognisability,
    unified: null,
    shortcoming: null,
  };
  return judge(found, settings);
}

/** Row and column of each place of a grid that lies outside the photo by more than half. */
export function outsidePlaces(toPhoto, photo, rows, columns) {
  const [count, hit] = [new Uint16Array(rows * columns), new Uint16Array(rows * columns)];
  for (let y = 0; y < FACE_SIZE; y++) {
    for (let x = 0; x < FACE_SIZE; x++) {
      const place = Math.floor((y * rows) / FACE_SIZE) * columns + Math.floor((x * columns) / FACE_SIZE);
      const [px, py] = apply(toPhoto, [x, y]);
      count[place]++;
      if (!(px >= -0.5 && px <= photo.width - 0.5 && py >= -0.5 && py <= photo.height - 0.5)) hit[place]++;
    }
  }
  return [...count.keys()].filter((place) => 2 * hit[place] > count[place]).map((place) => [Math.floor(place / columns), place % columns]);
}

function judge(found, settings) {
  const components = {};
  let product = 1;
  for (const [name, { middle, width, logarithmic }] of Object.entries(settings.components)) {
    if (found[name] === null || found[name] === undefined) continue;
    const z = ((logarithmic ? Math.log1p(found[name]) : found[name]) - middle) / width;
    components[name] = 1 / (1 + Math.exp(-z));
    product *= components[name];
  }
  const odds = Math.log10(Math.max(product, 1e-15)) - Math.log10(Math.max(1 - product, 1e-15));
  found.unified = settings.scale ? interpolate(odds, settings.scale.log_odds, settings.scale.scores) : product;
  if (found.unified < settings.limit) {
    const worst = Object.keys(FAULTS).filter((name) => name in components)
      .reduce((best, name) => (Math.max(components[name], 0.01) < Math.max(components[best] ?? 2, 0.01) ? name : best), null);
    found.shortcoming = FAULTS[worst](found);
  }
  return found;
}

/** Straight lines between points, flat outside, as numpy.interp. */
export function interpolate(x, xs, ys) {
  if (x < xs[0]) return ys[0];
  if (x >= xs.at(-1)) return ys.at(-1);
  let low = xs.length - 2;
  while (xs[low] > x) low--;
  return ys[low] + ((ys[low + 1] - ys[low]) * (x - xs[low])) / (xs[low + 1] - xs[low]);
}

function luminance(crop) {
  const [width, height] = [RIGHT - LEFT, BOTTOM - TOP];
  const values = new Float32Array(width * height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const at = 4 * ((y + TOP) * crop.width + x + LEFT);
      values[y * width + x] = 0.2126 * crop.data[at] + 0.7152 * crop.data[at + 1] + 0.0722 * crop.data[at + 2];
    }
  }
  return { width, height, values };
}

function sharpness({ width, height, values }) {
  const at = (y, x) => values[Math.min(Math.max(y, 0), height - 1) * width + Math.min(Math.max(x, 0), width - 1)];
  const blurred = new Float32Array(values.length);
  let least = Infinity;
  for (const [down, right, taps] of DIRECTIONS) {
    const far = Math.floor(taps / 2);
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        let total = 0;
        for (let step = -far; step <= far; step++) total += at(y + step * down, x + step * right);
        blurred[y * width + x] = total / taps;
      }
    }
    let [before, kept] = [0, 0];
    for (let y = 0; y + down < height; y++) {
      for (let x = Math.max(0, -right); x < width && x + right < width; x++) {
        const [here, there] = [y * width + x, (y + down) * width + x + right];
        const sharp = Math.abs(values[there] - values[here]);
        before += sharp;
        kept += Math.max(sharp - Math.abs(blurred[there] - blurred[here]), 0);
      }
    }
    least = Math.min(least, before > 0 ? kept / before : 0);
  }
  return least;
}

function noise({ width, height, values }) {
  let total = 0;
  const kernel = [1, -2, 1];
  for (let y = 1; y < height - 1; y++) {
    for (let x = 1; x < width - 1; x++) {
      let rest = 0;
      for (let j = -1; j <= 1; j++) for (let i = -1; i <= 1; i++) rest += kernel[j + 1] * kernel[i + 1] * values[(y + j) * width + x + i];
      total += Math.abs(rest);
    }
  }
  return ((total / ((width - 2) * (height - 2))) * Math.sqrt(Math.PI / 2)) / 6;
}

function entropy(values) {
  const counts = new Float64Array(256);
  for (const value of values) counts[Math.min(255, Math.max(0, Math.round(value)))]++;
  let bits = 0;
  for (const count of counts) if (count) bits -= (count / values.length) * Math.log2(count / values.length);
  return Math.abs(bits);
}

function shareOutside(toPhoto, { width, height }) {
  const [low, high] = [-0.5, FACE_SIZE - 0.5];
  const outline = [[low, low], [high, low], [high, high], [low, high]].map((corner) => apply(toPhoto, corner));
  let left = outline;
  for (const [axis, bound, sign] of [[0, -0.5, 1], [0, width - 0.5, -1], [1, -0.5, 1], [1, height - 0.5, -1]]) {
    const depth = left.map((point) => sign * (point[axis] - bound));
    const kept = [];
    left.forEach((point, here) => {
      const there = (here + 1) % left.length;
      if (depth[here] >= 0) kept.push(point);
      if (depth[here] >= 0 !== depth[there] >= 0) {
        const share = depth[here] / (depth[here] - depth[there]);
        kept.push(point.map((value, k) => value + share * (left[there][k] - value)));
      }
    });
    left = kept;
  }
  return Math.min(1, Math.max(0, 1 - polygonArea(left) / polygonArea(outline)));
}

function polygonArea(points) {
  let total = 0;
  points.forEach(([x, y], k) => {
    const [nx, ny] = points[(k + 1) % points.length];
    total += x * ny - y * nx;
  });
  return Math.abs(total) / 2;
}

function misfit(landmarks) {
  const map = alignment(landmarks);
  const total = landmarks.reduce((sum, point, k) => {
    const [x, y] = apply(map, point);
    return sum + (x - TEMPLATE[k][0]) ** 2 + (y - TEMPLATE[k][1]) ** 2;
  }, 0);
  return Math.sqrt(total / 5) / Math.hypot(TEMPLATE[1][0] - TEMPLATE[0][0], TEMPLATE[1][1] - TEMPLATE[0][1]);
}

function pose(landmarks) {
  const centred = (points) => {
    const mean = points[0].map((_, axis) => points.reduce((sum, point) => sum + point[axis], 0) / points.length);
    return points.map((point) => point.map((value, axis) => value - mean[axis]));
  };
  const eyes = Math.hypot(TEMPLATE[1][0] - TEMPLATE[0][0], TEMPLATE[1][1] - TEMPLATE[0][1]);
  const flat = centred(TEMPLATE).map((point) => point.map((value) => value / eyes));
  const mirror = [1, 0, 2, 4, 3];
  const depth = DEPTHS.reduce((sum, value) => sum + value, 0) / 5;
  const solid = flat.map(([x, y], k) => [(x - flat[mirror[k]][0]) / 2, y, DEPTHS[k] - depth]);
  const target = centred(landmarks);
  // Least squares by the normal equations of three unknowns, for x and for y.
  const normal = [0, 1, 2].map((i) => [0, 1, 2].map((j) => solid.reduce((sum, row) => sum + row[i] * row[j], 0)));
  const rows = [0, 1].map((axis) => solve(normal, [0, 1, 2].map((i) => solid.reduce((sum, row, k) => sum + row[i] * target[k][axis], 0))));
  // The nearest two orthonormal rows: (M M')^(-1/2) M, with the square root of a 2 x 2 matrix in closed form.
  const dot = (u, v) => u[0] * v[0] + u[1] * v[1] + u[2] * v[2];
  const [a, b, d] = [dot(rows[0], rows[0]), dot(rows[0], rows[1]), dot(rows[1], rows[1])];
  const root = Math.sqrt(Math.max(a * d - b * b, 1e-300));
  const trace = Math.sqrt(a + d + 2 * root);
  const scale = 1 / (trace * root);
  const mix = [[(d + root) * scale, -b * scale], [-b * scale, (a + root) * scale]];
  const [first, second] = mix.map(([u, v]) => [0, 1, 2].map((k) => u * rows[0][k] + v * rows[1][k]));
  const third = [first[1] * second[2] - first[2] * second[1], first[2] * second[0] - first[0] * second[2], first[0] * second[1] - first[1] * second[0]];
  const degrees = (radians) => (radians * 180) / Math.PI;
  return {
    yaw: degrees(Math.asin(Math.min(1, Math.max(-1, third[0])))),
    pitch: degrees(Math.atan2(-third[1], third[2])),
    roll: degrees(Math.atan2(second[0], first[0])),
  };
}

function solve(matrix, right) {
  const rows = matrix.map((row, k) => [...row, right[k]]);
  for (let k = 0; k < 3; k++) {
    const pivot = [k, k + 1, k + 2].filter((i) => i < 3).reduce((best, i) => (Math.abs(rows[i][k]) > Math.abs(rows[best][k]) ? i : best), k);
    [rows[k], rows[pivot]] = [rows[pivot], rows[k]];
    for (let i = 0; i < 3; i++) {
      if (i === k) continue;
      const factor = rows[i][k] / rows[k][k];
      rows[i] = rows[i].map((value, j) => value - factor * rows[k][j]);
    }
  }
  return rows.map((row, k) => row[3] / row[k]);
}
