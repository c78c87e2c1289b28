// One chart: curves over time as SVG, its numbers as a table, and a cursor for the mouse and the keyboard.
import { h, text } from "../dom.js";
import { amount } from "../format.js";

const ns = "http://www.w3.org/2000/svg";

// s makes an element of SVG.
function s(tag, props, ...children) {
  const el = document.createElementNS(ns, tag);
  for (const [k, v] of Object.entries(props ?? {})) el.setAttribute(k, v);
  el.append(...children);
  return el;
}

const number = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });

// say prints a value in its unit.
export function say(unit, v) {
  if (unit === "percent") return number.format(v) + " %";
  if (unit === "bytes/second") return amount("memory", Math.round(v)) + "/s";
  return number.format(v);
}

// top is a round number that no value is above.
function top(unit, most) {
  if (unit === "percent") return Math.max(100, most);
  if (!(most > 0)) return unit === "cores" ? 1 : 1024;
  const base = unit === "bytes/second" ? 1024 ** Math.floor(Math.log(most) / Math.log(1024)) : 1;
  const scaled = most / base, power = 10 ** Math.floor(Math.log10(scaled));
  return [1, 2, 4, 5, 8, 10].map((x) => x * power * base).find((x) => x >= most);
}

// ticks are moments of a range, on full minutes, hours or days of this place.
function ticks(from, to, most) {
  const steps = [60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 432000, 604800, 1209600, 2592000, 7776000, 31536000];
  const step = steps.find((x) => (to - from) / x <= most) ?? steps.at(-1);
  const shift = new Date(from * 1000).getTimezoneOffset() * 60, out = [];
  for (let t = Math.ceil((from - shift) / step) * step + shift; t <= to; t += step) out.push(t);
  return out;
}

// clock prints a moment, as exactly as a range of so many seconds needs.
function clock(t, span) {
  const d = new Date(t * 1000);
  if (span <= 2 * 86400) return d.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
  return d.toLocaleDateString("en-GB", { day: "numeric", month: "short" });
}

const moment = (t) => new Date(t * 1000).toLocaleString("en-GB");

const margin = { left: 58, right: 8, top: 8, bottom: 22 };

// Chart shows a figure of the API. limit is where alerts begin, if they do.
export class Chart {
  constructor(figure, limit) {
    this.limit = limit;
    this.keys = h("ul", { class: "keys" });
    this.svg = s("svg", { role: "img", tabindex: "0" });
    this.none = h("p", { class: "none" }, "nothing is known of this time");
    this.at = h("p", { class: "at", "aria-live": "polite" });
    this.rows = h("tbody");
    this.head = h("tr");
    const table = h("table", { class: "listing" }, h("thead", {}, this.head), this.rows);
    this.details = h("details", { on: { toggle: () => this.fill() } }, h("summary", {}, "Numbers"), h("div", { class: "wide", tabindex: "0", role: "region", "aria-label": `${figure.title}: numbers` }, table));
    this.plot = h("div", { class: "plot" }, this.svg, this.none);
    this.el = h("section", { class: "card chart", data: { figure: figure.figure } }, h("header", {}, h("h3", {}, figure.title), this.keys), this.plot, this.at, this.details);
    this.svg.addEventListener("pointermove", (e) => this.point(e));
    this.svg.addEventListener("pointerleave", () => this.move(undefined));
    this.svg.addEventListener("blur", () => this.move(undefined));
    this.svg.addEventListener("keydown", (e) => this.key(e));
    new ResizeObserver(() => this.draw()).observe(this.plot);
  }

  // show takes what is to be seen.
  show(figure, range) {
    this.figure = figure;
    this.range = { from: Date.parse(range.from) / 1000, to: Date.parse(range.to) / 1000, step: range.step };
    const all = new Map(); // moment: values by curve
    figure.curves.forEach((c, n) => c.points.forEach(([t, v]) => {
      if (!all.has(t)) all.set(t, []);
      all.get(t)[n] = v;
    }));
    this.moments = [...all].sort((a, b) => a[0] - b[0]);
    this.el.dataset.points = this.moments.length;
    if (this.cursor !== undefined && !all.has(this.cursor)) this.cursor = undefined;
    this.draw();
    this.fill();
  }

  draw() {
    if (!this.figure) return;
    const { unit, title, curves } = this.figure, { from, to } = this.range;
    const w = Math.max(200, this.plot.clientWidth), height = Math.max(100, this.plot.clientHeight);
    const values = curves.flatMap((c) => c.points.map(([, v]) => v));
    const most = top(unit, Math.max(0, ...values));
    this.x = (t) => margin.left + ((t - from) / Math.max(1, to - from)) * (w - margin.left - margin.right);
    this.y = (v) => height - margin.bottom - (v / most) * (height - margin.top - margin.bottom);
    const out = [];
    for (let i = 0; i <= 4; i++) {
      const v = (most * i) / 4, y = this.y(v);
      out.push(s("line", { class: "rule", x1: margin.left, x2: w - margin.right, y1: y, y2: y }), s("text", { x: margin.left - 6, y: y + 4, "text-anchor": "end" }, say(unit, v)));
    }
    for (const t of ticks(from, to, Math.max(2, Math.floor(w / 90)))) out.push(s("text", { x: this.x(t), y: height - 5, "text-anchor": "middle" }, clock(t, to - from)));
    if (this.limit) out.push(s("line", { class: "limit", x1: margin.left, x2: w - margin.right, y1: this.y(this.limit), y2: this.y(this.limit) }));
    curves.forEach((c, n) => {
      const d = this.path(c.points);
      if (n === 0 && curves.length === 1) out.push(s("path", { class: "area", d: this.area(c.points) }));
      out.push(s("path", { class: "curve", "data-n": n, d }));
    });
    this.over = s("g");
    this.svg.setAttribute("viewBox", `0 0 ${w} ${height}`);
    this.svg.setAttribute("aria-label", this.words(title));
    this.svg.replaceChildren(...out, this.over);
    this.none.hidden = this.moments.length > 0;
    this.keys.replaceChildren(...curves.map((c, n) => {
      const last = c.points.at(-1);
      return h("li", {}, s("svg", { viewBox: "0 0 22 8", "aria-hidden": "true" }, s("path", { class: "curve", "data-n": n, d: "M0 4H22" })), curves.length > 1 ? `${c.name} ` : "", h("b", {}, last ? say(unit, last[1]) : "–"));
    }));
    this.move(this.cursor);
  }

  // runs divides points where some are missing.
  runs(points) {
    const out = [];
    let last;
    for (const p of points) {
      if (last === undefined || p[0] - last > 1.5 * this.range.step) out.push([]);
      out.at(-1).push(p);
      last = p[0];
    }
    return out;
  }

  path(points) {
    const at = ([t, v]) => `${this.x(t).toFixed(1)} ${this.y(v).toFixed(1)}`;
    return this.runs(points).map((run) => (run.length === 1 ? `M${at(run[0])}h1` : "M" + run.map(at).join("L"))).join("");
  }

  area(points) {
    const zero = this.y(0).toFixed(1);
    return this.runs(points).map((run) => `M${this.x(run[0][0]).toFixed(1)} ${zero}L${run.map(([t, v]) => `${this.x(t).toFixed(1)} ${this.y(v).toFixed(1)}`).join("L")}L${this.x(run.at(-1)[0]).toFixed(1)} ${zero}Z`).join("");
  }

  // words say what the picture shows.
  words(title) {
    const { unit, curves } = this.figure;
    const parts = curves.filter((c) => c.points.length).map((c) => {
      const v = c.points.map((p) => p[1]);
      const mean = v.reduce((a, b) => a + b, 0) / v.length;
      return `${c.name} now ${say(unit, v.at(-1))}, on average ${say(unit, mean)}, at least ${say(unit, Math.min(...v))}, at most ${say(unit, Math.max(...v))}`;
    });
    return `${title} from ${moment(this.range.from)} to ${moment(this.range.to)}: ${parts.join("; ") || "nothing is known"}`;
  }

  point(e) {
    if (!this.moments?.length) return;
    const box = this.svg.getBoundingClientRect();
    const x = e.clientX - box.left;
    let best = this.moments[0][0];
    for (const [t] of this.moments) if (Math.abs(this.x(t) - x) < Math.abs(this.x(best) - x)) best = t;
    this.move(best);
  }

  key(e) {
    if (!this.moments?.length) return;
    const i = this.moments.findIndex(([t]) => t === this.cursor), last = this.moments.length - 1;
    const to = { ArrowLeft: i < 0 ? last : Math.max(0, i - 1), ArrowRight: i < 0 ? 0 : Math.min(last, i + 1), Home: 0, End: last, PageUp: Math.max(0, i - 10), PageDown: Math.min(last, i + 10) }[e.key];
    if (e.key === "Escape") this.move(undefined);
    if (to === undefined) return;
    e.preventDefault();
    this.move(this.moments[to][0]);
  }

  // move puts the cursor to a moment, and says what was then.
  move(t) {
    this.cursor = t;
    const found = t === undefined ? undefined : this.moments.find(([at]) => at === t);
    if (!found) {
      this.over?.replaceChildren();
      text(this.at, "");
      return;
    }
    const { unit, curves } = this.figure, x = this.x(t);
    const dots = found[1].map((v, n) => (v === undefined ? undefined : s("circle", { class: "dot", "data-n": n, cx: x, cy: this.y(v), r: 3.5 }))).filter(Boolean);
    this.over.replaceChildren(s("line", { class: "cursor", x1: x, x2: x, y1: this.y(0), y2: margin.top }), ...dots);
    text(this.at, `${moment(t)}: ${curves.map((c, n) => (found[1][n] === undefined ? undefined : `${c.name} ${say(unit, found[1][n])}`)).filter(Boolean).join(", ")}`);
  }

  // fill writes the table while somebody looks at it, the newest first.
  fill() {
    if (!this.details.open || !this.figure) return;
    const { unit, curves } = this.figure;
    this.head.replaceChildren(h("th", { scope: "col" }, "Time"), ...curves.map((c) => h("th", { scope: "col", class: "num" }, c.name)));
    this.rows.replaceChildren(...this.moments.toReversed().map(([t, v]) => h("tr", {}, h("th", { scope: "row" }, moment(t)), ...curves.map((_, n) => h("td", { class: "num" }, v[n] === undefined ? "" : say(unit, v[n]))))));
  }
}
