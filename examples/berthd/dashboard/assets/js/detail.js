// The drawer with everything about one host or one instance.
import { get, hostPath, request } from "./api.js";
import { clusterActions, clusterChip, counted } from "./clusters.js";
import { byID, h } from "./dom.js";
import { amount, className, share } from "./format.js";
import { stateWord } from "./hosts.js";
import { actions, chip } from "./instances.js";
import { may } from "./me.js";
import { bar } from "./pool.js";
import { ask, attempt, checkbox, closer, problem, toast } from "./ui.js";

const facts = (pairs) => h("dl", { class: "facts" }, pairs.filter(([, v]) => v).flatMap(([k, v]) => [h("dt", {}, k), h("dd", {}, v)]));
const labels = (of) => Object.entries(of ?? {}).map(([k, v]) => `${k}=${v}`).join(", ");

const GiB = 2 ** 30;
const again = 2000; // ms between two looks at what changes while the drawer is open

// kept is a part of the drawer that is loaded now and again, as long as it is shown.
async function kept(load, render) {
  const el = h("div");
  let before = "";
  const look = async () => {
    const now = await load();
    if (JSON.stringify(now) === before) return;
    before = JSON.stringify(now);
    const held = el.contains(document.activeElement) ? document.activeElement.dataset.verb : undefined;
    el.replaceChildren(...render(now).filter(Boolean));
    if (held) (el.querySelector(`[data-verb="${held}"]`) ?? el.querySelector("button"))?.focus({ preventScroll: true });
  };
  await look();
  const timer = setInterval(() => {
    if (!el.isConnected || !byID("detail").open) clearInterval(timer);
    else look().catch(() => {}); // the next time may be better
  }, again);
  return el;
}

// button is one with words on it, for a command.
function button(verb, words, f, tone = "") {
  const b = h("button", { class: "button " + tone, type: "button", data: { verb } }, words);
  b.addEventListener("click", () => attempt(b, f));
  return b;
}

// charts leads to what a host or an instance was doing.
const charts = (of, id) => h("a", { class: "button", href: "/charts?" + new URLSearchParams({ of, id }) }, "Charts");

// open shows the drawer while fill gets what goes into it.
async function open(title, fill) {
  const dialog = byID("detail");
  const focused = dialog.open && dialog.contains(document.activeElement) ? document.activeElement.dataset.verb ?? "" : undefined;
  const body = h("div", { class: "body" }, h("p", { class: "hint" }, "Loading"));
  const heading = h("h2", { id: "detail-title" }, title);
  dialog.replaceChildren(h("div", {}, h("header", {}, heading, closer(dialog)), body));
  if (!dialog.open) dialog.showModal();
  try {
    body.replaceChildren(...await fill(heading));
    if (focused !== undefined) (body.querySelector(`[data-verb="${focused}"]`) ?? body.querySelector("button"))?.focus();
  } catch (err) {
    body.replaceChildren(problem(err.problem ?? { title: String(err) }));
  }
}

// showHost shows a host with its devices and instances.
export function showHost(id) {
  return open(id, async (heading) => {
    const [x, placed] = await Promise.all([get(hostPath(id)), get(`/instances?limit=200&host=${encodeURIComponent(id)}`)]);
    heading.textContent = x.name || x.id;
    const classes = Object.entries(x.resources).sort(([a], [b]) => (a < b ? -1 : 1)).map(([k, u]) => {
      const b = bar(), p = share(u.used, u.capacity);
      b.set(className(k), p, `${amount(k, u.used)} used of ${amount(k, u.capacity)}`);
      return h("tr", {}, h("th", { scope: "row" }, className(k)), h("td", {}, b.el), h("td", { class: "num" }, `${amount(k, u.used)} of ${amount(k, u.capacity)}`),
        h("td", { class: "num" }, u.ratio === 1 ? "" : `${amount(k, u.total)} × ${u.ratio}`));
    });
    return [
      facts([["Id", x.id], ["Address", x.address], ["Zone", x.zone], ["State", stateWord(x)], ["Reason", x.reason], ["Known off by", x.proof], ["Labels", labels(x.labels)],
        ["Runs", x.kinds.join(", ") || "vm"], ["Offers", x.capabilities.abilities.join(", ")]]),
      h("div", { class: "buttons start" }, hostButtons(x), charts("hosts", x.id)),
      x.conditions.includes("draining") ? await leaving(x) : null,
      h("h3", {}, "Resources"), h("table", { class: "listing" }, h("tbody", {}, classes)),
      x.devices.length ? h("h3", {}, "Devices") : null,
      x.devices.length ? h("table", { class: "listing" }, h("tbody", {}, x.devices.map((d) => h("tr", {}, h("th", { scope: "row" }, d.id), h("td", {}, className(d.class)),
        h("td", { class: "num" }, `${amount(d.class, d.used)} of ${amount(d.class, d.capacity)}`))))) : null,
      h("h3", {}, `Instances (${placed.total})`),
      h("table", { class: "listing" }, h("tbody", {}, placed.items.map((i) => h("tr", {},
        h("th", { scope: "row" }, h("button", { class: "name", type: "button", on: { click: () => showInstance(i.id) } }, i.name)),
        h("td", {}, chip(i)), h("td", { class: "num" }, amount("cpu", i.resources.cpu ?? 0)), h("td", { class: "num" }, amount("memory", i.resources.memory ?? 0)))))),
    ].filter(Boolean);
  });
}

// hostButtons are what can be done to a host beside cordoning it.
function hostButtons(x) {
  const path = hostPath(x.id), out = [];
  if (!may("hosts operate", null)) return out;
  const done = (words) => { toast(words); showHost(x.id); };
  if (x.conditions.includes("draining")) {
    out.push(button("undrain", "Undrain", async () => { await request("POST", `${path}/undrain`); done(`${x.name} takes instances again`); }));
  } else {
    out.push(button("drain", "Drain…", async () => {
      const reason = h("input", { id: "ask-reason", maxlength: "255", placeholder: "for people" }), cold = checkbox("ask-cold", "Stop those that cannot be moved running");
      if (await ask(`Drain ${x.name}?`, "All instances are moved to other hosts, and it takes no new ones until it is undrained.", [["Reason", reason], cold], "Drain",
        () => request("POST", `${path}/drain`, { reason: reason.value, cold: cold.input.checked }))) done(`${x.name} is being drained`);
    }));
  }
  if (x.conditions.includes("unreachable") && !x.conditions.includes("fenced")) {
    out.push(button("confirm-off", "Confirm that it is off…", async () => {
      const proof = h("input", { id: "ask-proof", maxlength: "400", required: true, placeholder: "power cable pulled" });
      if (await ask(`Is ${x.name} off?`, "A wrong word runs instances twice. Look at the machine or its power supply: that it does not answer is no proof. What was wanted running on it is made anew of its image on other hosts, as the policy of this daemon allows; what was on its disks stays behind.",
        [["How you know", proof, "kept with the host until it is back"]], "It is off", () => request("POST", `${path}/confirm-off`, { proof: proof.value }), "danger")) done(`${x.name} counts as off`);
    }, "danger"));
  }
  return out;
}

// leaving lists what has still to leave a host.
function leaving(x) {
  return kept(() => get(`${hostPath(x.id)}/leaving?limit=200`), (l) => [
    h("h3", { id: "leaving", data: { n: l.total } }, l.total ? `Still to leave (${l.total})` : "Nothing is left on it: free for maintenance"),
    l.total ? h("table", { class: "listing", "aria-labelledby": "leaving" }, h("tbody", {}, l.items.map((i) => h("tr", {},
      h("th", { scope: "row" }, h("button", { class: "name", type: "button", data: { verb: "show-" + i.instance }, on: { click: () => showInstance(i.instance) } }, i.name)),
      h("td", {}, i.status), h("td", {}, i.to ? `to ${i.to}` : i.reason || "waits for its turn"))))) : null,
  ]);
}

// showCluster shows a cluster with its members.
export function showCluster(id) {
  const [project, name] = id.split("/").map(encodeURIComponent), path = `/clusters/${project}/${name}`;
  return open(id, async () => [await kept(async () => {
    const [x, members] = await Promise.all([get(path), get(`${path}/members?limit=1000`)]);
    return { x, members };
  }, ({ x, members }) => [
    h("div", { class: "who" }, clusterChip(x), h("div", { class: "actions" }, clusterActions(x, () => showCluster(id)))),
    facts([["Id", x.id], ["Wanted", x.want], ["Members", `${x.members}, ${x.size} asked for`], ["Last command", `${x.last.verb}, for ${x.last.concern}`],
      ["Outcome", [`${x.done} done`, counted(x)].filter(Boolean).join(" · ")], ["Not placed", x.last.refused ? `${x.last.refused}: ${x.last.reason}` : ""],
      ["At a time", x.stagger ? String(x.stagger) : ""], ["Image", x.image], ["Flavor", x.flavor]]),
    h("h3", { id: "members" }, "Members"),
    h("table", { class: "listing", "aria-labelledby": "members" }, h("thead", {}, h("tr", {}, ["Member", "Status", "Last command", "Reason"].map((t) => h("th", { scope: "col" }, t)))),
      h("tbody", {}, members.items.map((m) => h("tr", { data: { outcome: m.outcome } },
        h("th", { scope: "row" }, h("button", { class: "name", type: "button", data: { verb: "show-" + m.instance }, on: { click: () => showInstance(m.instance) } }, m.name)),
        h("td", {}, m.status), h("td", {}, m.outcome), h("td", {}, m.reason ?? ""))))),
  ])]);
}

// changes are what can be done to the place, sizes and machine of an instance, as far as its host offers it.
async function changes(x) {
  const path = `/instances/${encodeURIComponent(x.id)}`, out = [];
  const use = may("instances use", x.owner ?? ""), operate = may("instances operate", x.owner ?? "");
  const done = (words) => { toast(words); showInstance(x.id); };
  const host = x.host ? await get(hostPath(x.host)).catch(() => undefined) : undefined;
  const offers = (a) => host?.capabilities.abilities.includes(a);
  const steady = x.phase === "active" && !["missing", "broken", "moving", "resizing"].includes(x.status) && x.want !== "shelved";
  const leave = (a) => (x.is === "stopped" || offers(a) ? [] : [checkbox("ask-cold", "Stop it for that, and start it again", "its host cannot do it while it runs")]);
  const cold = (list) => list.some((c) => c.input.checked);
  if (operate && steady && (offers("migrate") || offers("migrate-live"))) {
    out.push(button("move", "Move…", async () => {
      const others = await get(`/hosts?condition=schedulable&limit=500&driver=${encodeURIComponent(x.host.split("/")[0])}`);
      const to = h("select", { id: "ask-host" }, h("option", { value: "" }, "the best one that can take it"), others.items.filter((o) => o.id !== x.host).map((o) => h("option", { value: o.id }, o.name || o.id)));
      const stop = leave("migrate-live");
      if (await ask(`Move ${x.name}`, "With its disks. Its place is booked on both hosts until it is there.", [["Host", to], ...stop], "Move",
        () => request("POST", `${path}/move`, { host: to.value, cold: cold(stop) }))) done(`${x.name} is being moved`);
    }));
  }
  if (use && steady && (offers("resize") || offers("resize-hot"))) {
    out.push(button("resize", "Resize…", async () => {
      const number = (id, value, min) => h("input", { id, type: "number", step: "any", min: String(min), required: true, value: String(value) });
      const cpu = number("ask-cpu", (x.resources.cpu ?? 0) / 1000, 0.1), memory = number("ask-memory", (x.resources.memory ?? 0) / GiB, 0.1);
      const disks = x.disks.map((d, n) => number("ask-disk-" + n, d.size / GiB, d.size / GiB)), stop = leave("resize-hot");
      if (await ask(`Resize ${x.name}`, "On the host that it is on. Disks only grow.",
        [["Cores", cpu], ["Memory in GiB", memory], ...disks.map((d, n) => [`Disk ${n + 1} in GiB`, d]), ...stop], "Resize",
        () => request("POST", `${path}/resize`, { resources: { cpu: Math.round(cpu.value * 1000), memory: Math.round(memory.value * GiB) }, disks: disks.map((d) => Math.round(d.value * GiB)), cold: cold(stop) }))) done(`${x.name} is being resized`);
    }));
  }
  if (use && steady && offers("shelve")) {
    out.push(button("shelve", "Shelve…", async () => {
      if (await ask(`Shelve ${x.name}?`, "It is stopped, its disks are put aside and its place is given back. Unshelving it needs room.", [], "Shelve", () => request("POST", `${path}/shelve`))) done(`${x.name} is being shelved`);
    }));
  }
  if (use && x.phase === "active" && (["missing", "broken"].includes(x.status) || host?.conditions.includes("fenced"))) {
    out.push(button("rebuild", "Rebuild…", async () => {
      if (await ask(`Rebuild ${x.name}?`, "It is made anew of its image on whatever host has room. What was on its disks is gone. Should its machine show up again, it is destroyed.", [], "Rebuild",
        () => request("POST", `${path}/rebuild`, { machine: x.machine }), "danger")) done(`${x.name} is being rebuilt`);
    }, "danger"));
  }
  return out;
}

// showInstance shows an instance and the end of its console.
export function showInstance(id) {
  return open(id, async (heading) => {
    const x = await get(`/instances/${encodeURIComponent(id)}`);
    heading.textContent = x.name || x.id;
    const log = h("pre", { class: "console", tabindex: "0", "aria-label": "Serial console" });
    const read = async () => {
      try {
        log.replaceChildren((await get(`/instances/${encodeURIComponent(id)}/console?bytes=16384`)) || "(nothing yet)");
        log.scrollTop = log.scrollHeight;
      } catch (err) {
        log.replaceChildren(err.message);
      }
    };
    if (x.machine && may("instances console", x.owner ?? "")) read();
    return [
      h("div", { class: "who" }, chip(x), h("div", { class: "actions" }, actions(x))),
      h("div", { class: "buttons start" }, await changes(x), charts("instances", x.id)),
      facts([["Id", x.id], ["Project", x.project], ["Reason", x.reason], ["Fault", x.fault], ["Cluster", x.cluster], ["Host", x.host], ["Moving to", x.moving?.host], ["Disks put aside from", x.shelved_on],
        ["Disks new, made anew for", x.made_anew && `${x.made_anew.machine} on ${x.made_anew.host}, ${x.made_anew.at}`], ["Machine", x.machine], ["Addresses", x.addresses.join(", ")],
        ["Image", x.image], ["Flavor", x.flavor], ["Login", x.user], ["Keys", x.ssh_keys.map((k) => `${k.type} ${k.fingerprint} ${k.comment ?? ""}`).join("\n")],
        ["User-data", x.user_data ? "yes (not shown)" : ""], ["Labels", labels(x.labels)],
        ["Takes", Object.entries(x.resources).map(([k, n]) => `${className(k)} ${amount(k, n)}`).join(", ")],
        ["Disks", x.disks.map((d) => `${amount("memory", d.size)} ${d.storage}${d.mount ? " at " + d.mount : ""}${d.device ? " on " + d.device : ""}`).join(", ")],
        ["Launched", x.launched_at ? new Date(x.launched_at).toLocaleString() : ""]]),
      ...(may("instances console", x.owner ?? "") ? [h("header", {}, h("h3", {}, "Console"), h("button", { class: "button quiet", type: "button", on: { click: read } }, "Read again")), log] : []),
    ];
  });
}
