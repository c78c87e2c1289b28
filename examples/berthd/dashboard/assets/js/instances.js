// The table of instances.
import { key, request } from "./api.js";
import { byID, data, h, icon, text } from "./dom.js";
import { ago, amount } from "./format.js";
import { showInstance } from "./detail.js";
import { may } from "./me.js";
import { Table } from "./table.js";
import { attempt, confirm, toast } from "./ui.js";

// tones are the colours of the statuses; each also has a shape of its own.
export const tones = {
  running: "ok", building: "calm", moving: "calm", resizing: "calm", suspended: "calm", hibernated: "calm", stopped: undefined, shelved: undefined,
  undoing: "high", deleting: "high", failed: "full", missing: "full", broken: "full",
};

// chip shows a status in words, colour and shape.
export function chip(x) {
  const busy = !x.settled && x.status !== "missing";
  const words = x.phase === "active" && busy && x.status === x.is && x.want !== x.is ? `${x.is} → ${x.want}` : x.status;
  return h("span", { class: "chip", data: { tone: tones[x.status] ?? "", busy: busy ? "yes" : undefined } }, words);
}

// verbs are what can be done to an instance now.
function verbs(x) {
  if (x.phase === "deleting" || x.phase === "deleted") return [];
  const out = [];
  if (x.phase !== "failed" && x.phase !== "undoing") {
    if (x.want === "running") out.push(["stop", "stop", "Stop"], ["suspend", "pause", "Suspend"], ["hibernate", "moon", "Hibernate"], ["reboot", "reboot", "Reboot"]);
    else if (x.want === "shelved") { if (x.phase === "shelved") out.push(["unshelve", "play", "Unshelve"]); }
    else if (x.want === "suspended" || x.want === "hibernated") out.push(["resume", "play", "Resume"], ["stop", "stop", "Stop"]);
    else out.push(["start", "play", "Start"]);
  }
  out.push(["delete", "trash", "Delete"]);
  return out.filter(([verb]) => may(verb === "delete" ? "instances delete" : "instances use", x.owner ?? ""));
}

async function act(verb, x) {
  const path = `/instances/${encodeURIComponent(x.id)}`;
  if (verb === "delete") {
    if (!(await confirm(`Delete ${x.name}?`, `The instance ${x.name} of project ${x.project} and all its disks will be destroyed. This cannot be undone.`, "Delete"))) return;
    await request("DELETE", path);
    toast(`${x.name} is being deleted`);
    return;
  }
  await request("POST", `${path}/${verb}`, undefined, verb === "reboot" ? { "Idempotency-Key": key() } : {});
  toast(`${verb} ${x.name}: under way`);
}

// actions makes the buttons of what can be done to an instance.
export function actions(x) {
  return verbs(x).map(([verb, picture, word]) => {
    const disabled = (verb === "suspend" || verb === "hibernate" || verb === "reboot") && x.is !== "running";
    const b = h("button", { class: "button", type: "button", title: word, "aria-label": `${word} ${x.name}`, disabled, data: { verb } }, icon(picture));
    b.addEventListener("click", () => attempt(b, () => act(verb, x)));
    return b;
  });
}

// keys are what instances are sorted by.
const keys = (x) => ({ name: x.name, status: x.status, host: x.host ?? "", cpu: x.resources.cpu ?? 0 });

function row(id) {
  const name = h("button", { class: "name", type: "button", on: { click: () => showInstance(id) } });
  const sub = h("span", { class: "sub" }), status = h("td"), host = h("span", { class: "sub" }), image = h("span", { class: "sub" });
  const size = h("td", { class: "num" }), buttons = h("div", { class: "actions" });
  const el = h("tr", { data: { id } }, h("td", {}, name, sub), status, h("td", {}, host, image), size, h("td", {}, buttons));
  let offered = "";
  return {
    el,
    set(x) {
      text(name, x.name);
      text(sub, [x.addresses[0], x.project, x.launched_at ? ago(x.launched_at) + " ago" : ""].filter(Boolean).join(" · "));
      data(el, "status", x.status);
      status.replaceChildren(chip(x));
      if (x.reason) status.title = x.reason;
      text(host, x.host ? x.host.slice(x.host.indexOf("/") + 1) : "–");
      host.title = x.host ?? "";
      text(image, x.image + (x.flavor ? " · " + x.flavor : ""));
      const cpu = x.resources.cpu ?? 0, memory = x.resources.memory ?? 0;
      size.replaceChildren(cpu ? amount("cpu", cpu) : "–", h("span", { class: "sub" }, memory ? amount("memory", memory) : ""));
      const offers = JSON.stringify([verbs(x).map((v) => v[0]), x.is, x.name]);
      if (offers !== offered) { // else the buttons stay, and with them the focus
        offered = offers;
        const focused = buttons.contains(document.activeElement);
        buttons.replaceChildren(...actions(x));
        if (focused) buttons.querySelector(":enabled")?.focus({ preventScroll: true });
      }
    },
  };
}

// showInstances keeps the table up to date.
export function showInstances(store) {
  const table = new Table("instances", "name", keys, row);
  const filter = byID("instances-filter"), status = byID("instances-status");
  const refilter = () => {
    const q = filter.value.trim().toLowerCase();
    table.filter((x) => (!q || `${x.id} ${x.name} ${x.project} ${x.host} ${x.image} ${x.flavor} ${x.addresses.join(" ")}`.toLowerCase().includes(q)) &&
      (!status.value || x.status === status.value));
  };
  for (const el of [filter, status]) el.addEventListener("input", refilter);
  status.append(...Object.keys(tones).map((s) => h("option", { value: s }, s)));
  store.watch(({ instances, pool }, _, changed) => {
    table.update(instances, changed);
    document.title = pool?.instances.running ? `Berthage · ${pool.instances.running} running` : "Berthage";
  });
}
