// What a reader can change: the current place, the threshold, and which places count.

import { el, fill, say } from "./dom.js";
import { weightOf, weightText } from "./maps.js";
import { points, setsOf } from "./sentences.js";
import { byRegion, ratesAt, sum, withoutPlaces } from "./shares.js";

// What a label takes of the width on a phone.
const LABEL = 0.12;

/** Everything about the current place, with both faces there enlarged. */
export function placeCard(view) {
  const { facts, t, state, pictures } = view;
  const patches = [0, 1].map((which) => el("div", { class: "patch", role: "img" }, el("span", { class: "ring", "aria-hidden": "true" })));
  const heading = el("h3", {});
  const numbers = el("dl", { class: "numbers-list" });
  const words = el("ul", { class: "plain" });
  const leave = el("button", { type: "button", class: "screen", on: { click: () => view.toggle([state.place]) } });
  view.onChange(() => {
    const place = state.place;
    const [row, column] = [Math.floor(place / facts.columns), place % facts.columns];
    const region = t.region(facts.names[place]);
    const named = t.place(region[0].toUpperCase() + region.slice(1), row + 1, column + 1);
    say(heading, named);
    patches.forEach((patch, which) => {
      patch.style.setProperty("background-image", `url("${pictures[which]}")`);
      patch.style.setProperty("background-size", `${(100 * facts.columns) / 3}% ${(100 * facts.rows) / 3}%`);
      patch.style.setProperty("background-position", `${(100 * (column - 1)) / (facts.columns - 3 || 1)}% ${(100 * (row - 1)) / (facts.rows - 3 || 1)}%`);
      patch.setAttribute("aria-label", `${t.face("AB"[which])}, ${named}`);
    });
    fill(numbers, [
      [t.placeSimilarity, t.number(facts.s[place], 3)],
      [t.placeWeight, weightText(facts, t, place)],
      [t.placeContribution, `${t.number(100 * facts.contributions[place], 2)} ${t.pointsUnit}`],
      [t.placeShare, `${t.signed(100 * facts.shares[place], 2)} ${t.pointsUnit}`],
    ].map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
    fill(words, usualWords(facts, t, place).map((text) => el("li", {}, `${text[0].toUpperCase()}${text.slice(1)}.`)));
    say(leave, state.off.has(place) ? t.countPlace : t.leavePlace);
  });
  return el("section", { class: "card place-card", "aria-label": t.placeHeading },
    el("div", { class: "patches" }, patches), el("div", { class: "grow" }, heading, numbers, words, leave));
}

/** A slider for the threshold, with the verdict and the error rates there. */
export function thresholdCard(view) {
  const { facts, t, state } = view;
  const { score, threshold, threshold_source: source } = facts.explanation;
  const { points: known } = ratesAt(facts.explanation, threshold);
  const low = Math.min(-0.1, Math.floor(10 * Math.min(score, threshold)) / 10);
  const share = (value) => (value - low) / (1 - low);
  const at = (value) => `${100 * share(value)}%`;
  const rows = labelRows(known.map((point) => share(point.threshold)));
  const mark = (value, text, kind) => el("div", { class: `mark ${kind}`, css: { left: at(value) } }, el("span", {}, text));
  const now = el("div", { class: "mark now", css: { left: at(threshold) } });
  const verdict = el("p", { class: "said", role: "status" });
  const rates = el("p", { class: "rates" });
  const slider = el("input", {
    type: "range", min: low, max: 1, step: 0.001, value: threshold, "aria-label": t.thresholdLabel, class: "screen",
    on: { input: () => { state.threshold = Number(slider.value); view.change(); } },
  });
  const back = el("button", { type: "button", class: "screen", on: { click: () => { state.threshold = threshold; slider.value = threshold; view.change(); } } }, t.resetThreshold);
  view.onChange(() => {
    const match = score > state.threshold;
    now.style.setProperty("left", at(state.threshold));
    slider.setAttribute("aria-valuetext", t.number(state.threshold, 3));
    say(verdict, t.thresholdAt(t.number(state.threshold, 4), match ? t.match : t.noMatch, match !== facts.match));
    verdict.className = `said ${match ? "for" : "against"}`;
    say(rates, setsOf(facts.explanation) ? `${t.setsRates}.` : ratesText(facts.explanation, state.threshold, t));
    back.hidden = state.threshold === threshold;
  });
  return el("section", { class: "card", "aria-labelledby": "h-threshold" },
    el("h2", { id: "h-threshold" }, t.thresholdHeading),
    el("div", { class: "scale", "aria-hidden": "true" },
      el("div", { class: "line" }), known.length ? el("span", { class: "axis" }, "FMR") : null, known.map((point, k) => mark(point.threshold, rows[k] < 0 ? "" : point.name.replace("FMR ", ""), `known row${rows[k]}`)),
      mark(score, t.thresholdScore(t.number(score, 3)), "score"), now),
    slider, verdict, rates,
    el("p", { class: "note" }, known.length ? t.ratesData(known[0].dataset) : "", " ", source?.note ?? ""), back);
}

/** In which row, from the top, each label stands so that none covers another; -1: there is no room for it. */
export function labelRows(shares) {
  // The first row begins with the axis's name.
  const last = [0];
  return shares.map((at) => {
    const free = [0, 1, 2].findIndex((row) => !(at - last[row] < LABEL));
    if (free >= 0) last[free] = at;
    return free;
  });
}

/** Say which error rates hold at a threshold, from the measured points on both sides. */
export function ratesText(explanation, threshold, t) {
  const { at, below, above } = ratesAt(explanation, threshold);
  const both = (one, other) => `${one} ${t.and} ${other}`;
  if (at) return t.ratesExact(strangersRate(at.fmr, t), sameRate(at.fnmr, t));
  if (below && above) {
    return t.ratesBetween(both(strangersRate(above.fmr, t), strangersRate(below.fmr, t)), both(sameRate(below.fnmr, t), sameRate(above.fnmr, t)));
  }
  if (below) return t.ratesBeyond(strangersRate(below.fmr, t), sameRate(below.fnmr, t));
  if (above) return t.ratesBefore(strangersRate(above.fmr, t), sameRate(above.fnmr, t));
  return t.ratesUnknown;
}

/** Format a rate that may be tiny: "1 in 1,000" below one percent. */
export function strangersRate(rate, t) {
  if (rate >= 0.01) return t.percent(t.number(100 * rate, 1));
  if (rate <= 0) return t.percent("0");
  const count = 1 / rate;
  const step = 10 ** Math.max(0, Math.floor(Math.log10(count)) - 1);
  return t.oneIn((Math.round(count / step) * step).toLocaleString(t.code));
}

function sameRate(rate, t) {
  return t.percent(t.number(100 * rate, rate < 0.001 ? 3 : rate < 0.01 ? 2 : 1));
}

/** The regions with their shares, each of which can be left out, and what the score would then be. */
export function regionsCard(view) {
  const { facts, t, state } = view;
  const regions = byRegion(facts.shares, facts.names).sort((a, b) => Math.abs(b[1]) - Math.abs(a[1]));
  const most = Math.max(...regions.map(([, share]) => Math.abs(share)), 1e-9);
  const said = el("p", { class: "said", role: "status" });
  const reset = el("button", { type: "button", class: "screen", on: { click: () => { state.off.clear(); view.change(); } } }, t.reset);
  const body = el("tbody");
  for (const [region, share, places] of regions) {
    const name = t.region(region);
    const box = el("input", { type: "checkbox", "aria-label": `${t.counts}: ${name}`, on: { change: () => view.toggle(places, box.checked) } });
    const bar = el("span", { class: `bar ${share < 0 ? "against" : "for"}`, css: { "--length": `${(50 * Math.abs(share)) / most}%` } });
    const row = el("tr", { on: { pointerenter: () => view.mark(places), pointerleave: () => view.mark([]) } },
      el("td", { class: "screen-cell" }, box), el("th", { scope: "row" }, name), el("td", { class: "number weight-cell" }, weightOf(facts, t, places)),
      el("td", { class: "number" }, points(share, t)), el("td", { class: "bars", "aria-hidden": "true" }, bar));
    view.onChange(() => {
      const left = places.filter((place) => state.off.has(place)).length;
      box.checked = left < places.length;
      box.indeterminate = left > 0 && left < places.length;
      row.classList.toggle("off", left === places.length);
    });
    body.append(row);
  }
  view.onChange(() => {
    const { explanation: e } = facts;
    const found = withoutPlaces(facts, state.off);
    reset.hidden = !state.off.size;
    if (!found) return say(said, t.whatIfNothing);
    const match = found.score > e.threshold;
    const verdict = match ? t.match : t.noMatch;
    said.className = `said ${match ? "for" : "against"}`;
    const score = t.number(found.score, 4);
    if (!state.off.size) return say(said, t.whatIfNone(score, verdict));
    return say(said, t.whatIfSome(state.off.size, t.percent(t.number(100 * found.weight, 1)), score, verdict, match !== facts.match));
  });
  return el("section", { class: "card", "aria-labelledby": "h-regions" },
    el("h2", { id: "h-regions" }, t.regionsHeading), el("p", { class: "note" }, t.regionsNote(points(sum(facts.shares), t)), " ", t.leftRight),
    el("div", { class: "what-if" }, el("h3", {}, t.whatIf), el("p", { class: "note screen" }, t.whatIfHint), said, el("p", { class: "note" }, t.whatIfCaveat), reset),
    el("table", { class: "regions" },
      el("thead", {}, el("tr", {}, el("th", { scope: "col", class: "screen-cell" }, t.counts), el("th", { scope: "col" }, t.region_),
        el("th", { scope: "col", class: "number weight-cell" }, t.weight), el("th", { scope: "col", class: "number" }, t.forAgainst), el("td", { "aria-hidden": "true" }))), body));
}

function usualWords(facts, t, place) {
  if (facts.unseen[place]) return [t.placeOutside];
  if (!facts.logOdds) return [t.placeUnknown];
  const odds = facts.logOdds[place];
  const times = Math.exp(Math.abs(odds));
  const common = times < 1.5 ? t.placeEven : t.placeOdds(t.number(times, times < 10 ? 1 : 0), odds > 0);
  return [t.placeUsual(t.share(facts.strangers[place])), t.placeGenuine(t.share(facts.genuine[place])), common];
}
