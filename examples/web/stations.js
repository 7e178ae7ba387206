// Stations, their states and prices, as several pages show them.

import { ask, call, supabase } from "./api.js";
import { price } from "./format.js";
import { follow } from "./live.js";

const COLUMNS =
  "id,location_id,location_name,address,city,latitude,longitude,status,availability,connectors_free,connectors_count,connectors," +
  "price_from,currency,model,power_capacity,connector_types";
const MOST_TOPICS = 50; // one Realtime connection may join 100
const REFRESH_MS = 30_000; // for what is beyond MOST_TOPICS, and for what was missed
const GATHER_MS = 150; // a station that comes back reports all its connectors at once

/** Stations as view station_overview has them; all that are on the map, or those with the ids. Throws ApiError. */
export function readStations(ids) {
  const query = supabase.from("station_overview").select(COLUMNS).order("id");
  return ask(ids ? query.in("id", ids) : query);
}

/**
 * Calls back with stations that have changed, until the signal is aborted. An event says that something is different;
 * what it means for the availability says the view. Many stations are watched by the topics of their locations.
 */
export function watchStations(stations, changed, signal) {
  const stale = new Set();
  const read = async (which) => {
    const fresh = await readStations(which);
    if (!signal.aborted) changed(fresh);
  };
  const readStale = () => {
    const which = [...stale];
    stale.clear();
    read(which).catch(() => {}); // the next look is at hand
  };
  const mark = (ids) => () => {
    if (stale.size === 0) setTimeout(readStale, GATHER_MS);
    for (const id of ids) stale.add(id);
  };
  const ids = stations.map(({ id }) => id);
  const topics = new Map();
  for (const { id, location_id: location } of stations) {
    const topic = stations.length > 1 && location ? `location:${location}` : `station:${id}`;
    topics.set(topic, [...(topics.get(topic) ?? []), id]);
  }
  const ends = [...topics].slice(0, MOST_TOPICS).map(([topic, of]) =>
    follow(topic, { location: mark(of), connector: mark(of), presence: mark(of), station: mark(of) })
  );
  const timer = setInterval(() => document.hidden || read(ids).catch(() => {}), REFRESH_MS);
  signal.addEventListener("abort", () => {
    clearInterval(timer);
    for (const end of ends) end();
  });
}

const STATES = {
  free: ["ok", "Available"],
  faulted: ["bad", "Faulted"],
  unavailable: ["off", "Out of service"],
  offline: ["off", "Offline"],
};
const IN_USE = {
  Preparing: "Car plugged in",
  Charging: "Charging",
  SuspendedEV: "Paused by the car",
  SuspendedEVSE: "Paused by the station",
  Finishing: "Finishing",
  Reserved: "Reserved",
};

/** Tone and words for a connector: ["ok", "Available"]. */
export const connectorState = ({ availability, status }) =>
  STATES[availability] ?? ["busy", IN_USE[status] ?? "In use"];

/** Tone and words for the whole station: ["ok", "1 of 2 free"]. */
export function stationState({ status, availability, connectors_free: free, connectors_count: count }) {
  if (status === "maintenance") return ["off", "In maintenance"];
  if (availability === "free" && count > 1) return ["ok", `${free} of ${count} free`];
  return STATES[availability] ?? ["busy", "In use"];
}

export const stationName = (station) => station.location_name ?? station.id;

/** "Type2, 22 kW" */
export const connectorName = ({ number, type, power }) =>
  [type ?? `Connector ${number}`, power !== null && `${power} kW`].filter(Boolean).join(", ");

/** What a charge would cost, itemised: the calculation that also makes the bill. Throws ApiError. */
export const quote = (stationId, energyKwh, more) =>
  call("calculate_cost", { station_id: stationId, energy_kwh: energyKwh, ...more }, { get: true });

/** "from KGS 15.00 per kWh" */
export const priceText = (
  { price_from: from, currency },
) => (from === null ? "" : from === 0 ? "Energy is free" : `${price(from, currency)} per kWh`);
