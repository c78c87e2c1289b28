// What the ledger records, in words, as it happens.
import { byID, h } from "./dom.js";
import { clock } from "./format.js";

const most = 60;

// phrases say what an event means: [verb, which field of its data names the thing].
const phrases = {
  "host.put": ["host joined or changed", (d) => d.host.name || d.host.id],
  "host.conditions": ["host conditions", (d) => `${d.host}: ${d.conditions.join(", ") || "unknown"}`],
  "host.removed": ["host removed", (d) => d.host],
  "image.put": ["image saved", (d) => d.name], "image.removed": ["image removed", (d) => d.name],
  "flavor.put": ["flavor saved", (d) => d.name], "flavor.removed": ["flavor removed", (d) => d.name],
  "project.put": ["project saved", (d) => d.name], "project.removed": ["project removed", (d) => d.name],
  "instance.launched": ["launched", (d) => d.name, (d) => `on ${d.place.host}`],
  "instance.wanted": ["wanted", (d) => d.instance, (d) => (d.want === "absent" ? "deleted" : d.want)],
  "instance.reboot": ["reboot wanted", (d) => d.instance], "instance.rebooted": ["rebooted", (d) => d.machine],
  "machine.sent": ["create sent", (d) => d.machine], "machine.created": ["created", (d) => d.machine],
  "machine.refused": ["creation failed", (d) => d.machine, (d) => d.reason],
  "machine.observed": ["observed", (d) => d.machine, (d) => d.is],
  "instance.placed": ["placed anew", (d) => d.instance, (d) => `on ${d.place.host}`],
  "instance.failed": ["failed", (d) => d.instance, (d) => d.reason], "instance.deleted": ["deleted", (d) => d.instance],
  "instance.moving": ["to be moved", (d) => d.instance, (d) => `to ${d.host}`], "machine.moved": ["moved", (d) => d.machine, (d) => `to ${d.host}`],
  "machine.stayed": ["not moved", (d) => d.machine, (d) => d.reason], "instance.resizing": ["to be resized", (d) => d.instance],
  "machine.resized": ["resized", (d) => d.machine], "machine.unresized": ["not resized", (d) => d.machine, (d) => d.reason],
  "instance.shelved": ["shelved", (d) => d.instance, (d) => d.reason], "instance.discarded": ["taken from the shelf", (d) => d.instance],
  "cluster.put": ["cluster created", (d) => d.cluster], "cluster.removed": ["cluster deleted", (d) => d.cluster],
  "cluster.acted": ["cluster", (d) => d.cluster, (d) => `${d.op.verb}: ${d.op.concern} members`],
  "allocation.release": ["held allocation released", (d) => d.machine],
  "ledger.taken-over": ["lead taken", (d) => d.holder.slice(0, 8)],
};

const names = new Map(); // of instances, also of those that are gone

// activity notes a batch of events.
export function activity(batch, store) {
  const lines = [];
  for (const e of batch.events) {
    const [verb, what, more] = phrases[e.kind] ?? [e.kind, () => ""];
    if (e.kind === "instance.launched") names.set(e.data.instance, e.data.name);
    let thing = what(e.data) ?? "";
    const id = thing.replace(/-\d+$/, "");
    thing = names.get(id) ?? store.instances.get(id)?.name ?? thing;
    lines.push(h("li", {}, h("time", { datetime: e.time }, clock(e.time)), h("span", {}, verb, " ", h("b", {}, thing), more ? " " + (more(e.data) ?? "") : ""), h("span", { class: "by" }, e.actor === "berthage" ? "" : e.actor)));
  }
  const list = byID("activity");
  list.prepend(...lines.slice(-most).reverse());
  while (list.children.length > most) list.lastElementChild.remove();
  while (names.size > 5000) names.delete(names.keys().next().value);
}
