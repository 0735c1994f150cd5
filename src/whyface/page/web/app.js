// The page that takes two photos by drop, paste, file or camera, and shows the explanation.

import { APP_TEXTS } from "./app_texts.js";
import { download, el, fill, say } from "./dom.js";
import { localEngine } from "./local_engine.js";
import { catalogueFor, mount } from "./view.js";

const engine = localEngine;
const sides = [0, 1].map(() => ({ blob: null, name: "", found: null, chosen: 0, trouble: null, turn: 0, camera: null }));
let language = catalogueFor(navigator.language).code;
let point = null;
let settings = null;
let comparison = 0;
const status = el("p", { role: "status", class: "status note" });
const result = el("main", { id: "whyface" });
const top = el("div", { class: "app" });

document.body.append(top, result);
start();

async function start() {
  draw();
  say(status, texts().loading);
  try {
    settings = await engine.open();
    point = settings.default_point;
    say(status, texts().ready);
  } catch (error) {
    say(status, `${texts().troubles.failed} ${error.message}`);
  }
  draw();
}

function texts() {
  return APP_TEXTS[language];
}

function draw() {
  const t = texts();
  document.documentElement.lang = language;
  if (!result.hasChildNodes()) document.title = t.title;
  const points = (settings?.operating_points ?? []).filter((one) => one.dataset === settings.dataset);
  const select = el("select", { on: { change: () => { point = select.value; compare(); } } },
    points.map((one) => el("option", { value: one.name, selected: one.name === point }, `${one.name} (${one.threshold.toFixed(3)})`)));
  fill(top,
    el("header", { class: "app-head" }, el("h1", {}, t.title), el("p", { class: "privacy" }, engine.isLocal ? t.local : t.remote)),
    el("div", { class: "drops" }, sides.map((side, which) => dropZone(side, which))),
    el("p", { class: "app-foot" }, points.length ? el("label", {}, `${t.point} `, select) : null, status));
}

function dropZone(side, which) {
  const t = texts();
  const letter = "AB"[which];
  const input = el("input", { type: "file", accept: "image/*", class: "file-input", id: `file-${letter}`, on: { change: () => input.files[0] && take(which, input.files[0]) } });
  const over = (event) => { event.preventDefault(); zone.classList.toggle("over", event.type === "dragover"); };
  const zone = el("section", {
    class: "drop card", "aria-label": t.photo(letter),
    on: { dragover: over, dragleave: over, drop: (event) => { over(event); const file = event.dataTransfer.files[0]; if (file) take(which, file); } },
  }, el("h2", {}, t.photo(letter), " ", el("span", { class: "file" }, side.name)));
  if (side.camera) zone.append(cameraView(side, which));
  else if (side.found) zone.append(preview(side, which));
  else zone.append(el("p", { class: "note" }, t.hint));
  if (side.trouble) zone.append(el("p", { class: "trouble", role: "alert" }, side.trouble));
  const camera = navigator.mediaDevices && !side.camera ? el("button", { type: "button", on: { click: () => openCamera(which) } }, t.camera) : null;
  zone.append(el("p", { class: "buttons" }, input, el("label", { class: "button", for: input.id }, t.choose), camera,
    side.blob ? el("button", { type: "button", on: { click: () => clear(which) } }, t.remove) : null));
  return zone;
}

function preview(side, which) {
  const t = texts();
  const canvas = el("canvas", { class: "preview", role: "img", "aria-label": t.photo("AB"[which]), width: side.found.width, height: side.found.height });
  createImageBitmap(side.blob, { imageOrientation: "from-image" }).then((bitmap) => {
    const scale = Math.min(1, 900 / Math.max(bitmap.width, bitmap.height));
    [canvas.width, canvas.height] = [bitmap.width * scale, bitmap.height * scale];
    const paint = canvas.getContext("2d");
    paint.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    side.found.faces.forEach((face, index) => {
      const [x0, y0, x1, y1] = face.box.map((value) => value * scale);
      paint.lineWidth = Math.max(2, canvas.width / 160);
      for (const [colour, grow] of [["#000000", 1], [index === side.chosen ? "#ffd60a" : "#ffffff", 0]]) {
        paint.strokeStyle = colour;
        paint.strokeRect(x0 - grow, y0 - grow, x1 - x0 + 2 * grow, y1 - y0 + 2 * grow);
      }
    });
  }, () => {});
  if (side.found.faces.length < 2) return canvas;
  const choices = side.found.faces.map((face, index) => {
    const radio = el("input", { type: "radio", name: `face-${which}`, checked: index === side.chosen, on: { change: () => { side.chosen = index; draw(); compare(); } } });
    return el("label", { class: "pick" }, radio, el("img", { src: face.url, alt: "", width: 56, height: 56 }), ` ${t.face(index + 1)}${index ? "" : `, ${t.largest}`}`);
  });
  return [canvas, el("fieldset", { class: "picks" }, el("legend", {}, t.pick(choices.length)), choices)].reduce((box, part) => { box.append(part); return box; }, el("div", {}));
}

function cameraView(side, which) {
  const t = texts();
  const video = el("video", { class: "preview", autoplay: true, playsinline: true, muted: true, "aria-label": t.camera });
  video.srcObject = side.camera;
  const shoot = async () => {
    const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight);
    canvas.getContext("2d").drawImage(video, 0, 0);
    closeCamera(side);
    take(which, await canvas.convertToBlob({ type: "image/png" }), `${t.camera}.png`);
  };
  // Before the first picture arrives there is nothing to take.
  const button = el("button", { type: "button", disabled: true, on: { click: shoot } }, t.shoot);
  video.addEventListener("loadeddata", () => { button.disabled = false; });
  return el("div", {}, video, el("p", { class: "buttons" }, button,
    el("button", { type: "button", on: { click: () => { closeCamera(side); draw(); } } }, t.stop)));
}

async function openCamera(which) {
  const side = sides[which];
  try {
    side.camera = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 1280 } } });
    side.trouble = null;
  } catch {
    side.trouble = texts().noCamera;
  }
  draw();
}

function closeCamera(side) {
  side.camera?.getTracks().forEach((track) => track.stop());
  side.camera = null;
}

function clear(which) {
  const side = sides[which];
  side.found?.faces.forEach((face) => URL.revokeObjectURL(face.url));
  Object.assign(side, { blob: null, name: "", found: null, chosen: 0, trouble: null, turn: side.turn + 1 });
  fill(result);
  draw();
}

async function take(which, blob, name = blob.name ?? "") {
  clear(which);
  const side = sides[which];
  const turn = side.turn;
  Object.assign(side, { blob, name });
  say(status, texts().looking);
  draw();
  let found = null;
  try {
    found = await engine.faces(blob, name);
  } catch (error) {
    const { troubles } = texts();
    if (turn === side.turn) side.trouble = troubles[error.code] && error.code !== "failed" ? troubles[error.code] : `${troubles.failed} ${error.message}`;
  }
  // Another photo may have taken its place meanwhile.
  if (turn !== side.turn) return;
  if (found && !found.faces.length) side.trouble = texts().troubles.noFace;
  else if (found) {
    found.faces.forEach((face) => { face.url = URL.createObjectURL(face.picture); });
    side.found = found;
  }
  say(status, texts().ready);
  draw();
  await compare();
}

async function compare() {
  if (!sides.every((side) => side.found)) return;
  const turn = ++comparison;
  const t = texts();
  say(status, t.comparing);
  try {
    const faces = sides.map((side) => side.found.faces[side.chosen]);
    const explanation = await engine.compare(...faces, point);
    const pictures = await Promise.all(faces.map((face) => dataUrl(face.picture)));
    if (turn !== comparison || !sides.every((side) => side.found)) return;
    const data = { explanation, pictures, others: [], language };
    const save = el("button", { type: "button", on: { click: () => saveReport(data) } }, t.saveReport);
    fill(result);
    mount(result, data, { tools: [save], onLanguage: (code) => { language = code; draw(); save.textContent = texts().saveReport; } });
    say(status, t.done(explanation.verdict));
  } catch (error) {
    say(status, `${t.troubles.failed} ${error.message}`);
  }
}

/** Save the explanation as the self-contained report that Python writes, too. */
async function saveReport(data) {
  const shell = await (await fetch("report-shell.html")).text();
  const [head, rest] = shell.split("@PLAIN@");
  const [middle, foot] = rest.split("@DATA@");
  const json = JSON.stringify({ ...data, language: null }).replaceAll("<", "\\u003c");
  download("why.html", [head, middle, json, foot].join(""), "text/html");
}

function dataUrl(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.addEventListener("load", () => resolve(reader.result));
    reader.addEventListener("error", () => reject(reader.error));
    reader.readAsDataURL(blob);
  });
}

document.addEventListener("paste", (event) => {
  const file = [...event.clipboardData.files].find((one) => one.type.startsWith("image/"));
  if (file) take(sides[0].blob && !sides[1].blob ? 1 : 0, file);
});
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => event.preventDefault());
