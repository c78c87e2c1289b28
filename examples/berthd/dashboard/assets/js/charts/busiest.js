// Who uses most now: hosts or instances, by one figure.
import { get } from "../api.js";
import { byID, data, h, text } from "../dom.js";
import { bar } from "../pool.js";
import { say } from "./chart.js";

const shown = 100;
const other = new Set(["received", "transmitted", "read", "written"]); // that have no column of their own

// Busiest is the list; choose is called with what is chosen in it.
export class Busiest {
  constructor(choose) {
    this.choose = choose;
    this.of = byID("busiest-of");
    this.by = byID("busiest-by");
    for (const el of [this.of, this.by]) el.addEventListener("input", () => this.look().catch(() => {})); // the next time may be better
  }

  // mark shows which one is chosen.
  mark(of, id) {
    this.chosen = of + " " + id;
    for (const row of byID("busiest-rows").children) {
      if (this.of.value + " " + row.dataset.id === this.chosen) row.setAttribute("aria-current", "true");
      else row.removeAttribute("aria-current");
    }
  }

  // look asks anew, and returns the list.
  async look() {
    const of = this.of.value, by = this.by.value;
    const now = await get(`/usage?of=${of}&by=${by}&limit=${shown}`);
    if (of !== this.of.value || by !== this.by.value) return now; // somebody has asked for something else meanwhile
    text(byID("busiest-what"), of === "hosts" ? "Host" : "Instance");
    const focused = byID("busiest-rows").contains(document.activeElement) ? document.activeElement.closest("tr").dataset.id : undefined;
    byID("busiest-rows").replaceChildren(...now.items.map((x) => this.row(of, by, x)));
    byID("busiest-empty").hidden = now.items.length > 0;
    if (this.chosen) this.mark(...this.chosen.split(" "));
    if (focused !== undefined) [...byID("busiest-rows").children].find((r) => r.dataset.id === focused)?.querySelector("button").focus({ preventScroll: true });
    return now;
  }

  row(of, by, x) {
    const cell = (words, v) => {
      if (v === undefined) return h("td", {}, h("span", { class: "n" }, "–"));
      const b = bar();
      b.set(words, v, say("percent", v));
      return h("td", {}, h("span", { class: "n" }, say("percent", v)), b.el);
    };
    const more = [x.project, other.has(by) && x[by] !== undefined ? say("bytes/second", x[by]) : undefined].filter(Boolean).join(" · ");
    const row = h("tr", {}, h("th", { scope: "row" }, h("button", { class: "name", type: "button", on: { click: () => this.choose(of, x.id, x.name) } }, x.name || x.id), more ? h("span", { class: "sub" }, more) : null),
      cell("CPU", x.cpu), cell("Memory", x.memory), cell("Disk", x.disk), h("td", { class: "num" }, x.load === undefined ? "–" : say("cores", x.load)));
    data(row, "id", x.id);
    return row;
  }
}
