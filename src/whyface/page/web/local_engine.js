// Ask the worker that holds the networks.

let worker = null;
let next = 0;
const waiting = new Map();

function ask(name, given) {
  if (!worker) {
    worker = new Worker(new URL("./engine.js", import.meta.url), { type: "module" });
    worker.addEventListener("message", ({ data }) => {
      const { resolve, reject } = waiting.get(data.id);
      waiting.delete(data.id);
      if (data.trouble) reject(Object.assign(new Error(data.detail), { code: data.trouble }));
      else resolve(data.found);
    });
    worker.addEventListener("error", (event) => {
      for (const { reject } of waiting.values()) reject(Object.assign(new Error(event.message ?? "the worker did not start"), { code: "failed" }));
      waiting.clear();
    });
  }
  return new Promise((resolve, reject) => {
    waiting.set(next, { resolve, reject });
    worker.postMessage({ id: next++, name, given });
  });
}

export const localEngine = {
  isLocal: true,
  open: () => ask("open", {}),
  faces: (blob, source) => ask("faces", { blob, source }),
  compare: (first, second, point) => ask("compare", { first, second, point }),
};
