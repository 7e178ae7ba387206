// One charge: watched as it goes, stopped, and its receipt.

import { ask, call, supabase } from "../api.js";
import { receipt } from "../bill.js";
import { fill, h, pill } from "../dom.js";
import { dateTime, duration, fromTo, kw, kwh, money, percent, plain } from "../format.js";
import { keep, recall } from "../keep.js";
import { follow } from "../live.js";
import { SessionPlot } from "../plot.js";
import { busy, problem, say, toast } from "../say.js";

const COLUMNS = "*,station:stations(id,model,location:locations(name,city,time_zone))";
const MOST_POINTS = 1000; // what one request of PostgREST gives
const SAME_MS = 1500; // a reading heard on the topic and the same one read from its table
const LATE_MS = 60_000; // a connection that was lost for longer has more gaps than this one
const SAME_KWH = 0.001;
const SILENCE_MS = 12_000; // longer than the 10 s between two updates: a line may be dead and not know it yet
const WARN_AT = 0.8; // of a limit, as the server does

const STATES = {
  pending: ["busy", "Waiting for the station"],
  started: ["ok", "Charging"],
  stopped: ["off", "Ended"],
  error: ["bad", "Came to nothing"],
};

export async function show(root, { signal, params: [id] }) {
  const session = await ask(supabase.from("charging_sessions").select(COLUMNS).eq("id", id).maybeSingle());
  if (signal.aborted) return;
  if (!session) {
    fill(
      root,
      h("h1", null, "Charge"),
      h("p", { class: "card" }, "There is no such charge among yours. ", h("a", { href: "#/history" }, "My charges")),
    );
    return;
  }
  const timeZone = session.station?.location?.time_zone;
  const points = new Points(id);
  const plot = new SessionPlot();
  const state = h("div");
  const figure = (name) => {
    const value = h("span", { class: "value" }, "–");
    return {
      value,
      element: h("div", { class: "figure", dataset: { name } }, h("span", { class: "name" }, name), value),
    };
  };
  const figures = { energy: figure("Energy"), power: figure("Power"), cost: figure("Cost"), time: figure("Time") };
  const notes = h("div");
  const limits = h("div", { class: "limits" });
  const trouble = h("div");
  const stopButton = h("button", { type: "button", class: "danger big", onclick: stop }, "Stop charging");
  const controls = h("div", null, trouble, stopButton);
  const bill = h("div");
  const plotCard = h(
    "section",
    { class: "card", "aria-labelledby": "plot-name", hidden: true },
    h("h2", { id: "plot-name" }, "Power, energy and cost"),
    plot.element,
  );
  fill(
    root,
    h("p", { class: "back" }, h("a", { href: "#/history" }, "← My charges")),
    h("div", { class: "row" }, h("h1", null, session.station?.location?.name ?? session.station_id), state),
    h(
      "p",
      { class: "where" },
      [session.station_id, session.connector_id && `connector ${session.connector_id}`, session.station?.location?.city]
        .filter(Boolean).join(" · "),
    ),
    notes,
    h("section", { class: "figures", "aria-label": "Figures" }, Object.values(figures).map(({ element }) => element)),
    limits,
    controls,
    bill,
    plotCard,
  );

  async function stop() {
    fill(trouble);
    await busy(stopButton, async () => {
      try {
        await call("stop_charge", { session_id: id });
        await read();
      } catch (error) {
        fill(trouble, problem(error));
      }
    });
  }

  /** Takes what is new of the session and shows it. */
  function change(news) {
    const before = { ...session };
    Object.assign(session, news);
    if (before.status !== session.status) {
      say(
        {
          pending: "",
          started: "Charging has begun.",
          stopped: `Charging has ended: ${kwh(session.energy, 3)}, ${money(session.amount, session.currency)}.`,
          error: "The charge came to nothing.",
        }[session.status],
      );
    }
    if (!before.limit_reached_at && session.limit_reached_at) {
      say("Your limit is used up: the station has been told to stop.");
    }
    draw();
  }

  function tick() {
    const { start_time, stop_time } = session;
    figures.time.value.textContent = start_time
      ? duration((new Date(stop_time ?? Date.now()) - new Date(start_time)) / 1000)
      : "–";
  }

  function draw() {
    const { status, start_time, stop_time, currency } = session;
    const running = status === "started";
    const [tone, words] = running && session.stop_requested_at ? ["warn", "Stopping"] : STATES[status];
    fill(state, pill(tone, words));
    figures.energy.value.textContent = kwh(session.energy, 3);
    figures.power.value.textContent = running && session.power_w !== null ? kw(session.power_w) : "–";
    figures.cost.value.textContent = money(session.amount, currency);
    tick();
    figures.power.element.hidden = !running;
    stopButton.hidden = !["pending", "started"].includes(status);
    stopButton.textContent = status === "pending"
      ? "Cancel"
      : session.stop_requested_at
      ? "Stopping … press to ask again"
      : "Stop charging";
    fill(notes, notesOf(session, timeZone));
    fill(limits, ["pending", "started"].includes(status) && limitsOf(session));
    plotCard.hidden = points.all.length === 0;
    plot.update(points.all, {
      start: start_time && new Date(start_time).getTime(),
      end: stop_time && new Date(stop_time).getTime(),
      currency,
      timeZone,
      limitEnergy: session.limit_energy_kwh,
      limitAmount: session.limit_amount,
    });
  }

  let heardAt = Date.now();
  async function read() {
    heardAt = Date.now();
    const [row, values] = await Promise.all([
      ask(supabase.from("charging_sessions").select(COLUMNS).eq("id", id).single()),
      ask(
        supabase.from("meter_values").select("reported_at,energy_wh,power_w").eq("session_id", id).order(
          "reported_at",
          { ascending: false },
        ).limit(MOST_POINTS),
      ),
    ]);
    if (signal.aborted) return;
    points.addReadings(values, row);
    points.addNow(row);
    change(row);
    await showBill();
  }

  let billed = false;
  async function showBill() {
    if (billed || session.status !== "stopped" || !session.start_time) return;
    const drawn = session.settled_at ? await receipt(id) : null;
    if (signal.aborted || billed) return;
    billed = drawn !== null;
    fill(bill, drawn ?? h("p", { class: "card" }, "The bill is being made."));
  }

  const onSession = (payload) => {
    heardAt = Date.now();
    if (session.status === "stopped" && payload.status !== "stopped") return; // sent before what was read since
    points.addNow(payload);
    change(payload);
    if (payload.status === "stopped") read().catch((error) => fill(trouble, problem(error)));
  };
  const onWarning = ({ share }) => {
    toast(`${percent(share)} of what this charge may use is used.`, "warn");
    read().catch(() => {}); // the next event says it too
  };

  draw();
  await read();
  if (signal.aborted || billed) return;
  const end = follow(`session:${id}`, { session: onSession, limit_warning: onWarning }, read);
  const timer = setInterval(() => {
    tick();
    const over = session.status === "error" || billed;
    if (!over && Date.now() - heardAt > SILENCE_MS && !document.hidden) read().catch(() => {}); // and again as long
  }, 1000);
  signal.addEventListener("abort", () => {
    clearInterval(timer);
    end();
  });
}

function notesOf(session, timeZone) {
  const notes = [];
  if (session.status === "pending") {
    notes.push("The station has been asked to start. Plug the car in, if it is not yet.");
  }
  if (session.status === "error" && session.error) {
    notes.push(`${session.error[0].toUpperCase()}${session.error.slice(1)}.`);
  }
  if (session.start_time) {
    notes.push(
      session.stop_time
        ? `${fromTo(session.start_time, session.stop_time, timeZone)}.`
        : `Since ${dateTime(session.start_time, timeZone)}.`,
    );
  }
  if (session.soc_percent !== null && session.status === "started") {
    notes.push(`The battery is at ${plain(session.soc_percent, 0)} %.`);
  }
  return notes.map((note) => h("p", { class: "hint" }, note));
}

function limitsOf(session) {
  const bar = (name, value, limit, text) => {
    const share = Math.min(1, value / limit);
    const near = share >= WARN_AT || session.limit_warned_at;
    return h(
      "div",
      { class: "limit", dataset: { tone: near ? "warn" : "ok" } },
      h("div", { class: "row" }, h("span", null, name), h("span", null, `${text} (${percent(share)})`)),
      h("progress", { max: 1, value: share, "aria-label": `${name}: ${percent(share)}` }),
    );
  };
  const bars = [];
  if (session.limit_energy_kwh) {
    bars.push(
      bar(
        "Limit of energy",
        session.energy,
        session.limit_energy_kwh,
        `${kwh(session.energy, 3)} of ${kwh(session.limit_energy_kwh)}`,
      ),
    );
  }
  if (session.limit_amount) {
    bars.push(
      bar(
        "Limit of cost",
        session.amount,
        session.limit_amount,
        `${money(session.amount, session.currency)} of ${money(session.limit_amount, session.currency)}`,
      ),
    );
  }
  if (session.limit_warned_at) {
    const what = bars.length > 0 ? "limit" : "balance";
    bars.push(
      h(
        "p",
        { class: "warning" },
        session.limit_reached_at
          ? `Your ${what} is used up: the station has been told to stop.`
          : `${percent(WARN_AT)} of your ${what} is used. The charge stops by itself at the end of it.`,
      ),
    );
  }
  return bars;
}

/** What is known of a session over time. Costs are heard only live, so they are kept for a page that is loaded again. */
class Points {
  constructor(sessionId) {
    this.key = `plot:${sessionId}`;
    this.heard = recall(this.key) ?? [];
    this.readings = [];
    this.all = [];
    this.merge();
  }

  addReadings(values, { start_time: start, meter_start_wh, meter_base_wh, energy }) {
    if (!start) return;
    const startWh = meter_base_wh ?? meter_start_wh;
    const from = new Date(start).getTime();
    this.readings = values
      .filter((value) => value.energy_wh !== null && startWh !== null)
      .map((value) => ({
        at: Math.max(from, new Date(value.reported_at).getTime()),
        power: value.power_w,
        energy: Math.min(Math.max(0, (value.energy_wh - startWh) / 1000), energy),
        amount: null,
      }));
    this.readings.push({ at: from, power: null, energy: 0, amount: null });
    this.merge();
  }

  addNow({ status, start_time: start, stop_time: stop, energy, amount, power_w: power }) {
    if (!start || !["started", "stopped"].includes(status)) return;
    const at = stop ? new Date(stop).getTime() : Date.now();
    const last = this.heard.at(-1);
    if (last && last.energy === energy && last.amount === amount) return;
    this.heard.push({ at, power: stop ? 0 : power, energy, amount, ended: Boolean(stop) });
    this.heard = this.heard.slice(-MOST_POINTS);
    keep(this.key, this.heard);
    this.merge();
  }

  /** A cost that was heard, or read, later than its reading was made belongs to the time of the reading. */
  merge() {
    const heard = this.heard.map((one) => {
      const made = !one.ended && this.readings.find(({ at, energy }) =>
        // the newest are first
        at <= one.at && one.at - at < LATE_MS && Math.abs(energy - one.energy) < SAME_KWH
      );
      return made ? { ...one, at: made.at } : one;
    });
    const others = this.readings.filter((one) => !heard.some(({ at }) => Math.abs(at - one.at) < SAME_MS));
    this.all = [...heard, ...others].sort((a, b) => a.at - b.at);
  }
}
