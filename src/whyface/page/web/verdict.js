// From two faces' grids to the explanation, JSON of schema 2; the formulas of whyface.xcos, usual and calibration.

import { english } from "./english.js";
import { interpolate } from "./quality.js";
import { describe, doubtIn } from "./sentences.js";
import { factsOf } from "./shares.js";

const EPS = 1e-6;

/** S and W of weighed grids, in which the length of a place's feature is its weight. Grids are (C, H * W) flat. */
export function weighedMaps(first, second, places) {
  const [a, b] = [lengths(first, places), lengths(second, places)];
  const product = a.map((value, place) => value * b[place]);
  const total = product.reduce((sum, value) => sum + value, 0);
  return {
    similarity: cosines(first, second, a, b, places),
    attention: Array.from(product, (value) => (total > 0 ? value / total : 1 / places)),
  };
}

/**
 * Explain a pair.
 * @param {Object} settings what the page's model.json holds
 * @param {Object[]} faces the two faces, with source, box, landmarks, quality, outside and so on
 * @param {{similarity: number[], attention: number[]}} maps S and W, flat
 * @param {{fmr: string|null, seconds: number}} asked the name of the operating point, and the time it took
 */
export function explain(settings, faces, maps, asked) {
  const [rows, columns] = settings.grid;
  const point = settings.operating_points.find((one) => one.name === asked.point) ?? settings.operating_points.find((one) => one.name === settings.default_point);
  const s = maps.similarity.map((value) => Math.fround(Math.min(1, Math.max(-1, value))));
  const w = maps.attention.map(Math.fround);
  const score = Math.fround(Math.min(1, Math.max(-1, s.reduce((sum, value, place) => sum + value * w[place], 0))));
  const shaped = (values) => Array.from({ length: rows }, (_, row) => Array.from(values.slice(row * columns, (row + 1) * columns), shortest));
  const { threshold, ...source } = point;
  const nothing = { fmr_interval: null, fnmr_interval: null, genuine_pairs: null, impostor_pairs: null, note: "" };
  const e = {
    schema: "whyface/explanation/2",
    verdict: score > threshold ? "match" : "no match",
    score, threshold, margin: score - threshold,
    threshold_source: { kind: "operating point", ...nothing, ...source },
    ...probability(settings, score, faces),
    doubt: null, method: "xcos", attention_kind: "l", sentences: [],
    faces: faces.map(faceInfo),
    model: { name: settings.name, sha256: settings.sha256 },
    cost: { forward: 2, backward: 0, seconds: asked.seconds },
    settings: { attention: "l" }, versions: settings.versions,
    map_a: null, map_b: null,
    similarity: shaped(s), attention: shaped(w), contributions: shaped(s.map((value, place) => value * w[place])),
    telling: settings.usual ? telling(settings.usual, s, shaped) : null,
    operating_points: settings.operating_points,
    record: {
      time: new Date().toISOString().replace(/\.\d+Z/, "Z"), note: "", reviewer: null, decision: null, decided: null,
      files: settings.record_files, request: { page: true },
    },
  };
  const faults = faces.map((face) => face.quality.shortcoming);
  if (faults.some(Boolean)) {
    const none = ["probability", "probability_source", "probability_bound", "similarity", "attention", "contributions", "attention_kind", "telling"];
    Object.assign(e, Object.fromEntries(none.map((key) => [key, null])), { verdict: "undecided", doubt: "open" });
    e.doubt = doubtIn(e, english);
  }
  e.sentences = describe(factsOf(e), english);
  return e;
}

function faceInfo(face) {
  const { source, box, landmarks, score, index, count, quality, sha256, outside, transform, photo_size, file } = face;
  return { source, box, landmarks, score, index, count, quality, sha256, outside, transform, photo_size, file };
}

function lengths(grid, places) {
  const found = new Float64Array(places);
  grid.forEach((value, k) => { found[k % places] += value * value; });
  return found.map(Math.sqrt);
}

function cosines(first, second, a, b, places) {
  const dot = new Float64Array(places);
  first.forEach((value, k) => { dot[k % places] += value * second[k]; });
  return Array.from(dot, (value, place) => value / (Math.max(a[place], EPS) * Math.max(b[place], EPS)));
}

function telling(usual, s, shaped) {
  const limit = Math.log(usual.pairs);
  const at = (levels, place) => levels.map((level) => level.flat()[place]);
  const below = (quantiles) => s.map((value, place) => interpolate(value, at(quantiles, place), usual.levels));
  const [slope, middle] = [usual.slope.flat(), usual.middle.flat()];
  return {
    source: usual.source,
    log_odds: shaped(s.map((value, place) => Math.min(limit, Math.max(-limit, slope[place] * (value - middle[place]))))),
    strangers: shaped(below(usual.strangers)), genuine: shaped(below(usual.genuine)), neutral: shaped(middle),
  };
}

function probability(settings, score, faces) {
  const c = settings.calibration;
  if (!c) return { probability: null, probability_source: null, probability_bound: null };
  const quality = Math.min(...faces.map((face) => face.quality.recognisability));
  const p = Math.min(1 - 1e-16, Math.max(1e-300, fitted(c, score, quality)));
  const prior = c.genuine_pairs / (c.genuine_pairs + c.impostor_pairs);
  const curve = ((p / (1 - p)) * (1 - prior)) / prior;
  const [low, high] = c.bounds ? c.bounds.map((bound) => 10 ** bound) : [1 / c.genuine_pairs, c.impostor_pairs];
  const ratio = Math.min(high, Math.max(low, curve));
  const odds = (ratio * prior) / (1 - prior);
  const bound = curve >= high ? "at least" : curve <= low ? "at most" : null;
  return { probability: odds / (1 + odds), probability_source: settings.calibration_source, probability_bound: bound };
}

function fitted(c, score, quality) {
  const given = c.parameters;
  const sigmoid = (x) => 0.5 * (1 + Math.tanh(x / 2));
  if (c.kind === "isotonic") return interpolate(score, given.scores, given.probabilities);
  if (c.kind === "x-face") {
    return Math.min(1, Math.max(0, given.height * sigmoid(given.steepness * (1 - score - given.middle)) + given.base));
  }
  const slope = given.slope + (given.quality_slope ?? 0) * (1 - quality);
  return sigmoid(slope * score + given.intercept + (given.quality_intercept ?? 0) * (1 - quality));
}

/** The shortest decimals that give the same float32, as Python writes them. */
function shortest(value) {
  const exact = Math.fround(value);
  for (let digits = 6; digits < 10; digits++) {
    const text = Number(exact.toPrecision(digits));
    if (Math.fround(text) === exact) return text;
  }
  return exact;
}
