import assert from "node:assert/strict";
import { document } from "./openapi.ts";
import { asHtml, asText } from "./page.ts";
import { routes } from "./routes.ts";

Deno.test("document has every route once, each with a name of its own", () => {
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods as Record<string, { operationId: string }>).map(([method, { operationId }]) =>
      `${method.toUpperCase()} ${path} ${operationId}`
    )
  );
  assert.deepEqual(operations.sort(), routes.map(({ method, path, id }) => `${method} ${path} ${id}`).sort());
  assert.equal(new Set(routes.map(({ id }) => id)).size, routes.length);
});

Deno.test("document refers to nothing that it does not have", () => {
  for (const [, reference] of JSON.stringify(document).matchAll(/"\$ref":"#\/([^"]+)"/g)) {
    // deno-lint-ignore no-explicit-any
    assert.ok(reference.split("/").reduce((place: any, name) => place?.[name], document), reference);
  }
});

Deno.test("document survives JSON", () => assert.deepEqual(JSON.parse(JSON.stringify(document)), document));

Deno.test("asHtml() and asText() name every path", () => {
  for (const { method, path } of routes) {
    assert.ok(asHtml(document).includes(`>${method}</span> <code>${path}</code>`), path);
    assert.match(asText(document), new RegExp(`^${method} ${path.replace(/[{}]/g, "\\$&")}(\\?|$)`, "m"));
  }
});

Deno.test("asHtml() is one page: no scripts, nothing loaded from elsewhere", () => {
  assert.doesNotMatch(asHtml(document), /<script|<link|<img|@import|src=|url\(/);
});
