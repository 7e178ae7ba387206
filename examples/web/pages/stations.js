// All stations: on a map and as a list, with their states as they change.

import { call } from "../api.js";
import { field, fill, h, pill } from "../dom.js";
import { plain } from "../format.js";
import { StationMap } from "../map.js";
import { busy, problem } from "../say.js";
import {
  connectorName,
  connectorState,
  priceText,
  readStations,
  stationName,
  stationState,
  watchStations,
} from "../stations.js";

const NEAR_KM = 20040; // half way round the Earth: all of them, by distance
const LOCATE = { timeout: 10_000, maximumAge: 60_000 };
const AC = /^type ?[12]/i;

export async function show(root, { signal }) {
  const wanted = { text: "", free: false, dc: false, location: null, near: null }; // near: location id -> km
  const search = h("input", {
    type: "search",
    name: "search",
    placeholder: "City, place or station",
    oninput: () => set({ text: search.value }),
  });
  const chip = (text, act) =>
    h("button", { type: "button", class: "chip", "aria-pressed": "false", onclick: act }, text);
  const free = chip("Free now", () => set({ free: !wanted.free }));
  const dc = chip("Fast (DC)", () => set({ dc: !wanted.dc }));
  const near = chip("Near me", () => (wanted.near ? set({ near: null }) : busy(near, locate)));
  const place = chip("", () => set({ location: null }));
  const trouble = h("div");
  const count = h("p", { class: "hint", role: "status" });
  const list = h("ul", { class: "stations" });
  const map = new StationMap((chosen) => {
    set({ location: chosen.id });
    list.querySelector("a")?.focus({ preventScroll: true });
    list.scrollIntoView({ block: "start" });
  });
  fill(
    root,
    h("h1", null, "Charging stations"),
    map.element,
    h("div", { class: "filters" }, field("Search", search), h("div", { class: "chips" }, free, dc, near, place)),
    trouble,
    count,
    list,
  );

  const stations = new Map();
  let known = false;
  const cards = new Map();

  async function locate() {
    fill(trouble);
    try {
      const { coords } = await new Promise((resolve, reject) =>
        navigator.geolocation.getCurrentPosition(resolve, reject, LOCATE)
      );
      const found = await call("nearby_locations", {
        latitude: coords.latitude,
        longitude: coords.longitude,
        radius_km: NEAR_KM,
      }, { get: true });
      set({ near: new Map(found.map(({ id, distance_km }) => [id, distance_km])) });
    } catch (error) {
      const refused = error instanceof GeolocationPositionError;
      fill(
        trouble,
        problem(
          refused
            ? { message: "Your place is not known.", hint: "Allow this page to see it, in the browser's settings." }
            : error,
        ),
      );
    }
  }

  function set(change) {
    Object.assign(wanted, change);
    const at = [...stations.values()].find((station) => station.location_id === wanted.location);
    for (const [button, on] of [[free, wanted.free], [dc, wanted.dc], [near, wanted.near], [place, at]]) {
      button.setAttribute("aria-pressed", String(Boolean(on)));
    }
    place.hidden = !at;
    place.textContent = at ? `At ${stationName(at)} ✕` : "";
    draw();
  }

  function fits(station) {
    const words = [station.id, station.location_name, station.city, station.address].join(" ").toLowerCase();
    return (
      words.includes(wanted.text.trim().toLowerCase()) &&
      (!wanted.free || station.availability === "free") &&
      (!wanted.dc || station.connector_types.some((type) => !AC.test(type))) &&
      (!wanted.location || station.location_id === wanted.location)
    );
  }

  function order(a, b) {
    const distance = (station) => wanted.near?.get(station.location_id) ?? Infinity;
    if (wanted.near && distance(a) !== distance(b)) return distance(a) - distance(b);
    return isUp(b) - isUp(a) || a.id.localeCompare(b.id);
  }

  const isUp = ({ availability }) => ["free", "in_use"].includes(availability);

  function draw() {
    const shown = [...stations.values()].filter(fits).sort(order);
    count.textContent = known ? `${shown.length} of ${stations.size} stations` : "Loading …";
    const elements = shown.map((station) => {
      if (!cards.has(station.id)) cards.set(station.id, card(station.id));
      cards.get(station.id).draw(station, wanted.near?.get(station.location_id));
      return cards.get(station.id).element;
    });
    if (
      list.children.length !== elements.length || elements.some((element, index) => list.children[index] !== element)
    ) fill(list, elements);
    map.update(places([...stations.values()]));
  }

  const changed = (some) => {
    for (const station of some) stations.set(station.id, station);
    draw();
  };
  set({});
  const all = await readStations();
  known = true;
  changed(all);
  if (!signal.aborted) watchStations([...stations.values()], changed, signal);
}

function card(id) {
  const name = h("h2");
  const state = h("div");
  const where = h("p", { class: "where" });
  const connectors = h("ul", { class: "connectors" });
  const price = h("p", { class: "price" });
  const element = h(
    "li",
    null,
    h(
      "a",
      { class: "card station", href: `#/station/${encodeURIComponent(id)}` },
      h("div", { class: "row" }, name, state),
      where,
      connectors,
      price,
    ),
  );
  return {
    element,
    draw(station, km) {
      const [tone, words] = stationState(station);
      name.textContent = stationName(station);
      fill(state, pill(tone, words));
      where.textContent = [km !== undefined && `${plain(km, 1)} km`, station.city, id, station.model].filter(Boolean)
        .join(" · ");
      fill(
        connectors,
        station.connectors.map((connector) => {
          const [connectorTone, connectorWords] = connectorState(connector);
          return h(
            "li",
            { dataset: { tone: connectorTone } },
            h("span", { class: "dot", "aria-hidden": "true" }),
            `${connectorName(connector)}: ${connectorWords}`,
          );
        }),
      );
      price.textContent = priceText(station);
    },
  };
}

/** One place per location, with the best state of its stations. */
function places(stations) {
  const found = new Map();
  for (const station of stations) {
    if (!station.location_id) continue;
    const [tone, words] = stationState(station);
    const { location_name: name, city, latitude, longitude } = station;
    const place = found.get(station.location_id) ??
      { id: station.location_id, name, city, latitude, longitude, tones: [], states: [] };
    place.tones.push(tone);
    place.states.push(`${station.id} ${words.toLowerCase()}`);
    found.set(station.location_id, place);
  }
  return [...found.values()].map((place) => ({
    ...place,
    tone: ["ok", "busy", "bad", "off"].find((tone) => place.tones.includes(tone)),
    state: place.states.join(", "),
  }));
}
