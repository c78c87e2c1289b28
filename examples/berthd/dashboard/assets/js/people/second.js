// Setting up a second factor: the secret for an app, and a first code of it.
import { request } from "../api.js";
import { h } from "../dom.js";
import { ask } from "../ui.js";
import { picture } from "./qr.js";
import { secret } from "./parts.js";

// second has a second factor set up and returns its recovery codes; undefined if it was not.
export async function second(me) {
  const path = `/users/${encodeURIComponent(me.id)}/second-factor`;
  const current = secret("second-current", "current-password");
  current.required = me.password;
  let begun, codes;
  if (!(await ask("Set up a second factor", "An app on your phone shows a code that is asked for whenever you sign in.", [["Present password", current]], "Go on",
    async () => { begun = await request("POST", path, { current: current.value }); }))) return undefined;
  const code = h("input", { id: "second-code", required: true, autofocus: true, minlength: "6", maxlength: "8", inputmode: "numeric", autocomplete: "one-time-code", spellcheck: "false" });
  const how = h("div", { class: "field all second" }, picture(begun.uri, "The secret for your app"),
    h("p", { class: "hint" }, "Scan it, or type this into your app:"), h("code", { class: "secret", id: "second-secret" }, begun.secret.replace(/(.{4})(?=.)/g, "$1 ")),
    h("a", { href: begun.uri, id: "second-uri" }, "Open an app on this device"));
  await ask("Scan, and give a code", "You are signed out everywhere else.", [{ el: how }, ["Code that the app shows", code]], "Set up",
    async () => { codes = (await request("PUT", path, { code: code.value.replaceAll(" ", "") })).codes; });
  return codes;
}
