/** Every path and verb of the old service: what it takes, what it gives, and what it asks of Supabase. */

import { forbidden, invalid, notFound, notSignedIn, Problem } from "../_shared/problem.ts";
import { type AuthAdmin, type Page, type Query, type Rest, type Row } from "../_shared/rest.ts";
import Type, { type Static, type TObject, type TProperties } from "../_shared/typebox.ts";
import * as shapes from "./shapes.ts";
import type { Requests, requests, responses } from "./shapes.ts";

/** What a handler knows of its request. */
export interface Call<Q, B> {
  rest: Rest;
  admin: AuthAdmin;
  params: Record<string, string>;
  query: Q;
  body: B;
}

export type Method = "GET" | "POST" | "PUT" | "DELETE";

/** One operation: its words in the OpenAPI document, and what it does. */
export interface Route<Q extends TObject = TObject, B extends keyof typeof requests = keyof typeof requests> {
  method: Method;
  path: string;
  id: string;
  tag: string;
  summary: string;
  description?: string;
  query?: Q;
  body?: B;
  answer: keyof typeof responses;
  /** A list of answers, with `limit` and `offset`. */
  list?: boolean;
  /** HTTP statuses with which it may refuse, beside 401, 422 (where it takes anything) and 503. */
  refuses: number[];
  handle(call: Call<Static<Q>, Requests[B]>): Promise<Row | Page>;
}

const route = <Q extends TObject = TObject<Record<never, never>>, B extends keyof typeof requests = never>(
  definition: Route<Q, B>,
) => definition as unknown as Route;

const MAX_ROWS = 1000; // the cap of the data API ([api] max_rows in config.toml)
const PAGE = {
  limit: Type.Optional(
    Type.Integer({ minimum: 1, maximum: MAX_ROWS, default: MAX_ROWS, description: "At most so many" }),
  ),
  offset: Type.Optional(
    Type.Integer({ minimum: 0, maximum: 2147483647, default: 0, description: "Leave so many out" }),
  ),
};
const paged = <T extends TProperties>(filters: T) => Type.Object({ ...filters, ...PAGE });
const station_id = Type.Optional(Type.String({ maxLength: 255, description: "Only of this station" }));

/** A page of rows, as shapes. */
async function list(
  { rest, query }: Call<{ limit?: number; offset?: number }, unknown>,
  table: string,
  columns: string,
  order: string,
  filters: Record<string, string | undefined> = {},
  shape: (row: Row) => Row = (row) => row,
): Promise<Page> {
  const wanted = Object.entries(filters).filter((entry): entry is [string, string] => entry[1] !== undefined);
  const all = { select: columns, order, ...Object.fromEntries(wanted) };
  const { rows, more } = await rest.page(table, all, query.limit ?? MAX_ROWS, query.offset ?? 0);
  return { rows: rows.map(shape), more };
}

const equal = (value: unknown) => value === undefined ? undefined : `eq.${value}`;

/**
 * What `find` gives for a station whose id may be written in any case: commands take it so, and no two ids differ in case only.
 * Whoever writes it as it is stored pays for one request.
 */
async function inAnyCase<T>(
  rest: Rest,
  id: string,
  find: (id: string) => Promise<T | undefined>,
): Promise<T | undefined> {
  const found = await find(id);
  if (found !== undefined) return found;
  const alike = await rest.rows("stations", { select: "id", id: `ilike.${id.replace(/[\\%_]/g, "\\$&")}` });
  const stored = alike.map((row) => String(row.id)).find((other) => sameId(other, id)); // PostgREST takes * for any text
  return stored === undefined || stored === id ? undefined : await find(stored);
}
const sameId = (a: string, b: string) => a.toLowerCase() === b.toLowerCase();

/** A list, perhaps of one station only. */
async function listOf(
  call: Call<{ station_id?: string; limit?: number; offset?: number }, unknown>,
  pageOf: (station?: string) => Promise<Page>,
): Promise<Page> {
  const { station_id } = call.query;
  if (station_id === undefined) return await pageOf();
  const found = await inAnyCase(call.rest, station_id, async (id) => {
    const page = await pageOf(equal(id));
    return page.rows.length > 0 ? page : undefined;
  });
  return found ?? { rows: [], more: false };
}

/** The row with this id. Raises Problem: 404, also for an id that is no UUID. */
async function one(rest: Rest, table: string, columns: string, id: string, what: string): Promise<Row> {
  if (!UUID.test(id)) throw notFound(what);
  const [row] = await rest.rows(table, { select: columns, id: `eq.${id}` });
  if (row === undefined) throw notFound(what);
  return row;
}
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

const noStation = (id: string) =>
  new Problem(404, "OCSTA", `station "${id.slice(0, 64)}" is not known`, "GET /stations lists the stations.");

/** The station, with every field. Raises Problem 404. */
async function stationRow(rest: Rest, id: string): Promise<Row> {
  const query = { select: shapes.STATION_COLUMNS };
  const row = await inAnyCase(rest, id, async (id) => (await rest.rows("stations", { ...query, id: `eq.${id}` }))[0]);
  if (row === undefined) throw noStation(id);
  return row;
}

/** The changed station. Raises Problem: 403 for one that others run, `missing` for one that the caller cannot see. */
async function changeStation(
  rest: Rest,
  id: string,
  select: string,
  changes: Row,
  filters: Query = {},
  missing = noStation(id),
): Promise<Row> {
  const change = async (id: string) => {
    const [row] = await rest.update("stations", { select, id: `eq.${id}`, ...filters }, changes);
    if (row !== undefined) return row;
    const [seen] = await rest.rows("stations", { select: "id", id: `eq.${id}`, ...filters });
    if (seen !== undefined) throw forbidden(`station "${id}" is not yours to change`);
  };
  const row = await inAnyCase(rest, id, change);
  if (row === undefined) throw missing;
  return row;
}

function chargeLimits(body: Requests["StartCharge"]): Row {
  const limits = shapes.limits(body);
  if (limits === undefined) {
    const message = "limit_type energy and amount need a limit_value above 0, none goes without one";
    throw invalid(message, [{ field: "/limit_value", message }]);
  }
  return limits;
}

const NEWEST_FIRST = "transaction_id.desc"; // numbered as they are made, and indexed
const STARTING = [402, 403, 404, 409];

export const routes: Route[] = [
  route({
    method: "GET",
    path: "/connections",
    id: "listConnections",
    tag: "Stations",
    summary: "Stations that are connected now",
    query: paged({}),
    answer: "Connection",
    list: true,
    refuses: [],
    handle: (call) => list(call, "connections", shapes.CONNECTION, "station_id", {}, shapes.connection),
  }),
  route({
    method: "GET",
    path: "/status/{station_id}",
    id: "getStatus",
    tag: "Stations",
    summary: "Whether a station is connected",
    answer: "Connection",
    refuses: [404],
    handle: async ({ rest, params: { station_id: id } }) => {
      const query = { select: shapes.STATUS };
      const find = async (id: string) => (await rest.rows("station_status", { ...query, station_id: `eq.${id}` }))[0];
      const row = await inAnyCase(rest, id, find);
      if (row === undefined) throw noStation(id);
      return shapes.stationState(row);
    },
  }),
  route({
    method: "POST",
    path: "/send_command",
    id: "sendCommand",
    tag: "Commands",
    summary: "Send an OCPP command to a station",
    description: "For operators (their own stations) and admins; drivers may send RemoteStopTransaction for a charge " +
      "of their own. What becomes of it: table `commands`, or the Realtime topic `command:{id}`.",
    body: "SendCommand",
    answer: "CommandSent",
    refuses: [400, 403, 404, 409],
    handle: async ({ rest, body }) => {
      const given = (body.payload ?? {}) as Row;
      const payload = body.command === STOP ? withNumber(given) : given;
      const args = { station_id: body.station_id, action: body.command, payload };
      const row = await rest.rpc("send_command", args, { select: "id,station_id,status" }).catch(async (error) => {
        const own = refusedStop(error, body.command) &&
          await stopOwnCharge(rest, body.station_id, payload.transactionId);
        if (!own) throw error;
        return own;
      });
      return {
        status: "sent",
        station_id: row.station_id,
        command: body.command,
        result: { id: row.id, status: row.status },
      };
    },
  }),
  route({
    method: "POST",
    path: "/disconnect",
    id: "disconnect",
    tag: "Commands",
    summary: "Close a station's connection",
    description: "For operators (their own stations) and admins. The station may come back at once.",
    body: "Disconnect",
    answer: "DisconnectSent",
    refuses: [403, 404, 409],
    handle: async ({ rest, body }) => {
      await rest.rpc("disconnect_station", { station_id: body });
      return { status: "disconnect_sent", station_id: body };
    },
  }),
  route({
    method: "GET",
    path: "/transactions",
    id: "listTransactions",
    tag: "Charging",
    summary: "Charges that began, newest first",
    query: paged({ station_id }),
    answer: "Transaction",
    list: true,
    refuses: [],
    handle: (call) =>
      listOf(call, (station_id) =>
        list(call, "charging_sessions", shapes.TRANSACTION, NEWEST_FIRST, {
          start_time: "not.is.null",
          station_id,
        }, shapes.transaction)),
  }),
  route({
    method: "POST",
    path: "/transactions",
    id: "remoteStart",
    tag: "Charging",
    summary: "Start a charge on connector 1",
    description: "As /start_charge on connector 1.",
    body: "RemoteStart",
    answer: "Sent",
    refuses: STARTING,
    handle: async ({ rest, body }) => {
      const args = { station_id: body.connection_id, connector_id: 1 };
      const row = await rest.rpc("start_charge", args, { select: "station_id" });
      return { status: "sent", station_id: row.station_id };
    },
  }),
  route({
    method: "POST",
    path: "/start_charge",
    id: "startCharge",
    tag: "Charging",
    summary: "Start a charge for the caller",
    description: "On the connector with a car plugged in, else the first that is free.",
    body: "StartCharge",
    answer: "Session",
    refuses: [400, ...STARTING],
    handle: async ({ rest, body }) => {
      const args = { station_id: body.station_id, ...chargeLimits(body) };
      return shapes.session(await rest.rpc("start_charge", args, { select: shapes.SESSION }));
    },
  }),
  route({
    method: "POST",
    path: "/sessions",
    id: "createSession",
    tag: "Charging",
    summary: "Start a charge for a user",
    description: "For oneself as /start_charge; for others: operators (at their own stations) and admins.",
    body: "SessionCreate",
    answer: "Session",
    refuses: [400, ...STARTING],
    handle: async ({ rest, body }) => {
      const args = { station_id: body.station_id, ...chargeLimits(body) };
      const row = body.user_id.toLowerCase() === caller(rest).sub
        ? await rest.rpc("start_charge", args, { select: shapes.SESSION })
        : await rest.rpc("start_charge_for", { user_id: body.user_id, ...args }, { select: shapes.SESSION });
      return shapes.session(row);
    },
  }),
  route({
    method: "GET",
    path: "/sessions",
    id: "listSessions",
    tag: "Charging",
    summary: "Charges, newest first",
    query: paged({
      user_id: Type.Optional(Type.String({ format: "uuid", description: "Only of this user" })),
      station_id,
    }),
    answer: "Session",
    list: true,
    refuses: [],
    handle: (call) =>
      listOf(call, (station_id) =>
        list(call, "charging_sessions", shapes.SESSION, NEWEST_FIRST, {
          user_id: equal(call.query.user_id),
          station_id,
        }, shapes.session)),
  }),
  route({
    method: "GET",
    path: "/sessions/{id}",
    id: "getSession",
    tag: "Charging",
    summary: "A charge",
    answer: "Session",
    refuses: [404],
    handle: async ({ rest, params }) =>
      shapes.session(await one(rest, "charging_sessions", shapes.SESSION, params.id, "session")),
  }),
  route({
    method: "DELETE",
    path: "/sessions/{id}",
    id: "deleteSession",
    tag: "Charging",
    summary: "Delete a charge that never began",
    description: "One with money or energy is never deleted: 409.",
    answer: "Deleted",
    refuses: [403, 404, 409],
    handle: async ({ rest, params }) => {
      if (!UUID.test(params.id)) throw notFound("session");
      await rest.rpc("delete_session", { session_id: params.id });
      return { status: "deleted" };
    },
  }),
  route({
    method: "GET",
    path: "/calculate_cost/{station_id}",
    id: "calculateCost",
    tag: "Prices",
    summary: "What a charge would cost",
    query: Type.Object({ energy_kwh: Type.Number({ minimum: 0, maximum: 1e6, description: "kWh" }) }),
    answer: "Cost",
    refuses: [404],
    handle: async ({ rest, params, query }) =>
      shapes.cost(await rest.rpc("calculate_cost", { station_id: params.station_id, energy_kwh: query.energy_kwh })),
  }),
  route({
    method: "GET",
    path: "/stations",
    id: "listStations",
    tag: "Stations",
    summary: "Stations",
    query: paged({ location_id: Type.Optional(Type.String({ format: "uuid", description: "Only of this location" })) }),
    answer: "Station",
    list: true,
    refuses: [],
    handle: (call) =>
      list(
        call,
        "stations",
        shapes.STATION_COLUMNS,
        "id",
        { location_id: equal(call.query.location_id) },
        shapes.station,
      ),
  }),
  route({
    method: "POST",
    path: "/stations",
    id: "createStation",
    tag: "Stations",
    summary: "Add a station",
    description: "For operators (at their company's locations) and admins.",
    body: "StationCreate",
    answer: "Station",
    refuses: [400, 403, 404],
    handle: async ({ rest, body }) => {
      const { connectors_count, ...columns } = toMake("StationCreate", body);
      const count = Number(connectors_count ?? 0);
      const row: Row = { ...columns, id: columns.id ?? columns.serial_number };
      const made = await insertStation(rest, row);
      if (count === 0) return shapes.station(made);
      const types = body.connector_types ?? [];
      const connectors = Array.from({ length: count }, (_, index) => ({
        station_id: made.id,
        number: index + 1,
        type: types[index] ?? (types.length === 1 ? types[0] : null),
      }));
      try {
        await rest.insert("connectors", "number", connectors);
      } catch (error) {
        await rest.delete("stations", { id: `eq.${made.id}` });
        throw error;
      }
      return shapes.station({ ...made, connectors: [{ count }] });
    },
  }),
  route({
    method: "GET",
    path: "/stations/{id}",
    id: "getStation",
    tag: "Stations",
    summary: "A station",
    answer: "Station",
    refuses: [404],
    handle: async ({ rest, params }) => shapes.station(await stationRow(rest, params.id)),
  }),
  route({
    method: "PUT",
    path: "/stations/{id}",
    id: "updateStation",
    tag: "Stations",
    summary: "Change a station",
    body: "StationUpdate",
    answer: "Station",
    refuses: [400, 403, 404],
    handle: async ({ rest, params, body }) => {
      const { id = params.id, ...changes } = known("StationUpdate", body);
      if (!sameId(String(id), params.id)) {
        throw invalid("the id cannot change", [{ field: "/id", message: "must be that of the path" }]);
      }
      if (Object.keys(changes).length === 0) return shapes.station(await stationRow(rest, params.id));
      return shapes.station(await changeStation(rest, params.id, shapes.STATION_COLUMNS, changes));
    },
  }),
  route({
    method: "GET",
    path: "/locations",
    id: "listLocations",
    tag: "Stations",
    summary: "Locations",
    query: paged({}),
    answer: "Location",
    list: true,
    refuses: [],
    handle: (call) => list(call, "locations", shapes.LOCATION_COLUMNS, "created_at,id", {}, shapes.location),
  }),
  route({
    method: "POST",
    path: "/locations",
    id: "createLocation",
    tag: "Stations",
    summary: "Add a location",
    description: "For operators (of their company) and admins.",
    body: "LocationCreate",
    answer: "Location",
    refuses: [403, 404],
    handle: async ({ rest, body }) => {
      const [row] = await rest.insert("locations", shapes.LOCATION_COLUMNS, toMake("LocationCreate", body));
      return shapes.location(row);
    },
  }),
  route({
    method: "GET",
    path: "/locations/{id}",
    id: "getLocation",
    tag: "Stations",
    summary: "A location",
    answer: "Location",
    refuses: [404],
    handle: async ({ rest, params }) =>
      shapes.location(await one(rest, "locations", shapes.LOCATION_COLUMNS, params.id, "location")),
  }),
  route({
    method: "GET",
    path: "/tariff_plans",
    id: "listTariffPlans",
    tag: "Prices",
    summary: "Tariff plans",
    query: paged({ is_active: Type.Optional(Type.Boolean({ description: "Only those in use, or not in use" })) }),
    answer: "TariffPlan",
    list: true,
    refuses: [],
    handle: (call) =>
      list(call, "tariff_plans", shapes.TARIFF_PLAN, "created_at,id", { is_active: equal(call.query.is_active) }),
  }),
  route({
    method: "POST",
    path: "/tariff_plans",
    id: "createTariffPlan",
    tag: "Prices",
    summary: "Add a tariff plan",
    description: "For operators (of their company) and admins (of the whole service).",
    body: "TariffPlanCreate",
    answer: "TariffPlan",
    refuses: [400, 403],
    handle: async ({ rest, body }) =>
      (await rest.insert("tariff_plans", shapes.TARIFF_PLAN, toMake("TariffPlanCreate", body)))[0],
  }),
  route({
    method: "GET",
    path: "/tariff_plans/{id}",
    id: "getTariffPlan",
    tag: "Prices",
    summary: "A tariff plan",
    answer: "TariffPlan",
    refuses: [404],
    handle: ({ rest, params }) => one(rest, "tariff_plans", shapes.TARIFF_PLAN, params.id, "tariff plan"),
  }),
  route({
    method: "GET",
    path: "/tariff_rules",
    id: "listTariffRules",
    tag: "Prices",
    summary: "Tariff rules",
    query: paged({ tariff_plan_id: Type.Optional(Type.String({ format: "uuid", description: "Only of this plan" })) }),
    answer: "TariffRule",
    list: true,
    refuses: [],
    handle: (call) =>
      list(call, "tariff_rules", shapes.TARIFF_RULE, "created_at,id", {
        tariff_plan_id: equal(call.query.tariff_plan_id),
      }, shapes.tariffRule),
  }),
  route({
    method: "POST",
    path: "/tariff_rules",
    id: "createTariffRule",
    tag: "Prices",
    summary: "Add a tariff rule",
    description: "For operators (to plans of their company) and admins.",
    body: "TariffRuleCreate",
    answer: "TariffRule",
    refuses: [400, 403, 404],
    handle: async ({ rest, body }) => {
      const [row] = await rest.insert("tariff_rules", shapes.TARIFF_RULE, toMake("TariffRuleCreate", body));
      return shapes.tariffRule(row);
    },
  }),
  route({
    method: "GET",
    path: "/tariff_rules/{id}",
    id: "getTariffRule",
    tag: "Prices",
    summary: "A tariff rule",
    answer: "TariffRule",
    refuses: [404],
    handle: async ({ rest, params }) =>
      shapes.tariffRule(await one(rest, "tariff_rules", shapes.TARIFF_RULE, params.id, "tariff rule")),
  }),
  route({
    method: "POST",
    path: "/tariffs",
    id: "createTariff",
    tag: "Prices",
    summary: "Give a station a price of its own",
    description: "It takes the place of the plan's prices per kWh. A repeat replaces it.",
    body: "TariffCreate",
    answer: "Tariff",
    refuses: [400, 403, 404],
    handle: async ({ rest, body }) => {
      const changes = { price_per_kwh: body.price_per_kwh, currency: body.currency ?? "KGS" };
      return shapes.tariff(await changeStation(rest, body.station_id, shapes.TARIFF, changes));
    },
  }),
  route({
    method: "GET",
    path: "/tariffs",
    id: "listTariffs",
    tag: "Prices",
    summary: "Stations' own prices",
    query: paged({ station_id }),
    answer: "Tariff",
    list: true,
    refuses: [],
    handle: (call) =>
      listOf(call, (id) => list(call, "stations", shapes.TARIFF, "id", { ...PRICED, id }, shapes.tariff)),
  }),
  route({
    method: "GET",
    path: "/tariffs/{id}",
    id: "getTariff",
    tag: "Prices",
    summary: "A station's own price",
    answer: "Tariff",
    refuses: [404],
    handle: async ({ rest, params }) => {
      const query = { select: shapes.TARIFF, ...PRICED };
      const find = async (id: string) => (await rest.rows("stations", { ...query, id: `eq.${id}` }))[0];
      const row = await inAnyCase(rest, params.id, find);
      if (row === undefined) throw notFound("tariff");
      return shapes.tariff(row);
    },
  }),
  route({
    method: "DELETE",
    path: "/tariffs/{id}",
    id: "deleteTariff",
    tag: "Prices",
    summary: "Take a station's own price away",
    description: "From then on its plan holds. A session that began keeps its price.",
    answer: "Deleted",
    refuses: [403, 404],
    handle: async ({ rest, params }) => {
      await changeStation(rest, params.id, "id", { price_per_kwh: null }, PRICED, notFound("tariff"));
      return { status: "deleted" };
    },
  }),
  route({
    method: "POST",
    path: "/users",
    id: "createUser",
    tag: "Users",
    summary: "Add a user who can sign in",
    description: "For admins; a superadmin is made by a superadmin.",
    body: "UserCreate",
    answer: "User",
    refuses: [400, 403, 404],
    handle: async ({ rest, admin, body }) => {
      const { email: _email, password: _password, role = "operator", ...columns } = toMake("UserCreate", body);
      await assertMayMake(String(role), rest);
      const id = await admin.create(body.email, body.password);
      try {
        const [row] = await rest.update("users", { select: shapes.USER, id: `eq.${id}` }, { role, ...columns });
        if (row === undefined) throw forbidden("only an admin may add users");
        return row;
      } catch (error) {
        await admin.delete(id); // nobody shall sign in as half a user
        throw error;
      }
    },
  }),
  route({
    method: "GET",
    path: "/users",
    id: "listUsers",
    tag: "Users",
    summary: "Users",
    description: "Oneself; operators also their company's, admins all.",
    query: paged({}),
    answer: "User",
    list: true,
    refuses: [],
    handle: (call) => list(call, "users", shapes.USER, "created_at,id"),
  }),
  route({
    method: "GET",
    path: "/users/{id}",
    id: "getUser",
    tag: "Users",
    summary: "A user",
    answer: "User",
    refuses: [404],
    handle: ({ rest, params }) => one(rest, "users", shapes.USER, params.id, "user"),
  }),
];

const STOP = "RemoteStopTransaction";

/** The transaction's id as OCPP has it: the old shapes show it as a string. */
function withNumber(payload: Row): Row {
  const id = payload.transactionId;
  return typeof id === "string" && /^[0-9]{1,10}$/.test(id) ? { ...payload, transactionId: Number(id) } : payload;
}

const refusedStop = (error: unknown, action: string) =>
  error instanceof Problem && error.code === "OCPRM" && action === STOP;

/** Drivers command no stations, but the old service had no other way to stop a charge. undefined: it is not theirs. */
async function stopOwnCharge(rest: Rest, station: string, transaction: unknown): Promise<Row | undefined> {
  if (!Number.isInteger(transaction)) return undefined;
  const session = await inAnyCase(rest, station, async (station) => {
    const query = { select: "id", station_id: `eq.${station}`, transaction_id: `eq.${transaction}` };
    return (await rest.rows("charging_sessions", query))[0];
  });
  if (session === undefined) return undefined;
  const { station_id, status } = await rest.rpc("stop_charge", { session_id: session.id }, {
    select: "station_id,status",
  });
  const [command] = await rest.rows("commands", {
    select: "id,station_id,status",
    session_id: `eq.${session.id}`,
    action: `eq.${STOP}`,
    order: "created_at.desc",
    limit: "1",
  });
  return command ?? { id: null, station_id, status };
}

const PRICED = { price_per_kwh: "not.is.null" };

/** The fields of a body that its schema names: whatever else came is ignored. */
function known<B extends keyof typeof requests>(name: B, body: Requests[B]): Row {
  const { properties } = shapes.requests[name] as unknown as TObject;
  return Object.fromEntries(Object.entries(body as Row).filter(([field]) => Object.hasOwn(properties, field)));
}

/** The columns of a new row: null is the same as nothing, which leaves the database its default. */
function toMake<B extends keyof typeof requests>(name: B, body: Requests[B]): Row {
  return Object.fromEntries(Object.entries(known(name, body)).filter(([, value]) => value !== null));
}

async function insertStation(rest: Rest, row: Row): Promise<Row> {
  try {
    return (await rest.insert("stations", shapes.STATION_COLUMNS, row))[0];
  } catch (error) {
    if (!(error instanceof Problem && error.code === "OCPRM") || row.location_id !== undefined) throw error;
    throw new Problem(
      403,
      "OCPRM",
      error.detail,
      "An operator's station needs location_id: a location of the company.",
    );
  }
}

/** Claims of the caller's token. Not verified here: PostgREST verifies it with each request. */
export function caller(rest: Rest): { sub?: string; role?: string } {
  try {
    const part = rest.token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    const claims = JSON.parse(new TextDecoder().decode(Uint8Array.from(atob(part), (char) => char.charCodeAt(0))));
    return { sub: claims.sub, role: claims.role }; // throws where the payload is null
  } catch {
    throw notSignedIn("the token is no JWT");
  }
}

/** Raises Problem unless the caller, as the database knows them, may make a user of this role. */
async function assertMayMake(role: string, rest: Rest): Promise<void> {
  const claims = caller(rest);
  const itself: Row = { role: "superadmin", is_active: true };
  const query = { select: "role,is_active", ...(claims.sub ? { id: `eq.${claims.sub}` } : { limit: "0" }) };
  const [found] = await rest.rows("users", query); // this also verifies the token
  const user = claims.role === "service_role" ? itself : found;
  if (!user?.is_active || !["admin", "superadmin"].includes(String(user.role))) {
    throw forbidden("only an admin may add users");
  }
  if (role === "superadmin" && user.role !== "superadmin") throw forbidden("only a superadmin may add a superadmin");
}
