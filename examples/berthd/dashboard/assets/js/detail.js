// The drawer with everything about one host or one instance.
import { get, hostPath } from "./api.js";
import { byID, h } from "./dom.js";
import { amount, className, share } from "./format.js";
import { stateWord } from "./hosts.js";
import { actions, chip } from "./instances.js";
import { bar } from "./pool.js";
import { closer, problem } from "./ui.js";

const facts = (pairs) => h("dl", { class: "facts" }, pairs.filter(([, v]) => v).flatMap(([k, v]) => [h("dt", {}, k), h("dd", {}, v)]));
const labels = (of) => Object.entries(of ?? {}).map(([k, v]) => `${k}=${v}`).join(", ");

// open shows the drawer while fill gets what goes into it.
async function open(title, fill) {
  const dialog = byID("detail");
  const body = h("div", { class: "body" }, h("p", { class: "hint" }, "Loading"));
  const heading = h("h2", { id: "detail-title" }, title);
  dialog.replaceChildren(h("div", {}, h("header", {}, heading, closer(dialog)), body));
  if (!dialog.open) dialog.showModal();
  try {
    body.replaceChildren(...await fill(heading));
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
      facts([["Id", x.id], ["Address", x.address], ["Zone", x.zone], ["State", stateWord(x)], ["Reason", x.reason], ["Labels", labels(x.labels)],
        ["Runs", x.kinds.join(", ") || "vm"], ["Offers", x.capabilities.abilities.join(", ")]]),
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
    if (x.machine) read();
    return [
      h("div", { class: "who" }, chip(x), h("div", { class: "actions" }, actions(x))),
      facts([["Id", x.id], ["Project", x.project], ["Reason", x.reason], ["Host", x.host], ["Machine", x.machine], ["Addresses", x.addresses.join(", ")],
        ["Image", x.image], ["Flavor", x.flavor], ["Login", x.user], ["Keys", x.ssh_keys.map((k) => `${k.type} ${k.fingerprint} ${k.comment ?? ""}`).join("\n")],
        ["User-data", x.user_data ? "yes (not shown)" : ""], ["Labels", labels(x.labels)],
        ["Takes", Object.entries(x.resources).map(([k, n]) => `${className(k)} ${amount(k, n)}`).join(", ")],
        ["Disks", x.disks.map((d) => `${amount("memory", d.size)} ${d.storage}${d.mount ? " at " + d.mount : ""}${d.device ? " on " + d.device : ""}`).join(", ")],
        ["Launched", x.launched_at ? new Date(x.launched_at).toLocaleString() : ""]]),
      h("header", {}, h("h3", {}, "Console"), h("button", { class: "button quiet", type: "button", on: { click: read } }, "Read again")), log,
    ];
  });
}
