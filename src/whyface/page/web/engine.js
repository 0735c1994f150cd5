// The networks, in a worker, so that the page stays alive: finds and measures faces, and compares two of them.

import { Detector } from "./detector.js";
import { alignment, FACE_SIZE, invert } from "./geometry.js";
import { decode, PhotoTrouble, planes, png, resizeArea, warp } from "./pixels.js";
import { measure, outsidePlaces } from "./quality.js";
import { explain, weighedMaps } from "./verdict.js";

const RUNTIME = "./runtime/ort.wasm.min.mjs";
let opened = null;

self.addEventListener("message", async ({ data: { id, name, given } }) => {
  try {
    const tasks = { open, faces, compare };
    self.postMessage({ id, found: await tasks[name](given) });
  } catch (error) {
    self.postMessage({ id, trouble: error instanceof PhotoTrouble ? error.code : "failed", detail: String(error?.message ?? error) });
  }
});

/** Open all networks once; what has arrived is told as it comes. */
function open() {
  opened ??= openAll().catch((error) => {
    opened = null;
    throw error;
  });
  return opened.then(({ settings }) => settings);
}

async function openAll() {
  const ort = await import(RUNTIME);
  ort.env.wasm.wasmPaths = new URL("./runtime/", self.location.href).href;
  ort.env.wasm.numThreads = 1;
  ort.env.logLevel = "error";
  const settings = await (await fetched("model.json")).json();
  const session = async (file) => ort.InferenceSession.create(new Uint8Array(await (await fetched(file)).arrayBuffer()), { executionProviders: ["wasm"], logSeverityLevel: 3 });
  const networks = {};
  for (const [role, file] of Object.entries(settings.files)) networks[role] = await session(file);
  const run = async (role, feeds) => networks[role].run(Object.fromEntries(Object.entries(feeds).map(([name, [values, dims]]) => [name, new ort.Tensor("float32", values, dims)])));
  const input = (role) => networks[role].inputNames[0];
  const detector = new Detector(async (pixels, height, width) => {
    const found = await run("detector", { [input("detector")]: [pixels, [1, 3, height, width]] });
    return networks.detector.outputNames.map((name) => found[name].data);
  });
  return { settings, run, input, detector, networks };
}

async function faces({ blob, source }) {
  const { settings, run, input, detector } = await readyParts();
  const photo = await decode(blob);
  const hash = await digest(await blob.arrayBuffer());
  const file = hash && { sha256: hash, size: blob.size };
  const found = await detector.detect(photo);
  const kept = [];
  for (const [index, face] of found.entries()) {
    const toCrop = alignment(face.landmarks);
    const toPhoto = invert(toCrop);
    const crop = warp(photo, toCrop, FACE_SIZE);
    const small = resizeArea(crop, 96, 96);
    const pixels = Float32Array.from({ length: 96 * 96 * 3 }, (_, k) => (small.data[4 * Math.floor(k / 3) + (k % 3)] - 128) / 128);
    const seen = await run("quality", { [input("quality")]: [pixels, [1, 96, 96, 3]] });
    const recognisability = Math.min(1, Math.max(0, Object.values(seen)[0].data[0]));
    const grid = (await run("onnx", { [input("onnx")]: [planes(crop), [1, 3, FACE_SIZE, FACE_SIZE]] }))[settings.grid_tensor].data;
    kept.push({
      source, ...face, index, count: found.length, grid, picture: await png(crop), sha256: await digest(rgb(crop)),
      quality: measure(crop, toPhoto, photo, face, recognisability, settings.quality),
      outside: outsidePlaces(toPhoto, photo, ...settings.grid),
      transform: [toPhoto.slice(0, 3), toPhoto.slice(3)], photo_size: [photo.height, photo.width], file,
    });
  }
  return { width: photo.width, height: photo.height, faces: kept };
}

async function compare({ first, second, point }) {
  const { settings, run } = await readyParts();
  const start = performance.now();
  const places = settings.grid[0] * settings.grid[1];
  let maps;
  if (settings.weighed) maps = weighedMaps(first.grid, second.grid, places);
  else {
    const dims = [1, first.grid.length / places, ...settings.grid];
    const found = await run("pair", { grid_a: [first.grid, dims], grid_b: [second.grid, dims] });
    maps = { similarity: [...found.similarity.data], attention: [...found.attention.data] };
  }
  return explain(settings, [first, second], maps, { point, seconds: (performance.now() - start) / 1000 });
}

async function readyParts() {
  await open();
  return opened;
}

async function fetched(path) {
  const answer = await fetch(new URL(path, self.location.href));
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer;
}

function rgb(picture) {
  return Uint8Array.from({ length: 3 * picture.width * picture.height }, (_, k) => picture.data[4 * Math.floor(k / 3) + (k % 3)]);
}

/** SHA-256 as hex; null where the browser offers none, as on pages that are neither local nor encrypted. */
async function digest(bytes) {
  if (!crypto.subtle) return null;
  const found = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(found, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
