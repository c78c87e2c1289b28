// The tiles with the totals of the pool.
import { byID, data, h, text } from "./dom.js";
import { amount, className, count, level, levelWord, percent, share, split } from "./format.js";
import { tones } from "./instances.js";

// bar makes a bar that says the same in words.
export function bar() {
  const fill = h("i");
  const el = h("div", { class: "bar", role: "meter", "aria-valuemin": "0", "aria-valuemax": "100" }, fill);
  return {
    el,
    set(label, p, words) {
      const shown = Math.min(100, p), lv = level(p);
      fill.style.width = (p > 0 ? Math.max(1.5, shown) : 0) + "%";
      data(el, "level", lv);
      el.setAttribute("aria-label", label);
      el.setAttribute("aria-valuenow", Math.round(shown));
      el.setAttribute("aria-valuetext", `${words}, ${percent(p)}${levelWord[lv]}`);
      el.title = words;
    },
  };
}

// first are the classes that come first, in this order; an operator's own follow.
const first = ["cpu", "memory", "storage.standard", "storage.ssd", "storage.nvme", "gpu"];

function tile(cls) {
  const lv = h("span", { class: "level" }), big = h("p", { class: "big" }), facts = h("dl"), b = bar();
  const used = h("span", { data: { number: "used" } }), of = h("small");
  big.append(used, of);
  const el = h("section", { class: "card tile", data: { class: cls } }, h("h2", {}, className(cls), lv), big, b.el, facts);
  return {
    el,
    set(t) {
      const p = share(t.used, t.capacity);
      const [n, unit] = split(cls, t.used), [m, whole] = split(cls, t.capacity);
      text(used, n);
      text(of, unit === whole || t.used === 0 ? ` of ${m} ${whole}` : ` ${unit} of ${m} ${whole}`);
      text(lv, percent(p) + levelWord[level(p)]);
      data(lv, "level", level(p));
      b.set(className(cls), p, `${amount(cls, t.used)} used of ${amount(cls, t.capacity)}`);
      for (const [k, v] of Object.entries(t)) data(el, k, v); // the exact numbers
      const rows = [["free", t.free], ["physical", t.total]];
      if (t.available !== t.free) rows.splice(1, 0, ["available", t.available]);
      if (t.reserved) rows.push(["reserved", t.reserved]);
      if (t.overcommitted) rows.push(["over-committed", t.overcommitted]);
      facts.replaceChildren(...rows.flatMap(([k, n]) => [h("dt", {}, k), h("dd", {}, amount(cls, n))]));
    },
  };
}

// counts is a tile with numbers by kind.
function counts(title, name) {
  const big = h("p", { class: "big" }), chips = h("p", { class: "chips" }), facts = h("dl");
  const el = h("section", { class: "card tile", data: { counts: name } }, h("h2", {}, title), big, chips, facts);
  return {
    el,
    set(total, parts, more) {
      text(big, count(total));
      data(el, "all", total);
      chips.replaceChildren(...parts.filter(([, n]) => n > 0).map(([word, n, tone]) => h("span", { class: "chip", data: { tone, word, n } }, `${count(n)} ${word}`)));
      facts.replaceChildren(...more.flatMap(([k, v]) => [h("dt", {}, k), h("dd", {}, v)]));
    },
  };
}

// showPool keeps the tiles up to date.
export function showPool(store) {
  const tiles = new Map();
  const hosts = counts("Hosts", "hosts"), instances = counts("Instances", "instances");
  byID("pool").replaceChildren(hosts.el, instances.el);
  store.watch(({ pool, unknown }) => {
    if (!pool) return;
    const c = pool.hosts.conditions;
    hosts.set(pool.hosts.all, [
      ["take instances", pool.hosts.schedulable, "ok"], ["cordoned", c.cordoned ?? 0, "high"], ["draining", c.draining ?? 0, "high"],
      ["unreachable", c.unreachable ?? 0, "full"], ["not ready", pool.hosts.all - (c.ready ?? 0), "full"],
    ], [["zones", Object.entries(pool.hosts.zones).sort().map(([z, n]) => `${z || "none"} ${n}`).join(" · ")]]);
    const { all, ...by } = pool.instances;
    instances.set(all, Object.entries(by).sort((x, y) => y[1] - x[1]).map(([s, n]) => [s, n, tones[s]]),
      [["clusters", count(pool.clusters)], ["projects", count(pool.projects)], ["held places", count(pool.held)], ["unknown machines", count(unknown.total)]]);
    const classes = Object.keys(pool.resources).filter((k) => !k.startsWith("iops."))
      .sort((x, y) => (first.indexOf(x) + 1 || 99) - (first.indexOf(y) + 1 || 99) || (x < y ? -1 : 1));
    for (const k of classes) {
      if (!tiles.has(k)) tiles.set(k, tile(k));
      tiles.get(k).set(pool.resources[k]);
    }
    const want = [hosts.el, instances.el, ...classes.map((k) => tiles.get(k).el)];
    const box = byID("pool");
    if (want.length !== box.children.length || want.some((el, i) => box.children[i] !== el)) box.replaceChildren(...want);
  });
}
