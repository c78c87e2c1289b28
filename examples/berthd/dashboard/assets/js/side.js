// The lists of unknown machines and of projects.
import { byID, h, text } from "./dom.js";
import { ago, amount, className, percent, share } from "./format.js";

// showSide keeps both lists up to date.
export function showSide(store) {
  let before = "";
  store.watch(({ unknown, projects }) => {
    const now = JSON.stringify([unknown, projects]);
    if (now === before) return;
    before = now;
    text(byID("unknown-count"), String(unknown.length));
    byID("unknown").replaceChildren(unknown.length ? h("div", { class: "fold" }, machines(unknown)) : h("p", { class: "empty" }, "None."));
    text(byID("projects-count"), String(projects.length));
    byID("projects").replaceChildren(h("div", { class: "fold" }, h("table", { class: "listing" }, h("tbody", {}, projects.map(project)))));
  });
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
