// What the pages beside the dashboard share.
import { all } from "./api.js";
import { arrange, byID, h, text } from "./dom.js";
import { count } from "./format.js";

// list reads all pages of a list.
export async function list(path) {
  const items = [];
  await all(path, (x) => items.push(x));
  return items;
}

// away shows why there is nothing to be seen.
export function away(title, ...why) {
  byID("main").hidden = true;
  byID("away").hidden = false;
  text(byID("away-title"), title);
  byID("away-text").replaceChildren(...why);
}

// show makes the rows of a list and says how many there are, keeping those that have not changed and the focus.
const shown = new Map();
export function show(id, items, key, row, none) {
  const before = shown.get(id) ?? new Map(), now = new Map();
  const rows = items.map((x) => {
    const was = JSON.stringify([x, Math.floor(Date.now() / 30e3)]), old = before.get(key(x));
    let el = old?.el;
    if (!old || old.was !== was) {
      el = row(x);
      const verb = old?.el.contains(document.activeElement) && document.activeElement.dataset.verb;
      if (verb) queueMicrotask(() => el.querySelector(`[data-verb="${verb}"]`)?.focus());
    }
    now.set(key(x), { was, el });
    return el;
  });
  shown.set(id, now);
  arrange(byID(id + "-list"), rows.length ? rows : [h("li", { class: "empty" }, none)]);
  text(byID(id + "-count"), count(items.length));
}
