// Making elements. Whatever comes from outside becomes text, never markup.

const SVG = "http://www.w3.org/2000/svg";

// el("p", { class: "x", onclick }, "text", child): null children are left out.
export function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

// A bar from 0 to 1. The stylesheet draws it from --fill.
export function bar(share, kind = "") {
  const element = el("span", { class: `bar ${kind}`, "aria-hidden": "true" }, el("span"));
  setBar(element, share);
  return element;
}

export function setBar(element, share) {
  const clean = Math.max(0, Math.min(1, Number.isFinite(share) ? share : 0));
  element.firstChild.style.setProperty("--fill", clean.toFixed(4));
}

const ICONS = {
  answered: "M2 6.5 5 9.5 10 3",
  waiting: "M6 3v3l2 2",
  refused: "M3 6h6",
  failed: "M3 3l6 6M9 3l-6 6",
  quiet: "M6 6h.01",
};

export function icon(tone) {
  return svg(
    "svg",
    { class: "icon", viewBox: "0 0 12 12", width: 12, height: 12, "aria-hidden": "true" },
    svg("path", { d: ICONS[tone] ?? ICONS.quiet }),
  );
}

export function duration(seconds) {
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 100) return `${Math.round(seconds)} s`;
  if (seconds < 6000) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} days`;
}

export function number(value) {
  return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(3)));
}

// The same name has the same colour on every day and in every room.
export function hue(name) {
  let mixed = 0x811c9dc5;
  for (const letter of name.toLowerCase()) {
    mixed = Math.imul(mixed ^ letter.codePointAt(0), 0x01000193) >>> 0;
  }
  return ((mixed ^ (mixed >>> 15)) >>> 0) % 12;
}
