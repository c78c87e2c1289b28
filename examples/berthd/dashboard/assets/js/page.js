// What the pages beside the dashboard share.
import { all } from "./api.js";
import { byID, text } from "./dom.js";

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
