// Who is signed in and what they may do: what they may not is not offered. The daemon decides anew on whatever is asked of it.
import { get } from "./api.js";

let me = { may: {}, own: {} };

// learn asks who is signed in, and hides what is not for them in the page: elements whose data-needs is a kind of thing and a verb, such as
// "instances create", of anybody's or, but where data-whose is "all", of their own.
export async function learn() {
  me = await get("/me");
  for (const el of document.querySelectorAll("[data-needs]")) el.hidden = !may(el.dataset.needs, el.dataset.whose === "all" ? null : undefined);
  return me;
}

// may reports whether they may do something with somebody's thing: of an owner by id, of theirs (undefined), or of everybody's (null).
export function may(what, owner = undefined) {
  const [thing, verb] = what.split(" ");
  return Boolean(me.may[thing]?.includes(verb) || ((owner === undefined || owner === me.id) && me.own[thing]?.includes(verb)));
}
