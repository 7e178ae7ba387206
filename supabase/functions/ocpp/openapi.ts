/** The OpenAPI document, made of the same routes and schemas that answer the requests. */

import type { Route } from "./routes.ts";
import { routes } from "./routes.ts";
import { requests, responses } from "./shapes.ts";

// deno-lint-ignore no-explicit-any
type Json = any;

const REASONS: Record<number, string> = {
  400: "It exists already, or does not fit what is there",
  401: "No token, or none that is valid",
  402: "The account cannot pay",
  403: "The caller may not do this",
  404: "It does not exist, or not for the caller",
  409: "Not in this state: busy, offline, out of service",
  413: "The body is too large",
  422: "The request is not valid; `errors` names the fields",
  503: "The database does not answer",
};
const PARAMETERS: Record<string, Json> = {
  station_id: { schema: { type: "string", minLength: 1 }, description: "The station's id", example: "TEST-001" },
  id: { schema: { type: "string", minLength: 1 }, description: "Its id" },
};
const INTRODUCTION = "The paths of the old service, for clients that have not moved to Supabase's own API yet. " +
  "Every call needs the access token of a signed-in user (Supabase Auth); row-level security decides what it sees. " +
  "Errors are `application/problem+json` with a `code`; `detail` is as the old service had it. Successful calls answer 200. " +
  "Fields that are not known are ignored; in what makes something, null is the same as leaving a field out. A station's id may be written " +
  "in any case. Lists hold at most 1,000 rows: where there are more, a `Link` header with " +
  '`rel="next"` names the rest. Ids are strings, money and energy are numbers, times are ISO 8601.';

export const document: Json = {
  openapi: "3.1.0",
  info: { title: "EvPower: the old HTTP API", version: "1.0.0", summary: "On Supabase", description: INTRODUCTION },
  servers: [{ url: "/functions/v1/ocpp", description: "Below the URL of the Supabase project" }],
  security: [{ user: [] }],
  tags: [
    { name: "Stations", description: "Stations, locations, connections" },
    { name: "Commands", description: "What is sent to stations" },
    { name: "Charging", description: "Charges" },
    { name: "Prices", description: "Plans, rules, stations' own prices, quotes" },
    { name: "Users", description: "Who can sign in" },
  ],
  paths: paths(),
  components: {
    securitySchemes: {
      user: { type: "http", scheme: "bearer", bearerFormat: "JWT", description: "Access token of Supabase Auth" },
    },
    schemas: { ...requests, ...responses },
    responses: Object.fromEntries(
      Object.entries(REASONS).map(([status, description]) => [`E${status}`, {
        description,
        content: { "application/problem+json": { schema: ref("Problem") } },
      }]),
    ),
  },
};

function ref(name: string): Json {
  return { $ref: `#/components/schemas/${name}` };
}

function paths(): Json {
  const found: Record<string, Json> = {};
  for (const route of routes) {
    found[route.path] = { ...found[route.path], [route.method.toLowerCase()]: operation(route) };
  }
  return found;
}

/** Where the id of what was made leads on. */
function links(answer: Route["answer"]): Json {
  const one = routes.find((route) => route.method === "GET" && route.path.endsWith("/{id}") && route.answer === answer);
  if (one === undefined) return {};
  const more = routes.filter(({ path }) => path === one.path);
  return {
    links: Object.fromEntries(
      more.map(({ id, summary }) => [id, {
        operationId: id,
        parameters: { id: "$response.body#/id" },
        description: summary,
      }]),
    ),
  };
}

function operation(route: Route): Json {
  const inPath = [...route.path.matchAll(/{(\w+)}/g)].map(([, name]) => ({
    name,
    in: "path",
    required: true,
    ...PARAMETERS[name],
  }));
  const required = route.query?.required as string[] | undefined ?? [];
  const inQuery = Object.entries(route.query?.properties ?? {}).map(([name, property]) => {
    const { description, ...schema } = property as Json;
    const blank = schema.type === "string" && { allowEmptyValue: true }; // a filter for nothing is left out
    return { name, in: "query", required: required.includes(name), ...blank, description, schema };
  });
  const answer = route.list ? { type: "array", items: ref(route.answer) } : ref(route.answer);
  const refuses = new Set([...route.refuses, 401, 503]);
  if (route.query || route.body) refuses.add(422);
  if (route.body) refuses.add(413);
  return {
    operationId: route.id,
    tags: [route.tag],
    summary: route.summary,
    ...(route.description && { description: route.description }),
    ...(inPath.length + inQuery.length > 0 && { parameters: [...inPath, ...inQuery] }),
    ...(route.body &&
      { requestBody: { required: true, content: { "application/json": { schema: ref(route.body) } } } }),
    responses: {
      200: {
        description: (responses[route.answer] as Json).description,
        ...(route.list && {
          headers: { Link: { description: 'rel="next" when there are more', schema: { type: "string" } } },
        }),
        content: { "application/json": { schema: answer } },
        ...(route.method === "POST" && links(route.answer)),
      },
      ...Object.fromEntries(
        [...refuses].sort().map((status) => [status, { $ref: `#/components/responses/E${status}` }]),
      ),
    },
  };
}
