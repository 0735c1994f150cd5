// The maps: both faces with the grid, and the grids of numbers. One place is current in all of them at once.

import { css, diverging, ink, sequential } from "./colours.js";
import { el } from "./dom.js";
import { points } from "./sentences.js";
import { flat, sum } from "./shares.js";

const FULL_ODDS = Math.log(30);

/** What a map shows: the colour and the number of a place, and the line below. */
export function mapKinds(facts, t) {
  if (!facts.grid) return {};
  const { s, w, shares, contributions, logOdds, level, weight, whole, explanation: e } = facts;
  const far = Math.max(...s.map((value) => Math.abs(value - level)), 1e-9);
  const most = (values) => Math.max(...values.map(Math.abs), 1e-9);
  const [mostWeight, mostShare, mostContribution] = [most(w), most(shares), most(contributions)];
  const margin = points(facts.margin, t);
  return {
    similarity: {
      title: t.similarity,
      note: t.similarityNote(Boolean(logOdds)),
      colour: (place) => diverging(logOdds ? logOdds[place] / FULL_ODDS : (s[place] - level) / far),
      text: (place) => t.number(s[place], 2),
    },
    weight: {
      title: t.weight,
      note: whole ? t.weightNote : t.weightRawNote(t.number(weight, 2)),
      colour: (place) => sequential(Math.max(0, w[place]) / mostWeight),
      text: (place) => (whole ? t.number(100 * w[place], 1) : t.number(w[place], 2)),
    },
    shares: {
      title: t.forAgainst,
      note: t.forAgainstNote(margin),
      colour: (place) => diverging(shares[place] / mostShare),
      text: (place) => points(shares[place], t),
    },
    contribution: {
      title: t.contribution,
      note: t.contributionNote(t.number(100 * e.score, 1)),
      colour: (place) => (contributions[place] < 0 ? diverging(contributions[place] / mostContribution) : sequential(contributions[place] / mostContribution)),
      text: (place) => t.number(100 * contributions[place], 1),
    },
  };
}

/** Name a place for people who hear the page. */
export function placeLabel(view, place) {
  const { facts, t, state } = view;
  const region = t.region(facts.names[place]);
  const parts = [
    t.place(region[0].toUpperCase() + region.slice(1), Math.floor(place / facts.columns) + 1, (place % facts.columns) + 1),
    `${t.placeSimilarity} ${t.number(facts.s[place], 2)}`,
    `${t.placeWeight} ${weightText(facts, t, place)}`,
    `${t.placeContribution} ${t.number(100 * facts.contributions[place], 1)} ${t.pointsUnit}`,
  ];
  if (facts.unseen[place]) parts.push(t.placeOutside);
  else if (facts.strangers) parts.push(t.placeUsual(t.share(facts.strangers[place])));
  if (state.off.has(place)) parts.push(t.placeOff);
  return parts.join("; ");
}

export function weightText(facts, t, place) {
  return facts.whole ? t.percent(t.number(100 * facts.w[place], 1)) : t.number(facts.w[place], 3);
}

/** A grid of numbers that pointer and arrow keys walk through. */
export function numberGrid(view, kind) {
  const { facts, state } = view;
  const cells = [];
  const rows = [];
  for (let row = 0; row < facts.rows; row++) {
    const line = el("div", { role: "row", class: "row" });
    for (let column = 0; column < facts.columns; column++) {
      const place = row * facts.columns + column;
      const cell = el("div", { role: "gridcell", class: "cell", tabindex: "-1" }, el("span", {}, kind.text(place)));
      const colour = kind.colour(place);
      cell.style.setProperty("background-color", css(colour));
      cell.style.setProperty("color", ink(colour));
      listen(view, cell, place);
      cells.push(cell);
      line.append(cell);
    }
    rows.push(line);
  }
  const grid = el("div", { role: "grid", class: "numbers", "aria-label": kind.title, on: { keydown: (event) => move(view, event, cells) } }, rows);
  const render = () => cells.forEach((cell, place) => {
    cell.tabIndex = place === (state.place ?? 0) ? 0 : -1;
    cell.classList.toggle("current", place === state.place);
    cell.classList.toggle("off", state.off.has(place));
    cell.classList.toggle("unseen", facts.unseen[place]);
    cell.setAttribute("aria-label", placeLabel(view, place));
  });
  view.onChange(render);
  return el("figure", { class: "panel" }, el("figcaption", {}, el("b", {}, kind.title)), grid, el("p", { class: "note" }, kind.note));
}

/** One face with the grid over it, and whatever is chosen to show on it. */
export function facePanel(view, which) {
  const { facts, t, state, pictures } = view;
  const name = fileName(facts.explanation.faces?.[which]?.source) || t.photo("AB"[which]);
  const canvas = el("canvas", { class: "overlay", width: 112, height: 112, "aria-hidden": "true" });
  const places = [];
  const frame = el("div", { class: "face" },
    el("img", { src: pictures[which], alt: `${t.face("AB"[which])}: ${name}`, width: 112, height: 112 }), canvas);
  if (facts.grid) {
    const lines = el("div", { class: "places", "aria-hidden": "true", css: { "--columns": facts.columns, "--rows": facts.rows } });
    for (let place = 0; place < facts.rows * facts.columns; place++) {
      const cell = el("div", { class: "place" });
      listen(view, cell, place);
      places.push(cell);
      lines.append(cell);
    }
    frame.append(lines);
  }
  view.onChange(() => {
    drawOverlay(canvas, view, which);
    places.forEach((cell, place) => {
      cell.classList.toggle("current", place === state.place);
      cell.classList.toggle("off", state.off.has(place));
      cell.classList.toggle("unseen", facts.outside[which][place]);
    });
  });
  return el("figure", { class: "panel" }, el("figcaption", {}, el("b", {}, t.face("AB"[which])), " ", el("span", { class: "file" }, name)), frame);
}

/** List what can be shown on the faces: the grids, the explanation's own maps and those of other methods. */
export function overlayChoices(view) {
  const { facts, t } = view;
  const choices = [["none", t.overlays.none]];
  if (facts.grid) choices.push(...["shares", "weight", "similarity"].map((key) => [key, t.overlays[key]]));
  const withMaps = [facts.explanation, ...view.others].filter((one) => one.map_a || one.map_b);
  return [...choices, ...withMaps.map((one, k) => [`map${k}`, t.overlayMap(one.method, one.control), one])];
}

/** A map of another method as rows of numbers, from the steps, bytes, that a report carries; -127 to 127. */
export function unpacked(map) {
  if (!map) return null;
  const [rows, columns] = map.size;
  const steps = Int8Array.from(atob(map.steps), (one) => one.charCodeAt(0));
  return Array.from({ length: rows }, (_, row) => [...steps.subarray(row * columns, (row + 1) * columns)]);
}

/** The last part of a path, of whatever system. */
export function fileName(path) {
  return (path ?? "").split(/[\\/]/).pop();
}

function drawOverlay(canvas, view, which) {
  const { state, kinds, facts } = view;
  const paint = canvas.getContext("2d");
  paint.clearRect(0, 0, 112, 112);
  const chosen = overlayChoices(view).find(([key]) => key === state.overlay);
  if (!chosen || chosen[0] === "none") return;
  const own = chosen[2];
  const map = own && (which ? own.map_b : own.map_a);
  if (own && !map) return;
  const [rows, columns] = map ? [map.length, map[0].length] : [facts.rows, facts.columns];
  const values = map ? flat(map) : null;
  const most = map ? Math.max(...values.map(Math.abs), 1e-9) : 1;
  for (let place = 0; place < rows * columns; place++) {
    const colour = map ? diverging(values[place] / most) : kinds[state.overlay].colour(place);
    const strength = map ? 0.75 * Math.min(1, Math.abs(values[place]) / most) : 0.5;
    const [x, y] = [((place % columns) * 112) / columns, (Math.floor(place / columns) * 112) / rows];
    paint.fillStyle = css(colour, strength);
    paint.fillRect(x, y, 112 / columns, 112 / rows);
  }
}

function listen(view, cell, place) {
  let again = true;
  cell.addEventListener("pointerenter", (event) => event.pointerType !== "touch" && moved(view, event) && view.show(place));
  // A first touch only shows the place, since there is no pointing without touching.
  cell.addEventListener("pointerdown", (event) => { again = event.pointerType !== "touch" || view.state.place === place; });
  cell.addEventListener("focus", () => view.show(place));
  cell.addEventListener("click", () => (again ? view.toggle([place]) : view.show(place)));
}

// When arrow keys scroll the page, other places come under a pointer that rests; they must not take the focus's place.
function moved(view, event) {
  const [x, y] = view.state.pointer ?? [];
  view.state.pointer = [event.screenX, event.screenY];
  return x !== event.screenX || y !== event.screenY;
}

function move(view, event, cells) {
  const { rows, columns } = view.facts;
  const place = view.state.place ?? 0;
  const [row, column] = [Math.floor(place / columns), place % columns];
  const to = {
    ArrowUp: [Math.max(0, row - 1), column], ArrowDown: [Math.min(rows - 1, row + 1), column],
    ArrowLeft: [row, Math.max(0, column - 1)], ArrowRight: [row, Math.min(columns - 1, column + 1)],
    Home: [row, 0], End: [row, columns - 1],
  }[event.key];
  if (to) cells[to[0] * columns + to[1]].focus();
  else if (event.key === " " || event.key === "Enter") view.toggle([place]);
  else return;
  event.preventDefault();
}

/** The sum of weights of some places, as text. */
export function weightOf(facts, t, places) {
  const total = sum([...places].map((place) => facts.w[place]));
  return facts.whole ? t.percent(t.number(100 * total, 1)) : t.number(total, 3);
}
