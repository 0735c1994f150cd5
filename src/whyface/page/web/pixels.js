// Pictures as pixels: decode, resize, warp. A picture is {width, height, data} with four bytes a pixel (RGBA).

import { apply, invert } from "./geometry.js";

export const MAX_PIXELS = 50000000;
export const MAX_BYTES = 100000000;

/** Something a person can put right, told in the page's language by its code. */
export class PhotoTrouble extends Error {
  constructor(code) {
    super(code);
    this.code = code;
  }
}

/** Decode a picture file as upright RGB on white, its colour profile ignored, as whyface.faces.photo does. */
export async function decode(blob) {
  if (!blob.size) throw new PhotoTrouble("empty");
  if (blob.size > MAX_BYTES) throw new PhotoTrouble("tooLarge");
  let bitmap;
  try {
    bitmap = await createImageBitmap(blob, { imageOrientation: "from-image", colorSpaceConversion: "none", premultiplyAlpha: "none" });
  } catch {
    throw new PhotoTrouble("broken");
  }
  const { width, height } = bitmap;
  if (width * height > MAX_PIXELS) throw new PhotoTrouble("tooLarge");
  const canvas = new OffscreenCanvas(width, height);
  const paint = canvas.getContext("2d", { willReadFrequently: true });
  paint.fillStyle = "#ffffff";
  paint.fillRect(0, 0, width, height);
  paint.drawImage(bitmap, 0, 0);
  bitmap.close();
  return { width, height, data: paint.getImageData(0, 0, width, height).data };
}

/** Shrink by area averages, as OpenCV's INTER_AREA. */
export function resizeArea(picture, width, height) {
  const across = areaWeights(picture.width, width);
  const down = areaWeights(picture.height, height);
  const rows = new Float32Array(picture.height * width * 3);
  for (let y = 0; y < picture.height; y++) {
    for (let x = 0; x < width; x++) {
      let [red, green, blue] = [0, 0, 0];
      for (const [from, share] of across[x]) {
        const at = 4 * (y * picture.width + from);
        red += share * picture.data[at];
        green += share * picture.data[at + 1];
        blue += share * picture.data[at + 2];
      }
      const to = 3 * (y * width + x);
      rows[to] = red;
      rows[to + 1] = green;
      rows[to + 2] = blue;
    }
  }
  const data = new Uint8ClampedArray(4 * width * height).fill(255);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      for (let c = 0; c < 3; c++) {
        let total = 0;
        for (const [from, share] of down[y]) total += share * rows[3 * (from * width + x) + c];
        data[4 * (y * width + x) + c] = total;
      }
    }
  }
  return { width, height, data };
}

/** Enlarge by bilinear interpolation with the edges of the pictures aligned, as OpenCV's INTER_LINEAR. */
export function resizeLinear(picture, width, height) {
  const data = new Uint8ClampedArray(4 * width * height).fill(255);
  const [zoomX, zoomY] = [picture.width / width, picture.height / height];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const fromX = Math.min(Math.max((x + 0.5) * zoomX - 0.5, 0), picture.width - 1);
      const fromY = Math.min(Math.max((y + 0.5) * zoomY - 0.5, 0), picture.height - 1);
      sample(picture, fromX, fromY, data, 4 * (y * width + x));
    }
  }
  return { width, height, data };
}

/** Resample a photo into a square crop: bilinear, anti-aliased, black outside; as whyface.faces.align.warp. */
export function warp(photo, toCrop, size) {
  const scale = Math.sqrt(Math.abs(toCrop[0] * toCrop[4] - toCrop[1] * toCrop[3]));
  const corners = [[-1, -1], [size, -1], [size, size], [-1, size]].map((corner) => apply(invert(toCrop), corner));
  const margin = 2 + 2 / scale;
  const limit = (value, most) => Math.min(Math.max(value, 0), most);
  const [xs, ys] = [corners.map((one) => one[0]), corners.map((one) => one[1])];
  const left = limit(Math.floor(Math.min(...xs) - margin), photo.width);
  const top = limit(Math.floor(Math.min(...ys) - margin), photo.height);
  const right = limit(Math.ceil(Math.max(...xs) + margin), photo.width);
  const bottom = limit(Math.ceil(Math.max(...ys) + margin), photo.height);
  const crop = { width: size, height: size, data: new Uint8ClampedArray(4 * size * size) };
  for (let k = 3; k < crop.data.length; k += 4) crop.data[k] = 255;
  if (right <= left || bottom <= top) return crop;
  let region = cut(photo, left, top, right, bottom);
  let map = [...toCrop];
  map[2] += map[0] * left + map[1] * top;
  map[5] += map[3] * left + map[4] * top;
  const block = Math.floor(1 / scale);
  if (block >= 2) {
    region = blockMeans(region, block);
    const shift = (block - 1) / 2;
    map[2] += (map[0] + map[1]) * shift;
    map[5] += (map[3] + map[4]) * shift;
    map = [map[0] * block, map[1] * block, map[2], map[3] * block, map[4] * block, map[5]];
  }
  const back = invert(map);
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      const [fromX, fromY] = apply(back, [x, y]);
      sample(region, fromX, fromY, crop.data, 4 * (y * size + x));
    }
  }
  return crop;
}

/** Turn a picture by quarters, counter-clockwise, as numpy.rot90. */
export function turned(picture, quarters) {
  const { width, height } = picture;
  const [toWidth, toHeight] = quarters % 2 ? [height, width] : [width, height];
  const data = new Uint8ClampedArray(picture.data.length);
  const source = new Uint32Array(picture.data.buffer, picture.data.byteOffset, width * height);
  const target = new Uint32Array(data.buffer);
  for (let y = 0; y < toHeight; y++) {
    for (let x = 0; x < toWidth; x++) {
      const from = { 1: x * width + (width - 1 - y), 2: (height - 1 - y) * width + (width - 1 - x), 3: (height - 1 - x) * width + y }[quarters];
      target[y * toWidth + x] = source[from];
    }
  }
  return { width: toWidth, height: toHeight, data };
}

/** The planes of a picture as float32, RGB, on a canvas of at least its size. */
export function planes(picture, width = picture.width, height = picture.height) {
  const size = width * height;
  const values = new Float32Array(3 * size);
  for (let y = 0; y < picture.height; y++) {
    for (let x = 0; x < picture.width; x++) {
      const at = 4 * (y * picture.width + x);
      for (let c = 0; c < 3; c++) values[c * size + y * width + x] = picture.data[at + c];
    }
  }
  return values;
}

/** The bytes of a PNG of a picture. */
export async function png(picture) {
  const canvas = new OffscreenCanvas(picture.width, picture.height);
  canvas.getContext("2d").putImageData(new ImageData(picture.data, picture.width, picture.height), 0, 0);
  return canvas.convertToBlob({ type: "image/png" });
}

function sample(picture, x, y, data, to) {
  const [left, top] = [Math.floor(x), Math.floor(y)];
  const [dx, dy] = [x - left, y - top];
  for (let c = 0; c < 3; c++) {
    let total = 0;
    for (const [row, down] of [[top, 1 - dy], [top + 1, dy]]) {
      if (row < 0 || row >= picture.height || !down) continue;
      if (left >= 0 && left < picture.width) total += down * (1 - dx) * picture.data[4 * (row * picture.width + left) + c];
      if (left + 1 >= 0 && left + 1 < picture.width) total += down * dx * picture.data[4 * (row * picture.width + left + 1) + c];
    }
    data[to + c] = total;
  }
}

function cut(photo, left, top, right, bottom) {
  const width = right - left;
  const data = new Uint8ClampedArray(4 * width * (bottom - top));
  for (let y = top; y < bottom; y++) {
    const from = 4 * (y * photo.width + left);
    data.set(photo.data.subarray(from, from + 4 * width), 4 * (y - top) * width);
  }
  return { width, height: bottom - top, data };
}

function blockMeans(picture, block) {
  const [width, height] = [Math.ceil(picture.width / block), Math.ceil(picture.height / block)];
  const data = new Uint8ClampedArray(4 * width * height).fill(255);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const total = [0, 0, 0];
      for (let j = y * block; j < Math.min((y + 1) * block, picture.height); j++) {
        for (let i = x * block; i < Math.min((x + 1) * block, picture.width); i++) {
          for (let c = 0; c < 3; c++) total[c] += picture.data[4 * (j * picture.width + i) + c];
        }
      }
      for (let c = 0; c < 3; c++) data[4 * (y * width + x) + c] = total[c] / (block * block);
    }
  }
  return { width, height, data };
}

function areaWeights(from, to) {
  const scale = from / to;
  return Array.from({ length: to }, (_, k) => {
    const [start, end] = [k * scale, Math.min((k + 1) * scale, from)];
    const parts = [];
    for (let at = Math.floor(start); at < Math.ceil(end - 1e-9); at++) {
      parts.push([at, (Math.min(at + 1, end) - Math.max(at, start)) / (end - start)]);
    }
    return parts;
  });
}
