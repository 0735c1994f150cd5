// The arithmetic behind the page: shares of the margin, the fewest places that flip, and what would be if places were
// covered. The same formulas as whyface.explain.shares.

import { regionOrder, regionsOf } from "./regions.js";

const SUM_TO_ONE = 1e-3;
const NEAR = 1e-9;

/** Flatten a map of rows to float32 numbers; null stays null. */
export function flat(rows) {
  return rows ? Float64Array.from(rows.flat(), Math.fround) : null;
}

export function sum(values) {
  let total = 0;
  for (const value of values) total += value;
  return total;
}

/**
 * Work out once what the views show of an explanation.
 * @param {Object} explanation the JSON of schema 2
 */
export function factsOf(explanation) {
  const e = explanation;
  const grid = e.similarity ? [e.similarity.length, e.similarity[0].length] : null;
  const [rows, columns] = grid ?? [7, 7];
  const faces = e.faces ?? [];
  const outside = [0, 1].map((face) => outsideMask(faces[face], rows, columns));
  const facts = {
    explanation: e, grid, rows, columns, outside,
    undecided: e.verdict === "undecided",
    match: e.verdict === "match",
    margin: e.score - e.threshold,
    unseen: outside[0].map((out, place) => out || outside[1][place]),
    names: regionsOf(rows, columns),
  };
  if (!grid) return facts;
  const s = flat(e.similarity);
  const w = flat(e.attention);
  const usual = e.telling ? flat(e.telling.neutral) : new Float64Array(s.length);
  const weight = sum(w);
  const rest = e.score - sum(s.map((value, place) => value * w[place]));
  const open = e.threshold - rest - sum(w.map((value, place) => value * usual[place]));
  const shift = (e.threshold - sum(w.map((value, place) => value * usual[place]))) / weight;
  return Object.assign(facts, {
    s, w, weight,
    whole: Math.abs(weight - 1) < SUM_TO_ONE,
    contributions: flat(e.contributions),
    shares: s.map((value, place) => w[place] * (value - usual[place]) - (open * w[place]) / weight),
    neutral: usual.map((value) => value + shift),
    level: Math.abs(weight - 1) < SUM_TO_ONE ? e.threshold : e.threshold / weight,
    logOdds: e.telling ? flat(e.telling.log_odds) : null,
    strangers: e.telling ? flat(e.telling.strangers) : null,
    genuine: e.telling ? flat(e.telling.genuine) : null,
  });
}

/** Sum numbers of places by region: a list of [region, sum, places], without the places that a mask leaves out. */
export function byRegion(values, names, without = null) {
  return regionOrder(names)
    .map((region) => {
      const places = [...names.keys()].filter((place) => names[place] === region && !(without && without[place]));
      return [region, sum(places.map((place) => values[place])), places];
    })
    .filter(([, , places]) => places.length);
}

/** The regions of one sign, the largest share first. */
export function ranked(regions, positive) {
  return regions.filter(([, share]) => (positive ? share > 0 : share < 0)).sort((a, b) => Math.abs(b[1]) - Math.abs(a[1]));
}

/** Find the fewest places that flip the verdict at the neutral similarity; null if none do. */
export function fewestToFlip(facts) {
  const { shares, match, unseen, names } = facts;
  const support = shares.map((share) => (match ? share : -share));
  const order = [...support.keys()].filter((place) => support[place] > 0 && !unseen[place]);
  order.sort((a, b) => support[b] - support[a] || a - b);
  let after = sum(shares);
  const chosen = [];
  for (const place of order) {
    after -= shares[place];
    chosen.push(place);
    if (match ? after <= NEAR : after > NEAR) {
      const sums = new Map();
      for (const one of [...chosen].sort((a, b) => a - b)) {
        sums.set(names[one], (sums.get(names[one]) ?? 0) + Math.abs(shares[one]));
      }
      return { places: chosen, regions: [...sums.keys()].sort((a, b) => sums.get(b) - sums.get(a)), after };
    }
  }
  return null;
}

/** Sum signed maps of both faces by region, as fractions of their total weight; null without maps. */
export function mapShares(explanation) {
  const maps = [explanation.map_a, explanation.map_b].flatMap((given, face) => {
    if (!given) return [];
    const [rows, columns] = [given.length, given[0].length];
    const outside = spread(outsideMask((explanation.faces ?? [])[face], 7, 7), 7, 7, rows, columns);
    const values = flat(given).map((value, place) => (outside[place] ? 0 : value));
    const total = sum(values.map(Math.abs));
    return total > 0 ? [{ rows, columns, values: values.map((value) => value / total) }] : [];
  });
  if (!maps.length) return null;
  const sums = new Map();
  for (const { rows, columns, values } of maps) {
    for (const [region, share] of byRegion(values, regionsOf(rows, columns))) {
      sums.set(region, (sums.get(region) ?? 0) + share / maps.length);
    }
  }
  return [...sums.entries()];
}

/**
 * Score the pair without some places, the weights of the others scaled up to the same sum; null if nothing is left.
 * @param {Object} facts
 * @param {Set<number>} off places that do not count
 */
export function withoutPlaces(facts, off) {
  const kept = [...facts.s.keys()].filter((place) => !off.has(place));
  const weight = sum(kept.map((place) => facts.w[place]));
  if (!kept.length || Math.abs(weight) < NEAR) return null;
  if (!off.size) return { score: facts.explanation.score, weight: 0 };
  const score = (sum(kept.map((place) => facts.w[place] * facts.s[place])) * facts.weight) / weight;
  return { score, weight: 1 - weight / facts.weight };
}

/**
 * What is known of the error rates at a threshold: the measured points on both sides, of the data with most pairs.
 * @returns {{below: Object|null, at: Object|null, above: Object|null, points: Object[]}}
 */
export function ratesAt(explanation, threshold) {
  const all = explanation.operating_points ?? [];
  const pairs = (point) => (point.genuine_pairs ?? 0) + (point.impostor_pairs ?? 0);
  const source = explanation.threshold_source?.dataset;
  const best = all.some((point) => point.dataset === source) ? source
    : all.reduce((one, other) => (one && pairs(one) >= pairs(other) ? one : other), null)?.dataset;
  const points = all.filter((point) => point.dataset === best).sort((a, b) => a.threshold - b.threshold);
  return {
    points,
    at: points.find((point) => Math.abs(point.threshold - threshold) < 5e-4) ?? null,
    below: points.filter((point) => point.threshold <= threshold).pop() ?? null,
    above: points.find((point) => point.threshold > threshold) ?? null,
  };
}

/** Map a mask of one grid to another grid over the same face. */
export function spread(mask, rows, columns, height, width) {
  const found = new Array(height * width);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      found[y * width + x] = mask[Math.floor((y * rows) / height) * columns + Math.floor((x * columns) / width)];
    }
  }
  return found;
}

function outsideMask(face, rows, columns) {
  const mask = new Array(rows * columns).fill(false);
  for (const [row, column] of face?.outside ?? []) if (row < rows && column < columns) mask[row * columns + column] = true;
  return mask;
}
