// A day again: a stretch of the past on another fleet, or by another policy.
import { get, request } from "../api.js";
import { byID, h } from "../dom.js";
import { count } from "../format.js";
import { asks, change, fields, headline, nothing, option, table } from "./parts.js";
import { fleetFields, inOrder, outcome, without } from "./whatif.js";

const again = 700; // ms between two looks
const policies = [["", "as the daemon places"], ["default", "default"], ["best-fit", "best fit"], ["spread", "spread"], ["fgd", "FGD, for GPUs"]];

const average = new Intl.NumberFormat("en", { maximumFractionDigits: 2 });
const moment = (iso) => new Date(iso).toLocaleString();

// local is a moment as an input of date and time has it.
function local(date) {
  const two = (n) => String(n).padStart(2, "0");
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}T${two(date.getHours())}:${two(date.getMinutes())}`;
}

// setupAgain makes the form. The day that is over now is what it begins with.
export function setupAgain(fleet) {
  const form = byID("again-form"), answer = byID("again-answer");
  const from = h("input", { id: "again-from", type: "datetime-local", required: true, value: local(new Date(Date.now() - 86_400_000)) });
  const until = h("input", { id: "again-until", type: "datetime-local" });
  const policy = h("select", { id: "again-policy" }, policies.map(([value, words]) => option(value, words)));
  const changes = fleetFields("again", fleet);
  form.append(...[fields(["From", from], ["Until", until, "empty: now"], ["Placed by", policy, "on the changed fleet", true]), ...changes.els].filter(Boolean));
  answer.append(nothing("Would fewer hosts have sufficed yesterday, or another policy have needed fewer?"));
  asks(form, answer, "Let it happen again", async (signal, tell) => {
    const r = await request("POST", "/replays", without({
      from: new Date(from.value).toISOString(), until: until.value && new Date(until.value).toISOString(), policy: policy.value, ...changes.read(),
    }), {}, signal);
    const path = `/replays/${encodeURIComponent(r.id)}`;
    signal.addEventListener("abort", () => request("DELETE", path).catch(() => {})); // it ends by itself at the latest when its time is over
    for (;;) {
      signal.throwIfAborted();
      const now = await get(path);
      if (now.state === "failed") throw new Error(now.reason);
      if (now.state === "done") return now.result;
      if (now.progress.at) tell(`Working it out: at ${moment(now.progress.at)}`);
      await new Promise((done) => setTimeout(done, again));
    }
  }, (r) => shown(r));
}

function shown(r) {
  const { same, changed } = r;
  const rows = [
    ["Instances that find no place", (x) => x.refused, "refused"], ["Hosts in use on average", (x) => x.hosts, "hosts"], ["Hosts in use at most", (x) => x.most_hosts, "most"],
    ["Resizes refused", (x) => x.resized.asked - x.resized.placed, "resized"],
  ].filter(([, f, k]) => k !== "resized" || f(same) || f(changed));
  return [
    headline(changed.refused ? "full" : "ok", changed.refused ? "does not fit" : "fits",
      `${count(r.came)} instances came and ${count(r.went)} went. On the changed fleet ${changed.refused ? count(changed.refused) : "none"} would have found no place${same.refused ? `, on the fleet as it was ${count(same.refused)}` : ""}.`),
    r.cut ? h("p", { class: "refused" }, `There was too much to be placed: what was after ${moment(r.until)} is left out.`) : null,
    table("What would have been", ["", "as it was#", "changed#"], rows.map(([words, f, k]) => ({ data: { figure: k, same: f(same), changed: f(changed) }, cells: [words, average.format(f(same)), average.format(f(changed))] }))),
    h("h3", {}, "The most that was used"),
    h("div", { class: "changes" }, inOrder(Object.keys(same.peak)).map((k) => change(k, same.peak[k], changed.peak[k] ?? { used: 0, capacity: 0 }, ["as it was", "changed"]))),
    outcome("Of lost hosts", changed.displaced), changed.launched.refused.length ? outcome("Launched", changed.launched) : null, changed.resized.refused.length ? outcome("Resized", changed.resized) : null,
    h("p", { class: "hint" }, `From ${moment(r.from)} until ${moment(r.until)}.`),
  ];
}
