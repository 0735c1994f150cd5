// Colours of numbers: the same in light and dark, with black or white text, whichever contrasts more.

const DIVERGING = ["#b2182b", "#d6604d", "#f4a582", "#fddbc7", "#f7f7f7", "#d1e5f0", "#92c5de", "#4393c3", "#2166ac"].map(parse);
const SEQUENTIAL = ["#f5f5f7", "#dcd7ea", "#bcb3d8", "#9486bf", "#6a56a4", "#452f85"].map(parse);

/** Red (-1) over white (0) to blue (+1). */
export function diverging(value) {
  return mix(DIVERGING, (Math.max(-1, Math.min(1, value)) + 1) / 2);
}

/** White (0) to violet (1). */
export function sequential(value) {
  return mix(SEQUENTIAL, Math.max(0, Math.min(1, value)));
}

export function css([red, green, blue], alpha = 1) {
  return `rgb(${Math.round(red)} ${Math.round(green)} ${Math.round(blue)} / ${alpha})`;
}

/** Black or white, whichever is easier to read on a colour. */
export function ink(colour) {
  const [red, green, blue] = colour.map((value) => {
    const share = value / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  const light = 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  return (light + 0.05) / 0.05 > 1.05 / (light + 0.05) ? "#000000" : "#ffffff";
}

function parse(text) {
  return [1, 3, 5].map((start) => parseInt(text.slice(start, start + 2), 16));
}

function mix(stops, share) {
  const at = share * (stops.length - 1);
  const low = Math.min(Math.floor(at), stops.length - 2);
  return stops[low].map((value, k) => value + (stops[low + 1][k] - value) * (at - low));
}
