// The page of people and service accounts: who there is, what they may do, and what keeps them from it.
import { request } from "./api.js";
import { byID, h } from "./dom.js";
import { Pace } from "./live.js";
import { may } from "./me.js";
import { list, openPage, show } from "./page.js";
import { button, chip, power, powerForm, secret } from "./people/parts.js";
import { passkeyRow } from "./people/passkeys.js";
import { newToken, tokenRow } from "./people/tokens.js";
import { ask, attempt, closer, confirm, toast } from "./ui.js";

let me, users = [], bindings = [], projects = [];

const path = (u, rest = "") => `/users/${encodeURIComponent(u.id)}${rest}`;
const called = (u) => u.name || u.id;

function bindingItem(u, b) {
  const words = power(b);
  return h("li", {}, words, may("bindings delete", null) ? button("unbind", "Take away", `${words} of ${called(u)}`, async () => {
    if (!(await confirm("Take a role away", `${called(u)} is no longer ${words}.`, "Take away"))) return;
    await request("DELETE", `/bindings/${encodeURIComponent(b.id)}`);
    await load();
  }) : null);
}

function row({ u, bound }) {
  const buttons = [];
  const add = (needs, verb, label, f) => { if (may(needs, null)) buttons.push(button(verb, label, called(u), async () => { if ((await f()) !== false) await load(); })); };
  const sure = async (title, words, verb, send) => ((await confirm(title, words, verb)) ? send() : false);
  add("bindings create", "bind", "Give a role…", () => bind(u));
  if (u.kind === "person") add("credentials update", "password", "Password…", () => password(u));
  if (u.second_factor && u.id !== me.id) {
    add("credentials update", "second", "Second factor off", () => sure("Remove the second factor", `From then on a password is enough to be ${called(u)}. They are signed out everywhere.`, "Remove",
      () => request("POST", path(u, "/second-factor/remove"), {})));
  }
  if (u.passkeys) add("credentials read", "passkeys", "Passkeys…", () => passkeysOf(u));
  if (u.tokens || u.kind === "service") add("tokens read", "tokens", "Tokens…", () => tokens(u));
  if (u.kind === "person") add("sessions delete", "sign-out", "Sign out", () => request("POST", path(u, "/sign-out")).then(() => toast(`${called(u)} is signed out everywhere.`)));
  if (u.disabled) add("users operate", "enable", "Enable", () => request("POST", path(u, "/enable")));
  else add("users operate", "disable", "Disable", () => sure("Disable", `Nothing that ${called(u)} holds is good until they are enabled again.`, "Disable", () => request("POST", path(u, "/disable"))));
  add("users delete", "remove", "Remove", () => sure("Remove", `${called(u)} is removed, with roles, tokens and keys. What they have made stays.`, "Remove", () => request("DELETE", path(u))));
  const facts = [u.kind === "service" ? "service account" : "", u.project ? `of ${u.project}` : "", u.email, u.name ? u.id : "", u.kind === "person" && !u.password ? "no password yet" : "", u.second_factor ? "second factor" : "", u.passkeys ? `${u.passkeys} ${u.passkeys === 1 ? "passkey" : "passkeys"}` : "", u.tokens ? `${u.tokens} ${u.tokens === 1 ? "token" : "tokens"}` : ""];
  return h("li", { data: { id: u.id, name: u.name ?? "", disabled: u.disabled ? "" : undefined } },
    h("div", { class: "what" }, h("b", {}, called(u)), u.id === me.id ? chip("you", "ok") : null, u.disabled ? chip("disabled", "full") : null, h("span", { class: "hint" }, facts.filter(Boolean).join(" · "))),
    h("div", { class: "buttons" }, buttons),
    h("ul", { class: "plain powers" }, bound.length ? bound.map((b) => bindingItem(u, b)) : h("li", {}, h("span", { class: "hint" }, "no role that you can see"))));
}

// groupRow is a group of an identity provider, with the roles that whoever is in it has.
function groupRow({ group, bound }) {
  return h("li", { data: { group } }, h("div", { class: "what" }, h("b", {}, group), h("span", { class: "hint" }, "whoever the provider says is in it")),
    h("span", {}), h("ul", { class: "plain powers" }, bound.map((b) => bindingItem({ id: group, name: group }, b))));
}

async function bindGroup() {
  const group = h("input", { id: "group-name", required: true, maxlength: "255", autocomplete: "off", spellcheck: "false", placeholder: "corp:operators" });
  const at = powerForm(projects);
  if (await ask("A role for a group", "Whoever logs in at a provider of OpenID Connect that says they are in it has the role until their session ends.", [["Group", group, "the provider's name, a colon, and what the group is called there"], ...at.fields], "Give",
    () => request("POST", "/bindings", { group: group.value, ...at.value() }))) await load();
}

async function bind(u) {
  const at = powerForm(projects);
  return ask(`A role for ${called(u)}`, "", at.fields, "Give", () => request("POST", "/bindings", { principal: u.id, ...at.value() }));
}

async function password(u) {
  const own = u.id === me.id, current = secret("password-current", "current-password"), next = secret("password-next", "new-password");
  return ask(`Password of ${called(u)}`, "They are signed out everywhere.", [...(own ? [["Present password", current]] : []), ["New password", next, "12 characters or more"]], "Set",
    () => request("PUT", path(u, "/password"), { ...(own ? { current: current.value } : {}), password: next.value }));
}

async function passkeysOf(u) {
  const dialog = byID("tokens");
  const all = await list(path(u, "/passkeys"));
  dialog.replaceChildren(h("div", {}, h("header", {}, h("h2", { id: "tokens-title" }, `Passkeys of ${called(u)}`), closer(dialog)),
    h("ul", { class: "alerts" }, all.map((k) => passkeyRow(u, k, () => dialog.close(), u.id === me.id)))));
  dialog.showModal();
  return new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
}

async function tokens(u) {
  const dialog = byID("tokens");
  const fill = async () => {
    const all = await list(path(u, "/tokens"));
    dialog.replaceChildren(h("div", {}, h("header", {}, h("h2", { id: "tokens-title" }, `Tokens of ${called(u)}`), closer(dialog)),
      h("ul", { class: "alerts" }, all.length ? all.map((t) => tokenRow(u.id, t, fill)) : h("li", { class: "empty" }, "None.")),
      h("div", { class: "buttons" }, u.kind === "service" && may("tokens create", null) ? h("button", { class: "button", type: "button", id: "tokens-new", on: { click: (e) => attempt(e.currentTarget, async () => { if (await newToken(u.id, projects)) await fill(); }) } }, "New token") : null)));
  };
  await fill();
  dialog.showModal();
  return new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
}

async function add() {
  const kind = h("select", { id: "user-kind" }, h("option", { value: "person" }, "a person"), h("option", { value: "service" }, "a service account, for programs"));
  const name = h("input", { id: "user-name", required: true, maxlength: "128", pattern: "\\S+", autocomplete: "off", spellcheck: "false" });
  const email = h("input", { id: "user-email", type: "email", maxlength: "254", autocomplete: "off" });
  const first = h("input", { id: "user-password", type: "password", maxlength: "1024", autocomplete: "new-password" });
  const project = h("select", { id: "user-project" }, h("option", { value: "" }, "in none"), projects.map((p) => h("option", { value: p.name }, p.name)));
  const only = () => { first.disabled = kind.value !== "person"; project.disabled = kind.value === "person"; };
  kind.addEventListener("input", only);
  only();
  if (await ask("New user", "They may nothing until you give them a role.", [["It is", kind], ["Name", name, "to sign in with"], ["Mail", email], ["Password", first, "12 characters or more; they change it once they are signed in"], ["Project", project, "of a service account, which its admins see to then"]], "Add",
    () => request("POST", "/users", { kind: kind.value, name: name.value, email: email.value, ...(kind.value === "person" ? { password: first.value } : { project: project.value }) }))) await load();
}

function showUsers() {
  const words = byID("users-find").value.toLowerCase().split(/\s+/).filter(Boolean);
  const all = users.map((u) => ({ u, bound: bindings.filter((b) => b.principal === u.id) }));
  const some = all.filter(({ u, bound }) => words.every((w) => `${u.id} ${u.name} ${u.email ?? ""} ${u.kind} ${bound.map(power).join(" ")}`.toLowerCase().includes(w)));
  show("users", some, (x) => x.u.id, row, users.length ? "Nobody is like that." : "Nobody.");
}

async function load() {
  [users, bindings] = await Promise.all([list("/users"), list("/bindings")]);
  users.sort((a, b) => (called(a).toLowerCase() < called(b).toLowerCase() ? -1 : 1));
  showUsers();
  const groups = [...new Set(bindings.filter((b) => b.group).map((b) => b.group))].sort();
  show("groups", groups.map((group) => ({ group, bound: bindings.filter((b) => b.group === group) })), (x) => x.group, groupRow, "No group has a role.");
}

byID("users-find").addEventListener("input", showUsers);
byID("groups-add").addEventListener("click", (e) => attempt(e.currentTarget, bindGroup));
byID("users-add").addEventListener("click", (e) => attempt(e.currentTarget, add));

openPage("The users cannot be shown", async ({ me: signedIn }) => {
  me = signedIn;
  projects = await list("/projects").catch(() => []);
  await load();
  return (shown) => {
    const pace = new Pace(() => (shown() && !document.hidden ? load() : undefined), 5000);
    setInterval(() => pace.ask(), 15_000);
  };
});
