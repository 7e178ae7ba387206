// Stations, their states and prices, as several pages show them.

import { ask, call, supabase } from "./api.js";
import { price } from "./format.js";

const COLUMNS =
  "id,model,manufacturer,power_capacity,status,location:locations(id,name,address,city,latitude,longitude,time_zone)," +
  "connectors(number,type,power,status,error_code)";
const PRICE_REQUESTS = 4; // at a time: the list must not queue behind its prices
const PRICE_AGE_MS = 60_000;

/** Stations with location, connectors and online; all that are on the map, or the one. */
export async function readStations(id) {
  const rows = supabase.from("stations").select(COLUMNS).order("id");
  const states = supabase.from("station_status").select("station_id,online,connectors");
  if (id) {
    rows.eq("id", id);
    states.eq("station_id", id);
  }
  const [stations, presence] = await Promise.all([ask(rows), ask(states)]);
  const byId = new Map(presence.map((row) => [row.station_id, row]));
  for (const station of stations) {
    const row = byId.get(station.id);
    station.online = row?.online ?? false;
    const sessions = new Map(row?.connectors.map((one) => [one.number, one.session_id]));
    for (const connector of station.connectors) connector.session_id = sessions.get(connector.number) ?? null;
    station.connectors.sort((a, b) => a.number - b.number);
  }
  return stations;
}

/** Changes a station by an event of its topic. */
export function applyEvent(station, event, payload) {
  if (event === "presence") {
    station.online = payload.online;
    return;
  }
  const connector = station.connectors.find((one) => one.number === payload.number);
  if (connector) Object.assign(connector, { status: payload.status, error_code: payload.error_code });
  else station.connectors.push({ number: payload.number, type: null, power: null, status: payload.status, error_code: payload.error_code });
}

const STATES = {
  Available: ["ok", "Available"],
  Preparing: ["ok", "Car plugged in"],
  Charging: ["busy", "Charging"],
  SuspendedEV: ["busy", "Paused by the car"],
  SuspendedEVSE: ["busy", "Paused by the station"],
  Finishing: ["busy", "Finishing"],
  Reserved: ["busy", "Reserved"],
  Unavailable: ["off", "Out of service"],
  Faulted: ["bad", "Faulted"],
};

/** Tone and words for a connector: ["ok", "Available"]. */
export function connectorState(station, connector) {
  if (station.status !== "active") return ["off", "Out of service"];
  if (!station.online) return ["off", "Offline"];
  return STATES[connector.status] ?? ["off", "Unknown"];
}

/** Tone and words for the whole station: ["ok", "1 of 2 free"]. */
export function stationState(station) {
  if (station.status !== "active") return ["off", station.status === "maintenance" ? "In maintenance" : "Out of service"];
  if (!station.online) return ["off", "Offline"];
  const tones = station.connectors.map((connector) => connectorState(station, connector)[0]);
  const free = tones.filter((tone) => tone === "ok").length;
  if (free > 0) return ["ok", tones.length === 1 ? "Available" : `${free} of ${tones.length} free`];
  if (tones.includes("busy")) return ["busy", "In use"];
  return tones.includes("bad") ? ["bad", "Faulted"] : ["off", "Out of service"];
}

export const isDc = (station) => station.connectors.some(({ type }) => type && !/^type ?[12]/i.test(type));

/** "Type2, 22 kW" */
export const connectorName = (connector, station) =>
  [connector.type ?? `Connector ${connector.number}`, powerOf(connector, station)].filter(Boolean).join(", ");

export function powerOf(connector, station) {
  const power = connector.power ?? station.power_capacity;
  return power === null ? null : `${power} kW`;
}

/** What a charge would cost, itemised: the calculation that also makes the bill. Throws ApiError. */
export const quote = (stationId, energyKwh, more = {}) =>
  call("calculate_cost", { station_id: stationId, energy_kwh: energyKwh, ...more }, { get: true });

/** "KGS 15.00 per kWh + KGS 20.00 per session" of a quote. */
export function priceText({ price_per_kwh: perKwh, session_fee: fee, currency, lines }) {
  const parts = [];
  if (perKwh) parts.push(`${price(perKwh, currency)} per kWh`);
  for (const line of lines) {
    if (line.unit === "min") parts.push(`${price(line.price, currency)} per minute`);
  }
  if (fee) parts.push(`${price(fee, currency)} per session`);
  return parts.length > 0 ? parts.join(" + ") : "Free of charge";
}

const prices = new Map(); // station id -> {at, text}
const waiting = [];
let running = 0;

/** Calls back with the station's price of now in words, soon; null when it cannot be told. */
export function tellPrice(stationId, callback) {
  const known = prices.get(stationId);
  if (known && Date.now() - known.at < PRICE_AGE_MS) callback(known.text);
  else {
    waiting.push([stationId, callback]);
    next();
  }
}

async function next() {
  if (running >= PRICE_REQUESTS || waiting.length === 0) return;
  running += 1;
  const [stationId, callback] = waiting.shift();
  try {
    const text = priceText(await quote(stationId, 0, { minutes: 1 }));
    prices.set(stationId, { at: Date.now(), text });
    callback(text);
  } catch {
    callback(null);
  } finally {
    running -= 1;
    next();
  }
}
