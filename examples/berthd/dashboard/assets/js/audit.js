// The page of the audit log: what the ledger is, and who has had what done, from where.
import { get } from "./api.js";
import { byID, data, h, text } from "./dom.js";
import { count } from "./format.js";
import { openPage } from "./page.js";
import { attempt } from "./ui.js";

const tones = { done: "ok", refused: "full", failed: "full" };
const at = (iso) => new Date(iso).toLocaleString("en-GB");

let cursor = "", shown = 0, signed = false;

// row is an entry. What belongs to its request is a press away.
function row(e) {
  return h("tr", { data: { event: e.event, result: e.result } },
    h("td", {}, h("time", { datetime: e.time }, at(e.time))),
    h("td", {}, e.actor),
    h("td", {}, e.action, e.count ? h("span", { class: "hint" }, ` × ${count(e.count)}`) : null),
    h("td", {}, e.target ?? ""),
    h("td", {}, e.from ?? ""),
    h("td", {}, e.decision ?? ""),
    h("td", {}, h("span", { class: "chip", data: { tone: tones[e.result] } }, e.result), e.detail ? ` ${e.detail}` : null),
    h("td", {}, e.correlation ? h("button", { class: "linkish", type: "button", title: "All of this request", data: { correlation: e.correlation }, on: { click: (ev) => attempt(ev.currentTarget, () => only(e.correlation)) } }, e.correlation) : ""),
    h("td", {}, signed ? h("a", { href: `/api/v1/audit/proof/${e.event}`, download: `event-${e.event}.json`, title: "The evidence that it stands in the ledger" }, e.event) : e.event));
}

// asked is the query that the filter stands for; days are those of this place.
function asked() {
  const q = new URLSearchParams({ limit: "100" });
  for (const k of ["kind", "actor", "correlation"]) {
    const v = byID("filter-" + k).value.trim();
    if (v) q.set(k, v);
  }
  const day = (id, more) => {
    const [y, m, d] = byID(id).value.split("-").map(Number);
    return y ? new Date(y, m - 1, d + more).toISOString() : "";
  };
  const from = day("filter-from", 0), to = day("filter-to", 1);
  if (from) q.set("from", from);
  if (to) q.set("to", to);
  return q;
}

async function more() {
  const q = asked();
  if (cursor) q.set("cursor", cursor);
  const page = await get(`/audit?${q}`);
  shown += page.items.length;
  byID("entries-list").append(...page.items.map(row));
  cursor = page.next ?? "";
  byID("entries-more").hidden = !cursor;
  text(byID("entries-end"), shown ? `${count(shown)} ${shown === 1 ? "entry" : "entries"}${cursor ? " so far" : ""}` : cursor ? "None so far." : "There is nothing like that.");
  data(byID("entries"), "shown", shown);
}

async function again() {
  cursor = "";
  shown = 0;
  byID("entries-list").replaceChildren();
  await more();
}

async function only(correlation) {
  byID("filter-kind").value = "";
  byID("filter-actor").value = "";
  byID("filter-correlation").value = correlation;
  await again();
  byID("filter-correlation").focus();
}

async function head() {
  const now = await get("/audit/head");
  signed = Boolean(now.note);
  const fact = (name, value) => [h("dt", {}, name), h("dd", {}, value)];
  byID("head-facts").replaceChildren(...[
    fact("Events", count(now.size)), fact("Revision", count(now.revision)), fact("Ledger", now.ledger), fact("Read", at(now.time)), fact("Root", h("code", {}, now.root)),
  ].map((f) => h("div", {}, f)));
  text(byID("head-hint"), signed
    ? "Signed. Save it, and keep it where the ledger's keeper cannot take it back: berthd audit verify holds the ledger against it. An event's number saves the evidence that it stands there."
    : "Not signed: the daemon has no key. --audit-key gives it one.");
  const save = byID("head-save");
  save.hidden = !signed;
  if (signed) {
    save.href = URL.createObjectURL(new Blob([now.note], { type: "text/plain" }));
    save.download = `head-${now.revision}`;
  }
}

byID("filter-correlation").value = new URLSearchParams(location.search).get("request") ?? "";
if (byID("filter-correlation").value) byID("filter-kind").value = "";
byID("filter").addEventListener("submit", (e) => {
  e.preventDefault();
  attempt(byID("filter-show"), again);
});
byID("entries-more").addEventListener("click", (e) => attempt(e.currentTarget, more));

openPage("The audit log cannot be shown", async () => {
  await head();
  await again();
});
