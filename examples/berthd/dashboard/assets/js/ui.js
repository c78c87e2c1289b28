// Messages, confirmations and problems.
import { byID, h, icon } from "./dom.js";
import { amount, className } from "./format.js";

// toast shows a message for some seconds.
export function toast(message, kind = "info") {
  const el = h("div", { class: "toast", data: { kind } }, message);
  byID("toasts").append(el);
  setTimeout(() => el.remove(), kind === "error" ? 12000 : 4500);
}

// failed shows what a command was refused for.
export function failed(err) {
  toast(err.problem ? `${err.problem.title}: ${err.problem.detail ?? ""}` : String(err), "error");
}

// once runs what a button is for, unless it runs already. The button keeps the focus, which a disabled one would lose.
export async function once(button, f) {
  if (button.ariaDisabled) return;
  button.ariaDisabled = "true";
  try {
    await f();
  } finally {
    button.ariaDisabled = null;
  }
}

// attempt is once for a command whose refusal is shown in passing.
export const attempt = (button, f) => once(button, f).catch(failed);

// confirm asks before something that cannot be undone.
export function confirm(title, message, verb) {
  const dialog = byID("confirm");
  return new Promise((resolve) => {
    const done = (yes) => () => { dialog.close(); resolve(yes); };
    dialog.replaceChildren(h("div", {},
      h("h2", { id: "confirm-title" }, title), h("p", {}, message),
      h("div", { class: "buttons" },
        h("button", { class: "button", type: "button", on: { click: done(false) } }, "Cancel"),
        h("button", { class: "button danger", type: "button", id: "confirm-yes", on: { click: done(true) } }, verb))));
    dialog.addEventListener("cancel", () => resolve(false), { once: true });
    dialog.showModal();
  });
}

// field is a labelled input of a form.
export const field = (label, input, hint, all) => h("div", { class: all ? "field all" : "field" }, h("label", { for: input.id }, label), input, hint ? h("span", { class: "hint" }, hint) : null);

// checkbox is an input that is on or off: {el, input}.
export function checkbox(id, label, hint) {
  const input = h("input", { id, type: "checkbox" });
  return { input, el: h("div", { class: "field all" }, h("div", { class: "check" }, input, h("label", { for: id }, label)), hint ? h("span", { class: "hint" }, hint) : null) };
}

// ask has a form filled in for a command and sends it. A refusal is shown in the form. Fields are checkboxes, or labels, inputs
// and hints. It tells whether the command was given.
export function ask(title, message, fields, verb, send, tone = "primary") {
  const dialog = byID("confirm");
  const answer = h("div", { "aria-live": "polite" });
  const yes = h("button", { class: "button " + tone, type: "submit", id: "confirm-yes" }, verb);
  return new Promise((resolve) => {
    const no = () => { dialog.close(); resolve(false); };
    const form = h("form", {}, h("h2", { id: "confirm-title" }, title), message ? h("p", {}, message) : null,
      h("div", { class: "fields" }, fields.map((f) => f.el ?? field(f[0], f[1], f[2], true))), answer,
      h("div", { class: "buttons" }, h("button", { class: "button", type: "button", on: { click: no } }, "Cancel"), yes));
    form.addEventListener("submit", (e) => {
      e.preventDefault();
      once(yes, async () => {
        try {
          await send();
          if (form.isConnected) dialog.close();
          resolve(true);
        } catch (err) {
          answer.replaceChildren(problem(err.problem ?? { title: String(err) }));
        }
      });
    });
    dialog.replaceChildren(form);
    dialog.addEventListener("cancel", () => resolve(false), { once: true });
    dialog.showModal();
  });
}

// closer is the button that closes a dialog.
export function closer(dialog) {
  return h("button", { class: "button quiet icon", type: "button", title: "Close", "aria-label": "Close", on: { click: () => dialog.close() } }, icon("close"));
}

// problem shows a problem with everything that it says.
export function problem(p) {
  const box = h("div", { class: "problem", role: "alert", data: { type: (p.type ?? "").replace("/problems/", "") } }, h("h3", {}, p.title));
  if (p.detail) box.append(h("p", {}, p.detail));
  if (p.want && !p.detail?.includes(p.want)) box.append(h("p", {}, `Right would be: ${p.want}`));
  if (p.errors?.length > 1) box.append(h("ul", {}, p.errors.map((e) => h("li", {}, h("code", {}, e.field), " ", e.want))));
  if (p.quota?.length) box.append(quotaTable(p.quota));
  if (p.placement) box.append(...placement(p.placement));
  if (p.request_id) box.append(h("p", { class: "hint" }, `Request ${p.request_id}`));
  return box;
}

function quotaTable(lines) {
  return h("table", {}, h("thead", {}, h("tr", {}, ["Class", "Asked", "Free", "Used", "Limit"].map((t) => h("th", { scope: "col" }, t)))),
    h("tbody", {}, lines.map((l) => h("tr", {}, h("th", { scope: "row" }, className(l.class)),
      ...[l.asked ?? 0, l.free, l.used, l.limit].map((n) => h("td", {}, amount(l.class, n)))))));
}

// hosts is how many an explanation concerns, and refusals how many of them cannot take the request; its list may be cut.
export const hosts = (p) => p.hosts.length + (p.omitted ?? 0);
export const refusals = (p) => p.counts.reduce((n, c) => n + c.hosts, 0);

// placement shows an explanation of the scheduler: how many hosts failed what, what would help, and every host.
export function placement(p) {
  const out = [];
  const no = refusals(p), all = hosts(p);
  if (all === 0) out.push(h("p", {}, "The pool has no hosts."));
  if (no) {
    const word = (c) => (c.class ? `for want of ${className(c.class)}` : `by ${c.constraint}`);
    out.push(h("p", {}, `${no} of ${all} hosts cannot take it: ${p.counts.map((c) => `${c.hosts} ${word(c)}`).join(", ")}.${p.never ? " None could even if all were empty." : ""}`));
  }
  if (p.nearest) out.push(h("p", { class: "nearest" }, h("b", {}, "Nearest change: "), p.nearest.message));
  const refused = p.hosts.filter((v) => v.reason);
  if (refused.length) {
    out.push(h("details", {}, h("summary", {}, "Why each host was refused"),
      h("div", { class: "verdicts", tabindex: "0", role: "region", "aria-label": "Refused hosts" }, h("table", {}, h("tbody", {},
        refused.map((v) => h("tr", {}, h("th", { scope: "row" }, v.host), h("td", {}, v.reason.message)))))),
      p.omitted ? h("p", { class: "hint" }, `${p.omitted} more hosts are not listed; the numbers above count them.`) : null));
  }
  return out;
}
