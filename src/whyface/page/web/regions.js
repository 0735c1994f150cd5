// Named regions of an aligned face; the same rules as whyface.faces.regions.

const SIZE = 112;
export const TEMPLATE = [
  [38.2946, 51.6963],
  [73.5318, 51.5014],
  [56.0252, 71.7366],
  [41.5493, 92.3655],
  [70.7299, 92.2041],
];
export const REGIONS = [
  "forehead", "left brow", "right brow", "left temple", "right temple", "left eye", "right eye", "nose bridge",
  "nose tip", "left cheek", "right cheek", "mouth", "left jaw", "right jaw", "chin", "left edge", "right edge",
];

/** Name the region of each place of a grid, row by row. */
export function regionsOf(rows, columns) {
  const named = [];
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) named.push(fineRegion(rows, row, columns, column));
  }
  if (new Set(named).size === REGIONS.length) return named;
  const down = parts(rows);
  const across = parts(columns);
  return named.map((_, place) => {
    const row = Math.floor(((Math.floor(place / columns) + 0.5) * down) / rows);
    const column = Math.floor((((place % columns) + 0.5) * across) / columns);
    return partName(down, row, across, column);
  });
}

/** List a grid's regions from top to bottom, as the sums by region are ordered. */
export function regionOrder(names) {
  const present = new Set(names);
  return present.has("forehead") ? REGIONS.filter((name) => present.has(name)) : [...present];
}

/** Say whether a region's name has a side. */
export function hasSide(region) {
  return /\b(left|right)\b/.test(region);
}

function fineRegion(rows, row, columns, column) {
  const [leftEye, rightEye, , leftCorner, rightCorner] = TEMPLATE;
  const eyes = [(leftEye[0] + rightEye[0]) / 2, (leftEye[1] + rightEye[1]) / 2];
  const mouth = (leftCorner[1] + rightCorner[1]) / 2;
  const across = (((column + 0.5) * SIZE) / columns - eyes[0]) / (rightEye[0] - leftEye[0]);
  const down = (((row + 0.5) * SIZE) / rows - eyes[1]) / (mouth - eyes[1]);
  const away = Math.abs(across);
  const sided = (name) => `${across < 0 ? "left" : "right"} ${name}`;
  if (away > 1.1) return sided("edge");
  if (down < -0.5) return "forehead";
  if (away < 0.22 && down < 0.3) return "nose bridge";
  if (away < 0.3 && down < 0.75 && down >= 0.3) return "nose tip";
  if (down < -0.15) return sided("brow");
  if (down < 0.22) return sided(away < 0.78 ? "eye" : "temple");
  if (down < 0.75) return sided("cheek");
  if (away > 0.6) return sided("jaw");
  return down < 1.2 ? "mouth" : "chin";
}

function parts(places) {
  return { 1: 1, 2: 2, 4: 2 }[places] ?? 3;
}

function partName(rows, row, columns, column) {
  const down = { 1: [], 2: ["upper", "lower"], 3: ["upper", "middle", "lower"] }[rows];
  const across = { 1: [], 2: ["left", "right"], 3: ["left", "middle", "right"] }[columns];
  const words = [...down.slice(row, row + 1), ...across.slice(column, column + 1)];
  if (words.join(" ") === "middle middle") return "centre";
  const whole = rows === 1 && columns === 1 ? "whole face" : rows === 2 && columns === 2 ? "quarter" : null;
  return [...words, whole ?? { 2: "half", 3: "third" }[rows * columns] ?? "part"].join(" ");
}
