// What a person decided about the verdict: filled in here, and saved as a file of its own.

import { download, el, fill, say } from "./dom.js";

// In the file the decisions are in English, whatever the page's language, so that programs can read them.
const DECISIONS = { same: "same person", different: "different people", open: "no decision" };

/** The form for reviewer, decision and date; empty without a record to sign. */
export function signOffCard(view) {
  const { t, state, data } = view;
  const { record } = data.explanation;
  if (!record) return null;
  // Kept while the page is built anew in another language.
  const given = (state.signing ??= { reviewer: "", decision: "", reason: "", date: "" });
  const r = t.review;
  const kept = (name) => ({ value: given[name], on: { input: (event) => { given[name] = event.target.value; } } });
  const reviewer = el("input", { type: "text", id: "reviewer", maxlength: 200, autocomplete: "name", ...kept("reviewer") });
  const decision = el("select", { id: "decision", on: { change: () => { given.decision = decision.value; } } },
    el("option", { value: "" }, "–"), Object.keys(DECISIONS).map((key) => el("option", { value: key, selected: given.decision === key }, r.decisions[key])));
  const reason = el("input", { type: "text", id: "reason", maxlength: 1000, ...kept("reason") });
  const date = el("input", { type: "datetime-local", id: "decided", step: 1, ...kept("date") });
  const said = el("p", { role: "status", class: "note" });
  const save = () => {
    const decided = given.date ? new Date(given.date) : new Date();
    const signed = signedExplanation(data.explanation, given, decided);
    if (!signed) return say(said, r.missing);
    const name = `signed-${signed.record.decided.replaceAll(":", "")}.json`;
    download(name, JSON.stringify(signed, null, 2), "application/json");
    return say(said, r.saved(name));
  };
  const line = (input, text) => el("p", {}, el("label", { for: input.id }, text), " ", input);
  return el("section", { class: "card review", "aria-labelledby": "h-review" }, el("h2", { id: "h-review" }, r.heading),
    record.reviewer ? el("p", {}, r.signed(record.reviewer, record.decision ?? "–", record.decided ?? "–")) : null,
    el("p", { class: "note screen" }, r.hint),
    el("div", { class: "form" }, line(reviewer, r.reviewer), line(decision, r.decision), line(reason, r.reason), line(date, r.date)),
    el("p", { class: "screen" }, el("button", { type: "button", on: { click: save } }, r.save)), said);
}

/** The explanation with reviewer, decision and date in its record; null where one of them is missing. */
export function signedExplanation(explanation, { reviewer, decision, reason }, decided) {
  if (!reviewer.trim() || !DECISIONS[decision] || Number.isNaN(decided.getTime())) return null;
  const record = {
    ...explanation.record, reviewer: reviewer.trim(), decided: decided.toISOString().replace(/\.\d+Z$/, "Z"),
    decision: reason.trim() ? `${DECISIONS[decision]}: ${reason.trim()}` : DECISIONS[decision],
  };
  return { ...explanation, record };
}

/** The record, one matter a row; what nobody filled in is left out. */
export function recordRows(record, t) {
  const r = t.review;
  const filled = [[r.time, record.time], [r.note, record.note], [r.reviewer, record.reviewer], [r.decision, record.decision], [r.decided, record.decided]];
  const asked = Object.entries(record.request ?? {}).map(([name, value]) => [name, plain(value)]);
  const row = ([name, value]) => el("tr", {}, el("th", { scope: "row" }, name), el("td", {}, value));
  return el("table", { class: "record" }, el("tbody", {},
    filled.filter(([, value]) => value).map(row),
    (record.files ?? []).map((file) => row([r.role(file.role), fill(el("span", {}), file.name, el("br"), el("span", { class: "note" }, file.sha256 ?? "–"))])),
    asked.filter(([, value]) => value !== "").map(([name, value]) => row([r.asked(name), value]))));
}

function plain(value) {
  if (value === null || value === undefined) return "";
  if (Array.isArray(value)) return value.map(plain).join(", ");
  if (typeof value === "object") return Object.entries(value).map(([name, inner]) => `${name} ${plain(inner)}`).join(", ");
  return String(value);
}
