// Projects on the page of usage: new ones, where they lie, what they may take, and their end.
import { request } from "./api.js";
import { h } from "./dom.js";
import { className } from "./format.js";
import { may } from "./me.js";
import { button } from "./people/parts.js";
import { ask, confirm } from "./ui.js";

const path = (name) => `/projects/${encodeURIComponent(name)}`;

// step is how much of a class a person counts as one, and unit says so.
export const step = (c) => (c === "cpu" ? 1000 : c === "cost" ? 1e6 : c === "memory" || c.startsWith("storage.") ? 2 ** 30 : 1);
export const unit = (c, currency) => (c === "cpu" ? " (cores)" : c === "cost" ? ` (${currency || "money"} an hour)` : step(c) > 1 ? " (GiB)" : "");

// below are the names of a project and of all that lie in it.
function below(name, projects) {
  const out = new Set([name]);
  for (let n = 0; n < out.size; n++) for (const p of projects) if (p.parent === [...out][n]) out.add(p.name);
  return out;
}

// amounts are inputs for some classes of what is kept by class, empty where nothing is said: {fields, value()}. What they do not show stays as it was.
function amounts(id, words, classes, was, currency) {
  const inputs = classes.map((c) => [c, h("input", { id: `${id}-${c}`, type: "number", min: "0", step: "any", value: was[c] === undefined ? "" : String(was[c] / step(c)) })]);
  return {
    fields: inputs.map(([c, input]) => [`${words}${className(c)}${unit(c, currency)}`, input]),
    value: () => Object.fromEntries([...Object.entries(was).filter(([c]) => !classes.includes(c)), ...inputs.filter(([, input]) => input.value !== "").map(([c, input]) => [c, Math.round(Number(input.value) * step(c))])]),
  };
}

// form asks for what a project is to be. Of an old one its name stays, and so do the limits of single users.
function form(old, projects, currency) {
  const usual = ["instances", "cpu", "memory", ...(currency ? ["cost"] : [])];
  const limited = Object.fromEntries((old?.quota ?? []).filter((l) => l.limited).map((l) => [l.class, l.limit]));
  const classes = [...new Set([...usual, ...(old?.quota ?? []).map((l) => l.class)])];
  const inside = old ? below(old.name, projects) : new Set();
  const name = h("input", { id: "project-name", required: true, maxlength: "63", autocomplete: "off", spellcheck: "false" });
  const parent = h("select", { id: "project-parent" }, h("option", { value: "" }, "none: it is on top"), projects.filter((p) => !inside.has(p.name)).map((p) => h("option", { value: p.name }, p.name)));
  parent.value = old?.parent ?? "";
  const whole = amounts("project-limit", "At most, with those in it: ", classes, limited, currency);
  const each = amounts("project-user", "Each user at most: ", usual, old?.per_user ?? {}, currency);
  return {
    name,
    fields: [...(old ? [] : [["Name", name]]), ["Lies in", parent, "whose limits hold for it, too"], ...whole.fields, ...each.fields],
    send: () => request("PUT", path(old?.name ?? name.value), { parent: parent.value, quota: whole.value(), per_user: each.value(), ...(old?.weight ? { weight: old.weight } : {}) }),
  };
}

const empty = "What is left empty is not limited; 0 allows nothing.";

// newProject asks for a project, and tells whether there is one more.
export async function newProject(projects, currency) {
  const f = form(null, projects, currency);
  f.fields[0][2] = "letters, digits and dashes";
  return ask("New project", empty, f.fields, "Add", () => {
    if (projects.some((p) => p.name === f.name.value)) throw new Error(`There is a project ${f.name.value}.`);
    return f.send();
  });
}

// projectButtons are what can be done with a project by whoever is signed in.
export function projectButtons(p, projects, currency, done) {
  const out = [];
  if (may("projects update", null)) {
    out.push(button("limits", "Limits…", p.name, async () => {
      const f = form(p, projects, currency);
      if (await ask(`Limits of ${p.name}`, empty, f.fields, "Set", f.send)) await done();
    }));
  }
  if (may("projects delete", null)) {
    out.push(button("remove", "Remove", p.name, async () => {
      if (!(await confirm("Remove a project", `${p.name} is removed, with the roles in it and its service accounts. It must have neither instances nor projects in it.`, "Remove"))) return;
      await request("DELETE", path(p.name));
      await done();
    }));
  }
  return out;
}
