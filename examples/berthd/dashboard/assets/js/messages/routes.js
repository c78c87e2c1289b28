// The tree of routes as a picture, the editor of it, and who is told of an alert.
import { request, seen } from "../api.js";
import { byID, h } from "../dom.js";
import { ask } from "../ui.js";

const matcher = (m) => h("code", {}, `${m.name}${m.op ?? "="}${m.value}`);

// facts says when and how those of a route are told.
function facts(r) {
  const out = [];
  if (r.group_by) out.push(r.group_by.length ? (r.group_by[0] === "..." ? "each alert by itself" : `together by ${r.group_by.join(", ")}`) : "all together");
  if (r.wait) out.push(r.wait === "0s" ? "at once" : `after ${r.wait}`);
  if (r.interval) out.push(`news every ${r.interval}`);
  if (r.repeat) out.push(`again after ${r.repeat}`);
  if (r.mute?.length) out.push(`not during ${r.mute.join(", ")}`);
  if (r.active?.length) out.push(`only during ${r.active.join(", ")}`);
  for (const s of r.escalation ?? []) out.push(`after ${s.after} without anybody, ${s.receivers.join(", ")} too`);
  if (r.escalation && !r.escalation.length) out.push("nobody else later");
  return out;
}

function branch(r, top) {
  const what = top ? [h("span", {}, "everything")] : r.match?.length ? r.match.map(matcher) : [h("span", {}, "everything else")];
  const to = r.receivers?.length ? h("b", {}, r.receivers.join(", ")) : h("span", { class: "hint" }, top ? "nobody" : "as above");
  const more = facts(r);
  return h("li", {}, h("div", { class: "route" }, what, h("span", { "aria-hidden": "true" }, "→"), h("span", { class: "sr" }, "goes to"), to, r.continue ? h("span", { class: "hint" }, "and on to those below") : null),
    more.length ? h("p", { class: "hint" }, more.join(" · ")) : null,
    r.routes?.length ? h("ul", { class: "routes" }, r.routes.map((x) => branch(x, false))) : null);
}

// days says when times are.
const days = (t) => `${t.name}: ` + (t.time_intervals ?? []).map((i) => [
  (i.weekdays ?? []).join(", "), (i.times ?? []).map((x) => `${x.start_time}–${x.end_time}`).join(", "), (i.days_of_month ?? []).map((x) => "day " + x).join(", "),
  (i.months ?? []).join(", "), (i.years ?? []).join(", "), i.location,
].filter(Boolean).join(" ") || "always").join("; or ");

// picture is the tree, as people read it.
export const picture = (r) => h("div", {}, h("ul", { class: "routes", "aria-label": "Routes" }, branch(r.root, true)), (r.times ?? []).map((t) => h("p", { class: "hint" }, days(t))));

// change asks for another tree, and tells whether it was saved.
export function change(r) {
  const body = h("textarea", { id: "routes-body", rows: "18", required: true, spellcheck: "false" });
  const start = r.root && Object.keys(r.root).length ? { root: r.root, times: r.times } : { root: { receivers: [], group_by: ["alertname"], routes: [{ match: [{ name: "severity", value: "critical" }], receivers: [] }] } };
  body.value = JSON.stringify(start, null, 2);
  return ask("Who is told", "An alert goes down from the root: to the first route that matches it, and on while a route says continue. What a route leaves out is as above it. The API's description says what else a route may have.",
    [["Routes", body]], "Save", () => request("PUT", "/routes", parse(body.value), seen(r)));
}

export function parse(text) {
  try {
    return JSON.parse(text);
  } catch (err) {
    throw Object.assign(new Error(), { problem: { title: "Not JSON", detail: err.message } });
  }
}

// labelsOf reads lines of name=value.
export function labelsOf(text) {
  const out = {};
  for (const line of text.split("\n").map((s) => s.trim()).filter(Boolean)) {
    const at = line.indexOf("=");
    out[at < 0 ? line : line.slice(0, at).trim()] = at < 0 ? "" : line.slice(at + 1).trim().replace(/^"(.*)"$/, "$1");
  }
  return out;
}

// answer shows who is told of an alert.
export function answer(targets) {
  const told = targets.filter((t) => t.receivers.length || t.escalation?.length);
  byID("preview-answer").replaceChildren(told.length
    ? h("ul", {}, told.map((t) => h("li", {}, h("b", {}, t.receivers.join(", ") || "nobody at first"), h("span", { class: "hint" }, " " + [...(t.quiet_now ? ["but not now: " + t.quiet_now] : []), ...facts(t)].join(" · ")))))
    : h("p", {}, "Nobody."));
}
