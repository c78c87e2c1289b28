// The table of clusters.
import { request } from "./api.js";
import { byID, data, h, icon, text } from "./dom.js";
import { showCluster } from "./detail.js";
import { tones } from "./instances.js";
import { may } from "./me.js";
import { Table } from "./table.js";
import { ask, attempt, checkbox, confirm, toast } from "./ui.js";

// clusterPath is the path of a cluster.
export const clusterPath = (x) => `/clusters/${encodeURIComponent(x.project)}/${encodeURIComponent(x.name)}`;

// counted says what has become of the members beside those that are done.
export const counted = (x) => [["pending", x.pending], ["failed", x.failed], ["skipped", x.skipped]].filter(([, n]) => n > 0).map(([word, n]) => `${n} ${word}`).join(" · ");

// clusterChip shows what a cluster's members are to do.
export function clusterChip(x) {
  const tone = x.failed ? "full" : x.settled ? tones[x.want] ?? "" : "calm";
  return h("span", { class: "chip", data: { tone, busy: x.settled ? undefined : "yes" } }, x.settled ? x.want : `${x.last.verb} under way`);
}

// verbs are what can be done to a cluster now.
function verbs(x) {
  if (x.want === "absent") return [];
  const by = {
    running: [["stop", "stop", "Stop"], ["suspend", "pause", "Suspend"]],
    stopped: [["start", "play", "Start"], ["resume", "reboot", "Resume those that ran before"]],
    suspended: [["resume", "play", "Resume"], ["stop", "stop", "Stop"]],
    shelved: [["resume", "play", "Resume"]],
  };
  return [...(by[x.want] ?? []), ["scale", "scale", "Scale"], ["delete", "trash", "Delete"]].filter(([verb]) => may(verb === "delete" ? "clusters delete" : "clusters use", x.owner ?? ""));
}

// act does something to a cluster, and reports whether it did.
async function act(verb, x) {
  const path = clusterPath(x);
  switch (verb) {
    case "delete":
      if (!(await confirm(`Delete cluster ${x.name}?`, `All ${x.members} members of the cluster ${x.name} of project ${x.project} and all their disks will be destroyed. This cannot be undone.`, "Delete"))) return false;
      await request("DELETE", path);
      break;
    case "suspend": {
      const release = checkbox("ask-release", "Give the places back (shelve all members)");
      if (!(await ask(`Suspend cluster ${x.name}?`, "Members that run are suspended and keep their places, unless you give them back. Resume brings back those that ran.", [release], "Suspend",
        () => request("POST", `${path}/suspend`, { release: release.input.checked })))) return false;
      break;
    }
    case "scale": {
      const size = h("input", { id: "ask-size", type: "number", min: "0", max: "1000", required: true, value: String(x.size) });
      const part = checkbox("ask-part", "As many more as there is room for");
      if (!(await ask(`Scale cluster ${x.name}`, "Fewer members: those that have failed go first, then the newest, with their disks.", [["Members", size], part], "Scale",
        () => request("POST", `${path}/scale`, { size: Number(size.value), best_effort: part.input.checked })))) return false;
      break;
    }
    default:
      await request("POST", `${path}/${verb}`);
  }
  toast(`${verb} cluster ${x.name}: under way`);
  return true;
}

// clusterActions makes the buttons of what can be done to a cluster.
export function clusterActions(x, then = () => {}) {
  return verbs(x).map(([verb, picture, word]) => {
    const b = h("button", { class: "button", type: "button", title: word, "aria-label": `${word}: cluster ${x.name}`, data: { verb } }, icon(picture));
    b.addEventListener("click", () => attempt(b, async () => { if (await act(verb, x)) then(); }));
    return b;
  });
}

const keys = (x) => ({ name: x.name, want: x.want, members: x.members, last: x.last.verb });

function row(id) {
  const name = h("button", { class: "name", type: "button", on: { click: () => showCluster(id) } });
  const sub = h("span", { class: "sub" }), state = h("td"), members = h("span"), rest = h("span", { class: "sub" });
  const last = h("td"), buttons = h("div", { class: "actions" });
  const el = h("tr", { data: { id } }, h("td", {}, name, sub), state, h("td", {}, members, rest), last, h("td", {}, buttons));
  let offered = "";
  return {
    el,
    set(x) {
      text(name, x.name);
      text(sub, [x.project, x.image, x.flavor].filter(Boolean).join(" · "));
      for (const k of ["want", "members", "done", "pending", "failed", "skipped"]) data(el, k, x[k]);
      state.replaceChildren(clusterChip(x));
      text(members, `${x.done} of ${Math.max(x.size, x.members)} done`);
      text(rest, counted(x));
      text(last, x.last.verb);
      last.title = x.last.reason ?? "";
      const offers = JSON.stringify([verbs(x).map((v) => v[0]), x.size, x.members]);
      if (offers !== offered) { // else the buttons stay, and with them the focus
        offered = offers;
        const held = buttons.contains(document.activeElement) && document.activeElement.dataset.verb;
        buttons.replaceChildren(...clusterActions(x));
        if (held) (buttons.querySelector(`[data-verb="${held}"]`) ?? buttons.querySelector("button"))?.focus({ preventScroll: true });
      }
    },
  };
}

// showClusters keeps the table up to date. Without any cluster it is not shown.
export function showClusters(store) {
  const table = new Table("clusters", "name", keys, row);
  const known = new Map(), seen = new Map();
  store.watch(({ clusters }) => {
    const changed = new Set();
    const now = new Set(clusters.items.map((x) => x.id));
    for (const id of known.keys()) if (!now.has(id)) { known.delete(id); seen.delete(id); }
    for (const x of clusters.items) {
      const s = JSON.stringify(x);
      if (seen.get(x.id) === s) continue;
      seen.set(x.id, s);
      known.set(x.id, x);
      changed.add(x.id);
    }
    byID("clusters").hidden = known.size === 0;
    table.update(known, changed);
    byID("clusters-more").hidden = clusters.total <= known.size;
    text(byID("clusters-more"), `The first ${known.size} of ${clusters.total} are shown.`);
  });
}
