// The page of usage: what each project has used and what it costs, what it may still take, and who asks for more.
import { get, request } from "./api.js";
import { byID, data, h, text } from "./dom.js";
import { ago, amount, className, compare, count, level, levelWord, pair, share } from "./format.js";
import { may } from "./me.js";
import { list, live, openPage, show } from "./page.js";
import { newProject, projectButtons, step, unit } from "./projects.js";
import { ask, attempt, toast } from "./ui.js";

let me, projects = [], spent, wanted = 0;

// parts are what a bar is made of.
const parts = { cpu: "CPU", memory: "memory", storage: "storage", gpu: "GPUs", flavor: "flavors and instances", other: "other", below: "those that lie in it" };
const part = (i) => {
  if (i.class === "instances") return "flavor";
  if (i.class.startsWith("storage.")) return "storage";
  return parts[i.class] ? i.class : i.class.startsWith("gpu") ? "gpu" : "other";
};

// money prints millionths of the currency.
function money(n) {
  const v = n / 1e6;
  return `${new Intl.NumberFormat("en", { minimumFractionDigits: 2, maximumFractionDigits: Math.abs(v) > 0 && Math.abs(v) < 1 ? 4 : 2 }).format(v)} ${spent.currency}`.trim();
}

// span returns the moments that are chosen, in this place's days and months.
function span() {
  const now = new Date(), month = (n) => new Date(now.getFullYear(), now.getMonth() + n, 1);
  const hours = { day: 24, week: 168 }[byID("usage-span").value];
  const q = new URLSearchParams();
  if (hours) q.set("from", new Date(now - hours * 3600e3).toISOString());
  if (byID("usage-span").value === "month") q.set("from", month(0).toISOString());
  if (byID("usage-span").value === "before") {
    q.set("from", month(-1).toISOString());
    q.set("to", month(0).toISOString());
  }
  return q;
}

// measured is what a bar shows of an item: its cost, or how much of the class was held on average.
function measured(i) {
  const of = byID("usage-of").value;
  if (of === "cost") return i.cost;
  return i.class === of ? Number(i.held) / ((new Date(spent.to) - new Date(spent.from)) / 1000 || 1) : 0;
}

const say = (n) => {
  const of = byID("usage-of").value;
  if (of === "cost") return money(n);
  return of === "cpu" ? amount(of, n) : of === "memory" || of.startsWith("storage.") ? amount(of, Math.round(n)) : new Intl.NumberFormat("en", { maximumFractionDigits: 2 }).format(n);
};

// inOrder has every project after the one that it lies in, and how deep it lies. Those that are gone come last.
function inOrder() {
  const gone = [...new Set(spent.items.map((i) => i.project))].filter((name) => !projects.some((p) => p.name === name)).map((name) => ({ name, gone: true, quota: [], instances: 0 }));
  const out = [];
  const own = (name) => spent.items.reduce((n, i) => (i.project === name ? n + measured(i) : n), 0);
  const under = (parent, depth) => projects.filter((p) => (p.parent ?? "") === parent).sort((a, b) => compare(a.name, b.name)).reduce((sum, p) => {
    const row = { ...p, depth, own: own(p.name) };
    out.push(row);
    row.below = under(p.name, depth + 1);
    return sum + row.own + row.below;
  }, 0);
  under("", 0);
  return [...out, ...gone.map((p) => ({ ...p, own: own(p.name), below: 0 }))];
}

// meter shows how much of a limit is used.
function meter(l) {
  const p = share(l.used, l.limit), lv = level(p);
  const bar = h("i", {});
  bar.style.width = Math.min(100, p) + "%";
  return h("li", {}, `${className(l.class)} ${pair(l.class, l.used, l.limit)}${levelWord[lv] ?? ""}`, h("div", { class: "bar", data: { level: lv } }, bar));
}

function projectRow(p, most) {
  const sums = {};
  for (const i of spent.items) if (i.project === p.name) sums[part(i)] = (sums[part(i)] ?? 0) + measured(i);
  const bits = Object.keys(parts).filter((k) => sums[k] > 0).map((k) => {
    const el = h("i", { title: `${parts[k]}: ${say(sums[k])}`, data: { part: k } });
    el.style.width = (100 * sums[k]) / most + "%";
    return el;
  });
  if (p.below > 0) {
    const el = h("i", { title: `${parts.below}: ${say(p.below)}`, data: { part: "below" } });
    el.style.width = (100 * p.below) / most + "%";
    bits.push(el);
  }
  const said = [...Object.keys(parts).filter((k) => sums[k] > 0).map((k) => `${parts[k]} ${say(sums[k])}`), p.below > 0 ? `${parts.below} ${say(p.below)}` : null].filter(Boolean);
  const limited = p.quota.filter((l) => l.limited);
  const buttons = p.gone ? [] : projectButtons(p, projects, spent.currency, load);
  return h("li", { data: { name: p.name, depth: Math.min(3, p.depth ?? 0) } },
    h("span", { class: "name" }, p.name, h("small", {}, p.gone ? "is gone" : `${count(p.instances)} ${p.instances === 1 ? "instance" : "instances"}`)),
    h("div", { class: "stack", role: "img", "aria-label": `${p.name}: ${said.join(", ") || "nothing"}` }, bits),
    h("span", { class: "cost" }, say(p.own + p.below)),
    limited.length ? h("ul", { class: "limits", "aria-label": `Limits of ${p.name}` }, limited.map(meter)) : null,
    buttons.length ? h("div", { class: "buttons" }, buttons) : null);
}

function showProjects() {
  const all = inOrder(), of = byID("usage-of").value;
  const most = Math.max(...all.map((p) => p.own + p.below), 0) || 1;
  const rows = all.map((p) => ({ p, most, of, span: byID("usage-span").value, items: spent.items.filter((i) => i.project === p.name) }));
  show("projects", rows, (x) => x.p.name, (x) => projectRow(x.p, x.most), "There are no projects.");
  text(byID("projects-count"), count(projects.length));
  text(byID("usage-total"), say(all.reduce((n, p) => n + p.own, 0)));
  text(byID("usage-said"), `${of === "cost" ? "" : "on average "}from ${new Date(spent.from).toLocaleString("en-GB")} to ${new Date(spent.to).toLocaleString("en-GB")}` +
    (of === "cost" && spent.unpriced.length ? `; without a price: ${spent.unpriced.map(className).join(", ")}` : ""));
  const there = new Set(spent.items.filter((i) => measured(i) > 0).map(part));
  if (all.some((p) => p.below > 0)) there.add("below");
  byID("usage-keys").replaceChildren(...Object.entries(parts).filter(([k]) => there.has(k)).map(([k, name]) => h("li", { data: { part: k } }, name)));
}

// measures are what can be looked at: cost where there are prices, and the classes that were used.
function measures() {
  const select = byID("usage-of"), was = select.value;
  const classes = [...new Set(["cpu", "memory", "instances", ...spent.items.map((i) => i.class)])];
  const all = [...(spent.currency ? [["cost", "cost"]] : []), ...classes.map((c) => [c, className(c)])];
  select.replaceChildren(...all.map(([value, name]) => h("option", { value }, name)));
  select.value = all.some(([v]) => v === was) ? was : all[0][0];
}

const tones = { open: "high", granted: "ok", refused: "full", withdrawn: "calm" };
const limits = (q) => Object.entries(q).map(([c, n]) => `${className(c)} ${amount(c, n)}`).join(", ");
const requestPath = (q) => `/projects/${encodeURIComponent(q.project)}/quota-requests/${encodeURIComponent(q.id)}`;

function requestRow(q) {
  const button = (verb, label, f) => h("button", { class: "button", type: "button", "aria-label": `${label}: ${q.project} ${q.id}`, data: { verb }, on: { click: (e) => attempt(e.currentTarget, f) } }, label);
  return h("li", { data: { id: q.id, project: q.project, status: q.status } },
    h("div", { class: "what" }, h("span", { class: "chip", data: { tone: tones[q.status] } }, q.status), h("b", {}, `${q.project}: ${limits(q.quota)}`), h("span", { class: "hint" }, `${q.owner ? `for ${q.owner} · ` : ""}${q.by} · ${ago(q.at)} ago`)),
    q.status === "open" ? h("div", { class: "buttons" }, may("quotas update") ? [button("grant", "Grant", () => grant(q)), button("refuse", "Refuse", () => refuse(q))] : null,
      may("quotas update") || q.by === me.id ? button("withdraw", "Withdraw", async () => { await request("POST", requestPath(q) + "/withdraw"); await load(); }) : null) : h("span", {}),
    h("p", {}, q.reason, q.decided_by ? h("span", {}, ` — ${q.status} by ${q.decided_by}${q.given ? `: ${limits(q.given)}` : ""}${q.answer ? `: ${q.answer}` : ""}`) : null));
}

async function grant(q) {
  const reason = h("input", { id: "grant-reason", maxlength: "1000", placeholder: "for whoever asked" });
  if (await ask("Grant higher limits", `${q.project} gets ${limits(q.quota)}.`, [["Note", reason]], "Grant", () => request("POST", requestPath(q) + "/grant", reason.value ? { reason: reason.value } : {}))) await load();
}

async function refuse(q) {
  const reason = h("input", { id: "refuse-reason", required: true, maxlength: "1000" });
  if (await ask("Refuse higher limits", `${q.project} asks for ${limits(q.quota)}.`, [["Why", reason]], "Refuse", () => request("POST", requestPath(q) + "/refuse", { reason: reason.value }))) await load();
}

async function askMore() {
  const can = projects.flatMap((p) => p.quota.filter((l) => l.limited).map((l) => ({ p, l })));
  if (!can.length) return toast("No project has a limit.");
  const what = h("select", { id: "ask-what", required: true }, can.map(({ p, l }, n) => h("option", { value: String(n) }, `${p.name}: ${className(l.class)}${unit(l.class, spent?.currency)}, now ${amount(l.class, l.limit)}`)));
  const to = h("input", { id: "ask-to", type: "number", min: "0.000001", step: "any", required: true });
  const reason = h("textarea", { id: "ask-reason", rows: "3", maxlength: "1000", required: true });
  if (await ask("Ask for more", "Whoever is in charge of the project that it lies in, or of everything, decides.", [["Limit", what], ["To be", to], ["Why", reason]], "Ask", () => {
    const { p, l } = can[Number(what.value)];
    return request("POST", `/projects/${encodeURIComponent(p.name)}/quota-requests`, {
      id: `ask-${Date.now().toString(36)}-${Math.random().toString(36).slice(2, 8)}`, quota: { [l.class]: Math.round(Number(to.value) * step(l.class)) }, reason: reason.value,
    });
  })) await load();
}

// measure asks for the usage, and shows the last that was asked for.
async function measure() {
  const turn = ++wanted, q = span();
  const got = await get(`/project-usage?${q}`);
  if (turn !== wanted) return;
  spent = got;
  byID("usage-csv").href = `/api/v1/project-usage.csv?${q}`;
  measures();
  showProjects();
  data(byID("projects"), "measured", byID("usage-span").value);
}

async function load() {
  const [all, requests] = await Promise.all([list("/projects"), list("/quota-requests")]);
  projects = all;
  show("requests", requests.sort((a, b) => (b.status === "open") - (a.status === "open")), (q) => q.project + "/" + q.id, requestRow, "Nobody asks for more.");
  if (spent) showProjects();
}

const again = 60e3; // ms: to measure means to read the ledger

byID("usage-span").addEventListener("input", (e) => attempt(e.currentTarget, measure));
byID("usage-of").addEventListener("input", showProjects);
byID("projects-add").addEventListener("click", (e) => attempt(e.currentTarget, async () => { if (await newProject(projects, spent?.currency)) await load(); }));
byID("requests-ask").addEventListener("click", (e) => attempt(e.currentTarget, askMore));

openPage("The usage cannot be shown", async ({ status, me: signedIn }) => {
  me = signedIn;
  await load();
  await measure();
  return (shown) => {
    live(shown, status.revision, load, 1000);
    setInterval(() => { if (shown() && !document.hidden) measure().catch(() => {}); }, again);
  };
});
