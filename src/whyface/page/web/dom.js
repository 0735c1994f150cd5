// Building the page's elements. Whatever comes from a file or a person is set as text, never as markup.

const SVG = new Set(["svg", "g", "line", "path", "circle", "rect", "text", "title"]);

/**
 * Make an element. Attributes: `on` maps event names to listeners, `css` maps properties to values (set through the
 * object model, which a strict Content-Security-Policy allows), anything else is an attribute; null and false leave it out.
 * @param {string} tag
 * @param {Object<string, any>} [attributes]
 * @param {...(Node|string|number|null|undefined|Array)} children
 */
export function el(tag, attributes = {}, ...children) {
  const made = SVG.has(tag) ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") for (const [event, listener] of Object.entries(value)) made.addEventListener(event, listener);
    else if (name === "css") for (const [property, text] of Object.entries(value)) made.style.setProperty(property, text);
    else made.setAttribute(name, value === true ? "" : String(value));
  }
  made.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined).map(asNode));
  return made;
}

/** Replace what an element holds. */
export function fill(target, ...children) {
  target.replaceChildren(...children.flat(Infinity).filter((child) => child !== null && child !== undefined).map(asNode));
  return target;
}

/** Set a text only where it changed, so that a live region speaks once. */
export function say(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

/** Offer bytes or text as a file, under a name without a path. */
export function download(name, content, type) {
  const url = URL.createObjectURL(new Blob([content], { type }));
  const link = el("a", { href: url, download: name.replace(/[^\p{L}\p{N}._-]+/gu, "_") });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

function asNode(child) {
  return child instanceof Node ? child : document.createTextNode(String(child));
}
