/**
 * The OpenAPI document for people: as a page, and as text for where HTML is not shown.
 * `deno task page` writes the page to docs/http-api.html.
 */

import { document } from "./openapi.ts";

// deno-lint-ignore no-explicit-any
type Json = any;

const STYLE = `
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 18%, transparent); --soft: color-mix(in srgb, currentColor 6%, transparent) }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem 1.25rem 4rem }
h1 { margin-bottom: .25rem } h2 { margin-top: 3rem; border-bottom: 1px solid var(--line) } h3 { margin: 2rem 0 .25rem; font-size: 1.05rem }
code, pre { font: 14px/1.45 ui-monospace, monospace } pre { background: var(--soft); padding: .75rem; overflow-x: auto; border-radius: .4rem }
.method { display: inline-block; min-width: 4.2rem; font-weight: 700 } .GET { color: #1a7f37 } .POST { color: #0969da } .PUT { color: #9a6700 } .DELETE { color: #cf222e }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 } th, td { text-align: left; vertical-align: top; padding: .25rem .75rem .25rem 0; border-bottom: 1px solid var(--line) }
td:nth-child(1), td:nth-child(2) { min-width: 6.5rem } .index td { border: 0; padding-top: 0 } nav a { margin-right: 1rem } summary { cursor: pointer } .quiet { opacity: .75 }
`;

/** The document as one page without scripts. */
export function asHtml(api: Json): string {
  const tags = api.tags.map(({ name, description }: Json) => `
<h2 id="${name}">${name}</h2><p class="quiet">${escape(description)}</p>
${operations(api).filter(({ tag }) => tag === name).map((operation) => operationHtml(api, operation)).join("\n")}`);
  const names = api.tags.map(({ name }: Json) => `<a href="#${name}">${name}</a>`);
  return `<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escape(api.info.title)}</title><style>${STYLE}</style>
<h1>${escape(api.info.title)}</h1>
<p>${words(api.info.description)}</p>
<p>All paths begin with <code>${escape(api.servers[0].url)}</code>, ${
    escape(api.servers[0].description.replace("Below", "below"))
  }.</p>
<pre>${escape(CURL)}</pre>
<nav>${names.join("\n")}<a href="#shapes">Shapes</a></nav>
<table class="index">${operations(api).map(indexRow).join("\n")}</table>
${tags.join("\n")}
<h2 id="shapes">Shapes</h2>
${Object.entries(api.components.schemas).map(([name, schema]) => shapeHtml(name, schema)).join("\n")}
</html>
`;
}

const CURL =
  `curl "$SUPABASE_URL/functions/v1/ocpp/calculate_cost/TEST-001?energy_kwh=25.5" -H "Authorization: Bearer $TOKEN"
{"cost":382.5,"currency":"KGS","price_per_kwh":15,"session_fee":null,"rule_name":"Energy"}`;

interface Operation {
  method: string;
  path: string;
  tag: string;
  // deno-lint-ignore no-explicit-any
  spec: any;
}

function operations(api: Json): Operation[] {
  return Object.entries(api.paths).flatMap(([path, methods]) =>
    Object.entries(methods as Json).map(([method, spec]: [string, Json]) => ({
      method: method.toUpperCase(),
      path,
      tag: spec.tags[0],
      spec,
    }))
  );
}

const indexRow = ({ method, path, spec }: Operation) =>
  `<tr><td><span class="method ${method}">${method}</span> <a href="#${spec.operationId}"><code>${
    escape(path)
  }</code></a></td><td>${escape(spec.summary)}</td></tr>`;

function operationHtml(api: Json, { method, path, spec }: Operation): string {
  const parameters = (spec.parameters ?? []).map((parameter: Json) =>
    `<tr><td><code>${parameter.name}</code></td><td>${kind(parameter.schema)}${
      parameter.required ? "" : ", optional"
    }</td><td>${words(parameter.description ?? "")}</td></tr>`
  );
  const body = spec.requestBody?.content["application/json"].schema;
  const answer = spec.responses[200].content["application/json"].schema;
  const refusals = Object.keys(spec.responses).filter((status) => status !== "200").map((status) =>
    `<tr><td>${status}</td><td>${escape(api.components.responses[`E${status}`].description)}</td></tr>`
  );
  return `<h3 id="${spec.operationId}"><span class="method ${method}">${method}</span> <code>${escape(path)}</code></h3>
<p>${escape(spec.summary)}.${spec.description ? ` ${words(spec.description)}` : ""}</p>
${parameters.length > 0 ? `<table>${parameters.join("")}</table>` : ""}
${body ? `<p>Takes ${link(body)}:</p><pre>${escape(example(api, body))}</pre>` : ""}
<p>Gives ${link(answer)}:</p><pre>${escape(example(api, answer))}</pre>
<details><summary>Refusals</summary><table>${refusals.join("")}</table></details>`;
}

function shapeHtml(name: string, schema: Json): string {
  const rows = Object.entries(schema.properties ?? {}).map(([field, property]: [string, Json]) =>
    `<tr><td><code>${field}</code></td><td>${kind(property)}${
      schema.required?.includes(field) ? "" : ", optional"
    }</td><td>${words(property.description ?? "")}${
      property.default === undefined ? "" : ` Default: <code>${escape(JSON.stringify(property.default))}</code>`
    }</td></tr>`
  );
  const fields = rows.length > 0 ? `<table>${rows.join("")}</table>` : `<p>${kind(schema)}</p>`;
  return `<h3 id="${name}">${name}</h3><p>${words(schema.description)}</p>${fields}`;
}

/** The document as text, for a terminal or a browser that is sent no HTML. */
export function asText(api: Json): string {
  const lines = [
    api.info.title,
    "=".repeat(api.info.title.length),
    "",
    ...wrapped(api.info.description),
    "",
    `All paths begin with ${api.servers[0].url}. For programs: ${api.servers[0].url}/openapi.json`,
    "",
    CURL,
  ];
  for (const { name } of api.tags) {
    lines.push("", "", name, "-".repeat(name.length));
    for (const { method, path, spec } of operations(api).filter(({ tag }) => tag === name)) {
      const query = (spec.parameters ?? []).filter((parameter: Json) => parameter.in === "query");
      const body = spec.requestBody?.content["application/json"].schema;
      const refusals = Object.keys(spec.responses).filter((status) => status !== "200").join(", ");
      lines.push("", `${method} ${path}${query.length > 0 ? `?${query.map((q: Json) => q.name).join("&")}` : ""}`);
      lines.push(...wrapped([`${spec.summary}.`, spec.description].filter(Boolean).join(" "), "    "));
      if (body) lines.push(`    takes ${example(api, body, 0)}`);
      lines.push(`    gives ${example(api, spec.responses[200].content["application/json"].schema, 0)}`);
      lines.push(`    or refuses with ${refusals}`);
    }
  }
  return lines.join("\n") + "\n";
}

function wrapped(text: string, indent = ""): string[] {
  const lines = [""];
  for (const word of text.split(" ")) {
    const line = `${lines[lines.length - 1]} ${word}`.trim();
    if (line.length > 110) lines.push(word);
    else lines[lines.length - 1] = line;
  }
  return lines.map((line) => indent + line);
}

function named(schema: Json): string {
  return (schema.$ref ?? schema.items.$ref).split("/").pop();
}

function link(schema: Json): string {
  const anchor = `<a href="#${named(schema)}">${named(schema)}</a>`;
  return schema.items ? `a list of ${anchor}` : anchor;
}

function example(api: Json, schema: Json, indent = 2): string {
  const value = api.components.schemas[named(schema)].examples[0];
  return JSON.stringify(schema.items ? [value] : value, null, indent);
}

function kind(schema: Json): string {
  const types = [schema.type].flat().filter((type) => type !== "null");
  const values = (schema.enum ?? []).filter((value: unknown) => value !== null);
  const name = values.length > 0
    ? values.map((value: string) => `<code>${value}</code>`).join(" | ")
    : schema.items
    ? `list of ${schema.items.type}s`
    : escape(schema.format ?? types[0]);
  return [schema.type].flat().includes("null") ? `${name} or null` : name;
}

const ENTITIES: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };
const escape = (text: string) => text.replace(/[&<>"]/g, (char) => ENTITIES[char]);
const words = (text: string) => escape(text).replace(/`([^`]+)`/g, "<code>$1</code>");
if (import.meta.main) Deno.writeTextFileSync(Deno.args[0], asHtml(document));
