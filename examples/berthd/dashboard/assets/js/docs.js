// The description of the API, shown from /openapi.json: every operation with its parameters, bodies, answers
// and an example that can be copied.
import { byID, h, icon } from "./dom.js";
import { problem } from "./ui.js";
import { setupTheme } from "./theme.js";

const methods = ["get", "post", "put", "delete"];

// resolver follows references within the description.
const resolver = (doc) => function resolve(schema) {
  if (!schema?.$ref) return schema ?? {};
  return resolve(schema.$ref.slice(2).split("/").reduce((at, k) => at[k], doc));
};

function kind(resolve, schema) {
  const s = resolve(schema);
  const type = Array.isArray(s.type) ? s.type.find((t) => t !== "null") : s.type;
  if (type === "array") return `list of ${kind(resolve, s.items)}`;
  if (type === "object" && typeof s.additionalProperties === "object") return `map of ${kind(resolve, s.additionalProperties)}`;
  if (type === "object" && schema.$ref) return schema.$ref.split("/").pop();
  return [type ?? "any", s.format].filter(Boolean).join(", ");
}

function limits(s) {
  const out = [];
  if (s.enum) out.push("one of " + s.enum.join(", "));
  if (s.minimum !== undefined) out.push(`at least ${s.minimum}`);
  if (s.maximum !== undefined) out.push(`at most ${s.maximum}`);
  if (s.maxLength) out.push(`at most ${s.maxLength} characters`);
  if (s.maxItems) out.push(`at most ${s.maxItems} items`);
  if (s.default !== undefined) out.push(`default ${JSON.stringify(s.default)}`);
  return out.join("; ");
}

// fields lists the properties of a schema, and of what it holds, each schema once.
function fields(resolve, schema, seen = new Set(), depth = 0) {
  const s = resolve(schema);
  if (schema?.$ref) {
    if (seen.has(schema.$ref)) return [];
    seen = new Set([...seen, schema.$ref]);
  }
  if (s.items) return fields(resolve, s.items, seen, depth);
  if (typeof s.additionalProperties === "object") return fields(resolve, s.additionalProperties, seen, depth);
  return Object.entries(s.properties ?? {}).flatMap(([name, p]) => {
    const own = resolve(p);
    const row = h("tr", {}, h("th", { scope: "row" }, h("code", {}, " ".repeat(3 * depth) + name), s.required?.includes(name) ? "" : h("span", { class: "kind" }, " optional")),
      h("td", { class: "kind" }, kind(resolve, p)), h("td", {}, [p.description ?? own.description, limits(own)].filter(Boolean).join(". "), own.writeOnly ? " Never shown again." : ""));
    return [row, ...fields(resolve, p, seen, depth + 1)];
  });
}

const table = (rows) => h("table", { class: "schema" }, h("tbody", {}, rows));
const label = (s) => h("p", { class: "label" }, s);

// command is a command line that sends the example.
function command(method, path, op, example) {
  const lines = [`curl -H "Authorization: Bearer $(cat TOKEN_FILE)"`];
  if (method !== "get") lines.push(`  -X ${method.toUpperCase()}`);
  if (example !== undefined) lines.push(`  -H 'Content-Type: application/json'`, `  -d '${JSON.stringify(example, null, 2)}'`);
  const filled = path.replace(/\{(\w+)\}/g, (_, name) => op.parameters?.find((p) => p.name === name)?.example ?? op.parameters?.find((p) => p.name === name)?.schema?.examples?.[0] ?? name.toUpperCase());
  lines.push(`  ${location.origin}${filled}`);
  return lines.join(" \\\n");
}

function operation(resolve, method, path, op) {
  const body = op.requestBody?.content?.["application/json"];
  const parts = [
    h("div", { class: "route" }, h("span", { class: "method", data: { method: method.toUpperCase() } }, method.toUpperCase()), h("code", {}, path)),
    h("h3", {}, op.summary), h("p", {}, op.description ?? ""),
  ];
  if (op.parameters?.length) {
    parts.push(label("Parameters"), table(op.parameters.map((p) => h("tr", {}, h("th", { scope: "row" }, h("code", {}, p.name), h("span", { class: "kind" }, " " + p.in)),
      h("td", { class: "kind" }, kind(resolve, p.schema)), h("td", {}, [p.description, limits(resolve(p.schema))].filter(Boolean).join(". "))))));
  }
  if (body?.schema) parts.push(label("Body"), table(fields(resolve, body.schema)));
  for (const [code, r] of Object.entries(op.responses ?? {})) {
    if (code >= "300") continue;
    const [mime, media] = Object.entries(r.content ?? {})[0] ?? [];
    parts.push(label(`Answer ${code}${mime ? ", " + mime : ""}`));
    const rows = media?.schema ? fields(resolve, media.schema) : [];
    if (rows.length) parts.push(h("details", {}, h("summary", {}, kind(resolve, media.schema)), table(rows)));
  }
  const errors = Object.keys(op.responses ?? {}).filter((c) => c >= "400");
  if (errors.length) parts.push(h("p", { class: "hint" }, "Problems: " + errors.join(", ")));
  parts.push(label("Example"), h("pre", {}, h("code", {}, command(method, path, op, body?.example ?? Object.values(body?.examples ?? {})[0]?.value))));
  return h("section", { class: "card op", id: op.operationId }, ...parts);
}

async function show() {
  setupTheme(byID("theme"), icon);
  const res = await fetch("/openapi.json", { credentials: "same-origin" });
  if (!res.ok) {
    byID("main").replaceChildren(problem(await res.json()), h("p", {}, h("a", { href: "/" }, "Sign in"), " to read the description."));
    return;
  }
  const doc = await res.json();
  const resolve = resolver(doc);
  const byTag = new Map(doc.tags.map((t) => [t.name, []]));
  for (const [path, item] of Object.entries(doc.paths)) {
    for (const m of methods) if (item[m]) byTag.get(item[m].tags[0]).push([m, path, item[m]]);
  }
  const main = [h("div", { class: "intro" }, h("h1", {}, doc.info.title + " API"), h("p", {}, doc.info.description),
    h("p", {}, "Programs send the token from the file that berthd names at its start: ", h("code", {}, "Authorization: Bearer …"), ". Errors are problem details; their type is a path of this daemon that explains them. Amounts are whole numbers: cpu in millicores, memory and storage in bytes."))];
  const nav = [];
  for (const t of doc.tags) {
    main.push(h("h2", {}, t.name), h("p", {}, t.description));
    nav.push(h("h2", {}, t.name));
    for (const [m, path, op] of byTag.get(t.name)) {
      main.push(operation(resolve, m, path, op));
      nav.push(h("a", { href: "#" + op.operationId }, op.summary));
    }
  }
  byID("main").replaceChildren(...main);
  byID("contents").replaceChildren(...nav);
  document.getElementById(location.hash.slice(1))?.scrollIntoView();
}

show();
