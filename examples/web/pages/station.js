// One station: its connectors, what a charge would cost, and the start of one.

import { call } from "../api.js";
import { linesTable } from "../bill.js";
import { field, fill, h, pill, refill } from "../dom.js";
import { dateTime, kwh, plain, price, roughly } from "../format.js";
import { me } from "../me.js";
import { busy, problem } from "../say.js";
import {
  connectorName,
  connectorState,
  quote,
  readStations,
  stationName,
  stationState,
  watchStations,
} from "../stations.js";

const USUAL_KWH = 20; // of the example of a price

const MODES = [
  ["none", "When I stop it", "Or when the car is full."],
  ["energy", "At an energy", null],
  ["amount", "At a cost", null],
  ["both", "At whichever comes first", null],
];

export async function show(root, { signal, params: [id] }) {
  let [station] = await readStations([id]);
  if (signal.aborted) return;
  if (!station) {
    fill(
      root,
      h("h1", null, id),
      h("p", { class: "card" }, "There is no such station on the map. ", h("a", { href: "#/" }, "All stations")),
    );
    return;
  }
  const best = (connectors) => connectors.find(({ availability }) => availability === "free") ?? connectors[0];
  let chosen = best(station.connectors)?.number ?? null;
  const state = h("div");
  const connectors = h("fieldset", { class: "choices" });
  const prices = h("div", { "aria-busy": "true" });
  const example = h("input", {
    type: "number",
    name: "energy",
    min: 0,
    max: 1000,
    step: "any",
    value: USUAL_KWH,
    inputmode: "decimal",
    oninput: () => drawPrices(),
  });
  const start = h("div");
  fill(
    root,
    h("p", { class: "back" }, h("a", { href: "#/" }, "← All stations")),
    h("div", { class: "row" }, h("h1", null, stationName(station)), state),
    h("p", { class: "where" }, [station.address, station.city, station.id, station.model].filter(Boolean).join(" · ")),
    h(
      "div",
      { class: "columns" },
      h(
        "div",
        { class: "stack" },
        h(
          "section",
          { class: "card", "aria-labelledby": "connectors-name" },
          h("h2", { id: "connectors-name" }, "Connectors"),
          connectors,
        ),
        h(
          "section",
          { class: "card", "aria-labelledby": "price-name" },
          h("h2", { id: "price-name" }, "Price"),
          field("For this many kWh", example),
          prices,
        ),
      ),
      h("section", { class: "card", "aria-labelledby": "start-name" }, h("h2", { id: "start-name" }, "Charge"), start),
    ),
  );

  function draw() {
    const [tone, words] = stationState(station);
    fill(state, pill(tone, words));
    refill(
      connectors,
      h("legend", { class: "sr-only" }, "Which connector"),
      station.connectors.map((connector) => {
        const [connectorTone, connectorWords] = connectorState(connector);
        const input = h("input", {
          type: "radio",
          name: "connector",
          value: connector.number,
          checked: connector.number === chosen,
          onchange: () => {
            chosen = connector.number;
            drawPrices();
            draw();
          },
        });
        return h(
          "label",
          { class: "choice" },
          input,
          h("span", null, h("strong", null, `${connector.number}: ${connectorName(connector)}`)),
          pill(connectorTone, connectorWords),
          connector.error_code && connector.error_code !== "NoError" &&
            h("span", { class: "hint" }, connector.error_code),
        );
      }),
    );
    const connector = station.connectors.find(({ number }) => number === chosen);
    form.update(tone, connector);
  }

  let asked = 0;
  async function drawPrices() {
    const number = (asked += 1);
    const energy = Number(example.value) || 0;
    const connector = station.connectors.find((one) => one.number === chosen);
    const power = connector ? connector.power : station.power_capacity;
    const minutes = power ? Math.round((energy / power) * 60) : 0;
    let content;
    try {
      const connectorId = chosen === null ? {} : { connector_id: chosen };
      const [cost, change] = await Promise.all([
        quote(station.id, energy, { minutes, ...connectorId }),
        call("next_rate_change", { station_id: station.id, ...connectorId }, { get: true }),
      ]);
      content = breakdown(cost, change, energy, minutes, power);
    } catch (error) {
      content = problem(error);
    }
    if (signal.aborted || number !== asked) return;
    prices.removeAttribute("aria-busy");
    fill(prices, content);
  }

  const form = startForm(station, () => chosen);
  fill(start, form.element);
  draw();
  drawPrices();

  const changed = ([fresh]) => {
    if (!fresh) return;
    station = fresh;
    draw();
  };
  watchStations([station], changed, signal);
}

function breakdown(cost, change, energy, minutes, power) {
  return [
    linesTable(cost, `What ${kwh(energy)} would cost`),
    h(
      "p",
      { class: "hint" },
      `If you plug in now${
        minutes && power ? `: about ${roughly(minutes)} at ${plain(power)} kW` : ""
      }. The bill comes from the same calculation.`,
    ),
    change.at && h("p", { class: "hint" }, `From ${dateTime(change.at, change.time_zone)}: ${ratesText(change)}.`),
  ];
}

function ratesText(
  { currency, price_per_kwh: energy, session_fee: session, price_per_minute: minute, parking_per_minute: parking },
) {
  const parts = [
    [energy, "per kWh"],
    [minute, "per minute"],
    [session, "per session"],
    [parking, "per minute of parking"],
  ];
  return parts.filter(([amount]) => amount > 0).map(([amount, per]) => `${price(amount, currency)} ${per}`).join(
    ", ",
  ) || "free of charge";
}

function startForm(station, connectorId) {
  const energy = h("input", {
    type: "number",
    name: "limit_energy_kwh",
    required: true,
    min: 0.001,
    step: "any",
    inputmode: "decimal",
    value: 10,
  });
  const amount = h("input", {
    type: "number",
    name: "limit_amount",
    required: true,
    min: 0.01,
    step: "any",
    inputmode: "decimal",
    value: 200,
  });
  const energyField = field("Energy, kWh", energy);
  const amountField = field(`Cost, ${station.currency}`, amount);
  const trouble = h("div");
  const button = h("button", { type: "submit", class: "primary big" }, "Start charging");
  const note = h("p", { class: "hint" });
  let mode = "none";

  const choose = (value) => {
    mode = value;
    energyField.hidden = energy.disabled = !["energy", "both"].includes(mode);
    amountField.hidden = amount.disabled = !["amount", "both"].includes(mode);
  };

  const submit = async (event) => {
    event.preventDefault();
    fill(trouble);
    await busy(button, async () => {
      try {
        const session = await call("start_charge", {
          station_id: station.id,
          connector_id: connectorId(),
          limit_energy_kwh: energy.disabled ? null : Number(energy.value),
          limit_amount: amount.disabled ? null : Number(amount.value),
        });
        window.dispatchEvent(new Event("session-begun"));
        location.hash = `/session/${session.id}`;
      } catch (error) {
        fill(trouble, problem(error));
      }
    });
  };

  const element = h(
    "form",
    { onsubmit: submit },
    h(
      "fieldset",
      { class: "choices" },
      h("legend", null, "Stop"),
      MODES.map(([value, label, hint]) =>
        h(
          "label",
          { class: "choice" },
          h("input", { type: "radio", name: "mode", value, checked: value === "none", onchange: () => choose(value) }),
          h("span", null, label, hint && h("span", { class: "hint" }, ` ${hint}`)),
        )
      ),
    ),
    energyField,
    amountField,
    trouble,
    me.id ? button : h(
      "a",
      { class: "button primary big", href: `#/sign-in?then=${encodeURIComponent(`/station/${station.id}`)}` },
      "Sign in to charge",
    ),
    note,
  );
  choose(mode);
  return {
    element,
    update(tone, connector) {
      const mine = connector?.session_id;
      fill(
        note,
        mine
          ? h("a", { href: `#/session/${mine}` }, "A session is under way here: watch it")
          : tone === "off"
          ? "The station cannot charge now."
          : connector?.status === "Preparing"
          ? "A car is plugged in: yours? Then start."
          : "Start first, then plug in; or the other way round.",
      );
    },
  };
}
