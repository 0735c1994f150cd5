// An explanation in words, in the language of a catalogue; in English the very sentences of whyface.explain.sentences.

import { hasSide } from "./regions.js";
import { byRegion, fewestToFlip, mapShares, ranked, sum } from "./shares.js";

const MOST = 3;
const USUAL = Math.log(3);
export const CLOSE = 0.01;

/** Describe what supports the verdict, what speaks against it, and how far it is from flipping: a list of sentences. */
export function describe(facts, t) {
  const e = facts.explanation;
  const said = main(facts, t);
  if (e.doubt && !facts.undecided) said.push(t.acceptedAlthough(doubtIn(e, t)));
  const [first, second] = e.faces ?? [];
  const sets = setsOf(e);
  if (!sets && first?.sha256 && first.sha256 === second?.sha256) said.push(t.samePixels);
  if (sets && !facts.undecided) said.push(...aboutSets(sets, t));
  const compared = e.settings?.pairs_compared;
  if (compared > 1 && first && second) {
    said.push(t.pairsCompared(compared, [first.index, first.count], [second.index, second.count]), t.manyPairs(compared));
  }
  return said.map((text) => `${text}.`);
}

/** Return what is listed of two sets of photos whose means were compared; null for single photos. */
export function setsOf(e) {
  const { set_a: first, set_b: second, poor_a: poorA, poor_b: poorB } = e.settings ?? {};
  if (!first?.length || !second?.length) return null;
  return { sides: [first, second], poor: (poorA?.length ?? 0) + (poorB?.length ?? 0) };
}

/** Say how many faces each set has, which is most like the other set, and that error rates do not hold for sets. */
function aboutSets({ sides, poor }, t) {
  const named = sides.map((side) => {
    const best = side.reduce((one, other) => (other.score > one.score ? other : one));
    return t.setPhoto(best.file, t.number(best.score, 2), t.number(Math.min(...side.map((one) => one.score)), 2));
  });
  const pictures = sides.map((side) => new Set(side.map((one) => one.sha256).filter(Boolean)));
  const shared = [...pictures[0]].filter((one) => pictures[1].has(one)).length;
  const said = [t.setsCompared(sides.map((side) => side.length), poor, named), t.setsRates];
  return shared ? [...said, t.setsShared(shared)] : said;
}

/** Format a share in points with its sign; 1 point is 0.01 of the score. */
export function points(share, t) {
  return t.signed(100 * share, 1);
}

/** Format score and threshold with as many decimals as tell them apart. */
export function scoreAndThreshold(e, t) {
  for (let digits = 4; digits < 17; digits++) {
    const texts = [t.number(e.score, digits), t.number(e.threshold, digits)];
    if (texts[0] !== texts[1]) return texts;
    if (e.score === e.threshold) return [texts[0], texts[0]];
  }
  return [String(e.score), String(e.threshold)];
}

/** Name the doubt in the language, from the faults of the faces; the recorded text where they do not give it. */
export function doubtIn(e, t) {
  const faults = (e.faces ?? []).map((face) => face?.quality?.shortcoming ?? null);
  if (faults.length !== 2 || !faults.some(Boolean)) return e.doubt;
  if (faults[0] === faults[1]) return t.doubtBoth(faults[0]);
  return t.doubts(["first", "second"].flatMap((which, k) => (faults[k] ? [t.doubtOne(which, faults[k])] : [])));
}

/** Format a probability so that it never rounds uncertainty to 100 % or 0 %. */
export function probabilityText(e, t) {
  const rest = 100 * Math.min(e.probability, 1 - e.probability);
  const digits = rest > 0 ? Math.min(Math.max(1, Math.ceil(-Math.log10(rest))), 9) : 1;
  return `${t.bounds[e.probability_bound] ?? ""}${t.number(100 * e.probability, digits)} %`;
}

function main(facts, t) {
  const e = facts.explanation;
  if (facts.undecided) return [t.undecidedBecause(doubtIn(e, t)), t.undecidedAdvice];
  if (facts.grid) return [...fromGrid(facts, t), ...usual(facts, t), ...outside(facts, t)];
  const shares = mapShares(e);
  if (!shares) return [opening(facts, t), `${t.asAWhole}; ${scoreFlip(facts, t)}`];
  return [...fromMaps(facts, shares, t), ...outside(facts, t)];
}

function opening(facts, t) {
  const start = t.opening(facts.match, Math.abs(facts.margin) < CLOSE);
  const [score, threshold] = scoreAndThreshold(facts.explanation, t);
  if (facts.margin === 0) return t.exactly(start, threshold);
  return t.verdict(start, score, distance(facts.margin, t), facts.match, threshold);
}

function distance(margin, t) {
  const size = 100 * Math.abs(margin);
  if (size >= 0.05 || size === 0) return t.points(t.number(size, 1));
  const digits = Math.max(1, -Math.floor(Math.log10(size)));
  return t.points(t.number(size, digits));
}

function listed(regions, t) {
  return t.list(regions.slice(0, MOST).map(([name, amount]) => `${t.the(name)} (${amount})`));
}

function visible(regions, t) {
  const nothing = [points(0.0001, t), points(-0.0001, t)];
  return regions.map(([name, share]) => [name, points(share, t)]).filter(([, text]) => !nothing.includes(text));
}

function fromGrid(facts, t) {
  const { match, shares, unseen, names } = facts;
  const regions = byRegion(shares, names, unseen);
  const support = visible(ranked(regions, match), t);
  const against = visible(ranked(regions, !match), t);
  let first = opening(facts, t);
  if (!support.length) first += t.noSupport;
  else if (facts.margin === 0) first += t.exactSupport(listed(support, t), support.length);
  else first += t.support(listed(support, t), match);
  const [flip, flipRegions] = flipText(facts, t);
  let second = `${opposition(facts, against, t)}; ${flip}`;
  if (support.slice(0, MOST).some(([name]) => hasSide(name))) first += t.sides;
  else if ([...against.slice(0, MOST).map(([name]) => name), ...flipRegions].some(hasSide)) second += t.sides;
  return [first, second];
}

function opposition(facts, against, t) {
  const { match, shares, unseen } = facts;
  const opposing = [...shares].filter((share, place) => !unseen[place] && (match ? share < 0 : share > 0));
  if (!opposing.length) return t.nothingSpeaks(match);
  if (!against.length) return t.noRegionSpeaks(match, opposing.length, points(sum(opposing), t));
  return t.speaks(match, listed(against, t), against.length);
}

function flipText(facts, t) {
  const { s, w, match, unseen, neutral, level, shares, explanation: e } = facts;
  const flip = fewestToFlip(facts);
  if (!flip && unseen.some(Boolean)) return [t.tooLittle, []];
  if (!flip) return [facts.weight <= 0 ? scoreFlip(facts, t) : t.flipEverywhere(t.number(-facts.margin / facts.weight, 2)), []];
  const one = flip.places.length === 1;
  const mean = (values) => sum(flip.places.map((place) => values[place])) / flip.places.length;
  let goal = t.number(level, 4);
  if (e.telling) goal = t.goalNeutral(t.number(mean(neutral), 2), one);
  else if (level === e.threshold) goal = t.goalThreshold;
  const way = Math.min(...flip.places.map((place) => w[place])) < 0 ? "changed" : match ? "fell" : "rose";
  const change = t.change(way, t.number(Number(mean(s).toFixed(2)) + 0, 2), one, goal);
  if (flip.places.length === shares.length) return [t.flipAll(change), []];
  if (flip.regions.length > MOST) return [t.flipMany(flip.places.length, shares.length, change), []];
  const where = t.list(flip.regions.map(t.the));
  return [t.flipAt(where, flip.places.length, shares.length, change), flip.regions];
}

function scoreFlip(facts, t) {
  return facts.margin === 0 ? t.scoreAny : t.scoreFlip(facts.match, distance(facts.margin, t));
}

function usual(facts, t) {
  const { s, match, unseen, names, logOdds, strangers, genuine } = facts;
  if (!logOdds) return [t.usualUnknown];
  const seen = [...s.keys()].filter((place) => !unseen[place]);
  if (!seen.length) return [];
  const top = (values) => seen.reduce((best, place) => (values[place] > values[best] ? place : best), seen[0]);
  const support = logOdds.map((odds) => (match ? odds : -odds));
  const most = top(support);
  const where = t.the(names[most]);
  const value = t.number(s[most], 2);
  let text;
  if (support[most] < USUAL) text = t.nothingTelling(match);
  else if (match) text = t.tellingMatch(where, t.share(strangers[most]), value);
  else text = t.tellingNoMatch(where, t.share(1 - genuine[most]), value);
  const high = top(s);
  if (high !== most && Math.abs(logOdds[high]) < USUAL) {
    text += t.highSaysLittle(t.number(s[high], 2), t.the(names[high]), t.share(1 - strangers[high]));
  }
  return [text];
}

function outside(facts, t) {
  const places = facts.unseen.filter(Boolean).length;
  if (!places) return [];
  const [first, second] = facts.outside.map((mask) => mask.some(Boolean));
  const which = first && second ? "both" : first ? "first" : "second";
  const text = t.outsidePlaces(places, facts.unseen.length, which);
  if (!facts.grid) return [text];
  return [text + t.outsidePart(points(sum([...facts.shares].filter((_, place) => facts.unseen[place])), t))];
}

function fromMaps(facts, shares, t) {
  const { match } = facts;
  const side = (positive) => ranked(shares, positive)
    .filter(([, weight]) => Math.abs(weight) >= 0.005)
    .map(([name, weight]) => [name, t.percent(t.number(100 * Math.abs(weight), 0))]);
  const [support, against] = [side(match), side(!match)];
  let first = opening(facts, t);
  if (support.length) first += t.mapSupport(listed(support, t));
  let second = against.length ? t.mapSpeaks(match, listed(against, t), against.length, !support.length) : t.mapNothing(match);
  if (support.slice(0, MOST).some(([name]) => hasSide(name))) first += t.sides;
  else if (against.slice(0, MOST).some(([name]) => hasSide(name))) second += t.sides;
  return [first, `${second}; ${scoreFlip(facts, t)}`];
}
