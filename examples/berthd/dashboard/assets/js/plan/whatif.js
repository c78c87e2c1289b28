// What if: hosts lost or added, other ratios, more instances, growth, hosts that may fail.
import { request } from "../api.js";
import { byID, data, h } from "../dom.js";
import { amount, className, compare, count, level, levelWord, percent } from "../format.js";
import { asks, change, demands, fields, headline, kinds, lines, nothing, number, option, picker, table } from "./parts.js";

// first are the classes that come first, in this order; an operator's own follow.
const first = ["cpu", "memory", "storage.standard", "storage.ssd", "storage.nvme", "gpu"];
const most = 200; // hosts shown one by one

// inOrder are the classes that people look at.
export const inOrder = (classes) => classes.filter((k) => !k.startsWith("iops.")).sort((x, y) => (first.indexOf(x) + 1 || 99) - (first.indexOf(y) + 1 || 99) || (x < y ? -1 : 1));

const sum = (list, f) => list.reduce((n, x) => n + f(x), 0);

// without leaves out what is not asked.
export const without = (o) => Object.fromEntries(Object.entries(o).filter(([, v]) => v && (Array.isArray(v) ? v.length : typeof v !== "object" || Object.keys(v).length)));

// fleetFields are the parts of a form that change the fleet: {els, read}.
export function fleetFields(id, { hosts, pool }) {
  const of = kinds(hosts);
  const zones = Object.keys(pool.hosts.zones).filter(Boolean).sort();
  const lose = picker(id + "-lose", "Lose hosts", hosts.map((x) => x.id).sort(compare));
  const loseZones = picker(id + "-zones", "Lose zones", zones);
  const add = lines(id + "-hosts", "Add hosts", "Add hosts of a kind", () => {
    const like = h("select", { "aria-label": "Kind of host" }, of.map((k) => option(k.like, `${k.words} (${count(k.count)} there)`)));
    const n = h("input", { type: "number", min: "1", max: "100000", value: "1", required: true, "aria-label": "How many hosts" });
    return { fields: [like, n], read: () => ({ like: like.value, count: Number(n.value) }) };
  });
  const ratios = inOrder(Object.keys(pool.resources)).map((k) => [k, number(`${id}-ratio-${k}`, { min: "0.001", max: "1000", placeholder: "as now" })]);
  return {
    els: [
      lose.el, zones.length ? loseZones.el : null, of.length ? add.el : null,
      h("details", {}, h("summary", { class: "label" }, "Over-commit ratios of all servers"),
        h("div", { class: "pairs" }, ratios.flatMap(([k, input]) => [h("label", { for: input.id }, className(k)), input]))),
    ],
    read: () => ({
      lose: lose.values(), lose_zones: loseZones.values(), add: add.values(),
      ratios: Object.fromEntries(ratios.filter(([, input]) => input.value !== "").map(([k, input]) => [k, Number(input.value)])),
    }),
  };
}

// setupWhatIf makes the form.
export function setupWhatIf(fleet) {
  const form = byID("whatif-form"), answer = byID("whatif-answer");
  const changes = fleetFields("whatif", fleet);
  const more = demands("whatif-demand", "More instances", fleet.flavors);
  const image = h("select", { id: "whatif-image" }, fleet.images.map((i) => option(i.name, i.os || i.name)));
  const project = h("select", { id: "whatif-project" }, fleet.projects.map((p) => option(p.name)));
  const growth = number("whatif-growth", { min: "0", max: "99900", placeholder: "none" }), spare = number("whatif-spare", { min: "0", max: "1000", step: "1", placeholder: "none" });
  const launches = fleet.images.length > 0 && fleet.projects.length > 0 && fleet.flavors.length > 0;
  form.append(...[...changes.els, launches ? more.el : null, fields(["Growth in %", growth, "of what is placed now"], ["Hosts that may fail", spare, "at once: N+k"]),
    launches ? fields(["Image", image, "of the instances above"], ["Project", project, "its quota is not asked"]) : null].filter(Boolean));
  answer.append(nothing(fleet.hosts.length ? "Ask a question: which hosts to lose or to add, what else is to be placed." : "The pool has no hosts yet."));
  asks(form, answer, "What would be?", (signal) => request("POST", "/what-if", without({
    ...changes.read(), demand: more.values().map(({ flavor, count: n }) => ({ name: flavor, project: project.value, spec: { image: image.value, flavor }, count: n })),
    growth: Number(growth.value) > 0 ? 1 + Number(growth.value) / 100 : 0, spare: Number(spare.value) || 0,
    fits: launches ? { project: project.value, spec: { image: image.value } } : undefined,
  }), {}, signal), (a) => shown(a));
}

// why says for what reasons hosts refuse, and what would help.
export function why(r) {
  const word = (c) => (c.class ? `${count(c.hosts)} for want of ${className(c.class)}` : `${count(c.hosts)} by ${c.constraint}`);
  return [
    h("p", {}, `No host takes it: ${r.counts.map(word).join(", ")}.${r.never ? " None could even if all were empty." : ""}`),
    r.nearest ? h("p", { class: "nearest" }, h("b", {}, "Nearest change: "), r.nearest.message) : null,
  ];
}

// outcome shows what became of some instances.
export function outcome(title, o) {
  if (!o.asked) return null;
  return h("section", { class: "lines", data: { asked: o.asked, placed: o.placed } },
    h("h3", {}, `${title}: ${count(o.placed)} of ${count(o.asked)} find a place`),
    o.refused.map((r) => h("div", { class: "refused" }, h("p", {}, h("b", {}, `${count(r.count)} do not fit`), r.name ? `, such as ${r.name}` : "", `, each of ${Object.entries(r.reason.demand).map(([k, n]) => `${className(k)} ${amount(k, n)}`).join(", ")}`), why(r.reason))));
}

function shown(a) {
  const refused = (o) => o.asked - o.placed;
  const out = refused(a.displaced) + refused(a.growth) + sum(a.demand, refused);
  const wrong = [
    out && `${count(out)} instances find no place`, a.overfull && `${count(a.overfull)} servers carry more than they have`,
    a.spare && a.spare.survived < a.spare.sets && `${count(a.spare.sets - a.spare.survived - (a.spare.untried ?? 0))} of ${count(a.spare.sets)} failures are not survived`,
    a.untried && `${count(a.untried)} instances were not tried, for want of time`,
  ].filter(Boolean);
  return [
    headline(a.fits ? "ok" : "full", a.fits ? "fits" : "does not fit", a.fits ? "Everything finds a place." : wrong.join(", ") + "."),
    h("div", { class: "changes" }, inOrder(Object.keys(a.use)).map((k) => change(k, { used: a.use[k].used, capacity: a.use[k].capacity }, { used: a.use[k].used_after, capacity: a.use[k].capacity_after }))),
    missing(a.missing), outcome("Of the lost hosts", a.displaced), ...a.demand.map((d) => outcome(d.name || "Asked for", d)), outcome("Growth", a.growth), spared(a.spare),
    a.how_many.length ? h("section", { class: "lines" }, h("h3", {}, "How many more fit, each size alone"), rooms(a.how_many)) : null,
    after(a.hosts), h("p", { class: "hint" }, `On the books of revision ${count(a.revision)}.`),
  ];
}

function rooms(of) {
  return table("How many more fit", ["Flavor", "now#", "then#", "change#"], of.map((r) => {
    const d = r.after - r.before;
    return { data: { flavor: r.name, before: r.before, after: r.after }, cells: [r.name, count(r.before), count(r.after), d ? h("span", { class: d > 0 ? "up" : "down" }, (d > 0 ? "+" : "−") + count(Math.abs(d))) : "as now"] };
  }));
}

function missing(m) {
  if (!m) return null;
  const alone = m.kinds.map((k) => (k.alone === undefined ? null : h("p", {}, `Of hosts like ${k.like}: ${count(k.alone)} more, and nothing that is there moved${k.unfit ? `; ${count(k.unfit)} instances would be refused even then` : ""}.`)));
  return h("section", { class: "refused", data: { missing: m.hosts, least: m.least } }, h("h3", {}, "What is missing"),
    h("p", {}, `${count(m.hosts)} more hosts would do if everything were packed anew; fewer than ${count(m.least)} cannot, whatever is moved (certified).`), ...alone,
    m.never ? h("p", {}, `${count(m.never)} instances fit on no kind of server.`) : null);
}

function spared(s) {
  if (!s) return null;
  return h("section", { class: "lines" }, h("h3", {}, `${s.hosts === 1 ? "A host" : count(s.hosts) + " hosts"} may fail: ${count(s.survived)} of ${count(s.sets)} failures are survived`),
    s.worst.length ? h("p", {}, `The worst is to lose ${s.worst.join(", ")}.`) : null, s.worst.length ? outcome("Of these", s.displaced) : null);
}

// after shows every host as it would be: at a glance, and the fullest one by one.
function after(hosts) {
  const cells = hosts.slice(0, 4000).map((x) => {
    const p = 100 * x.part, cell = h("i", { class: x.added ? "cell added" : "cell", title: `${x.host} · ${x.lost ? "lost" : percent(p)}` });
    cell.style.setProperty("--fill", (p > 0 ? Math.max(8, Math.min(100, p)) : 0) + "%");
    data(cell, "level", level(p));
    if (x.lost) data(cell, "state", "down");
    return cell;
  });
  const rank = (x) => (x.lost || x.added ? 2 : 0) + Math.min(1.9, x.part);
  const some = [...hosts].sort((a, b) => rank(b) - rank(a) || compare(a.host, b.host)).slice(0, most);
  return h("section", { class: "lines" }, h("h3", {}, "Hosts then"), h("div", { class: "map", "aria-hidden": "true", data: { size: hosts.length > 2000 ? "large" : undefined } }, cells),
    h("details", {}, h("summary", {}, hosts.length > most ? `The ${most} that are lost, added or fullest, of ${count(hosts.length)}` : "One by one"),
      table("Hosts", ["Host", "", "Instances#", "Fullest class#"], some.map((x) => ({
        data: { host: x.host }, cells: [x.host, x.lost ? "lost" : x.added ? "added" : "", x.instances === x.after ? count(x.after) : `${count(x.instances)} → ${count(x.after)}`, x.lost ? "" : percent(100 * x.part) + levelWord[level(100 * x.part)]],
      })))));
}
