// The index of a batch's reports: a table that can be narrowed down to what a person should look at.

import { el, fill } from "./dom.js";
import { catalogueFor } from "./view.js";

const TEXTS = {
  en: {
    title: "Reports", shown: (count, all) => `${count} of ${all} pairs`, search: "Name contains", only: "Show only",
    filters: { match: "Match", "no match": "No match", undecided: "Undecided", failed: "Failed", close: "Close calls", several: "Several faces" },
    heads: ["Row", "Photo A", "Photo B", "Verdict", "Score", "Margin", "Remark"], faces: (a, b) => `faces: ${a} and ${b}`,
  },
  de: {
    title: "Berichte", shown: (count, all) => `${count} von ${all} Paaren`, search: "Name enthält", only: "Nur zeigen",
    filters: { match: "Übereinstimmung", "no match": "Keine", undecided: "Unentschieden", failed: "Fehlgeschlagen", close: "Knappe Fälle", several: "Mehrere Gesichter" },
    heads: ["Zeile", "Foto A", "Foto B", "Urteil", "Wert", "Abstand", "Bemerkung"], faces: (a, b) => `Gesichter: ${a} und ${b}`,
  },
};
const { rows, language } = JSON.parse(document.getElementById("whyface-data").textContent);
const catalogue = catalogueFor(language ?? navigator.language);
const t = TEXTS[catalogue.code];
const chosen = new Set();
const holds = {
  close: (row) => row.close,
  several: (row) => Math.max(row.faces_a ?? 1, row.faces_b ?? 1) > 1,
};
const status = el("p", { role: "status" });
const body = el("tbody");
const search = el("input", { type: "text", "aria-label": t.search, placeholder: t.search, on: { input: draw } });
const boxes = Object.entries(t.filters).map(([key, name]) => el("label", { class: "pick" }, el("input", {
  type: "checkbox", on: { change: (event) => { if (event.target.checked) chosen.add(key); else chosen.delete(key); draw(); } },
}), ` ${name}`));

document.documentElement.lang = catalogue.code;
document.title = t.title;
fill(document.getElementById("whyface"),
  el("h1", {}, t.title),
  el("fieldset", { class: "picks" }, el("legend", {}, t.only), boxes, search), status,
  el("div", { class: "scroll card", tabindex: "0", role: "region", "aria-label": t.title }, el("table", {},
    el("thead", {}, el("tr", {}, t.heads.map((head) => el("th", { scope: "col" }, head)))), body)));
draw();

/** A row is shown if it meets one of the chosen filters, or none is chosen, and has the text in a name. */
function draw() {
  const text = search.value.toLowerCase();
  const shown = rows.filter((row) => (!chosen.size || [...chosen].some((key) => (holds[key] ?? ((one) => one.verdict === key))(row)))
    && `${row.a} ${row.b}`.toLowerCase().includes(text));
  status.textContent = t.shown(shown.length, rows.length);
  fill(body, shown.map((row) => {
    const number = (value) => (value === null ? "" : catalogue.number(value, 4));
    const remarks = [row.remark, holds.several(row) ? t.faces(row.faces_a, row.faces_b) : null].filter(Boolean).join("; ");
    const verdict = t.filters[row.verdict];
    return el("tr", {}, el("td", {}, row.row), el("td", {}, row.a), el("td", {}, row.b),
      el("td", {}, row.report ? el("a", { href: row.report }, verdict) : verdict), el("td", {}, number(row.score)), el("td", {}, number(row.margin)), el("td", {}, remarks));
  }));
}
