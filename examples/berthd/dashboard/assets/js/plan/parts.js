// What the forms and answers of plans are made of.
import { h, icon, text } from "../dom.js";
import { amount, className, share } from "../format.js";
import { bar } from "../pool.js";
import { field, problem } from "../ui.js";

// number is an input for one.
export const number = (id, props = {}) => h("input", { id, type: "number", step: "any", ...props });

// option is one of a select.
export const option = (value, words = value) => h("option", { value }, words);

// sizes says amounts of resources in words, iops left out.
export const sizes = (of) => Object.entries(of).filter(([k, n]) => n && !k.startsWith("iops.")).map(([k, n]) => amount(k, n) + (["cpu", "memory"].includes(k) ? "" : " " + className(k))).join(", ");

// kinds groups servers by what instances may take of them, those of which there are most first: {like, words, count}.
export function kinds(hosts) {
  const by = new Map();
  for (const x of hosts.filter((x) => !x.aggregate)) {
    const has = Object.fromEntries(Object.entries(x.resources).map(([k, u]) => [k, u.total]));
    const key = JSON.stringify(Object.entries(has).sort());
    const one = by.get(key) ?? { like: x.id, words: sizes(has), count: 0 };
    one.count++;
    if (x.schedulable && !one.ready) Object.assign(one, { like: x.id, ready: true });
    by.set(key, one);
  }
  return [...by.values()].sort((a, b) => b.count - a.count || (a.words < b.words ? -1 : 1));
}

// picker has several of a list picked by their names: {el, values()}.
export function picker(id, label, names, hint) {
  const known = new Set(names), picked = new Set();
  const input = h("input", { id, list: id + "-names", autocomplete: "off", spellcheck: "false" });
  const add = h("button", { class: "button", type: "button", "aria-label": `Add to ${label}` }, "Add");
  const shown = h("ul", { class: "picked", "aria-label": label });
  const pick = () => {
    const name = input.value.trim();
    input.setAttribute("aria-invalid", String(name !== "" && !known.has(name)));
    if (!known.has(name)) return;
    input.value = "";
    if (picked.has(name)) return;
    picked.add(name);
    const drop = h("button", { class: "button quiet icon", type: "button", title: "Remove", "aria-label": `Remove ${name}` }, icon("close"));
    const item = h("li", { data: { name } }, name, drop);
    drop.addEventListener("click", () => { picked.delete(name); item.remove(); input.focus(); });
    shown.append(item);
  };
  add.addEventListener("click", pick);
  input.addEventListener("keydown", (e) => {
    if (e.key !== "Enter" || input.value === "") return;
    e.preventDefault(); // it is not to be asked yet
    pick();
  });
  const el = h("div", { class: "field all" }, h("label", { for: id }, label), h("div", { class: "pick" }, input, add), h("datalist", { id: id + "-names" }, names.map((n) => option(n))), shown, hint ? h("span", { class: "hint" }, hint) : null);
  return { el, values: () => { pick(); return [...picked]; } };
}

// lines is a list of as many lines as somebody wants: make returns {fields, read}; {el, values()}.
export function lines(id, label, word, make) {
  const list = h("div", { class: "lines" }), made = [];
  const add = h("button", { class: "button", type: "button", id: id + "-add" }, word);
  add.addEventListener("click", () => {
    const line = make();
    const drop = h("button", { class: "button quiet icon", type: "button", title: "Remove this line", "aria-label": "Remove this line" }, icon("close"));
    const el = h("div", { class: "line" }, line.fields, drop);
    drop.addEventListener("click", () => { el.remove(); add.focus(); });
    made.push({ el, read: line.read });
    list.append(el);
    el.querySelector("select, input")?.focus();
  });
  return { el: h("fieldset", { id }, h("legend", {}, label), list, h("div", {}, add)), values: () => made.filter((l) => l.el.isConnected).map((l) => l.read()) };
}

// demands has instances asked for, so many of a flavor: values are {flavor, count}.
export const demands = (id, label, flavors) => lines(id, label, "Add instances", () => {
  const flavor = h("select", { "aria-label": "Flavor" }, flavors.map((f) => option(f.name, `${f.name}: ${sizes(f.resources)}`)));
  const count = h("input", { type: "number", min: "1", max: "200000", value: "10", required: true, "aria-label": "How many" });
  return { fields: [flavor, count], read: () => ({ flavor: flavor.value, count: Number(count.value) }) };
});

// asks makes a form ask and shows the answer; what takes long tells how far it is. Escape in the form, or the button beside, calls it off.
export function asks(form, answer, verb, send, show) {
  const go = h("button", { class: "button primary", type: "submit", data: { verb: "ask" } }, verb);
  const stop = h("button", { class: "button", type: "button", hidden: true, data: { verb: "call-off" } }, "Call it off");
  let running;
  form.append(h("div", { class: "buttons start" }, go, stop));
  stop.addEventListener("click", () => { running?.abort(); go.focus(); });
  form.addEventListener("keydown", (e) => { if (e.key === "Escape") running?.abort(); });
  form.addEventListener("submit", async (e) => {
    e.preventDefault();
    if (running) return;
    const mine = (running = new AbortController());
    stop.hidden = false;
    go.ariaDisabled = "true";
    answer.replaceChildren(h("p", { class: "hint", role: "status" }, "Working it out"));
    try {
      const tell = (words) => { if (running === mine) text(answer.querySelector("[role=status]") ?? answer, words); };
      answer.replaceChildren(...(await show(await send(mine.signal, tell))).filter(Boolean));
    } catch (err) {
      answer.replaceChildren(mine.signal.aborted ? h("p", { class: "empty", role: "status" }, "Called off.") : problem(err.problem ?? { title: String(err) }));
    } finally {
      running = undefined;
      stop.hidden = true;
      go.ariaDisabled = null;
    }
  });
}

// nothing is what stands where no question has been asked yet.
export const nothing = (words) => h("p", { class: "empty" }, words);

// headline says the answer in a sentence.
export const headline = (tone, chip, words) => h("p", { class: "headline", role: "status" }, h("span", { class: "chip", data: { tone } }, chip), h("strong", {}, words));

// change is one class before and after, each a bar that says the same in words.
export function change(cls, before, after, words = ["now", "then"]) {
  const row = (word, u) => {
    const b = bar();
    b.set(`${className(cls)} ${word}`, share(u.used, u.capacity), `${amount(cls, u.used)} used of ${amount(cls, u.capacity)}`);
    return [h("p", { class: "row" }, h("span", {}, word), h("span", {}, `${amount(cls, u.used)} of ${amount(cls, u.capacity)}`)), b.el];
  };
  return h("section", { class: "change", data: { class: cls, before: before.used, after: after.used, capacity: before.capacity, then: after.capacity } }, h("h3", {}, className(cls)), row(words[0], before), row(words[1], after));
}

// table is one for reading. Columns that end in # are numbers.
export function table(label, columns, rows) {
  const num = columns.map((c) => c.endsWith("#"));
  return h("div", { class: rows.length > 12 ? "wide tall" : "wide", tabindex: "0", role: "region", "aria-label": label }, h("table", { class: "listing" },
    h("thead", {}, h("tr", {}, columns.map((c, i) => h("th", { scope: "col", class: num[i] ? "num" : "" }, c.replace(/#$/, ""))))),
    h("tbody", {}, rows.map((r) => h("tr", { data: r.data }, r.cells.map((c, i) => h("td", { class: num[i] ? "num" : "" }, c)))))));
}

// fields arranges labelled inputs side by side.
export const fields = (...of) => h("div", { class: "fields" }, of.map((f) => f.el ?? field(...f)));
