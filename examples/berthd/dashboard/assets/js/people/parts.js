// What the pages of people share.
import { byID, h } from "../dom.js";
import { attempt } from "../ui.js";

export const chip = (word, tone) => h("span", { class: "chip", data: { tone } }, word);

export const day = (t) => new Date(t).toLocaleDateString("en-GB", { day: "numeric", month: "short", year: "numeric" });

// button is one of a row, for a command about somebody or something.
export const button = (verb, label, of, f) => h("button", { class: "button", type: "button", "aria-label": `${label.replace("…", "")}: ${of}`, data: { verb }, on: { click: (e) => attempt(e.currentTarget, f) } }, label);

// where says a place in words.
export const where = (p) => [p.own ? "own things" : "", p.everything ? "everything" : p.project ? `in ${p.project} and below` : "wherever they are"].filter(Boolean).slice(0, p.everything ? 2 : undefined).join(" ");
export const power = (p) => `${p.role}, ${where(p)}`;

// secret is an input that is never filled in by itself.
export const secret = (id, autocomplete) => h("input", { id, type: "password", required: true, maxlength: "1024", autocomplete });

const select = (id, options) => h("select", { id }, options.map(([value, words]) => h("option", { value }, words)));

// powerForm asks for a role and a place: {fields, value()}.
export function powerForm(projects) {
  const role = select("power-role", ["viewer", "user", "operator", "admin"].map((r) => [r, r]));
  const place = select("power-place", [["project", "in a project and those below it"], ["own", "their own things in a project"], ["owns", "their own things, wherever"], ["everything", "everywhere"]]);
  const project = select("power-project", projects.map((p) => [p.name, p.name]));
  place.addEventListener("input", () => { project.disabled = !["project", "own"].includes(place.value); });
  return {
    fields: [["Role", role, "a viewer looks, a user makes things, an operator sees to hosts, an admin says who may do what"], ["Where", place], ["Project", project]],
    value: () => ({ role: role.value, ...({
      project: { project: project.value }, own: { project: project.value, own: true }, owns: { own: true }, everything: { everything: true },
    })[place.value] }),
  };
}

// once shows what is shown only now, until it is closed.
export function once(title, words, ...parts) {
  const dialog = byID("confirm");
  return new Promise((resolve) => {
    const gone = () => { dialog.close(); dialog.replaceChildren(); resolve(); };
    const close = h("button", { class: "button primary", type: "button", id: "confirm-yes", on: { click: gone } }, "I have it");
    dialog.replaceChildren(h("div", {}, h("h2", { id: "confirm-title" }, title), h("p", {}, words), ...parts, h("div", { class: "buttons" }, close)));
    dialog.addEventListener("cancel", gone, { once: true });
    dialog.showModal();
  });
}
