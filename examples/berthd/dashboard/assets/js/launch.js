// The form that launches instances.
import { all, key, request } from "./api.js";
import { byID, h, icon } from "./dom.js";
import { amount, className, percent } from "./format.js";
import { checkbox, closer, failed, field, hosts, once, placement, problem, refusals, toast } from "./ui.js";

const GiB = 2 ** 30;

const option = (value, words = value) => h("option", { value }, words);
const input = (name, props = {}) => h("input", { id: "launch-" + name, name, ...props });

// disk is one line of the form: size, kind, mount point.
function disk(first, kinds) {
  const size = h("input", { type: "number", min: "1", max: "1024", step: "1", value: first ? "20" : "50", required: true, "aria-label": "Size in GiB", data: { of: "size" } });
  const kind = h("select", { "aria-label": "Kind of storage", data: { of: "storage" } }, kinds.map((k) => option(k)));
  const mount = first ? h("span", { class: "hint" }, "root disk, holds the image") : h("input", { placeholder: "/data", "aria-label": "Mount point", data: { of: "mount" } });
  const drop = h("button", { class: "button quiet icon", type: "button", title: "Remove this disk", "aria-label": "Remove this disk" }, icon("close"));
  const el = h("div", { class: "disk" }, size, kind, mount, drop);
  drop.addEventListener("click", () => el.remove());
  return { el, read: () => ({ size: Math.round(Number(size.value) * GiB), storage: kind.value, ...(first || !mount.value ? {} : { mount: mount.value.trim() }) }) };
}

// setup makes the button open the form.
export function setupLaunch(store) {
  byID("launch-open").addEventListener("click", async () => {
    try {
      const read = async (path) => {
        const items = [];
        await all(path, (x) => items.push(x));
        return items;
      };
      open(store, ...await Promise.all(["/images", "/flavors", "/projects"].map(read)));
    } catch (err) {
      failed(err);
    }
  });
}

function open(store, images, flavors, projects) {
  const dialog = byID("launch");
  const kinds = [...new Set(Object.keys(store.pool?.resources ?? {}).filter((k) => k.startsWith("storage.")).map((k) => k.slice(8)))];
  kinds.sort((a, b) => (a === "ssd" ? -1 : b === "ssd" ? 1 : a < b ? -1 : 1));
  const answer = h("div", { id: "launch-answer", "aria-live": "polite" });
  flavors.sort((a, b) => (a.resources.cpu ?? 0) - (b.resources.cpu ?? 0) || (a.resources.memory ?? 0) - (b.resources.memory ?? 0) || (a.name < b.name ? -1 : 1));
  const usable = images.filter((i) => i.usable);
  const sizes = (f) => Object.entries(f.resources).map(([k, n]) => amount(k, n) + (k.startsWith("storage.") ? " " + k.slice(8) : "")).join(", ");
  const name = input("name", { required: true, maxlength: "60", pattern: "[a-z0-9]([a-z0-9\\-]*[a-z0-9])?", value: "vm-" + Math.floor(performance.now() + Math.random() * 1e6).toString(36).slice(-5), autocomplete: "off", spellcheck: "false" });
  const number = input("count", { type: "number", min: "1", max: "1000", value: "1" });
  const together = checkbox("launch-cluster", "As a cluster", "placed all or none, and acted on as one; otherwise at most 100 at once");
  const image = h("select", { id: "launch-image", required: true }, usable.map((i) => option(i.name, i.os || i.name)));
  const flavor = h("select", { id: "launch-flavor" }, flavors.map((f) => option(f.name, `${f.name}: ${sizes(f)}`)), option("", "sizes of my own"));
  if (flavors.some((f) => f.name === "small")) flavor.value = "small";
  const project = h("select", { id: "launch-project", required: true }, projects.map((p) => option(p.name)));
  const cpu = input("cpu", { type: "number", min: "0.1", step: "any", value: "2" }), memory = input("memory", { type: "number", min: "0.1", step: "any", value: "4" });
  const own = h("div", { class: "fields field all", hidden: true }, field("Cores", cpu), field("Memory in GiB", memory));
  const zone = h("select", { id: "launch-zone" }, option("", "any"), Object.keys(store.pool?.hosts.zones ?? {}).filter(Boolean).sort().map((z) => option(z)));
  const user = input("user", { placeholder: "the image's own", maxlength: "32", autocomplete: "off" });
  const keys = h("textarea", { id: "launch-keys", rows: "2", placeholder: "ssh-ed25519 AAAA… one per line", spellcheck: "false" });
  const userData = h("textarea", { id: "launch-user-data", rows: "3", placeholder: "#cloud-config", spellcheck: "false" });
  const lines = [], list = h("div", { class: "field all", id: "launch-disks" });
  const add = h("button", { class: "button", type: "button", id: "launch-add-disk" }, "Add a disk");
  add.addEventListener("click", () => {
    const d = disk(!list.children.length, kinds);
    lines.push(d);
    list.append(d.el);
  });
  flavor.addEventListener("input", () => { own.hidden = flavor.value !== ""; });
  if (!flavors.length) own.hidden = false;

  const body = (n, of) => {
    const disks = lines.filter((d) => d.el.isConnected).map((d) => d.read());
    const sshKeys = keys.value.split("\n").map((k) => k.trim()).filter(Boolean);
    const guest = { ...(user.value && { user: user.value }), ...(sshKeys.length && { ssh_keys: sshKeys }), ...(userData.value && { user_data: userData.value }) };
    return {
      project: project.value, name: of > 1 ? `${name.value}-${n}` : name.value,
      spec: {
        image: image.value,
        ...(flavor.value ? { flavor: flavor.value } : { resources: { cpu: Math.round(cpu.value * 1000), memory: Math.round(memory.value * GiB) } }),
        ...(disks.length && { disks }), ...(zone.value && { constraints: { zones: [zone.value] } }), ...(Object.keys(guest).length && { guest }),
      },
    };
  };

  const check = h("button", { class: "button", type: "button", id: "launch-check" }, "Where would it go?");
  check.addEventListener("click", () => once(check, async () => {
    try {
      answer.replaceChildren(explained(await request("POST", "/explain", body(1, 1))));
    } catch (err) {
      answer.replaceChildren(problem(err.problem ?? { title: String(err) }));
    }
  }));

  const submit = h("button", { class: "button primary", type: "submit", id: "launch-submit" }, "Launch");
  const token = key(); // the same for every attempt, so that nothing is launched twice
  let edits = 0;
  const form = h("form", { id: "launch-form" },
    h("header", {}, h("h2", { id: "launch-title" }, "Launch instances"), closer(dialog)),
    h("div", { class: "fields" },
      field("Name", name, "lower-case letters, digits and hyphens"), field("How many", number, "more than one: name-1, name-2 …"), together.el,
      field("Image", image, usable.length ? "" : "no image has a source for a driver of this daemon"), field("Project", project),
      field("Size", flavor, "", true), own,
      h("fieldset", {}, h("legend", {}, "Disks"), h("p", { class: "hint" }, "Without any, the root disk has the size's own."), list, h("div", {}, add)),
      field("SSH keys", keys, "", true), field("Login", user), field("Zone", zone),
      h("details", { class: "field all" }, h("summary", { class: "label" }, "User-data for cloud-init"), userData)),
    answer,
    h("div", { class: "buttons" }, check, submit));
  form.addEventListener("input", () => { edits++; });
  const launch = async () => {
    answer.replaceChildren();
    const of = Math.max(1, Math.min(100, Number(number.value) || 1)), at = edits;
    let done = 0;
    try {
      if (together.input.checked) {
        const size = Math.max(1, Math.min(1000, Number(number.value) || 1));
        await request("POST", "/clusters", { ...body(1, 1), size }, { "Idempotency-Key": `${token}-${at}` });
        dialog.close();
        toast(`cluster ${name.value} is being built`);
        return;
      }
      for (let n = 1; n <= of; n++) {
        await request("POST", "/instances", body(n, of), { "Idempotency-Key": `${token}-${at}-${n}` });
        done++;
      }
      dialog.close();
      toast(of > 1 ? `${of} instances are being built` : `${name.value} is being built`);
    } catch (err) {
      answer.replaceChildren(problem(err.problem ?? { title: String(err) }));
      if (done) answer.prepend(h("p", { class: "hint" }, `${done} of ${of} were launched before this:`));
      answer.scrollIntoView({ block: "nearest" });
    }
  };
  form.addEventListener("submit", (e) => {
    e.preventDefault();
    once(submit, launch);
  });
  dialog.replaceChildren(form);
  dialog.showModal();
  name.select();
}

// explained shows where a launch would be placed, or why not.
function explained(e) {
  if (e.fits) return h("div", { class: "answer", role: "status" }, h("p", {}, `It would be placed on ${e.host}. ${hosts(e.placement) - refusals(e.placement)} hosts qualify.`), ...placement(e.placement));
  const over = e.quota.map((l) => `${className(l.class)}: ${amount(l.class, l.asked)} asked, ${amount(l.class, l.free)} free of ${amount(l.class, l.limit)} (${percent((100 * l.used) / Math.max(1, l.limit))} used)`);
  return h("div", { class: "problem", role: "alert" }, h("h3", {}, e.quota.length ? "Over quota" : "No host fits"), over.length ? h("ul", {}, over.map((o) => h("li", {}, o))) : null, ...placement(e.placement));
}
