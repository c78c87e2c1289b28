// The lists of unknown machines and of projects.
import { byID, h, text } from "./dom.js";
import { ago, amount, className, percent, share } from "./format.js";

// showSide keeps both lists up to date.
export function showSide(store) {
  let before = "";
  store.watch(({ unknown, projects }) => {
    const now = JSON.stringify([unknown.items, unknown.total, projects.items, projects.total]);
    if (now === before) return;
    before = now;
    text(byID("unknown-count"), String(unknown.total));
    byID("unknown").replaceChildren(unknown.total ? fold("Unknown machines", machines(unknown.items), unknown) : h("p", { class: "empty" }, "None."));
    text(byID("projects-count"), String(projects.total));
    byID("projects").replaceChildren(fold("Projects", h("table", { class: "listing" }, h("tbody", {}, projects.items.map(project))), projects));
  });
}

// fold is a list that scrolls, and says so when it is not the whole.
function fold(label, table, { items, total }) {
  return h("div", { class: "fold", tabindex: "0", role: "region", "aria-label": label }, table, items.length < total ? h("p", { class: "empty" }, `The first ${items.length} of ${total} are shown.`) : null);
}

function machines(list) {
  return h("table", { class: "listing" },
    h("thead", {}, h("tr", {}, ["Machine", "Host", "Why"].map((t) => h("th", { scope: "col" }, t)))),
    h("tbody", {}, list.map((m) => h("tr", {}, h("td", {}, h("b", {}, m.name || m.native), h("span", { class: "sub" }, `${m.power}, seen for ${ago(m.since)}`)), h("td", {}, m.host), h("td", {}, m.why)))));
}

function project(p) {
  const limited = p.quota.filter((l) => l.limited);
  const line = (l) => h("span", { class: "sub" }, `${className(l.class)}: ${amount(l.class, l.used)} of ${amount(l.class, l.limit)} (${percent(share(l.used, l.limit))})`);
  return h("tr", {}, h("td", {}, h("b", {}, p.name), ...(limited.length ? limited.map(line) : [h("span", { class: "sub" }, "no limits")])), h("td", { class: "num" }, `${p.instances} instances`));
}
