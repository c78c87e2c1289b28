// API tokens: their rows, and the form that makes one.
import { request } from "../api.js";
import { h } from "../dom.js";
import { ask, confirm } from "../ui.js";
import { button, day, once, power, powerForm } from "./parts.js";

// tokenRow shows a token; revoked is called once it is gone.
export function tokenRow(user, t, revoked) {
  const name = t.label || t.id, over = new Date(t.expires) < new Date();
  return h("li", { data: { id: t.id } },
    h("div", { class: "what" }, h("b", {}, name), h("span", { class: "hint" }, [t.limits.map(power).join("; "), over ? "has expired" : `until ${day(t.expires)}`, t.last_used ? `last used ${day(t.last_used)}` : ""].filter(Boolean).join(" · "))),
    h("div", { class: "buttons" }, button("revoke", "Revoke", name, async () => {
      if (!(await confirm("Revoke token", `Whatever uses ${name} is refused from now on.`, "Revoke"))) return;
      await request("DELETE", `/users/${encodeURIComponent(user)}/tokens/${encodeURIComponent(t.id)}`);
      await revoked();
    })));
}

// newToken asks what a token is to be, and shows it once.
export async function newToken(user, projects) {
  const label = h("input", { id: "token-label", maxlength: "128", autocomplete: "off", placeholder: "nightly backups" });
  const days = h("input", { id: "token-days", type: "number", min: "1", max: "366", step: "1", required: true, value: "90" });
  const at = powerForm(projects);
  let made;
  const done = await ask("New API token", "For a program. It can do what you say here, and never more than its owner may.",
    [["What for", label], ...at.fields, ["Days", days, "until it expires"]], "Make it", async () => {
      made = await request("POST", `/users/${encodeURIComponent(user)}/tokens`, { label: label.value, limits: [at.value()], days: Number(days.value) });
    });
  if (done) await once("The token", "It is shown here and nowhere else. Programs send it as Authorization: Bearer.", h("pre", { class: "mono secret", id: "token-secret", tabindex: "0" }, made.secret));
  return done;
}
