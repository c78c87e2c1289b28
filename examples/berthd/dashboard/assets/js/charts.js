// The page of charts: who is busiest, and what one host or instance was doing. What is shown stands in the address, so that
// it can be handed on.
import { get, hostPath } from "./api.js";
import { Busiest } from "./charts/busiest.js";
import { Chart } from "./charts/chart.js";
import { byID, data, text } from "./dom.js";
import { openPage } from "./page.js";
import { problem } from "./ui.js";

const limits = { cpu: 80, memory: 85, disk: 90 }; // of the shipped rules, in per cent

// Page is what is being looked at.
class Page {
  constructor() {
    this.charts = new Map();
    this.busiest = new Busiest((of, id, name) => this.choose(of, id, name));
    this.asked = 0;
    byID("range-form").addEventListener("submit", (e) => { e.preventDefault(); this.look(); });
    byID("range").addEventListener("input", () => this.ranged());
    for (const id of ["from", "until"]) byID(id).addEventListener("input", () => this.look());
    byID("every").addEventListener("input", () => this.pace());
    const q = new URLSearchParams(location.search);
    if (q.get("range") && [...byID("range").options].some((o) => o.value === q.get("range"))) byID("range").value = q.get("range");
    if (q.get("of") === "instances") this.busiest.of.value = "instances";
    if (q.get("id")) this.subject = { of: q.get("of") === "instances" ? "instances" : "hosts", id: q.get("id"), name: q.get("id") };
  }

  choose(of, id, name) {
    this.subject = { of, id, name: name || id };
    this.address();
    this.look();
  }

  // address writes down what is shown.
  address() {
    const q = new URLSearchParams({ of: this.subject.of, id: this.subject.id });
    if (byID("range").value) q.set("range", byID("range").value);
    history.replaceState(null, "", "?" + q);
  }

  // ranged takes another range of time.
  ranged() {
    const free = byID("range").value === "";
    byID("between").hidden = !free;
    if (free && !byID("from").value) {
      const two = (n) => String(n).padStart(2, "0");
      const local = (d) => `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())}T${two(d.getHours())}:${two(d.getMinutes())}`;
      byID("from").value = local(new Date(Date.now() - 3_600_000));
      byID("until").value = local(new Date());
    }
    if (this.subject) this.address();
    this.look();
  }

  // range is the range of time as the API wants it.
  range() {
    const seconds = Number(byID("range").value);
    const iso = (v) => new Date(v).toISOString();
    if (seconds) return new URLSearchParams({ from: iso(Date.now() - seconds * 1000), to: iso(Date.now()) });
    return new URLSearchParams([["from", byID("from").value], ["to", byID("until").value]].filter(([, v]) => v).map(([k, v]) => [k, iso(v)]));
  }

  // pace looks again and again, as often as is asked for, while the page is seen.
  pace() {
    clearInterval(this.timer);
    const every = Number(byID("every").value);
    if (every) this.timer = setInterval(() => document.hidden || this.all(), every * 1000);
  }

  async all() {
    const list = await this.busiest.look().catch(() => undefined); // the next time may be better
    if (!this.subject && list?.items.length) this.choose(list.of, list.items[0].id, list.items[0].name);
    else await this.look();
  }

  // look shows the charts of what is chosen. Of several looks under way the last one counts.
  async look() {
    if (!this.subject) return;
    const { of, id, name } = this.subject, mine = ++this.asked;
    text(byID("charts-title"), name);
    this.busiest.mark(of, id);
    const path = of === "instances" ? `/instances/${encodeURIComponent(id)}` : hostPath(id);
    try {
      const got = await get(`${path}/history?${this.range()}`);
      if (mine !== this.asked) return;
      byID("charts-problem").replaceChildren();
      this.show(got);
      if (name === id) { // only its id is known yet
        const x = await get(path);
        if (mine === this.asked && x.name) text(byID("charts-title"), this.subject.name = x.name);
      }
    } catch (err) {
      if (mine === this.asked) byID("charts-problem").replaceChildren(problem(err.problem ?? { title: String(err) }));
    }
  }

  show(got) {
    for (const f of got.figures) {
      if (!this.charts.has(f.figure)) {
        const chart = new Chart(f, limits[f.figure]);
        this.charts.set(f.figure, chart);
        byID("charts-grid").append(chart.el);
      }
      this.charts.get(f.figure).show(f, got);
    }
    data(byID("charts"), "shown", this.subject.id);
  }
}

openPage("There are no charts", async () => {
  const page = new Page();
  await page.busiest.look(); // and a daemon without a history says so here
  return async () => {
    await page.all();
    page.pace();
  };
});
