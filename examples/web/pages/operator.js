// For operators: who is online, what goes on, what is broken, and commands to stations.

import { ask, call, supabase } from "../api.js";
import { ACTIONS, payloadOf, stepsOf, toneOf, wordsOf } from "../commands.js";
import { field, fill, h, pill, refill } from "../dom.js";
import { ago, duration, exactClock, kw, kwh, money } from "../format.js";
import { follow } from "../live.js";
import { me } from "../me.js";
import { busy, problem, say } from "../say.js";

const REFRESH_MS = 10_000; // running costs are not on the company's topic
const GATHER_MS = 300;
const RECENT = 8;
const MOST_FAULTS = 50;
const FAULTS = {
  station_offline: "Station",
  station_faulted: "Station",
  connector_faulted: "Connector",
  command_failed: "Command",
  session_flagged: "Session",
  stop_unclaimed: "Message",
};

export async function show(root, { signal, query }) {
  if (!me.operates) {
    fill(
      root,
      h("h1", null, "Operator"),
      h(
        "p",
        { class: "card" },
        "This page is for operators. Your role is ",
        h("strong", null, me.role ?? "not known"),
        ".",
      ),
    );
    return;
  }
  const section = (name, ...children) => h("section", { class: "card" }, h("h2", null, name), children);
  const connected = h("div");
  const sessions = h("div");
  const faults = h("div");
  const recent = h("div");
  const trouble = h("div");
  const life = h("div");
  let watching = null; // {id, end}
  const form = commandForm(async (args) => {
    const command = await call("send_command", args);
    say("The command is queued.");
    watch(command);
    await refresh();
  });
  fill(
    root,
    h("h1", null, "Operator"),
    trouble,
    h(
      "div",
      { class: "columns" },
      h(
        "div",
        { class: "stack" },
        section("Connected stations", connected),
        section("Sessions under way", sessions),
        section("Faults", faults),
      ),
      h("div", { class: "stack" }, section("Send a command", form.element, life), section("Recent commands", recent)),
    ),
  );

  function watch(command) {
    if (watching) watching.end();
    const draw = (news) => {
      Object.assign(command, news);
      fill(life, lifeOf(command));
    };
    draw({});
    const read = async () => draw(await ask(supabase.from("commands").select("*").eq("id", command.id).single()));
    watching = {
      id: command.id,
      end: follow(
        `command:${command.id}`,
        {
          command: (payload) => {
            draw(payload);
            say(`The command is ${wordsOf(command.status)}.`);
          },
        },
        read,
      ),
    };
  }

  async function refresh() {
    try {
      const [stations, connections, under, broken, commands] = await Promise.all([
        ask(supabase.from("stations").select("id,status,location:locations(name,client_id)").order("id")),
        ask(supabase.from("connections").select("*").order("station_id")),
        ask(supabase.from("sessions_under_way").select("*").order("created_at", { ascending: false })),
        ask(supabase.from("faults").select("*").order("since", { ascending: false }).limit(MOST_FAULTS)),
        ask(supabase.from("commands").select("*").order("created_at", { ascending: false }).limit(RECENT)),
      ]);
      if (signal.aborted) return;
      fill(trouble);
      form.stations(stations, new Set(connections.map((one) => one.station_id)), query.get("station"));
      refill(
        connected,
        table(
          "Connected stations",
          ["Station", "Last heard", "Since", "Bridge"],
          connections.map((
            one,
          ) => [stationButton(one.station_id), ago(one.last_message_at), ago(one.connected_at), one.bridge_id]),
          "No station of yours is online.",
        ),
        connections.length > 0 && h("p", { class: "hint" }, `${connections.length} online.`),
      );
      refill(
        sessions,
        table(
          "Sessions under way",
          ["Charge", "Who", "Energy", "Power", "Cost", "Time"],
          under.map(sessionRow),
          "None.",
        ),
      );
      refill(faults, table("Faults", ["Station", "What", "Since"], broken.map(faultRow), "None."));
      refill(
        recent,
        table("Recent commands", ["Command", "State", "When"], commands.map(commandRow), "None yet."),
      );
    } catch (error) {
      if (!signal.aborted) fill(trouble, problem(error));
    }
  }

  const commandRow = (one) => [
    [
      h("button", { type: "button", class: "link", onclick: () => watch({ ...one }) }, one.action),
      h("div", { class: "hint" }, one.station_id),
    ],
    pill(toneOf(one.status), wordsOf(one.status)),
    ago(one.created_at),
  ];
  const stationButton = (id) => h("button", { type: "button", class: "link", onclick: () => form.choose(id) }, id);

  await refresh();
  if (signal.aborted) return;
  // What the company's topic says is a reason to look; admins have no company and look now and then.
  let soon = null;
  const look = () => (soon ??= setTimeout(() => ((soon = null), refresh()), GATHER_MS));
  const events = { session: look, connector: look, presence: look, station: look, command: look };
  const end = me.companyId ? follow(`client:${me.companyId}`, events, look) : null;
  const timer = setInterval(() => document.hidden || refresh(), REFRESH_MS);
  signal.addEventListener("abort", () => {
    clearInterval(timer);
    clearTimeout(soon);
    end?.();
    watching?.end();
  });
}

function sessionRow(session) {
  return [
    h(
      "a",
      { href: `#/session/${session.id}` },
      `${session.station_id}${session.connector_id ? `, connector ${session.connector_id}` : ""}`,
    ),
    session.driver_name ?? "–",
    kwh(session.energy, 3),
    session.power_w === null ? "–" : kw(session.power_w),
    money(session.amount, session.currency),
    session.minutes === null ? "pending" : duration(session.minutes * 60),
  ];
}

const faultRow = (fault) => [
  [fault.station_id, fault.connector_id !== null && h("div", { class: "hint" }, `connector ${fault.connector_id}`)],
  h("span", { class: "wrap" }, [FAULTS[fault.kind], fault.what].filter(Boolean).join(": ")),
  ago(fault.since),
];

function table(name, heads, rows, empty) {
  if (rows.length === 0) return h("p", { class: "hint" }, empty);
  return h(
    "div",
    { class: "scroll", tabindex: 0, role: "region", "aria-label": name },
    h(
      "table",
      null,
      h("thead", null, h("tr", null, heads.map((head) => h("th", { scope: "col" }, head)))),
      h("tbody", null, rows.map((cells) => h("tr", null, cells.map((cell) => h("td", null, cell))))),
    ),
  );
}

function lifeOf(command) {
  return h(
    "div",
    { class: "life", role: "group", "aria-label": `${command.action} to ${command.station_id}` },
    h("h3", null, `${command.action} → ${command.station_id}`),
    h(
      "ol",
      null,
      stepsOf(command).map(({ name, at, state }) =>
        h(
          "li",
          { dataset: { state } },
          h("span", { class: "step" }, name),
          h("span", { class: "hint" }, at ? exactClock(at) : state === "now" ? "…" : ""),
        )
      ),
    ),
    command.error && h("p", { class: "hint" }, command.error),
    command.late && h("p", { class: "hint" }, "The answer came after its time-out."),
    command.result &&
      h(
        "details",
        { open: Object.keys(command.result).length < 3 },
        h("summary", null, "Answer of the station"),
        h("pre", { tabindex: 0 }, JSON.stringify(command.result, null, 1)),
      ),
  );
}

/** The form; send(args) is the RPC's arguments and may throw. */
function commandForm(send) {
  const station = h("select", { name: "station" });
  const action = h(
    "select",
    { name: "action", onchange: () => drawFields() },
    Object.keys(ACTIONS).map((name) => h("option", { value: name }, name)),
  );
  const fields = h("div");
  const payload = h("textarea", { name: "payload", rows: 4, spellcheck: "false", autocapitalize: "off" });
  const trouble = h("div");
  const button = h("button", { type: "submit", class: "primary" }, "Send");

  function drawFields() {
    const inputs = ACTIONS[action.value].map(({ name, label, options, kind, value }) => {
      const attributes = { name, oninput: write, onchange: write };
      const control = options
        ? h("select", attributes, options.map((option) => h("option", { value: option }, option)))
        : h("input", { ...attributes, type: kind === "integer" ? "number" : "text", value: value ?? "" });
      return field(label, control);
    });
    fill(fields, inputs);
    write();
  }

  function write() {
    const values = Object.fromEntries(
      [...fields.querySelectorAll("input, select")].map((control) => [control.name, control.value]),
    );
    payload.value = JSON.stringify(payloadOf(action.value, values), null, 1);
  }

  const submit = async (event) => {
    event.preventDefault();
    fill(trouble);
    let wanted;
    try {
      wanted = JSON.parse(payload.value);
    } catch {
      fill(trouble, problem({ message: "The payload is no JSON.", hint: 'Write an object such as {"type": "Soft"}.' }));
      payload.focus();
      return;
    }
    await busy(button, async () => {
      try {
        await send({ station_id: station.value, action: action.value, payload: wanted });
      } catch (error) {
        fill(trouble, problem(error));
      }
    });
  };

  drawFields();
  const element = h(
    "form",
    { onsubmit: submit },
    field("Station", station),
    field("Action", action),
    fields,
    h(
      "details",
      null,
      h("summary", null, "Payload as JSON"),
      field("What is sent", payload, "The fields above write it; change it as you like."),
    ),
    trouble,
    button,
  );
  return {
    element,
    choose(id) {
      station.value = id;
      station.focus();
    },
    stations(rows, online, wished) {
      const known = rows.map(({ id }) => `${id} ${online.has(id)}`).join();
      if (station.dataset.known === known) return; // a list that somebody has open stays
      station.dataset.known = known;
      const before = station.value || wished;
      const group = (label, some) =>
        some.length > 0 && h(
          "optgroup",
          { label },
          some.map(({ id, location }) => h("option", { value: id }, location ? `${id} (${location.name})` : id)),
        );
      fill(
        station,
        group("Online", rows.filter(({ id }) => online.has(id))),
        group("Offline: a command waits a minute for them", rows.filter(({ id }) => !online.has(id))),
      );
      if (before && rows.some(({ id }) => id === before)) station.value = before;
    },
  };
}
