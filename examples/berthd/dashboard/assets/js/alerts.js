// The page of alerts: what is wrong now, who has taken it on, by which rules, and what is not to be told.
import { request } from "./api.js";
import { byID, h } from "./dom.js";
import { ago } from "./format.js";
import { may } from "./me.js";
import { list, live, openPage, show } from "./page.js";
import { ask, attempt, confirm, toast } from "./ui.js";

const again = 5000; // ms: pending alerts come and go without an event

const tones = { firing: "full", pending: "high", resolved: "ok", active: "calm", expired: "ok" };
const chip = (word, tone = tones[word] ?? "calm") => h("span", { class: "chip", data: { tone } }, word);

// about names what an alert is about.
const about = (l) => l.vm ?? l.host ?? l.vm_id ?? "";

// labels are those that are not said already.
function labels(l) {
  return Object.entries(l).filter(([k]) => !["alertname", "severity"].includes(k)).map(([k, v]) => `${k}=${v}`).join("  ");
}

const value = (a) => (a.value === undefined ? "" : new Intl.NumberFormat("en", { maximumSignificantDigits: 4 }).format(a.value));

function alertRow(a) {
  const l = a.labels, ack = a.acknowledged;
  const buttons = [];
  const button = (verb, label, f) => buttons.push(h("button", { class: "button", type: "button", "aria-label": `${label}: ${l.alertname} ${about(l)}`, data: { verb }, on: { click: (e) => attempt(e.currentTarget, f) } }, label));
  if (a.phase === "firing") {
    const theirs = may("alerts update");
    if (theirs && ack) button("unacknowledge", "Give back", async () => { await request("DELETE", `/alerts/${a.id}/acknowledge`); await load(); });
    if (theirs && !ack) button("acknowledge", "Acknowledge", () => acknowledge(a));
    if (may("silences create")) button("silence", "Silence", () => silence(l));
  }
  const since = { pending: a.active, firing: a.fired, resolved: a.ended }[a.phase];
  return h("li", { data: { id: a.id, phase: a.phase, severity: l.severity } },
    h("div", { class: "what" }, chip(a.phase), l.severity ? h("span", { class: "hint" }, l.severity) : null, h("b", {}, `${l.alertname} ${about(l)}`),
      h("span", { class: "hint" }, [value(a), `for ${ago(since)}`].filter(Boolean).join(" · "))),
    buttons.length ? h("div", { class: "buttons" }, buttons) : h("span", {}),
    h("p", {}, a.annotations?.summary ?? labels(l),
      ack ? h("span", {}, ` — taken on by ${ack.by}${ack.note ? ": " + ack.note : ""}`) : null,
      (a.muted ?? []).length ? h("span", {}, ` — not told: ${[...new Set(a.muted.map((m) => (m.by === "quiet" ? m.name : m.by)))].join(", ")}`) : null));
}

async function acknowledge(a) {
  const note = h("input", { id: "ack-note", maxlength: "4096", placeholder: "what is being done about it" });
  if (await ask("Acknowledge", `${a.labels.alertname} ${about(a.labels)} does not escalate any more until it is resolved.`, [["Note", note]], "Acknowledge",
    () => request("POST", `/alerts/${a.id}/acknowledge`, { note: note.value }))) await load();
}

// matchersOf reads lines such as host=~"h.*" without quotes: one matcher in each.
function matchersOf(lines) {
  return lines.split("\n").map((s) => s.trim()).filter(Boolean).map((s) => {
    const m = /^([^=!~]+?)\s*(=~|!~|!=|=)\s*(.*)$/.exec(s);
    return m ? { name: m[1], op: m[2], value: m[3].replace(/^"(.*)"$/, "$1") } : { name: s, op: "=", value: "" };
  });
}

async function silence(of) {
  const matchers = h("textarea", { id: "silence-matchers", rows: "4", required: true, spellcheck: "false" });
  matchers.value = of ? Object.entries(of).filter(([k]) => k !== "severity").map(([k, v]) => `${k}=${v}`).join("\n") : "";
  const hours = h("input", { id: "silence-hours", type: "number", min: "0.1", step: "any", value: "2", required: true });
  const note = h("input", { id: "silence-note", maxlength: "4096", placeholder: "why" });
  if (await ask("New silence", "Alerts that all lines match are not told. They fire all the same, and are shown.", [
    ["Labels", matchers, "one in each line: name=value, or !=, =~ and !~"], ["Hours", hours], ["Note", note],
  ], "Silence", () => request("POST", "/silences", { matchers: matchersOf(matchers.value), ends: new Date(Date.now() + 3600e3 * Number(hours.value)).toISOString(), note: note.value }))) {
    toast("Silenced.");
    await load();
  }
}

const silenceRow = (s) => h("li", { data: { id: s.id, phase: s.phase } },
  h("div", { class: "what" }, chip(s.phase), h("b", {}, s.matchers.map((m) => `${m.name}${m.op}${m.value}`).join("  "))),
  s.phase === "expired" || !may("silences delete") ? h("span", {}) : h("div", { class: "buttons" }, h("button", {
    class: "button", type: "button", "aria-label": `End silence ${s.matchers.map((m) => m.value).join(" ")}`, data: { verb: "end" },
    on: { click: (e) => attempt(e.currentTarget, async () => { await request("DELETE", `/silences/${s.id}`); await load(); }) },
  }, "End")),
  h("p", {}, `${s.phase === "pending" ? "from " + new Date(s.starts).toLocaleString("en-GB") + " " : ""}until ${new Date(s.ends).toLocaleString("en-GB")}, by ${s.by}${s.note ? ": " + s.note : ""}`));

// says puts a rule into words.
function says(r) {
  const m = r.measure;
  const what = r.query ?? [m.func, m.metric + ((m.matchers ?? []).length ? "{" + m.matchers.map((x) => `${x.name}${x.op}${x.value}`).join(", ") + "}" : ""), m.of ? "as % of " + m.of : "", m.window ? "over " + m.window : ""].filter(Boolean).join(" ");
  const test = (t) => (t.is === "inside" || t.is === "outside" ? `${t.is} ${t.value} to ${t.high}` : `${t.is} ${t.value}`);
  return [what + (r.test ? " " + test(r.test) : ""), r.for ? "for " + r.for : "", r.recover ? "until not " + test(r.recover) : "", ...(r.actions ?? []).map((a) => `then ${a.do}${a.hook ? " " + a.hook : ""}${a.dry_run ? " (dry run)" : ""}`)].filter(Boolean).join(", ");
}

const ruleRow = (r) => h("li", { data: { name: r.name } },
  h("div", { class: "what" }, h("b", {}, r.name), r.severity ? h("span", { class: "hint" }, r.severity) : null),
  h("div", { class: "buttons", hidden: !may("rules update") },
    h("button", { class: "button", type: "button", "aria-label": `Change rule ${r.name}`, data: { verb: "change" }, on: { click: (e) => attempt(e.currentTarget, () => rule(r)) } }, "Change"),
    h("button", { class: "button", type: "button", "aria-label": `Remove rule ${r.name}`, data: { verb: "remove" }, on: { click: (e) => attempt(e.currentTarget, () => remove(r)) } }, "Remove")),
  h("p", {}, says(r)));

async function remove(r) {
  if (!(await confirm("Remove rule", `Those of ${r.name}'s alerts that fire are resolved.`, "Remove"))) return;
  await request("DELETE", `/alert-rules/${encodeURIComponent(r.name)}`);
  await load();
}

// rule asks for a rule: the usual as fields, everything else as JSON.
async function rule(old) {
  const name = h("input", { id: "rule-name", required: true, maxlength: "256", value: old?.name ?? "", readonly: Boolean(old) });
  const body = h("textarea", { id: "rule-body", rows: "14", required: true, spellcheck: "false" });
  const { name: _, ...rest } = old ?? { measure: { metric: "cpu_percent" }, test: { is: ">", value: 80 }, recover: { is: ">", value: 70 }, for: "5m", severity: "high", annotations: { summary: "{{ or $labels.vm $labels.host }}: {{ printf \"%.0f\" $value }} %" } };
  body.value = JSON.stringify(rest, null, 2);
  if (await ask(old ? "Change rule" : "New rule", "Metrics: cpu_percent, memory_percent and disk_percent of hosts and instances, and up. The API's description says what else a rule may have.", [["Name", name], ["Rule", body]], "Save", () => {
    let parsed;
    try {
      parsed = JSON.parse(body.value);
    } catch (err) {
      throw Object.assign(new Error(), { problem: { title: "Not JSON", detail: err.message } });
    }
    return request("PUT", `/alert-rules/${encodeURIComponent(name.value)}`, parsed);
  })) await load();
}

const order = { firing: 0, pending: 1, resolved: 2, active: 0, expired: 2 };
const severities = { critical: 0, high: 1, medium: 2, low: 3 };
let known = [];

function showAlerts() {
  const phase = byID("alerts-phase").value, words = byID("alerts-find").value.toLowerCase().split(/\s+/).filter(Boolean);
  const some = known.filter((a) => (!phase || a.phase === phase) && words.every((w) => JSON.stringify([a.labels, a.annotations]).toLowerCase().includes(w)));
  show("alerts", some, (a) => a.id + a.phase, alertRow, known.length ? "None of the alerts is like that." : "Nothing is wrong.");
}

async function load() {
  const [alerts, rules, silences] = await Promise.all([list("/alerts"), list("/alert-rules"), list("/silences")]);
  known = alerts.sort((a, b) => order[a.phase] - order[b.phase] || (severities[a.labels.severity] ?? 4) - (severities[b.labels.severity] ?? 4) || ((a.fired ?? a.active) < (b.fired ?? b.active) ? 1 : -1));
  showAlerts();
  show("rules", rules, (r) => r.name, ruleRow, "None but those of the daemon's configuration.");
  show("silences", silences.sort((a, b) => order[a.phase] - order[b.phase] || (a.ends < b.ends ? -1 : 1)), (s) => s.id, silenceRow, "Nothing is silenced.");
}

byID("alerts-find").value = new URLSearchParams(location.search).get("find") ?? ""; // by a link in a message
byID("alerts-phase").addEventListener("input", showAlerts);
byID("alerts-find").addEventListener("input", showAlerts);
byID("rules-add").addEventListener("click", (e) => attempt(e.currentTarget, () => rule()));
byID("silences-add").addEventListener("click", (e) => attempt(e.currentTarget, () => silence()));

openPage("The alerts cannot be shown", async ({ status }) => {
  await load();
  return (shown) => {
    const pace = live(shown, status.revision, load, 500);
    setInterval(() => { if (shown() && !document.hidden) pace.ask(); }, again);
  };
});
