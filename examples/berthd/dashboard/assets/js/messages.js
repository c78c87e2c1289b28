// The page of messages: who can be told, who is told of what, and what became of it.
import { get, request, seen } from "./api.js";
import { byID, h, text } from "./dom.js";
import { ago } from "./format.js";
import { may } from "./me.js";
import { receiver, tried } from "./messages/receiver.js";
import { answer, change, labelsOf, picture } from "./messages/routes.js";
import { list, live, openPage, show } from "./page.js";
import { attempt, confirm, toast } from "./ui.js";

const again = 5000; // ms: attempts come and go without an event

const tones = { ok: "ok", failing: "high", broken: "full", unknown: "calm", waiting: "calm", delivered: "ok", dead: "full" };
const chip = (word) => h("span", { class: "chip", data: { tone: tones[word] ?? "calm" } }, word);
const button = (verb, label, of, f) => h("button", { class: "button", type: "button", "aria-label": `${label}: ${of}`, data: { verb }, on: { click: (e) => attempt(e.currentTarget, f) } }, label);

let types = [], routing = { root: {} };

function receiverRow(r) {
  const s = r.health;
  const facts = [r.type, s.last_delivered ? `last told ${ago(s.last_delivered)} ago` : "", r.waiting ? `${r.waiting} waiting` : "", r.dead ? `${r.dead} dead` : "", r.firing_only ? "only what fires" : "", r.configured ? "of the configuration" : ""];
  const buttons = may("receivers use") ? [button("test", "Test", r.name, () => test(r))] : [];
  if (!r.configured && may("receivers update")) buttons.push(button("change", "Change", r.name, async () => { if (await receiver(types, await get(`/receivers/${encodeURIComponent(r.name)}`))) await load(); }), button("remove", "Remove", r.name, () => remove(r)));
  return h("li", { data: { name: r.name, state: s.state } },
    h("div", { class: "what" }, chip(s.state), h("b", {}, r.name), h("span", { class: "hint" }, facts.filter(Boolean).join(" · "))),
    h("div", { class: "buttons" }, buttons),
    s.last_error ? h("p", {}, h("span", { class: "trouble" }, s.last_error), s.next_try ? ` — tried again at ${new Date(s.next_try).toLocaleTimeString("en-GB")}` : "") : null);
}

async function test(r) {
  const out = await request("POST", `/receivers/${encodeURIComponent(r.name)}/test`);
  const dialog = byID("confirm");
  dialog.replaceChildren(h("div", {}, h("h2", { id: "confirm-title" }, `Test of ${r.name}`), tried(out),
    h("div", { class: "buttons" }, h("button", { class: "button", type: "button", id: "confirm-yes", on: { click: () => dialog.close() } }, "Close"))));
  dialog.showModal();
  await load();
}

async function remove(r) {
  if (!(await confirm("Remove receiver", `What waits for ${r.name} is not sent any more, and its secrets are gone.`, "Remove"))) return;
  await request("DELETE", `/receivers/${encodeURIComponent(r.name)}`);
  await load();
}

function messageRow(m) {
  const when = { waiting: m.queued, delivered: m.over, dead: m.over }[m.status] ?? m.queued;
  const tries = m.attempts ? `${m.attempts} ${m.attempts === 1 ? "try" : "tries"}` : "";
  return h("li", { data: { key: m.key, status: m.status, failed: m.error ? "" : undefined } },
    h("div", { class: "what" }, chip(m.status), h("b", {}, m.title), h("span", { class: "hint" }, ["to " + m.receiver, `${ago(when)} ago`, tries].filter(Boolean).join(" · "))),
    h("div", { class: "buttons" }, m.kept || m.attempts ? button("show", "Show", `${m.title} to ${m.receiver}`, () => look(m)) : null, m.status === "dead" && m.kept && may("messages use") ? button("resend", "Send again", `${m.title} to ${m.receiver}`, async () => {
      await request("POST", `/messages/${m.key}/resend`);
      toast("It is sent again.");
      await load();
    }) : null),
    m.error ? h("p", {}, h("span", { class: "trouble" }, m.error), m.next_try ? ` — tried again at ${new Date(m.next_try).toLocaleTimeString("en-GB")}` : "") : null);
}

// look shows what a message says, and how this daemon has tried to deliver it.
async function look(m) {
  const [whole, tries] = await Promise.all([get(`/messages/${m.key}`), list(`/messages/attempts?key=${m.key}`)]);
  const dialog = byID("confirm");
  dialog.replaceChildren(h("div", {}, h("h2", { id: "confirm-title" }, m.title),
    whole.lines ? h("pre", { class: "lines" }, whole.lines.join("\n") + (whole.more ? `\nand ${whole.more} more` : "")) : h("p", {}, "What it said is not kept after it was delivered."),
    tries.length ? h("ul", {}, tries.map((t) => h("li", {}, `${new Date(t.at).toLocaleString("en-GB")}: ${t.status === "waiting" ? "failed" : t.status}${t.error ? ", " + t.error : ""}`))) : null,
    h("p", { class: "hint" }, `Key ${m.key}`),
    h("div", { class: "buttons" }, h("button", { class: "button", type: "button", id: "confirm-yes", on: { click: () => dialog.close() } }, "Close"))));
  dialog.showModal();
}

let known = [];

function showMessages() {
  const status = byID("messages-status").value, words = byID("messages-find").value.toLowerCase().split(/\s+/).filter(Boolean);
  const some = known.filter((m) => (!status || m.status === status) && words.every((w) => `${m.receiver} ${m.title} ${m.error ?? ""}`.toLowerCase().includes(w)));
  show("messages", some.slice(0, 500), (m) => m.key, messageRow, known.length ? "None of the messages is like that." : "Nobody was told of anything yet.");
}

let drawn = "";

function showRoutes() {
  const now = JSON.stringify(routing);
  if (now === drawn) return;
  drawn = now;
  byID("routes-tree").replaceChildren(picture(routing));
  text(byID("routes-of"), routing.configured ? "As the daemon's configuration says, while nothing is set here." : "As it was set here or over the API.");
  byID("routes-remove").hidden = routing.configured || !may("routes delete");
}

async function load() {
  const [receivers, messages, routes] = await Promise.all([list("/receivers"), list("/messages"), get("/routes")]);
  known = messages;
  routing = routes;
  show("receivers", receivers, (r) => r.name, receiverRow, "There is nobody who could be told.");
  showRoutes();
  showMessages();
}

byID("messages-status").addEventListener("input", showMessages);
byID("messages-find").addEventListener("input", showMessages);
byID("receivers-add").addEventListener("click", (e) => attempt(e.currentTarget, async () => { if (await receiver(types)) await load(); }));
byID("routes-change").addEventListener("click", (e) => attempt(e.currentTarget, async () => { if (await change(routing)) await load(); }));
byID("routes-remove").addEventListener("click", (e) => attempt(e.currentTarget, async () => {
  if (!(await confirm("Remove the routes", "Whom the daemon's configuration names is told from then on; if it names nobody, nobody is.", "Remove"))) return;
  await request("DELETE", "/routes", undefined, seen(routing));
  await load();
}));
byID("preview").addEventListener("submit", (e) => {
  e.preventDefault();
  attempt(byID("preview-ask"), async () => answer((await request("POST", "/routes/preview", { labels: labelsOf(byID("preview-labels").value) })).targets));
});

openPage("The messages cannot be shown", async ({ status }) => {
  types = await list("/receiver-types");
  await load();
  return (shown) => {
    const pace = live(shown, status.revision, load, 500);
    setInterval(() => { if (shown() && !document.hidden) pace.ask(); }, again);
  };
});
