// What stands below the maps: photos and quality, all numbers as a table, and where everything comes from.

import { el } from "./dom.js";
import { strangersRate } from "./controls.js";
import { fileName, weightText } from "./maps.js";
import { CLOSE, doubtIn, points, setsOf } from "./sentences.js";
import { recordRows } from "./signoff.js";

const SHARES = new Set(["under_exposure", "over_exposure", "outside"]);
const DIGITS = { noise: 1, dynamic_range: 1, inter_eye_distance: 0, yaw: 0, pitch: 0, roll: 0 };

/** Say what a reader should beware of; empty if there is nothing. */
export function warningsOf(facts, t) {
  const e = facts.explanation;
  const found = [];
  (e.faces ?? []).forEach((face, k) => {
    const which = "AB"[k];
    if (face.quality?.shortcoming) found.push(t.shortcoming(which, face.quality.shortcoming));
    if (face.outside?.length) found.push(t.outsideWarning(which, face.outside.length));
    if (face.count > 1) found.push(t.severalFaces(which, face.index, face.count));
  });
  if (e.doubt && !found.length) found.push(`${doubtIn(e, t)}.`);
  if (!facts.undecided && Math.abs(facts.margin) < CLOSE) found.push(t.closeCall);
  if (setsOf(e)) found.push(`${t.setsRates}.`);
  else if (e.faces?.[0]?.sha256 && e.faces[0].sha256 === e.faces[1]?.sha256) found.push(`${t.samePixels}.`);
  return found;
}

export function qualityCard(view) {
  const { facts, t } = view;
  const faces = facts.explanation.faces ?? [];
  const warnings = warningsOf(facts, t);
  const value = (face, name) => {
    const found = ["yaw", "pitch", "roll"].includes(name) ? face?.quality?.pose?.[name] : face?.quality?.[name];
    if (found === null || found === undefined) return t.notMeasured;
    return SHARES.has(name) ? t.percent(t.number(100 * found, 1)) : t.number(found, DIGITS[name] ?? 2);
  };
  const line = (name, cells) => el("tr", {}, el("th", { scope: "row" }, name), cells.map((text) => el("td", {}, text)));
  return el("section", { class: "card", "aria-labelledby": "h-quality" },
    el("h2", { id: "h-quality" }, t.qualityHeading),
    el("div", { class: warnings.length ? "warnings" : "warnings none" }, el("h3", {}, t.warnings),
      warnings.length ? el("ul", {}, warnings.map((text) => el("li", {}, text))) : el("p", {}, t.noWarnings)),
    faces.length ? el("table", { class: "quality" },
      el("thead", {}, el("tr", {}, el("th", { scope: "col" }, t.measure), ["A", "B"].map((which) => el("th", { scope: "col" }, t.face(which))))),
      el("tbody", {},
        line(t.file, faces.map((face) => fileName(face.source))),
        line(t.chosenRow, faces.map((face) => (face.count > 1 ? t.chosen(face.index, face.count) : t.onlyFace))),
        Object.entries(t.measures).map(([name, label]) => line(label, faces.map((face) => value(face, name)))))) : null);
}

export function tableCard(view) {
  const { facts, t } = view;
  const heads = [t.row, t.column, t.region_, t.similarity, t.weight, t.contribution, t.forAgainst, t.strangersColumn, t.genuineColumn];
  const cells = (place) => [
    t.region(facts.names[place]), t.number(facts.s[place], 4), weightText(facts, t, place), t.number(100 * facts.contributions[place], 2),
    points(facts.shares[place], t), facts.strangers ? t.share(facts.strangers[place]) : "–", facts.genuine ? t.share(facts.genuine[place]) : "–",
  ];
  return el("details", { class: "card" }, el("summary", {}, t.tableHeading),
    el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": t.tableHeading }, el("table", { class: "places-table" },
      el("caption", {}, t.tableCaption), el("thead", {}, el("tr", {}, heads.map((head) => el("th", { scope: "col" }, head)))),
      el("tbody", {}, facts.names.map((_, place) => el("tr", {},
        el("td", {}, Math.floor(place / facts.columns) + 1), el("td", {}, (place % facts.columns) + 1), cells(place).map((text) => el("td", {}, text))))))));
}

export function provenanceCard(view) {
  const { facts, t } = view;
  const e = facts.explanation;
  const p = t.provenance;
  const source = e.threshold_source ?? {};
  const known = (value) => value !== null && value !== undefined && value !== "";
  const rate = (value, interval) => {
    const text = strangersRate(value, t);
    return interval ? `${text} (95 %: ${interval.map((one) => t.percent(t.number(100 * one, 3))).join("–")})` : text;
  };
  const faces = e.faces ?? [];
  const lines = [
    [p.model, e.model?.name], [p.sha256, e.model?.sha256], [p.method, [e.method, e.attention_kind].filter(known).join(", ")],
    [p.threshold, `${t.number(e.threshold, 6)} (${[source.name, source.dataset].filter(known).join(", ") || source.kind})`],
    [p.rates, known(source.fmr) ? t.rates(rate(source.fmr, source.fmr_interval), rate(source.fnmr, source.fnmr_interval)) : null],
    [p.usual, e.telling?.source],
    [p.box, faces.map((face, k) => `${"AB"[k]}: ${face.source}${face.box ? ` [${face.box.map((one) => Math.round(one)).join(", ")}]` : ""}`).join("; ")],
    [p.crops, faces.map((face, k) => `${"AB"[k]}: ${face.sha256 ?? "–"}`).join("; ")],
    [p.settings, entries(e.settings)], [p.versions, entries(e.versions)],
    [p.cost, e.cost ? t.cost(e.cost.forward, known(e.cost.seconds) ? t.number(e.cost.seconds, 2) : "") : null],
    [p.record, e.record ? recordRows(e.record, t) : null],
  ].filter(([, value]) => known(value));
  return el("footer", { class: "card provenance", "aria-labelledby": "h-provenance" }, el("h2", { id: "h-provenance" }, t.provenanceHeading),
    el("dl", {}, lines.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value)))));
}

function entries(values) {
  return Object.entries(values ?? {}).map(([name, value]) => `${name} ${value !== null && typeof value === "object" ? JSON.stringify(value) : value}`).join(", ");
}
