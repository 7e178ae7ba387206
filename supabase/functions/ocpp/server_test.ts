/** What is answered before Supabase is asked: nothing listens where these settings point. */

import assert from "node:assert/strict";
import { routes } from "./routes.ts";
import { answer, readQuery, settingsOf } from "./server.ts";

const SETTINGS = { url: "http://127.0.0.1:9", anonKey: "anon", serviceKeys: ["service"] };
const token = (claims: object) => `x.${btoa(JSON.stringify(claims)).replaceAll("=", "")}.x`;
const USER = { Authorization: `Bearer ${token({ role: "authenticated", sub: "a" })}` };

const ask = (method: string, path: string, init: RequestInit = {}) =>
  answer(new Request(`http://function/ocpp${path}`, { method, headers: USER, ...init }), SETTINGS);

async function refusal(response: Response, status: number, code: string): Promise<Record<string, string>> {
  assert.equal(response.headers.get("Content-Type"), "application/problem+json");
  assert.equal(response.headers.get("Access-Control-Allow-Origin"), "*");
  const body = await response.json();
  assert.deepEqual([response.status, body.code], [status, code]);
  return body;
}

Deno.test("settingsOf() prefers the new keys, which a project has when it has switched the legacy ones off", () => {
  const of = (env: Record<string, string>) => settingsOf((name) => env[name]);
  const legacy = { SUPABASE_URL: "https://x", SUPABASE_ANON_KEY: "old", SUPABASE_SERVICE_ROLE_KEY: "old secret" };
  const keys = { SUPABASE_PUBLISHABLE_KEYS: '{"web":"p1","default":"p2"}', SUPABASE_SECRET_KEYS: '{"server":"s"}' };
  const serviceKeys = ["s", "old secret"];
  assert.deepEqual(of({ ...legacy, ...keys }), { url: "https://x", anonKey: "p2", serviceKeys });
  const none = { SUPABASE_PUBLISHABLE_KEYS: '{"default":""}', SUPABASE_SECRET_KEYS: "" };
  for (const env of [legacy, { ...legacy, ...none }]) {
    assert.deepEqual(of(env), { url: "https://x", anonKey: "old", serviceKeys: ["old secret"] });
  }
});

Deno.test("answer() knows no other path", async () => {
  for (const path of ["", "/", "/nothing", "/users/1/2", "/status/", "/status/%ff", "/status/a%00b", "/__proto__"]) {
    await refusal(await ask("GET", path), 404, "OCPTH");
  }
});

Deno.test("answer() names the methods that a path has", async () => {
  const response = await ask("DELETE", "/stations/ST-1");
  assert.equal(response.headers.get("Allow"), "HEAD, GET, PUT, OPTIONS");
  await refusal(response, 405, "OCMET");
});

Deno.test("answer() wants a user's token", async () => {
  for (const authorization of [[], [["Authorization", "Basic abc"]], [["Authorization", "Bearer"]]]) {
    await refusal(await ask("GET", "/users", { headers: authorization as HeadersInit }), 401, "OCAUT");
  }
  for (const bearer of ["sb_publishable_x", "a.b.c", `x.${btoa("null")}.x`, token({ role: "anon" }), token({})]) {
    const response = await ask("GET", "/users", { headers: { Authorization: `Bearer ${bearer}` } });
    await refusal(response, 401, "OCAUT");
  }
});

Deno.test("answer() describes itself to everybody", async () => {
  for (const path of ["/openapi.json", "/docs", "/docs/"]) {
    assert.equal((await ask("GET", path, { headers: {} })).status, 200);
  }
});

Deno.test("answer() names the fields that are wrong", async () => {
  const body = JSON.stringify({ serial_number: "", price_per_kwh: -1, status: "gone", location_id: "x" });
  const refused = await refusal(await ask("POST", "/stations", { body }), 422, "OCVAL");
  const fields = (refused.errors as unknown as { field: string }[]).map(({ field }) => field).sort();
  assert.deepEqual(fields, ["/location_id", "/price_per_kwh", "/serial_number", "/status"]);
});

Deno.test("answer() says what is missing", async () => {
  const refused = await refusal(await ask("POST", "/send_command", { body: "{}" }), 422, "OCVAL");
  assert.equal(refused.detail, "station_id is missing; command is missing");
  const fields = (refused.errors as unknown as { field: string }[]).map(({ field }) => field);
  assert.deepEqual(fields, ["/station_id", "/command"]);
  const { detail } = await refusal(await ask("GET", "/calculate_cost/ST-1"), 422, "OCVAL");
  assert.equal(detail, "energy_kwh is missing");
});

Deno.test("answer() takes no body that is no JSON", async () => {
  for (const body of ["", "{", "\xff", new Uint8Array([0xff, 0xfe])]) {
    await refusal(await ask("POST", "/stations", { body }), 422, "OCVAL");
  }
});

Deno.test("answer() takes no body above a mebibyte, whatever its length is said to be", async () => {
  const body = JSON.stringify("x".repeat(1024 * 1024));
  await refusal(await ask("POST", "/disconnect", { body }), 413, "OCBIG");
  const stream = new Blob([body]).stream();
  await refusal(await ask("POST", "/disconnect", { body: stream }), 413, "OCBIG");
});

Deno.test("answer() reads the types of a query", async () => {
  const wrong = ["limit=0", "limit=x", "limit=1.5", "offset=-1", "location_id=x", "limit="];
  await refusal(await ask("GET", "/tariff_plans?is_active=2"), 422, "OCVAL");
  for (const query of wrong) await refusal(await ask("GET", `/stations?${query}`), 422, "OCVAL");
  for (const query of ["", "energy_kwh=", "energy_kwh=abc", "energy_kwh=-1", "energy_kwh=1e9", "energy_kwh=NaN"]) {
    await refusal(await ask("GET", `/calculate_cost/ST-1?${query}`), 422, "OCVAL");
  }
});

Deno.test("answer() says 503 when Supabase is away", async () => {
  const response = await ask("GET", "/stations?limit=10&is_active=True&unknown=1");
  assert.equal(response.headers.get("Retry-After"), "5");
  await refusal(response, 503, "OCDWN");
});

Deno.test("readQuery() takes every word for true and false that the old service took", () => {
  const { query } = routes.find(({ id }) => id === "listTariffPlans")!;
  const read = (word: string) => readQuery(query!, new URLSearchParams({ is_active: word })).is_active;
  for (const word of ["true", "True", "1", "yes", "on", "T"]) assert.equal(read(word), true);
  for (const word of ["false", "False", "0", "no", "off", "F"]) assert.equal(read(word), false);
});

Deno.test("readQuery() leaves out a filter for nothing", () => {
  const { query } = routes.find(({ id }) => id === "listSessions")!;
  assert.deepEqual(readQuery(query!, new URLSearchParams("user_id=&station_id=&limit=5")), { limit: 5 });
});

Deno.test("answer() lets pages send the headers that their libraries add", async () => {
  const headers = { "Access-Control-Request-Headers": "authorization,x-requested-with" };
  const response = await ask("OPTIONS", "/users", { headers });
  assert.equal(response.headers.get("Access-Control-Allow-Headers"), "authorization,x-requested-with");
});

Deno.test("answer() lets pages of any origin in", async () => {
  const response = await ask("OPTIONS", "/users", { headers: {} });
  assert.equal(response.status, 204);
  assert.match(response.headers.get("Access-Control-Allow-Headers")!, /authorization/);
  assert.match(response.headers.get("Access-Control-Allow-Methods")!, /PUT/);
});

Deno.test("answer() to HEAD has no body", async () => {
  const response = await ask("HEAD", "/openapi.json");
  assert.deepEqual([response.status, await response.text()], [200, ""]);
});
