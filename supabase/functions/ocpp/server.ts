/** From a request to its answer: path, token, body, query; then the route's own work. */

import { type FieldError, invalid, notSignedIn, Problem, unavailable } from "../_shared/problem.ts";
import { AuthAdmin, type Page, Rest, type Row } from "../_shared/rest.ts";
import { type TObject, type TSchema, Value } from "../_shared/typebox.ts";
import { document } from "./openapi.ts";
import { asHtml, asText } from "./page.ts";
import { caller, routes } from "./routes.ts";
import { requests, withTimes } from "./shapes.ts";

/** Where Supabase is, and its keys. */
export interface Settings {
  url: string;
  anonKey: string;
  /** Those that there are, the best first. */
  serviceKeys: string[];
}

/**
 * From the environment. The new kind of key comes first: the legacy one stays in the environment of a hosted project that
 * has switched it off (https://github.com/supabase/supabase/issues/37648). But the admin API of Auth has been seen to refuse
 * new keys now and then (https://github.com/supabase/supabase/issues/48272): there the legacy one is the second try.
 */
export function settingsOf(env: (name: string) => string | undefined): Settings {
  const keys = (current: string, legacy: string) => {
    const named: Record<string, string | undefined> = JSON.parse(env(current) || "{}");
    return [named.default || Object.values(named)[0], env(legacy)].filter((key): key is string => Boolean(key));
  };
  return {
    url: env("SUPABASE_URL") ?? "",
    anonKey: keys("SUPABASE_PUBLISHABLE_KEYS", "SUPABASE_ANON_KEY")[0] ?? "",
    serviceKeys: keys("SUPABASE_SECRET_KEYS", "SUPABASE_SERVICE_ROLE_KEY"),
  };
}

const MAX_BODY = 1024 * 1024; // bytes; the largest command, a full SendLocalList, has some 100 kB
const CORS = {
  "Access-Control-Allow-Origin": "*",
  "Access-Control-Expose-Headers": "Link, Retry-After",
};
const PREFLIGHT = {
  ...CORS,
  "Access-Control-Allow-Methods": "GET, HEAD, POST, PUT, DELETE, OPTIONS",
  "Access-Control-Max-Age": "3600",
};
const HEADERS = "authorization, apikey, content-type, x-client-info, x-supabase-api-version";

const patterns = routes.map((route) => ({ route, segments: route.path.split("/") }));
const pages: Record<string, (settings: Settings) => Response> = {
  "/openapi.json": () => Response.json(document),
  "/docs": ({ url }) =>
    rewritesHtml(url)
      ? new Response(asText(document), { headers: { "Content-Type": "text/plain; charset=utf-8" } })
      : new Response(asHtml(document), { headers: { "Content-Type": "text/html; charset=utf-8" } }),
};

/** Hosted projects, and the local one alike, send HTML as plain text on their own domain: there the page is text. */
function rewritesHtml(url: string): boolean {
  const host = new URL(url).hostname;
  return host === "127.0.0.1" || host.endsWith(".supabase.co");
}

/** The answer to one request, whatever it is: every failure is problem+json. */
export async function answer(request: Request, settings: Settings): Promise<Response> {
  if (request.method === "OPTIONS") return preflight(request);
  const path = new URL(request.url).pathname.replace(/^\/functions\/v1(?=\/)/, "").replace(/^\/[^/]+/, "");
  const place = path.replace(/\/+$/, "") || "/";
  let response: Response;
  try {
    response = await route(request, place, settings);
  } catch (error) {
    if (!(error instanceof Problem)) console.error(`${request.method} ${place}: ${error}`);
    response = (error instanceof Problem ? error : unavailable()).response(place);
  }
  for (const [name, value] of Object.entries(CORS)) response.headers.set(name, value);
  if (request.method !== "HEAD") return response;
  return new Response(null, { status: response.status, headers: response.headers });
}

/** As the old service, it lets a page send what headers it will: libraries add their own (X-Requested-With …). */
function preflight(request: Request): Response {
  const asked = request.headers.get("Access-Control-Request-Headers") ?? HEADERS;
  return new Response(null, { status: 204, headers: { ...PREFLIGHT, "Access-Control-Allow-Headers": asked } });
}

async function route(request: Request, place: string, settings: Settings): Promise<Response> {
  const method = request.method === "HEAD" ? "GET" : request.method;
  if (Object.hasOwn(pages, place)) {
    if (method !== "GET") throw notAllowed(method, place, ["GET"]);
    return pages[place](settings);
  }
  const found = patterns.flatMap(({ route, segments }) => {
    const params = match(segments, place);
    return params === undefined ? [] : [{ route, params }];
  });
  if (found.length === 0) {
    throw new Problem(404, "OCPTH", `there is no ${place.slice(0, 200)}`, "/openapi.json lists the paths.");
  }
  const chosen = found.find(({ route }) => route.method === method);
  if (chosen === undefined) throw notAllowed(method, place, found.map(({ route }) => route.method));

  const rest = new Rest(settings.url, settings.anonKey, bearer(request));
  if ((caller(rest).role ?? "anon") === "anon") throw notSignedIn("this is nobody's token");
  const query = chosen.route.query ? readQuery(chosen.route.query, new URL(request.url).searchParams) : {};
  const body = chosen.route.body ? await readBody(requests[chosen.route.body], request) : undefined;
  const admin = new AuthAdmin(settings.url, settings.serviceKeys);
  const result = await chosen.route.handle({ rest, admin, params: chosen.params, query, body: body as never });
  if (!chosen.route.list) return Response.json(withTimes(result as Row, chosen.route.answer));
  const { rows, more } = result as Page;
  return listed({ rows: rows.map((row) => withTimes(row, chosen.route.answer)), more }, query, place);
}

function notAllowed(method: string, place: string, allowed: string[]): Problem {
  const names = [...allowed.includes("GET") ? ["HEAD"] : [], ...allowed, "OPTIONS"].join(", ");
  return new Problem(405, "OCMET", `${place} has no ${method}`, `It has ${names}.`, { headers: { Allow: names } });
}

/** The parameters of a path; undefined: it does not fit. */
function match(segments: string[], place: string): Record<string, string> | undefined {
  const parts = place.split("/");
  if (parts.length !== segments.length) return undefined;
  const params: Record<string, string> = {};
  for (const [index, segment] of segments.entries()) {
    if (segment.startsWith("{")) {
      const value = decoded(parts[index]);
      if (!value) return undefined;
      params[segment.slice(1, -1)] = value;
    } else if (segment !== parts[index]) {
      return undefined;
    }
  }
  return params;
}

function decoded(part: string): string | undefined {
  try {
    const value = decodeURIComponent(part);
    return value.includes("\0") ? undefined : value; // no text of the database holds it
  } catch {
    return undefined;
  }
}

function bearer(request: Request): string {
  const [scheme, token] = (request.headers.get("Authorization") ?? "").split(" ");
  if (scheme.toLowerCase() !== "bearer" || !token) throw notSignedIn("the Authorization header is missing");
  return token;
}

async function readBody(schema: TSchema, request: Request): Promise<unknown> {
  const declared = Number(request.headers.get("Content-Length"));
  const bytes = declared > MAX_BODY ? undefined : await limited(request.body);
  if (bytes === undefined) {
    throw new Problem(413, "OCBIG", `the body has more than ${MAX_BODY} bytes`, "Send less at once.");
  }
  let body: unknown;
  try {
    body = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    throw invalid("the body is no JSON");
  }
  check(schema, body);
  return body;
}

/** The whole body; undefined when it is longer than MAX_BODY. */
async function limited(stream: ReadableStream<Uint8Array> | null): Promise<Uint8Array | undefined> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of stream ?? []) {
    length += chunk.length;
    if (length > MAX_BODY) return undefined;
    chunks.push(chunk);
  }
  const all = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    all.set(chunk, at);
    at += chunk.length;
  }
  return all;
}

/** The query's values, of the types that the schema asks for. Others are ignored, and so is a filter for nothing (`?user_id=`). */
export function readQuery(schema: TObject, given: URLSearchParams): Row {
  const query: Row = {};
  for (const [name, { type }] of Object.entries(schema.properties as Record<string, { type?: string }>)) {
    const value = given.get(name);
    if (value !== null && !(value === "" && type === "string")) query[name] = typed(value, type);
  }
  check(schema, query);
  return query;
}

const TRUE = /^(true|1|yes|y|on|t)$/i; // the words that the old service took
const FALSE = /^(false|0|no|n|off|f)$/i;

function typed(value: string, type: string | undefined): unknown {
  if (type === "boolean" && TRUE.test(value)) return true;
  if (type === "boolean" && FALSE.test(value)) return false;
  if ((type === "number" || type === "integer") && /^[-+]?[0-9.]+(e[-+]?[0-9]+)?$/i.test(value)) return Number(value);
  return value;
}

function check(schema: TSchema, value: unknown): void {
  if (Value.Check(schema, value)) return;
  const errors: FieldError[] = Value.Errors(schema, value).flatMap(({ keyword, instancePath, message, params }) =>
    keyword === "required"
      ? (params as { requiredProperties: string[] }).requiredProperties.map((name) => ({
        field: `${instancePath}/${name}`,
        message: "is missing",
      }))
      : [{ field: instancePath || "/", message }]
  );
  throw invalid(errors.map(({ field, message }) => `${field.slice(1) || "the body"} ${message}`).join("; "), errors);
}

function listed({ rows, more }: Page, query: Row, place: string): Response {
  const response = Response.json(rows);
  if (more) {
    const given = Object.entries({ ...query, offset: Number(query.offset ?? 0) + rows.length });
    const next = new URLSearchParams(given.map(([name, value]) => [name, String(value)]));
    response.headers.set("Link", `</functions/v1/ocpp${place}?${next}>; rel="next"`);
  }
  return response;
}
