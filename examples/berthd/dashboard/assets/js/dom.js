// Making and updating elements. Text is always set as text, never as markup.

// h makes an element: h("button", {class: "x", type: "button", on: {click}}, "text", child).
export function h(tag, props, ...children) {
  const el = document.createElement(tag);
  for (const [k, v] of Object.entries(props ?? {})) {
    if (v === undefined || v === null || v === false) continue;
    if (k === "on") for (const [type, f] of Object.entries(v)) el.addEventListener(type, f);
    else if (k === "data") for (const [key, of] of Object.entries(v)) data(el, key, of);
    else if (k === "value") el.value = v;
    else el.setAttribute(k, v === true ? "" : v);
  }
  el.append(...children.flat().filter((c) => c !== null && c !== undefined && c !== false));
  return el;
}

const paths = {
  play: "M7 4.5v15l12-7.5z",
  stop: "M6 6h12v12H6z",
  pause: "M7 5h3.5v14H7zM13.5 5H17v14h-3.5z",
  moon: "M19 14.5A7.5 7.5 0 0 1 9.5 5a7.5 7.5 0 1 0 9.5 9.5z",
  reboot: "M19 12a7 7 0 1 1-2.1-5M19 3v4.5h-4.5",
  trash: "M5 7h14M10 7V4.5h4V7M7 7l.8 12.5h8.4L17 7M10.5 10.5v5.5M13.5 10.5v5.5",
  close: "M6 6l12 12M18 6L6 18",
  ban: "M12 4a8 8 0 1 1 0 16 8 8 0 0 1 0-16M6.5 6.5l11 11",
  check: "M5 12.5l4.5 4.5L19 7.5",
  scale: "M4 20h16M6 20v-5h3v5M11 20v-9h3v9M16 20V5h3v15",
  theme: "M12 4a8 8 0 1 0 0 16zM12 4a8 8 0 0 1 0 16",
};
const filled = new Set(["play", "stop", "pause"]);

// icon makes an icon that means nothing to those who cannot see it; its button has a label.
export function icon(name) {
  const ns = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(ns, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(ns, "path");
  path.setAttribute("d", paths[name]);
  path.setAttribute("fill", filled.has(name) ? "currentColor" : "none");
  path.setAttribute("stroke", "currentColor");
  path.setAttribute("stroke-width", filled.has(name) ? "0" : "1.9");
  path.setAttribute("stroke-linecap", "round");
  path.setAttribute("stroke-linejoin", "round");
  svg.append(path);
  return svg;
}

// text sets an element's text if it differs.
export function text(el, s) {
  if (el.textContent !== s) el.textContent = s;
}

// data sets a data attribute if it differs; undefined removes it.
export function data(el, key, value) {
  if (value === undefined) delete el.dataset[key];
  else if (el.dataset[key] !== String(value)) el.dataset[key] = value;
}

// arrange makes the children of parent those of want, in order, moving as few as possible and keeping the focus.
export function arrange(parent, want) {
  const focused = parent.contains(document.activeElement) ? document.activeElement : null;
  const keep = new Set(want);
  for (const el of [...parent.children]) if (!keep.has(el)) el.remove();
  let at = parent.firstElementChild;
  for (const el of want) {
    if (el === at) at = at.nextElementSibling;
    else parent.insertBefore(el, at);
  }
  if (focused && focused !== document.activeElement && parent.contains(focused)) focused.focus({ preventScroll: true });
}

// byID finds an element of the page.
export const byID = (id) => document.getElementById(id);
