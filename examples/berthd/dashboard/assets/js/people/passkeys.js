// Passkeys: where they can be used, logging in with one, their rows, and the form that registers one.
import { get, request } from "../api.js";
import { h } from "../dom.js";
import { ask } from "../ui.js";
import { button, chip, day, secret } from "./parts.js";

const able = () => Boolean(window.PublicKeyCredential?.parseRequestOptionsFromJSON && window.PublicKeyCredential.parseCreationOptionsFromJSON);

// passkeys tells whether this page can use passkeys, and in words where they can be used: {here, words}.
export async function passkeys() {
  const { origin, why } = await get("/login/passkey");
  if (!origin) return { here: false, words: `They cannot be used here. What they need is ${why}: say --public-url.` };
  if (origin !== location.origin) return { here: false, words: `They work on ${origin} only, and this page was opened at ${location.origin}.` };
  if (!able()) return { here: false, words: "This browser is too old for them." };
  return { here: true, words: "A finger, a face or a PIN on this device signs you in, without name, password and code." };
}

// asked asks the authenticator. That nothing was given, for whatever reason, is all that a browser tells.
async function asked(f) {
  const given = await f().catch((err) => {
    const had = err.name === "InvalidStateError";
    throw Object.assign(err, { problem: had ? { title: "This device has one already", detail: "It is in the list." } : { title: "No passkey was given", detail: "You have called it off, or the time was over, or there is none for this page." } });
  });
  return given.toJSON();
}

// logInByPasskey signs in with a passkey of whomever.
export async function logInByPasskey() {
  const { options } = await request("POST", "/login/passkey");
  const answer = await asked(() => navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(options.publicKey) }));
  await request("PUT", "/login/passkey", { answer });
}

// newPasskey has one registered of who is signed in; it tells whether one was.
export function newPasskey(me) {
  const path = `/users/${encodeURIComponent(me.id)}/passkeys`;
  const name = h("input", { id: "passkey-name", required: true, maxlength: "64", autocomplete: "off", placeholder: "laptop" });
  const current = secret("passkey-current", "current-password");
  current.required = me.password;
  return ask("Add a passkey", "Your device asks for your finger, face or PIN. Whoever has the device and that is you.", [["Name", name, "by which you know the device again"], ...(me.password ? [["Present password", current]] : [])], "Add", async () => {
    const { options } = await request("POST", path, { current: current.value });
    const answer = await asked(() => navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(options.publicKey) }));
    await request("PUT", path, { name: name.value, answer });
  });
}

// passkeyRow shows a passkey of somebody's; changed is called once it is gone, or has another name.
export function passkeyRow(user, k, changed, own = true) {
  const path = `/users/${encodeURIComponent(user.id)}/passkeys/${encodeURIComponent(k.id)}`;
  const remove = async () => {
    const current = secret("passkey-current", "current-password");
    current.required = user.password;
    const sure = await ask("Remove the passkey", `Nobody signs in with ${k.name} any more, and all sessions${own ? " but this one" : ""} end.`, own && user.password ? [["Present password", current]] : [], "Remove",
      () => request("POST", `${path}/remove`, own ? { current: current.value } : {}), "danger");
    if (sure) await changed();
  };
  const rename = async () => {
    const name = h("input", { id: "passkey-name", required: true, maxlength: "64", autocomplete: "off", value: k.name });
    if (await ask("Rename the passkey", "", [["Name", name]], "Rename", () => request("PUT", path, { name: name.value }))) await changed();
  };
  return h("li", { data: { id: k.id } },
    h("div", { class: "what" }, h("b", {}, k.name), k.synced ? chip("on several devices", "calm") : null, h("span", { class: "hint" }, `since ${day(k.created)}`)),
    h("div", { class: "buttons" }, own ? button("rename", "Rename…", k.name, rename) : null, button("remove", "Remove…", k.name, remove)));
}
