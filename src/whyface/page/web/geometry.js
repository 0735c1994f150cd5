// Affine maps as [a, b, c, d, e, f]: (x, y) -> (a x + b y + c, d x + e y + f); the same formulas as whyface.faces.align.

import { TEMPLATE } from "./regions.js";

export const FACE_SIZE = 112;

/**
 * The least-squares rotation, scale and translation from points to others, never a reflection; null if the points
 * nearly coincide or are mirrored (S. Umeyama, IEEE TPAMI 13, 1991).
 */
export function similarityTransform(from, to) {
  const mean = (points, axis) => points.reduce((total, point) => total + point[axis], 0) / points.length;
  const [fx, fy, tx, ty] = [mean(from, 0), mean(from, 1), mean(to, 0), mean(to, 1)];
  let [spread, toSpread, real, imaginary, most] = [0, 0, 0, 0, 1];
  from.forEach(([x, y], k) => {
    const [zx, zy, wx, wy] = [x - fx, y - fy, to[k][0] - tx, to[k][1] - ty];
    spread += zx * zx + zy * zy;
    toSpread += wx * wx + wy * wy;
    real += zx * wx + zy * wy;
    imaginary += zx * wy - zy * wx;
    most = Math.max(most, Math.abs(x), Math.abs(y));
  });
  if (!(spread > (1e-6 * most) ** 2)) return null;
  [real, imaginary] = [real / spread, imaginary / spread];
  if (!((real * real + imaginary * imaginary) * spread > 1e-6 * toSpread) || toSpread === 0) return null;
  return [real, -imaginary, tx - real * fx + imaginary * fy, imaginary, real, ty - imaginary * fx - real * fy];
}

export function invert([a, b, c, d, e, f]) {
  const determinant = a * e - b * d;
  const [ia, ib, id, ie] = [e / determinant, -b / determinant, -d / determinant, a / determinant];
  return [ia, ib, -ia * c - ib * f, id, ie, -id * c - ie * f];
}

export function apply([a, b, c, d, e, f], [x, y]) {
  return [a * x + b * y + c, d * x + e * y + f];
}

/** The map from photo pixels to the aligned crop for five landmarks; null if they span no face. */
export function alignment(landmarks) {
  return similarityTransform(landmarks, TEMPLATE);
}

/** Clockwise rotation of a face in degrees; 0 if it cannot be determined. */
export function rollOf(landmarks) {
  const map = alignment(landmarks);
  if (!map) return 0;
  const back = invert(map);
  return (Math.atan2(back[3], back[0]) * 180) / Math.PI;
}
