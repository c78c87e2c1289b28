// The table of hosts and the map of the fleet.
import { hostPath, request } from "./api.js";
import { arrange, byID, data, h, icon, text } from "./dom.js";
import { amount, compare, level, levelWord, pair, percent, share } from "./format.js";
import { may } from "./me.js";
import { bar } from "./pool.js";
import { showHost } from "./detail.js";
import { Table } from "./table.js";
import { attempt, toast } from "./ui.js";

// state is a host's health in one word.
function state(host) {
  if (host.schedulable) return "ready";
  const c = host.conditions;
  return !c.includes("ready") || c.includes("unreachable") || c.includes("fenced") ? "down" : "cordoned";
}

// stateWord says a host's health to people.
export function stateWord(host) {
  if (host.schedulable) return "healthy";
  const words = host.conditions.filter((c) => c !== "ready");
  return (host.conditions.includes("ready") ? words : ["not ready", ...words]).join(", ");
}

// storage sums up all kinds of storage of a host.
function storage(host) {
  const sum = { used: 0, capacity: 0 };
  for (const [k, u] of Object.entries(host.resources)) {
    if (k.startsWith("storage.")) {
      sum.used += u.used;
      sum.capacity += u.capacity;
    }
  }
  return sum;
}

// fullest is the share of the fullest of a host's classes.
function fullest(host) {
  return Math.max(0, ...Object.entries(host.resources).filter(([k]) => !k.startsWith("iops.")).map(([, u]) => share(u.used, u.capacity)));
}

// meter is a bar with its numbers.
function meter() {
  const of = h("span", { class: "of" }), lv = h("span", { class: "level" }), b = bar();
  return {
    el: h("div", { class: "meter" }, of, lv, b.el),
    set(label, u, cls) {
      if (!u || !u.capacity) {
        text(of, "none");
        text(lv, "");
        b.el.hidden = true;
        return;
      }
      const p = share(u.used, u.capacity);
      b.el.hidden = false;
      text(of, pair(cls, u.used, u.capacity));
      text(lv, percent(p) + levelWord[level(p)]);
      data(lv, "level", level(p));
      b.set(label, p, `${amount(cls, u.used)} used of ${amount(cls, u.capacity)}`);
    },
  };
}

// keys are what hosts are sorted by; those without a class come last.
function keys(x) {
  const of = (u) => (u?.capacity ? share(u.used, u.capacity) : -1);
  return {
    name: x.name || x.id, zone: x.zone ?? "", instances: x.instances,
    cpu: of(x.resources.cpu), memory: of(x.resources.memory), storage: of(storage(x)),
  };
}

function row(id) {
  const name = h("button", { class: "name", type: "button", on: { click: () => showHost(id) } });
  const sub = h("span", { class: "sub" }), dot = h("i", { class: "dot", role: "img" }), zone = h("td"), n = h("td", { class: "num" });
  const cpu = meter(), memory = meter(), disks = meter();
  const button = h("button", { class: "button", type: "button", hidden: !may("hosts operate") });
  let host;
  button.addEventListener("click", () => attempt(button, async () => {
    const verb = host.conditions.includes("cordoned") ? "uncordon" : "cordon";
    await request("POST", `${hostPath(id)}/${verb}`, verb === "cordon" ? { reason: "cordoned on the dashboard" } : undefined);
    toast(`${host.name} ${verb === "cordon" ? "takes no new instances" : "takes instances again"}`);
  }));
  const el = h("tr", { data: { id } }, h("td", {}, h("div", { class: "who" }, dot, h("div", {}, name, sub))), zone,
    h("td", {}, cpu.el), h("td", {}, memory.el), h("td", {}, disks.el), n, h("td", {}, h("div", { class: "actions" }, button)));
  return {
    el,
    set(x) {
      host = x;
      const word = stateWord(x);
      text(name, x.name || x.id);
      text(sub, [x.address, x.schedulable ? "" : word, x.reason].filter(Boolean).join(" · "));
      sub.title = sub.textContent;
      data(dot, "state", state(x));
      dot.setAttribute("aria-label", word);
      dot.title = word;
      data(el, "state", state(x));
      text(zone, x.zone || "–");
      text(n, String(x.instances));
      const cordoned = x.conditions.includes("cordoned");
      button.title = cordoned ? "Uncordon: let it take new instances again" : "Cordon: keep new instances off";
      button.setAttribute("aria-label", `${cordoned ? "Uncordon" : "Cordon"} ${x.name}`);
      button.replaceChildren(icon(cordoned ? "check" : "ban"));
      cpu.set(`CPU of ${x.name}`, x.resources.cpu, "cpu");
      memory.set(`Memory of ${x.name}`, x.resources.memory, "memory");
      disks.set(`Storage of ${x.name}`, storage(x), "memory");
    },
  };
}

// showHosts keeps the table and the map up to date.
export function showHosts(store) {
  const table = new Table("hosts", "name", keys, row);
  const filter = byID("hosts-filter"), zone = byID("hosts-zone"), condition = byID("hosts-state");
  const refilter = () => {
    const q = filter.value.trim().toLowerCase();
    table.filter((x) => (!q || `${x.id} ${x.name} ${x.address}`.toLowerCase().includes(q)) && (!zone.value || x.zone === zone.value) &&
      (!condition.value || (condition.value === "used" ? x.instances > 0 : state(x) === condition.value)));
  };
  for (const el of [filter, zone, condition]) el.addEventListener("input", refilter);
  const cells = new Map();
  store.watch(({ hosts, pool }, changed) => {
    table.update(hosts, changed);
    const zones = Object.keys(pool?.hosts.zones ?? {}).filter(Boolean).sort();
    if (zones.length + 1 !== zone.options.length) {
      const had = zone.value;
      zone.replaceChildren(h("option", { value: "" }, "all zones"), ...zones.map((z) => h("option", { value: z }, "zone " + z)));
      zone.value = had;
    }
    showMap(hosts, changed, cells);
  });
}

function showMap(hosts, changed, cells) {
  const before = cells.size;
  for (const id of changed) {
    const x = hosts.get(id);
    if (!x) continue;
    let cell = cells.get(id);
    if (!cell) cells.set(id, (cell = h("i", { class: "cell", on: { click: () => showHost(id) } })));
    const p = fullest(x);
    cell.style.setProperty("--fill", (p > 0 ? Math.max(8, Math.min(100, p)) : 0) + "%");
    data(cell, "level", level(p));
    data(cell, "state", state(x) === "ready" ? undefined : state(x));
    cell.title = `${x.name} · ${percent(p)} · ${x.instances} instances · ${stateWord(x)}`;
  }
  if (cells.size === before && cells.size === hosts.size) return;
  for (const id of cells.keys()) if (!hosts.has(id)) cells.delete(id);
  data(byID("map"), "size", cells.size > 8000 ? "huge" : cells.size > 2000 ? "large" : undefined);
  arrange(byID("map"), [...cells.keys()].sort(compare).map((id) => cells.get(id)));
}
