// Moves that gain something: planned, carried out wave by wave after a question, stopped.
import { get, request } from "../api.js";
import { byID, data, h, text } from "../dom.js";
import { amount, compare, count } from "../format.js";
import { attempt, checkbox, confirm, problem, toast } from "../ui.js";
import { asks, fields, nothing, number, option, picker, table } from "./parts.js";

const again = 1000; // ms between two looks at a plan that is being carried out

const goals = [["defragment", "Empty hosts"], ["repair", "Repair what is where it must not be"], ["balance", "Even the use out"], ["drain", "Drain hosts"]];
const tones = { planned: "calm", running: "calm", done: "ok", stopped: "high", ended: "high" };

// setupMoves makes the form, and finds a plan again that is being carried out.
export function setupMoves(fleet) {
  const form = byID("moves-form"), answer = byID("moves-answer");
  const goal = h("select", { id: "moves-goal" }, goals.map(([value, words]) => option(value, words)));
  const drained = picker("moves-hosts", "Hosts to be drained", fleet.hosts.map((x) => x.id).sort(compare));
  const moves = number("moves-most", { min: "0", step: "1", placeholder: "no bound" });
  const side = number("moves-side", { min: "1", max: "1000", step: "1", value: "4" });
  const cold = checkbox("moves-cold", "Instances may be stopped for their move", "where they cannot be moved running");
  drained.el.hidden = true;
  goal.addEventListener("input", () => { drained.el.hidden = goal.value !== "drain"; });
  form.append(fields(["Goal", goal, "", true]), drained.el, fields(["At most so many moves", moves], ["Side by side", side, "in the pool"]), cold.el);
  answer.append(nothing("No plan yet. A plan moves nothing until it is started."));
  asks(form, answer, "Plan moves", async (signal) => {
    const p = await request("POST", "/rebalance-plans", {
      goal: goal.value, ...(goal.value === "drain" && { hosts: drained.values() }), moves: Number(moves.value) || 0, at_a_time: Number(side.value) || 0, cold: cold.input.checked,
    }, {}, signal);
    return [p, await least(p, signal)];
  }, ([p, bound]) => [view(p, bound)]);
  byItself();
  begun(answer).catch(() => {}); // then none is shown
}

// least is the number of hosts below which nothing can carry what is there, whatever is moved; undefined if it is not asked.
async function least(p, signal) {
  if (p.goal !== "defragment") return undefined;
  try {
    const q = await get("/capacity");
    if (!q.items.length) return 0;
    q.hosts.forEach((k) => { delete k.owned; });
    return (await request("POST", "/capacity", q, {}, signal)).least;
  } catch {
    return undefined; // the plan is what was asked for
  }
}

// byItself says what the daemon does about moves by itself.
async function byItself() {
  const s = await get("/rebalancing").catch(() => undefined);
  if (!s) return;
  const words = { off: "The daemon moves nothing by itself.", recommend: "The daemon plans moves by itself and makes none of them.", automatic: "The daemon makes such moves by itself." };
  text(byID("moves-mode"), [words[s.mode], s.planned?.moves.length ? `Its last plan: ${s.planned.summary}.` : "", s.mode !== "off" && s.waiting ? `Now: ${s.waiting}.` : ""].filter(Boolean).join(" "));
}

// begun shows the plan that is being carried out, if there is one.
async function begun(answer) {
  const p = (await get("/rebalance-plans?limit=100")).items.find((x) => x.state === "running");
  if (p && answer.querySelector(".empty")) answer.replaceChildren(view(p));
}

// figures says what is gained.
function figures(p, bound) {
  const rows = [["Hosts in use", "hosts"], ["Instances on the hosts to be drained", "on"], ["Instances where they must not be", "violations"], ["Hosts over their capacity", "overloaded"], ["Hosts outside the tolerance", "uneven"]]
    .filter(([, k]) => k === "hosts" || p.before[k] || p.after[k]);
  return [
    table("What is gained", ["", "before#", "after#"], rows.map(([words, k]) => ({ data: { figure: k, before: p.before[k], after: p.after[k] }, cells: [words, count(p.before[k]), count(p.after[k])] }))),
    bound !== undefined ? h("p", { class: "hint", data: { least: bound } }, `No fewer than ${count(bound)} hosts can carry what is placed, whatever is moved (certified; by resources only).`) : null,
  ];
}

// view shows a plan and keeps up with it.
function view(p, bound) {
  const chip = h("span", { class: "chip" }), words = h("strong"), told = h("p", { class: "hint" });
  const fill = h("i"), progress = h("div", { class: "progress", role: "progressbar", "aria-label": "Moves made", "aria-valuemin": "0", "aria-valuemax": String(p.moves.length) }, fill);
  const start = h("button", { class: "button primary", type: "button", data: { verb: "start" } }, "Carry it out…");
  const stop = h("button", { class: "button", type: "button", data: { verb: "stop" } }, "Stop");
  const el = h("div", { class: "lines", data: { plan: p.id } }, h("p", { class: "headline", role: "status" }, chip, words), figures(p, bound), h("div", { class: "buttons start" }, start, stop), progress, told, moves(p), skipped(p));
  const set = (x) => {
    data(el, "state", x.state);
    data(chip, "tone", tones[x.state]);
    data(chip, "busy", x.state === "running" ? "yes" : undefined);
    text(chip, x.state);
    text(words, x.moves.length ? x.summary : "Nothing is to be gained.");
    const c = x.carried;
    const held = document.activeElement === start || document.activeElement === stop;
    start.hidden = x.state !== "planned" || !x.moves.length;
    stop.hidden = x.state !== "running";
    if (held) (start.hidden ? stop.hidden ? byID("moves") : stop : start).focus({ preventScroll: true });
    progress.hidden = x.state === "planned";
    fill.style.width = (100 * (c.moved + c.stayed)) / Math.max(1, c.moves) + "%";
    progress.setAttribute("aria-valuenow", String(c.moved + c.stayed));
    progress.setAttribute("aria-valuetext", `${c.moved} of ${c.moves} moved`);
    text(told, x.state === "planned" ? "" : [`${count(c.moved)} of ${count(c.moves)} moved`, c.moving ? `${count(c.moving)} under way` : "", c.stayed ? `${count(c.stayed)} came to nothing` : "", x.reason].filter(Boolean).join(" · "));
  };
  const path = `/rebalance-plans/${encodeURIComponent(p.id)}`;
  const follow = async () => {
    while (el.isConnected) {
      const now = await get(path).catch((err) => {
        told.replaceChildren(problem(err.problem ?? { title: String(err) }));
      });
      if (!now) return;
      set(now);
      if (now.state !== "running") return;
      await new Promise((done) => setTimeout(done, again));
    }
  };
  start.addEventListener("click", () => attempt(start, async () => {
    if (!(await confirm(`Make ${count(p.moves.length)} moves?`, `${p.summary}. Each wave is checked anew before it is ordered. It can be stopped at any moment; moves under way then end by themselves.`, "Carry it out"))) return;
    set(await request("POST", `${path}/start`));
    follow();
  }));
  stop.addEventListener("click", () => attempt(stop, async () => {
    set(await request("POST", `${path}/stop`));
    toast("No further move is begun");
  }));
  set(p);
  if (p.state === "running") setTimeout(follow);
  return el;
}

function moves(p) {
  if (!p.moves.length) return null;
  const short = 500;
  return h("section", { class: "lines" }, h("h3", {}, "In this order"),
    table("Moves", ["Wave#", "Instance", "From", "To", "Size#", "Why"], p.moves.slice(0, short).map((m) => ({
      data: { move: m.instance }, cells: [String(m.wave + 1), m.name || m.instance, m.from, m.to, amount("memory", m.bytes), m.why],
    }))), p.moves.length > short ? h("p", { class: "hint" }, `The first ${short} of ${count(p.moves.length)} are shown.`) : null);
}

function skipped(p) {
  if (!p.skipped.length) return null;
  return h("details", {}, h("summary", {}, `What is left alone, and why (${count(p.skipped.length)})`),
    table("Left alone", ["Host", "Instance", "Why"], p.skipped.map((s) => ({ cells: [s.host, s.instance ?? "", s.reason] }))));
}
