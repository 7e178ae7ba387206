/**
 * What goes in and out, as the old service had it. The same schemas validate requests and make the OpenAPI document.
 */

import Type, { type Static, type TOptional, type TProperties, type TSchema } from "../_shared/typebox.ts";
import type { Row } from "../_shared/rest.ts";

type Options = Record<string, unknown>;

const text = (options: Options = {}) => Type.String(options);
const uuid = (description: string) => Type.String({ format: "uuid", description });
const time = (description: string) => Type.String({ format: "date-time", description });
const oneOf = <T extends string>(values: T[], options: Options = {}) =>
  Type.Unsafe<T>({ type: "string", enum: values, ...options });
/** The same, or null: as one schema, so that an error names one reason. */
const orNull = <T extends TSchema>(schema: T) => {
  const { type, enum: values } = schema as unknown as { type: string | string[]; enum?: unknown[] };
  if (Array.isArray(type)) return Type.Unsafe<Static<T> | null>(schema); // it may be null already
  return Type.Unsafe<Static<T> | null>({ ...schema, type: [type, "null"], ...(values && { enum: [...values, null] }) });
};
const optional = Type.Optional;
/** In what makes something, null is the same as nothing. */
const omittable = <T extends TSchema>(schema: T) => Type.Optional(orNull(schema));
const shape = <T extends TProperties>(description: string, properties: T, examples: unknown[]) =>
  Type.Object(properties, { description, examples });

// Words and numbers that stand in several shapes
const MONEY = { minimum: 0, maximum: 1e9 };
const id = text({
  pattern: "^[^ /\\x00-\\x1f\\x7f][^/\\x00-\\x1f\\x7f]{0,254}$",
  maxLength: 255,
  description: "The station's id: its OCPP identity",
});
const stationId = text({ minLength: 1, maxLength: 255, description: "The station's id: its OCPP identity" });
const currency = text({ pattern: "^[A-Z]{3}$", minLength: 3, maxLength: 3, description: "ISO 4217" });
const limitType = oneOf(["none", "energy", "amount"], { description: "What the charge stops at", default: "none" });
const limitValue = orNull(
  Type.Number({ minimum: 0, maximum: 1e9, description: "kWh, or money in the station's currency" }),
);
const connectionStatus = oneOf(["active", "inactive", "error"], {
  description:
    "active: connected now. error belongs to the old shape and is not used: a faulty connector is no faulty connection",
});
const userRole = oneOf(["operator", "admin", "superadmin", "driver", "bridge"]);
const stationStatus = oneOf(["active", "inactive", "maintenance"], { description: "inactive: not on the map" });
const sessionStatus = oneOf(["started", "stopped", "error"], {
  description: "A charge that was asked for and has not begun is `started`, without a start_time",
});
// [0-9], not \d: in other languages that has more digits
const dateToStore = text({
  pattern: "^[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9:.]+(Z|[+-][0-9:]+)?)?$",
  maxLength: 40,
  description: "A date; a time behind it is dropped",
});
const clock = "([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?";

const STATION = {
  serial_number: text({ minLength: 1, maxLength: 255 }),
  model: orNull(text({ maxLength: 255 })),
  manufacturer: orNull(text({ maxLength: 255 })),
  location_id: orNull(uuid("Where it stands; an operator's stations need one of the company's")),
  power_capacity: orNull(Type.Number({ minimum: 0, maximum: 1e6, description: "kW" })),
  connector_types: Type.Array(text({ minLength: 1, maxLength: 50 }), {
    maxItems: 100,
    description: "One per connector",
  }),
  installation_date: orNull(text({ format: "date" })),
  firmware_version: orNull(text({ maxLength: 255 })),
  status: stationStatus,
  admin_id: orNull(uuid("The user who looks after it")),
  tariff_plan_id: orNull(uuid("Without one: the default plan of the company")),
  price_per_kwh: orNull(Type.Number({ ...MONEY, description: "The station's own price; null: as in its plan" })),
  session_fee: orNull(Type.Number({ ...MONEY, description: "The station's own fee; null: as in its plan" })),
  currency,
};
const PLAN = {
  name: text({ minLength: 1, maxLength: 255 }),
  description: orNull(text({ maxLength: 2000 })),
  is_default: Type.Boolean({ description: "For stations of the company without a plan of their own", default: false }),
  is_active: Type.Boolean({ default: true }),
};
const RULE = {
  tariff_plan_id: uuid("The plan it belongs to"),
  name: text({ minLength: 1, maxLength: 255 }),
  tariff_type: oneOf(["per_kwh", "per_minute", "session_fee", "parking_fee"]),
  connector_type: text({ minLength: 1, maxLength: 50, description: "ALL, or one type", default: "ALL" }),
  power_range_min: Type.Number({ minimum: 0, maximum: 1e6, description: "kW, inclusive", default: 0 }),
  power_range_max: Type.Number({ minimum: 0, maximum: 1e6, description: "kW, inclusive", default: 1000 }),
  price: Type.Number({ ...MONEY, description: "Per kWh, minute or session" }),
  currency: { ...currency, default: "KGS" } as typeof currency,
  is_weekend: Type.Boolean({ description: "Only on Saturdays and Sundays", default: false }),
  priority: Type.Integer({ minimum: -2147483648, maximum: 2147483647, description: "The highest wins", default: 0 }),
  is_active: Type.Boolean({ default: true }),
};
const LOCATION = {
  name: text({ minLength: 1, maxLength: 255 }),
  address: orNull(text({ maxLength: 1000 })),
  city: orNull(text({ maxLength: 255 })),
  country: text({ maxLength: 255, default: "KG" }),
  latitude: orNull(Type.Number({ minimum: -90, maximum: 90 })),
  longitude: orNull(Type.Number({ minimum: -180, maximum: 180 })),
  client_id: orNull(uuid("The company; left out: the caller's own")),
};
const MADE = { created_at: time("When it was made"), updated_at: time("When it was last changed") };
const UUID = "4e52ccb5-3c8f-4f64-a22b-d1f55caf9825";
const TIMES = { created_at: "2026-11-22T16:25:11.936769+00:00", updated_at: "2026-11-22T16:25:11.936769+00:00" };
const LOCATION_EXAMPLE = {
  name: "Ala-Too Square",
  address: "Chuy Avenue 114",
  city: "Bishkek",
  country: "KG",
  latitude: 42.8757,
  longitude: 74.6037,
  client_id: "c0000000-0000-4000-8000-000000000001",
};
const STATION_EXAMPLE = {
  id: "KG-BSK-001",
  serial_number: "SN-24010101",
  model: "AC Duo 22",
  manufacturer: "Voltline",
  location_id: "d0000000-0000-4000-8000-000000000002",
  power_capacity: 22,
  connector_types: ["Type2"],
  installation_date: "2024-02-01",
  firmware_version: "1.4.2",
  status: "active",
  admin_id: null,
  connectors_count: 2,
  tariff_plan_id: null,
  price_per_kwh: 16.5,
  session_fee: null,
  currency: "KGS",
};
const PLAN_EXAMPLE = { name: "City", description: "Cheap nights", is_default: true, is_active: true };
const RULE_EXAMPLE = {
  tariff_plan_id: "b0000000-0000-4000-8000-000000000002",
  name: "Night",
  tariff_type: "per_kwh",
  connector_type: "ALL",
  power_range_min: 0,
  power_range_max: 1000,
  price: 10,
  currency: "KGS",
  time_start: "23:00:00",
  time_end: "07:00:00",
  is_weekend: false,
  priority: 0,
  is_active: true,
};

/** Bodies of requests. Fields that are not named here are ignored, as the old service did. */
export const requests = {
  SendCommand: shape("An OCPP 1.6 command", {
    station_id: stationId,
    command: text({ minLength: 1, maxLength: 50, description: "The action, as OCPP 1.6 spells it" }),
    payload: omittable(Type.Object({}, { description: "As on the wire, in camelCase", additionalProperties: true })),
  }, [{ station_id: "TEST-001", command: "Reset", payload: { type: "Soft" } }]),
  Disconnect: Type.String({
    minLength: 1,
    maxLength: 255,
    description: "The station's id, a bare JSON string",
    examples: ["TEST-001"],
  }),
  RemoteStart: shape("A remote start on connector 1", { connection_id: stationId }, [{ connection_id: "TEST-001" }]),
  StartCharge: shape("A charge of the caller's own", {
    station_id: stationId,
    limit_type: omittable(limitType),
    limit_value: optional(limitValue),
  }, [{ station_id: "TEST-001", limit_type: "energy", limit_value: 20 }]),
  SessionCreate: shape("A charge for a user", {
    user_id: uuid("Who charges: oneself; operators and admins: anybody"),
    station_id: stationId,
    limit_type: omittable(limitType),
    limit_value: optional(limitValue),
  }, [{
    user_id: "a0000000-0000-4000-8000-000000000001",
    station_id: "TEST-001",
    limit_type: "amount",
    limit_value: 300,
  }]),
  UserCreate: shape("A user who can sign in", {
    email: text({ format: "email", maxLength: 254 }),
    password: text({ minLength: 8, maxLength: 72 }),
    role: omittable(oneOf(["operator", "admin", "superadmin", "driver"], { default: "operator" })),
    is_active: omittable(Type.Boolean({ default: true })),
    admin_id: omittable(uuid("The user who looks after this one")),
    client_id: omittable(uuid("New here: the company of an operator, or the account that pays for a driver")),
  }, [{ email: "new.operator@evpower.example", password: "at least 8 characters", role: "operator" }]),
  LocationCreate: shape("A location", { ...allOmittable(LOCATION), name: LOCATION.name }, [LOCATION_EXAMPLE]),
  StationCreate: shape("A station", {
    ...allOmittable(STATION),
    serial_number: STATION.serial_number,
    installation_date: omittable(dateToStore),
    id: omittable({ ...id, description: "The OCPP identity; left out: the serial number" } as typeof id),
    connectors_count: omittable(
      Type.Integer({ minimum: 0, maximum: 100, description: "Connectors to make, numbered from 1" }),
    ),
  }, [STATION_EXAMPLE]),
  StationUpdate: shape(
    "Any subset of a station's fields. connectors_count and the times are read only and ignored; id cannot change",
    {
      ...partial(STATION),
      serial_number: optional(orNull(STATION.serial_number)),
      installation_date: omittable(dateToStore),
      id: optional(id),
    },
    [{ status: "maintenance", price_per_kwh: 17.5 }],
  ),
  TariffPlanCreate: shape("A tariff plan", { ...allOmittable(PLAN), name: PLAN.name }, [PLAN_EXAMPLE]),
  TariffRuleCreate: shape("A tariff rule: one price", {
    ...allOmittable(RULE),
    tariff_plan_id: RULE.tariff_plan_id,
    name: RULE.name,
    tariff_type: RULE.tariff_type,
    price: RULE.price,
    time_start: omittable(
      text({ pattern: `^${clock}$`, maxLength: 8, description: "Local time of the location", default: "00:00:00" }),
    ),
    time_end: omittable(text({
      pattern: `^(${clock}|24:00(:00)?)$`,
      maxLength: 8,
      description: "23:59:59 means the end of the day. An end before the start wraps midnight",
      default: "23:59:59",
    })),
  }, [RULE_EXAMPLE]),
  TariffCreate: shape("The station's own price", {
    station_id: stationId,
    price_per_kwh: Type.Number(MONEY),
    currency: omittable({ ...currency, default: "KGS" } as typeof currency),
  }, [{ station_id: "KG-BSK-001", price_per_kwh: 16.5, currency: "KGS" }]),
};

/** Bodies of answers. */
export const responses = {
  Connection: shape("A station's connection", {
    station_id: stationId,
    status: connectionStatus,
    last_heartbeat: orNull(time("When the station was last heard")),
  }, [{ station_id: "TEST-001", status: "active", last_heartbeat: "2026-11-22T16:25:20.614885+00:00" }]),
  CommandSent: shape("The command is on its way", {
    status: oneOf(["sent"]),
    station_id: stationId,
    command: text(),
    result: Type.Object({
      id: orNull(
        uuid(
          "The command: row of table commands, Realtime topic command:{id}. null: the charge was being stopped already",
        ),
      ),
      status: text({ description: "Its state: queued at first. Without a command that of the session" }),
    }),
  }, [{ status: "sent", station_id: "TEST-001", command: "Reset", result: { id: UUID, status: "queued" } }]),
  DisconnectSent: shape("The bridge closes the socket", { status: oneOf(["disconnect_sent"]), station_id: stationId }, [
    { status: "disconnect_sent", station_id: "TEST-001" },
  ]),
  Sent: shape("The remote start is on its way", { status: oneOf(["sent"]), station_id: stationId }, [
    { status: "sent", station_id: "TEST-001" },
  ]),
  Deleted: shape("It is gone", { status: oneOf(["deleted"]) }, [{ status: "deleted" }]),
  Transaction: shape("A charge as the station counts it", {
    id: text({ description: "The OCPP transactionId; transaction_id of the session" }),
    connection_id: stationId,
    energy: Type.Number({ description: "kWh" }),
    status: sessionStatus,
    start_time: orNull(time("When it began")),
    stop_time: orNull(time("When it ended")),
  }, [{
    id: "1042",
    connection_id: "TEST-001",
    energy: 25.5,
    status: "stopped",
    start_time: "2026-11-22T14:00:00+00:00",
    stop_time: "2026-11-22T15:10:00+00:00",
  }]),
  User: shape("A user", {
    id: uuid("The id of the Supabase Auth user"),
    email: orNull(text()),
    role: userRole,
    is_active: Type.Boolean(),
    admin_id: orNull(uuid("The user who looks after this one")),
    ...MADE,
  }, [{ id: UUID, email: "operator@evpower.example", role: "operator", is_active: true, admin_id: null, ...TIMES }]),
  Location: shape("A location", {
    id: uuid("Its id"),
    ...LOCATION,
    stations_count: Type.Integer({ description: "Stations that the caller sees" }),
    connectors_count: Type.Integer({ description: "Their connectors" }),
    ...MADE,
  }, [{ id: UUID, ...LOCATION_EXAMPLE, stations_count: 2, connectors_count: 4, ...TIMES }]),
  Station: shape("A station", {
    id,
    ...STATION,
    serial_number: orNull(STATION.serial_number),
    connectors_count: Type.Integer(),
    ...MADE,
  }, [{ ...STATION_EXAMPLE, ...TIMES }]),
  TariffPlan: shape("A tariff plan", { id: uuid("Its id"), ...PLAN, ...MADE }, [{
    id: UUID,
    ...PLAN_EXAMPLE,
    ...TIMES,
  }]),
  TariffRule: shape("A tariff rule", {
    id: uuid("Its id"),
    ...RULE,
    time_start: text({ description: "Local time of the location" }),
    time_end: text({ description: "23:59:59: the end of the day" }),
    ...MADE,
  }, [{ id: UUID, ...RULE_EXAMPLE, ...TIMES }]),
  Tariff: shape("The station's own price", {
    id: text({ description: "The station's id" }),
    station_id: stationId,
    price_per_kwh: Type.Number(),
    currency,
    created_at: time("When the station was made"),
  }, [{
    id: "KG-BSK-001",
    station_id: "KG-BSK-001",
    price_per_kwh: 16.5,
    currency: "KGS",
    created_at: TIMES.created_at,
  }]),
  Session: shape("A charge", {
    id: uuid("Its id: row of table charging_sessions, Realtime topic session:{id}"),
    user_id: orNull(uuid("Who charges; null: a card of nobody")),
    station_id: stationId,
    start_time: orNull(time("When the station began")),
    stop_time: orNull(time("When it ended")),
    energy: Type.Number({ description: "kWh so far" }),
    amount: Type.Number({ description: "Cost so far; the bill once stopped" }),
    status: sessionStatus,
    transaction_id: orNull(text({ description: "The OCPP transactionId" })),
    limit_type: { ...limitType, description: "One with both limits shows as amount" } as typeof limitType,
    limit_value: orNull(Type.Number({ description: "kWh, or money" })),
    created_at: time("When it was asked for"),
  }, [{
    id: UUID,
    user_id: "a0000000-0000-4000-8000-000000000001",
    station_id: "TEST-001",
    start_time: "2026-11-22T14:00:00+00:00",
    stop_time: null,
    energy: 12.25,
    amount: 183.75,
    status: "started",
    transaction_id: "1042",
    limit_type: "energy",
    limit_value: 20,
    created_at: "2026-11-22T13:59:58+00:00",
  }]),
  Cost: shape("What a charge would cost", {
    cost: Type.Number(),
    currency,
    price_per_kwh: orNull(Type.Number({ description: "Now; null: energy is free" })),
    session_fee: orNull(Type.Number()),
    rule_name: orNull(text({ description: "The rule that gives the price per kWh" })),
  }, [{ cost: 382.5, currency: "KGS", price_per_kwh: 15, session_fee: null, rule_name: "Energy" }]),
  Problem: shape("Why a request was refused (RFC 9457)", {
    type: text({ description: "urn:evpower:error:CODE" }),
    title: text(),
    status: Type.Integer(),
    detail: text({ description: "For people" }),
    code: text({ description: "For programs: docs/error_codes.md" }),
    hint: text({ description: "What to do" }),
    instance: text({ description: "The path that was asked for" }),
    errors: optional(Type.Array(Type.Object({ field: text(), message: text() }))),
  }, [{
    type: "urn:evpower:error:OCBSY",
    title: "Conflict",
    status: 409,
    detail: "connector 1 is in use",
    code: "OCBSY",
    hint: "Stop that session first, or choose another connector.",
    instance: "/start_charge",
  }]),
};

function partial<T extends TProperties>(properties: T) {
  return Object.fromEntries(Object.entries(properties).map(([name, schema]) => [name, optional(schema)])) as {
    [K in keyof T]: TOptional<T[K]>;
  };
}

function allOmittable<T extends TProperties>(properties: T) {
  return Object.fromEntries(Object.entries(properties).map(([name, schema]) => [name, omittable(schema)])) as {
    [K in keyof T]: ReturnType<typeof omittable<T[K]>>;
  };
}

export type Requests = { [K in keyof typeof requests]: Static<(typeof requests)[K]> };

// From rows to shapes. Each has the `select` that it needs. ---------------------------------------------------------

export const CONNECTION = "station_id,last_message_at";
export const connection = (row: Row): Row => ({
  station_id: row.station_id,
  status: "active",
  last_heartbeat: row.last_message_at,
});

export const STATUS = "station_id,online,last_seen_at";
export const stationState = (row: Row): Row => ({
  station_id: row.station_id,
  status: row.online ? "active" : "inactive",
  last_heartbeat: row.last_seen_at,
});

export const USER = "id,email,role,is_active,admin_id,created_at,updated_at";

export const LOCATION_COLUMNS =
  "id,name,address,city,country,latitude,longitude,client_id,created_at,updated_at,stations(connectors(count))";
export function location({ stations, created_at, updated_at, ...row }: Row): Row {
  const counts = (stations as { connectors: Count }[] | undefined ?? []).map(({ connectors }) => counted(connectors));
  return {
    ...row,
    stations_count: counts.length,
    connectors_count: counts.reduce((sum, count) => sum + count, 0),
    created_at,
    updated_at,
  };
}

export const STATION_COLUMNS = "id,serial_number,model,manufacturer,location_id,power_capacity,connector_types," +
  "installation_date,firmware_version,status,admin_id,tariff_plan_id,price_per_kwh,session_fee,currency,created_at," +
  "updated_at,connectors(count)";
export const station = ({ connectors, ...row }: Row): Row => ({
  ...row,
  connectors_count: counted(connectors as Count),
});

type Count = { count: number }[] | undefined;
const counted = (count: Count): number => count?.[0]?.count ?? 0;

export const TARIFF_PLAN = "id,name,description,is_default,is_active,created_at,updated_at";

export const TARIFF_RULE = "id,tariff_plan_id,name,tariff_type,connector_type,power_range_min,power_range_max,price," +
  "per_hour,currency,time_start,time_end,is_weekend,priority,is_active,created_at,updated_at";
/** The old service had prices per minute and no 24:00. (The other way round the database does it.) */
export const tariffRule = ({ per_hour, ...row }: Row): Row => ({
  ...row,
  price: per_hour ? Math.round(Number(row.price) / 60 * 1e6) / 1e6 : row.price,
  time_end: row.time_end === "24:00:00" ? "23:59:59" : row.time_end,
});

export const TARIFF = "id,price_per_kwh,currency,created_at";
export const tariff = ({ id, ...row }: Row): Row => ({ id, station_id: id, ...row });

export const SESSION = "id,user_id,station_id,start_time,stop_time,energy,amount,status,transaction_id,limit_type," +
  "limit_energy_kwh,limit_amount,created_at";
export const session = (row: Row): Row => ({
  id: row.id,
  user_id: row.user_id,
  station_id: row.station_id,
  start_time: row.start_time,
  stop_time: row.stop_time,
  energy: row.energy,
  amount: row.amount,
  status: oldStatus(row.status),
  transaction_id: row.start_time === null ? null : String(row.transaction_id),
  limit_type: row.limit_type === "both" ? "amount" : row.limit_type,
  limit_value: row.limit_amount ?? row.limit_energy_kwh,
  created_at: row.created_at,
});

export const TRANSACTION = "transaction_id,station_id,energy,status,start_time,stop_time";
export const transaction = (row: Row): Row => ({
  id: String(row.transaction_id),
  connection_id: row.station_id,
  energy: row.energy,
  status: oldStatus(row.status),
  start_time: row.start_time,
  stop_time: row.stop_time,
});

/** A row with its times as Python writes them, and could not read otherwise before 3.11: a fraction of six digits, or none. */
export function withTimes(row: Row, shape: keyof typeof responses): Row {
  const { properties } = responses[shape] as unknown as { properties: Record<string, { format?: string }> };
  const entries = Object.entries(row).map(([name, value]) =>
    typeof value === "string" && properties[name]?.format === "date-time" ? [name, sixDigits(value)] : [name, value]
  );
  return Object.fromEntries(entries);
}
const sixDigits = (time: string) => time.replace(/\.[0-9]+/, (fraction) => fraction.padEnd(7, "0"));

const oldStatus = (status: unknown) => status === "pending" ? "started" : status;

export const cost = (quote: Row): Row => ({
  cost: quote.cost,
  currency: quote.currency,
  price_per_kwh: quote.price_per_kwh,
  session_fee: quote.session_fee,
  rule_name: (quote.lines as Row[]).find((line) => line.tariff_type === "per_kwh")?.rule_name ?? null,
});

/** limit_type and limit_value of the old service as the arguments of start_charge; undefined: they do not fit together. */
export function limits(body: { limit_type?: string | null; limit_value?: number | null }): Row | undefined {
  const value = body.limit_value ?? 0;
  switch (body.limit_type ?? "none") {
    case "energy":
      return value > 0 ? { limit_energy_kwh: value } : undefined;
    case "amount":
      return value > 0 ? { limit_amount: value } : undefined;
    default: // a limit that somebody wanted and that would not hold is no small mistake
      return value === 0 ? {} : undefined;
  }
}
