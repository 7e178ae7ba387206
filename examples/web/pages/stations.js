// All stations: on a map and as a list, with their states as they change.

import { fill, field, h, pill } from "../dom.js";
import { follow } from "../live.js";
import { StationMap } from "../map.js";
import { me } from "../me.js";
import { applyEvent, connectorName, connectorState, isDc, readStations, stationState, tellPrice } from "../stations.js";

const MOST_TOPICS = 50; // a Realtime connection may join 100 channels
const REFRESH_MS = 30_000; // for those who may not listen, and for stations beyond MOST_TOPICS

export async function show(root, { signal }) {
  const wanted = { text: "", free: false, dc: false, location: null };
  const search = h("input", { type: "search", name: "search", placeholder: "City, place or station", oninput: () => set({ text: search.value }) });
  const toggle = (key, label) => {
    const button = h("button", { type: "button", class: "chip", "aria-pressed": "false", onclick: () => set({ [key]: !wanted[key] }) }, label);
    return [key, button];
  };
  const chips = [toggle("free", "Free now"), toggle("dc", "Fast (DC)")];
  const place = h("button", { type: "button", class: "chip", "aria-pressed": "true", hidden: true, onclick: () => set({ location: null }) });
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
    h("div", { class: "filters" }, field("Search", search), h("div", { class: "chips" }, chips.map(([, button]) => button), place)),
    count,
    list,
  );

  let stations = await readStations();
  if (signal.aborted) return;
  const cards = new Map();

  function set(change) {
    Object.assign(wanted, change);
    for (const [key, button] of chips) button.setAttribute("aria-pressed", String(wanted[key]));
    const location = stations.find((station) => station.location?.id === wanted.location)?.location;
    place.hidden = !location;
    place.textContent = location ? `At ${location.name} ✕` : "";
    place.setAttribute("aria-label", location ? `Only at ${location.name}; press to show all` : "");
    draw();
  }

  function fits(station) {
    const words = [station.id, station.location?.name, station.location?.city, station.location?.address].join(" ").toLowerCase();
    return (
      words.includes(wanted.text.trim().toLowerCase()) &&
      (!wanted.free || stationState(station)[0] === "ok") &&
      (!wanted.dc || isDc(station)) &&
      (!wanted.location || station.location?.id === wanted.location)
    );
  }

  function draw() {
    const shown = stations.filter(fits).sort((a, b) => Number(b.online) - Number(a.online) || a.id.localeCompare(b.id));
    count.textContent = `${shown.length} of ${stations.length} stations`;
    for (const station of stations) {
      if (!cards.has(station.id)) cards.set(station.id, card(station));
      cards.get(station.id).draw(station);
    }
    const elements = shown.map((station) => cards.get(station.id).element);
    if (elements.some((element, index) => list.children[index] !== element) || list.children.length !== elements.length) fill(list, elements);
    map.update(places(stations));
  }

  async function refresh() {
    const fresh = await readStations();
    if (signal.aborted) return;
    stations = fresh;
    draw();
  }

  draw();
  const ends = me.id
    ? stations.slice(0, MOST_TOPICS).map(({ id }) => {
        const on = (event) => (payload) => {
          applyEvent(stations.find((station) => station.id === id), event, payload);
          draw();
        };
        return follow(`station:${id}`, { connector: on("connector"), presence: on("presence") });
      })
    : [];
  const timer = setInterval(() => document.hidden || refresh().catch(() => {}), REFRESH_MS);
  signal.addEventListener("abort", () => {
    clearInterval(timer);
    for (const end of ends) end();
  });
}

function card({ id }) {
  const name = h("h2");
  const state = h("div");
  const where = h("p", { class: "where" });
  const connectors = h("ul", { class: "connectors" });
  const cost = h("p", { class: "price" }, " ");
  tellPrice(id, (text) => (cost.textContent = text ?? "Price on the station's page"));
  const element = h("li", null, h("a", { class: "card station", href: `#/station/${encodeURIComponent(id)}` }, h("div", { class: "row" }, name, state), where, connectors, cost));
  return {
    element,
    draw(station) {
      const [tone, words] = stationState(station);
      name.textContent = station.location?.name ?? id;
      fill(state, pill(tone, words));
      where.textContent = [station.location?.city, id, station.model].filter(Boolean).join(" · ");
      fill(
        connectors,
        station.connectors.map((connector) => {
          const [connectorTone, connectorWords] = connectorState(station, connector);
          return h("li", { dataset: { tone: connectorTone } }, h("span", { class: "dot", "aria-hidden": "true" }), `${connectorName(connector, station)}: ${connectorWords}`);
        }),
      );
    },
  };
}

/** One place per location, with the best state of its stations. */
function places(stations) {
  const found = new Map();
  for (const station of stations) {
    if (!station.location) continue;
    const [tone, words] = stationState(station);
    const before = found.get(station.location.id) ?? { ...station.location, stations: 0, tones: [], state: "" };
    before.stations += 1;
    before.tones.push(tone);
    before.state += `${before.state ? ", " : ""}${station.id} ${words.toLowerCase()}`;
    found.set(station.location.id, before);
  }
  return [...found.values()].map((place) => ({ ...place, tone: ["ok", "busy", "bad", "off"].find((tone) => place.tones.includes(tone)) }));
}
