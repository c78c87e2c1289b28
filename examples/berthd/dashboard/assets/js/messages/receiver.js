// The form of a receiver, made from what the API says of its type. Secrets are asked for and never shown: a field that is left empty keeps
// what it has.
import { request } from "../api.js";
import { h } from "../dom.js";
import { ask, checkbox, failed, field, once } from "../ui.js";

const lines = (s) => s.split("\n").map((x) => x.trim()).filter(Boolean);

// tried says in words what became of a test.
export function tried(out) {
  const why = {
    temporary: "It was not taken for now, and may be later.", permanent: "The receiver refuses the message: something of what is configured is not as it wants it.",
    broken: "The receiver lets nothing in: a credential is wrong, or has run out.", forbidden: "Its address is not one that may be called. An internal receiver is allowed with --notify-allow.",
  };
  return h("div", { class: "tried", role: "status", data: { arrived: String(out.delivered) } },
    h("p", {}, h("b", {}, out.delivered ? "It has arrived." : "It has not arrived."), " ", out.delivered ? "The receiver has taken a message that says that it is a test." : why[out.kind] ?? ""),
    out.error ? h("p", {}, out.error) : null);
}

// Input is what one field is filled in with: {el, name, secret, value()}; value is undefined where nothing is said.
function inputOf(f, old) {
  const id = "receiver-" + f.name;
  const has = f.secret && (old?.secrets ?? []).includes(f.name);
  const value = f.secret ? undefined : old?.settings?.[f.name];
  const label = f.name.replaceAll("_", " ") + (f.required ? "" : " (optional)");
  const hint = f.about + (f.example && !f.secret && f.kind !== "template" ? `, such as ${f.example}` : "");
  if (f.kind === "bool") {
    const c = checkbox(id, label, hint);
    c.input.checked = Boolean(value);
    return { el: c.el, f, value: () => c.input.checked || undefined };
  }
  if (f.secret) return secretOf(f, id, label, hint, has);
  if (f.choices?.length) {
    const select = h("select", { id }, f.required ? null : h("option", { value: "" }, ""), f.choices.map((c) => h("option", { value: c }, c)));
    select.value = value ?? (f.required ? f.choices[0] : "");
    return { el: field(label, select, hint, true), f, value: () => select.value || undefined };
  }
  if (f.kind === "list" || f.kind === "template") {
    const area = h("textarea", { id, rows: "3", spellcheck: "false" });
    area.value = f.kind === "list" ? (value ?? []).join("\n") : value ?? "";
    return { el: field(label, area, f.kind === "list" ? hint + "; one in each line" : hint, true), f, value: () => (f.kind === "list" ? (lines(area.value).length ? lines(area.value) : undefined) : area.value || undefined) };
  }
  const input = h("input", { id, required: f.required, autocomplete: "off", spellcheck: "false", inputmode: f.kind === "number" ? "numeric" : undefined, value: value ?? "" });
  return { el: field(label, input, hint, true), f, value: () => (input.value === "" ? undefined : f.kind === "number" ? Number(input.value) : input.value) };
}

// secretOf asks for a secret, or for several, without ever having one to show.
function secretOf(f, id, label, hint, has) {
  const inputs = [], box = h("div", { class: "secrets" });
  const one = () => {
    const input = h("input", { id: inputs.length ? `${id}-${inputs.length + 1}` : id, type: "password", autocomplete: "new-password", required: f.required && !has && !inputs.length, placeholder: has ? "as it is" : f.example });
    if (inputs.length) input.setAttribute("aria-label", `${label} ${inputs.length + 1}`);
    inputs.push(input);
    box.append(input);
    return input;
  };
  one();
  const none = has && !f.required ? checkbox(id + "-none", `without ${f.name.replaceAll("_", " ")}`) : null;
  const more = f.kind === "list" ? h("button", { class: "button", type: "button", id: id + "-more", on: { click: () => one().focus() } }, "Another one") : null;
  const el = h("div", { class: "field all" }, h("label", { for: id }, label), box, more, h("span", { class: "hint" }, hint + (has ? "; left empty, it stays as it is" : "")), none?.el);
  return {
    el, f, value: () => {
      const given = inputs.map((i) => i.value).filter(Boolean);
      if (given.length) return f.kind === "list" ? given : given[0];
      return none?.input.checked ? "" : undefined;
    },
  };
}

// receiver asks for a receiver, a new one or a change, and tells whether it was saved.
export function receiver(types, old) {
  const name = h("input", { id: "receiver--name", required: true, maxlength: "63", autocomplete: "off", spellcheck: "false", value: old?.name ?? "", readonly: Boolean(old) });
  const type = h("select", { id: "receiver--type" }, types.map((t) => h("option", { value: t.name }, t.name)));
  const about = h("p", { class: "hint" });
  const firing = checkbox("receiver--firing", "only what fires", "it is not told when something is over");
  const form = h("div", { class: "receiver-form" }), answer = h("div", { class: "field all", "aria-live": "polite" });
  let inputs = [];
  const draw = () => {
    const t = types.find((t) => t.name === type.value);
    inputs = t.fields.map((f) => inputOf(f, old?.type === t.name ? old : undefined));
    about.textContent = t.about;
    form.replaceChildren(...inputs.map((i) => i.el));
    answer.replaceChildren();
  };
  type.value = old?.type ?? types[0].name;
  firing.input.checked = Boolean(old?.firing_only);
  type.addEventListener("input", draw);
  draw();
  const body = () => {
    const out = { type: type.value, settings: {}, secrets: {}, firing_only: firing.input.checked };
    for (const i of inputs) {
      const v = i.value();
      if (v !== undefined) out[i.f.secret ? "secrets" : "settings"][i.f.name] = v;
    }
    return out;
  };
  const test = h("button", { class: "button", type: "button", id: "receiver--test" }, "Test");
  test.addEventListener("click", () => once(test, async () => {
    answer.replaceChildren(h("p", { class: "hint" }, "A message is on its way …"));
    try {
      answer.replaceChildren(tried(await request("POST", "/receivers/test", { name: name.value || "test", ...body() })));
    } catch (err) {
      answer.replaceChildren();
      failed(err);
    }
  }));
  return ask(old ? "Change receiver" : "New receiver", "What is secret is sealed and never shown again.", [
    ["Name", name], ["Type", type], { el: h("div", { class: "field all" }, about) }, { el: form }, firing, { el: h("div", { class: "field all" }, h("div", {}, test)) }, { el: answer },
  ], "Save", () => request("PUT", `/receivers/${encodeURIComponent(name.value)}`, body()));
}
