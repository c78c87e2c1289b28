// The page of one's own account: password, second factor, tokens, SSH keys, sessions.
import { request } from "./api.js";
import { byID, h, text } from "./dom.js";
import { ago } from "./format.js";
import { learn } from "./me.js";
import { list, openPage, show } from "./page.js";
import { button, chip, day, once, power, secret } from "./people/parts.js";
import { second } from "./people/second.js";
import { newToken, tokenRow } from "./people/tokens.js";
import { ask, attempt, confirm, toast } from "./ui.js";

let me, projects;

const mine = (rest = "") => `/users/${encodeURIComponent(me.id)}${rest}`;

function showMe() {
  const line = (term, value) => (value ? [h("dt", {}, term), h("dd", {}, value)] : []);
  byID("me-facts").replaceChildren(
    ...line("Name", me.name), ...line("Id", me.id), ...line("Mail", me.email), ...line("User on machines", me.login || "the daemon's default"),
    ...line("Roles", me.bindings.length ? h("ul", { class: "plain" }, me.bindings.map((b) => h("li", {}, power(b)))) : "none yet: somebody who administers people gives you one"));
  const person = me.kind === "person";
  for (const id of ["password", "second"]) byID(id).hidden = !person;
  text(byID("password-state"), me.password ? "You sign in with your name and a password." : "You have none.");
  byID("second-state").replaceChildren(me.second_factor ? chip("on", "ok") : chip("off", "calm"), me.second_factor ? " A code of your app is asked for whenever you sign in." : " Whoever has your password is you.");
  byID("second-remove").hidden = !me.second_factor;
  text(byID("second-begin"), me.second_factor ? "Set up another…" : "Set up…");
}

async function changeMe() {
  const email = h("input", { id: "me-email", type: "email", maxlength: "254", value: me.email ?? "", autocomplete: "email" });
  const login = h("input", { id: "me-login", maxlength: "32", value: me.login ?? "", autocomplete: "off", spellcheck: "false" });
  if (await ask("Change", "", [["Mail", email], ["User on machines", login, "that is made on machines that you launch with your registered keys"]], "Save",
    () => request("PUT", mine(), { name: me.name, email: email.value, login: login.value }))) await load();
}

async function changePassword() {
  const current = secret("password-current", "current-password"), next = secret("password-next", "new-password"), again = secret("password-again", "new-password");
  current.required = me.password;
  if (await ask("Change password", "You are signed out everywhere else.", [["Present password", current], ["New password", next, "12 characters or more"], ["Once more", again]], "Change", () => {
    if (next.value !== again.value) throw Object.assign(new Error(), { problem: { title: "The two are not the same", detail: "Type the new password twice." } });
    return request("PUT", mine("/password"), { current: current.value, password: next.value });
  })) {
    toast("The password is changed.");
    await load();
  }
}

const keyRow = (k) => h("li", { data: { id: k.id } },
  h("div", { class: "what" }, h("b", {}, k.comment || k.type || k.id), k.good ? null : chip("not in use", "calm"), h("span", { class: "hint" }, [k.type, k.expires ? `until ${day(k.expires)}` : "", k.not_before ? `from ${day(k.not_before)}` : ""].filter(Boolean).join(" · "))),
  h("div", { class: "buttons" }, button("remove", "Remove", k.comment || k.id, async () => {
    if (!(await confirm("Remove key", "Machines that are there keep it.", "Remove"))) return;
    await request("DELETE", mine(`/ssh-keys/${encodeURIComponent(k.id)}`));
    await load();
  })),
  h("p", {}, k.fingerprint ?? ""));

async function addKey() {
  const line = h("textarea", { id: "key-line", rows: "4", required: true, maxlength: "4096", spellcheck: "false", placeholder: "ssh-ed25519 AAAA… you@laptop" });
  const expires = h("input", { id: "key-expires", type: "date" });
  if (await ask("Add an SSH key", "The public one, from a file such as id_ed25519.pub.", [["Key", line], ["Good until", expires, "left empty: for ever"]], "Add",
    () => request("POST", mine("/ssh-keys"), { key: line.value, ...(expires.value ? { expires: new Date(expires.value).toISOString() } : {}) }))) await load();
}

const sessionRow = (s) => h("li", { data: { id: s.id } },
  h("div", { class: "what" }, h("b", {}, s.kind === "browser" ? "A browser" : "A program"), s.link ? chip("signed in by a link") : null, s.current ? chip("this one", "ok") : null, h("span", { class: "hint" }, [s.address, `for ${ago(s.began)}`].filter(Boolean).join(" · "))),
  h("div", { class: "buttons" }, s.current ? null : button("end", "End", s.address ?? s.id, async () => {
    await request("DELETE", mine(`/sessions/${encodeURIComponent(s.id)}`));
    await load();
  })),
  h("p", {}, s.agent ?? ""));

async function load() {
  me = await learn();
  showMe();
  const [tokens, keys, sessions, all] = await Promise.all([list(mine("/tokens")), list(mine("/ssh-keys")), list(mine("/sessions")), list("/projects").catch(() => [])]);
  projects = all;
  show("tokens", tokens, (t) => t.id, (t) => tokenRow(me.id, t, load), "No programs speak for you.");
  show("keys", keys, (k) => k.id, keyRow, "No keys.");
  show("sessions", sessions.sort((a, b) => (a.began < b.began ? -1 : 1)), (s) => s.id, sessionRow, "You came with a token.");
}

const on = (id, f) => byID(id).addEventListener("click", (e) => attempt(e.currentTarget, f));
on("me-change", changeMe);
on("password-change", changePassword);
on("second-begin", async () => {
  const codes = await second(me);
  if (!codes) return;
  await once("Recovery codes", "Each works once in the place of a code, should you lose your app. They are shown here and nowhere else: print them, or write them down.",
    h("pre", { class: "mono secret", id: "second-codes", tabindex: "0" }, codes.join("\n")));
  await load();
});
on("second-remove", async () => {
  const current = secret("second-current", "current-password");
  if (await ask("Remove the second factor", "From then on your password is enough to be you. You are signed out everywhere else.", [["Present password", current]], "Remove",
    () => request("POST", mine("/second-factor/remove"), { current: current.value }), "danger")) await load();
});
on("tokens-add", async () => { if (await newToken(me.id, projects)) await load(); });
on("keys-add", addKey);
on("sessions-end", async () => {
  if (!(await confirm("Sign out everywhere", "In this browser, too. API tokens stay good.", "Sign out"))) return;
  await request("POST", mine("/sign-out"));
  location.assign("/");
});
on("sign-out", async () => {
  await request("POST", "/logout");
  location.assign("/");
});

openPage("Your account cannot be shown", load);
