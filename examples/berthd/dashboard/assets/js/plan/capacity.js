// Capacity: how many hosts of which kind it takes.
import { get, request } from "../api.js";
import { byID, h } from "../dom.js";
import { count } from "../format.js";
import { bar } from "../pool.js";
import { failed, problem } from "../ui.js";
import { asks, demands, fields, headline, nothing, number, sizes, table } from "./parts.js";

// setupCapacity makes the form, from what is placed and there now.
export async function setupCapacity(fleet) {
  const form = byID("capacity-form"), answer = byID("capacity-answer");
  answer.append(nothing("Asked as it is: do the hosts that are there suffice, and what has to be bought if not?"));
  let now;
  try {
    now = await get("/capacity");
  } catch (err) {
    answer.replaceChildren(problem(err.problem ?? { title: String(err) }));
    failed(err);
    return;
  }
  const rows = now.hosts.map((k, n) => kind(k, n));
  const more = demands("capacity-demand", "More instances", fleet.flavors);
  const growth = number("capacity-growth", { min: "-99", max: "99900", placeholder: "none" }), spare = number("capacity-spare", { min: "0", step: "1", placeholder: "none" });
  const domains = number("capacity-domains", { min: "0", max: "1000", step: "1", placeholder: "one" }), lost = number("capacity-lost", { min: "0", max: "999", step: "1", placeholder: "none" });
  form.append(...[h("fieldset", {}, h("legend", {}, "Kinds of host"), rows.length ? rows.map((r) => r.el) : h("p", { class: "hint" }, "No server accepts instances.")),
    fleet.flavors.length ? more.el : null, fields(["Growth in %", growth, "of what is placed now"], ["Hosts that may fail", spare, "at once: N+k"], ["Failure domains", domains, "hosts are spread evenly"], ["Domains that may fail", lost])].filter(Boolean));
  asks(form, answer, "How many hosts?", (signal) => {
    const by = new Map(fleet.flavors.map((f) => [f.name, f.resources]));
    const factor = 1 + (Number(growth.value) || 0) / 100;
    const items = now.items.map((i) => ({ ...i, count: Math.ceil(i.count * factor - 1e-9) })); // only what is there grows
    return request("POST", "/capacity", {
      items: [...items, ...more.values().map((d) => ({ name: d.flavor, resources: by.get(d.flavor), count: d.count }))],
      hosts: rows.flatMap((r) => r.read()), spare: Number(spare.value) || 0, domains: Number(domains.value) || 0, spare_domains: Number(lost.value) || 0,
    }, {}, signal);
  }, (c) => shown(c));
}

// kind is a line of the form: whether those that are there are used, and at what price others can be had.
function kind(k, n) {
  const use = h("input", { id: `capacity-use-${n}`, type: "checkbox" });
  const buy = h("input", { id: `capacity-buy-${n}`, type: "checkbox" });
  const cost = h("input", { type: "number", min: "1", step: "1", value: "1", "aria-label": `Cost of one more host of ${sizes(k.capacity)}` });
  use.checked = true;
  buy.checked = n === 0;
  return {
    el: h("div", { class: "lines", data: { kind: n } }, h("span", {}, sizes(k.capacity)),
      h("div", { class: "check" }, use, h("label", { for: use.id }, `use the ${count(k.count)} that are there`)),
      h("div", { class: "pairs" }, h("div", { class: "check" }, buy, h("label", { for: buy.id }, "more can be had, at a cost of")), cost)),
    read: () => [
      ...(use.checked ? [{ ...k, name: `there: ${sizes(k.capacity)}` }] : []),
      ...(buy.checked ? [{ name: `new: ${sizes(k.capacity)}`, capacity: k.capacity, units: k.units, cost: Number(cost.value) || 1 }] : []),
    ],
  };
}

function shown(c) {
  const short = [...c.never, ...c.short];
  const enough = !short.length && !c.missing;
  const most = Math.max(1, ...c.kinds.map((k) => k.total));
  return [
    headline(enough ? "ok" : "full", enough ? "suffices" : "does not suffice", `${count(c.hosts)} hosts, at a cost of ${count(c.cost)} for new ones; nothing cheaper than ${count(c.least)} can do (certified)${c.optimal ? ": this is the least" : ""}.`),
    table("Hosts by kind", ["Kind", "", "In all#", "Carry#", "Spare#", "Per domain#"], c.kinds.map((k) => {
      const b = bar();
      b.set(k.name, (100 * k.total) / most, `${count(k.total)} hosts`);
      b.el.dataset.level = "ok";
      return { data: { kind: k.name, total: k.total }, cells: [k.name, b.el, count(k.total), count(k.busy), count(k.spare), count(k.per_domain)] };
    })),
    c.missing ? h("p", { class: "refused" }, `${count(c.missing)} spare hosts more would be needed and cannot be had.`) : null,
    ...short.map((x) => h("p", { class: "refused" }, `${count(x.count)} of ${x.name || "item " + x.item} ${c.never.includes(x) ? "fit on no kind of host" : "find no host"}.`)),
  ];
}
