// The component: one explanation, wherever a person meets it. It reads the JSON of schema 2 and the two pictures.

import { placeCard, regionsCard, thresholdCard } from "./controls.js";
import { download, el, fill } from "./dom.js";
import { english } from "./english.js";
import { provenanceCard, qualityCard, tableCard } from "./facts.js";
import { german } from "./german.js";
import { facePanel, fileName, mapKinds, numberGrid, overlayChoices, unpacked } from "./maps.js";
import { CLOSE, describe, doubtIn, probabilityText, scoreAndThreshold } from "./sentences.js";
import { factsOf } from "./shares.js";
import { signOffCard } from "./signoff.js";

export const CATALOGUES = { en: english, de: german };
const EMPTY = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7";

/** The catalogue for a wish such as "de-AT"; English for languages that there is none for. */
export function catalogueFor(wish) {
  return CATALOGUES[(wish ?? "").slice(0, 2).toLowerCase()] ?? english;
}

/**
 * Show an explanation.
 * @param {Element} root what to fill
 * @param {{explanation: Object, pictures: string[], others: Object[]|undefined, language: string|undefined}} data
 *   pictures are the two aligned faces as data or blob URLs; others are methods with packed maps of the same pair.
 * @param {{tools: Node[]|undefined, onLanguage: function|undefined}} [extras] more buttons for the toolbar
 */
export function mount(root, data, extras = {}) {
  const facts = factsOf(data.explanation);
  const strongest = facts.grid ? [...facts.shares.keys()].filter((place) => !facts.unseen[place])
    .reduce((best, place) => (Math.abs(facts.shares[place]) > Math.abs(facts.shares[best]) ? place : best), 0) : null;
  const state = {
    place: strongest, off: new Set(), threshold: data.explanation.threshold, map: "shares",
    overlay: facts.grid ? "none" : "map0", language: catalogueFor(data.language ?? navigator.language).code, theme: "auto",
  };
  const pictures = [0, 1].map((k) => (/^(data:image\/|blob:)/.test(data.pictures?.[k] ?? "") ? data.pictures[k] : EMPTY));
  const others = (data.others ?? []).map((one) => ({ ...one, map_a: unpacked(one.map_a), map_b: unpacked(one.map_b) }));
  const build = () => {
    const t = CATALOGUES[state.language];
    const listeners = [];
    const view = {
      facts, state, data, t, pictures, extras, others, kinds: mapKinds(facts, t),
      onChange: (listener) => listeners.push(listener),
      change: () => listeners.forEach((listener) => listener()),
      show(place) { if (state.place !== place) { state.place = place; view.change(); } },
      toggle(places, counts = places.every((place) => state.off.has(place))) {
        for (const place of places) if (counts) state.off.delete(place); else state.off.add(place);
        view.change();
      },
      mark(places) {
        root.querySelectorAll(".places").forEach((grid) => [...grid.children].forEach((cell, place) => cell.classList.toggle("marked", places.includes(place))));
      },
      rebuild: build,
    };
    fill(root, page(view));
    root.lang = t.code;
    document.documentElement.lang = t.code;
    document.title = t.pageTitle(verdictWord(facts, t), ...[0, 1].map((k) => fileName(data.explanation.faces?.[k]?.source) || t.photo("AB"[k])));
    view.change();
  };
  build();
}

function page(view) {
  const { facts, t } = view;
  return [
    toolbar(view), header(view),
    el("section", { class: "card faces", "aria-labelledby": "h-faces" }, el("h2", { id: "h-faces" }, t.facesHeading), overlayPicker(view),
      el("div", { class: "pair" }, [0, 1].map((which) => facePanel(view, which))), facts.grid ? placeCard(view) : null),
    facts.grid ? mapsCard(view) : null,
    el("div", { class: "columns" }, facts.grid ? regionsCard(view) : null,
      el("div", { class: "stack" }, facts.undecided ? null : thresholdCard(view), qualityCard(view))),
    facts.grid ? tableCard(view) : null,
    signOffCard(view),
    provenanceCard(view),
  ];
}

function toolbar(view) {
  const { t, state, data, extras } = view;
  const language = el("select", { "aria-label": t.language, on: { change: () => { state.language = language.value; view.rebuild(); extras.onLanguage?.(language.value); } } },
    Object.values(CATALOGUES).map((one) => el("option", { value: one.code, selected: one.code === state.language }, one.name)));
  const theme = el("select", { "aria-label": t.theme, on: { change: () => { state.theme = theme.value; setTheme(theme.value); } } },
    Object.entries(t.themes).map(([key, name]) => el("option", { value: key, selected: key === state.theme }, name)));
  const save = () => download("explanation.json", JSON.stringify(data.explanation, null, 2), "application/json");
  return el("nav", { class: "toolbar screen", "aria-label": t.title },
    el("span", { class: "brand" }, "whyface"), el("span", { class: "grow" }), extras.tools ?? null,
    el("button", { type: "button", on: { click: save } }, t.saveJson),
    el("button", { type: "button", on: { click: () => print() } }, t.print), language, theme);
}

/** Light, dark, or as the system has it. */
export function setTheme(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

function verdictWord(facts, t) {
  return facts.undecided ? t.undecided : facts.match ? t.match : t.noMatch;
}

function header(view) {
  const { facts, t } = view;
  const e = facts.explanation;
  const kind = facts.undecided ? "open" : facts.match ? "for" : "against";
  const means = facts.undecided ? doubtIn(e, t)
    : `${Math.abs(facts.margin) < CLOSE ? t.onlyJust : ""}${facts.match ? t.matchMeans : t.noMatchMeans}`;
  const [score, threshold] = scoreAndThreshold(e, t);
  // The recorded sentences are part of the record; other languages say the same anew.
  const said = t.code === "en" && e.sentences?.length ? e.sentences : describe(facts, t);
  return el("header", { class: `verdict ${kind}` },
    el("h1", {}, verdictWord(facts, t), " ", el("span", { class: "means" }, means)),
    facts.undecided ? null : el("p", { class: "score" }, el("b", {}, score), facts.margin > 0 ? " > " : " ≤ ", threshold,
      el("span", { class: "note" }, ` ${t.thresholdLabel}: ${[e.threshold_source?.name, e.threshold_source?.dataset].filter(Boolean).join(", ")}`)),
    e.probability === null || e.probability === undefined ? null : el("p", { class: "note" }, t.probability(probabilityText(e, t), e.probability_source)),
    el("div", { class: "sentences" }, said.map((text) => el("p", {}, text))));
}

function overlayPicker(view) {
  const choices = overlayChoices(view);
  if (choices.length < 2) return null;
  const { t, state } = view;
  if (!choices.some(([key]) => key === state.overlay)) state.overlay = "none";
  const select = el("select", { id: "overlay", on: { change: () => { state.overlay = select.value; view.change(); } } },
    choices.map(([key, name]) => el("option", { value: key, selected: key === state.overlay }, name)));
  return el("p", { class: "picker screen" }, el("label", { for: "overlay" }, `${t.onFaces} `), select);
}

function mapsCard(view) {
  const { t, state, kinds } = view;
  const panels = Object.entries(kinds).map(([key, kind]) => [key, numberGrid(view, kind)]);
  const tabs = el("div", { class: "segments screen", role: "group", "aria-label": t.whichMap }, panels.map(([key]) => {
    const button = el("button", { type: "button", on: { click: () => { state.map = key; view.change(); } } }, kinds[key].title);
    view.onChange(() => button.setAttribute("aria-pressed", String(state.map === key)));
    return button;
  }));
  view.onChange(() => panels.forEach(([key, panel]) => panel.classList.toggle("chosen", state.map === key)));
  return el("section", { class: "card maps", "aria-labelledby": "h-maps" },
    el("h2", { id: "h-maps" }, t.mapsHeading), el("p", { class: "note screen" }, t.moveHint), tabs, el("div", { class: "panels" }, panels.map(([, panel]) => panel)));
}
