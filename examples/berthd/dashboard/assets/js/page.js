// What the pages beside the dashboard share.
import { all, get, onSignedOut } from "./api.js";
import { arrange, byID, data, h, icon, text } from "./dom.js";
import { count } from "./format.js";
import { follow, Pace } from "./live.js";
import { learn } from "./me.js";
import { setupTheme } from "./theme.js";
import { problem } from "./ui.js";

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

// openPage shows a page: it learns who is signed in, has begin make what is to be seen, and shows that. Begin is given the daemon's status and who is signed in; what it
// returns, if anything, is run once the page is shown, with a function that says whether it still is. Failed says what it is that cannot be shown.
export async function openPage(failed, begin) {
  setupTheme(byID("theme"), icon);
  const name = byID("context").textContent;
  let out = false;
  onSignedOut(() => {
    out = true;
    away("You are not signed in", h("p", {}, "Sign in on the dashboard, and come back."));
  });
  try {
    const [status, me] = await Promise.all([get("/status"), learn()]);
    const then = await begin({ status, me });
    text(byID("context"), `${name} · ${me.name ?? me.id} · ledger ${status.ledger.slice(0, 8)} · berthd ${status.version}`);
    byID("main").hidden = false;
    await then?.(() => !out);
    data(document.body, "loaded", Math.round(performance.now()));
  } catch (err) {
    if (!out) away(failed, problem(err.problem ?? { title: String(err) }));
  }
}

// live loads again what a page shows, not more often than once in so many ms, whenever the ledger has gone on from a revision.
export function live(shown, revision, load, least) {
  const pace = new Pace(() => (shown() ? load() : undefined), least);
  follow(revision, { hello: () => {}, batch: () => pace.ask(), reset: () => pace.ask(), state: () => {}, lost: () => {} });
  return pace;
}
