// Signing in at a provider of OpenID Connect: a button for each, and what became of whoever came back without a session.
import { get, request } from "./api.js";
import { byID, h } from "./dom.js";
import { once } from "./ui.js";

// offerProviders shows the buttons. Where nobody can tell what providers there are, there are none.
export async function offerProviders(failed) {
  const { items } = await get("/login/providers").catch(() => ({ items: [] }));
  const go = (name) => (e) => once(e.currentTarget, async () => {
    const { to } = await request("POST", `/login/providers/${encodeURIComponent(name)}`);
    location.assign(to);
  }).catch(failed);
  byID("signin-providers").replaceChildren(...items.map((p) => h("button", { class: "button", type: "button", data: { provider: p.name }, on: { click: go(p.name) } }, `Sign in with ${p.label}`)));
}

// comeBack returns the error of a log-in that has come to nothing, which the address says, once.
export function comeBack() {
  const id = location.hash.match(/^#refused=([\w.:-]{1,64})$/)?.[1];
  if (!id) return undefined;
  history.replaceState(null, "", "/");
  return { problem: { title: "You are not signed in", detail: "The log-in has come to nothing. Try again; why it was so stands in the daemon's log.", request_id: id } };
}
