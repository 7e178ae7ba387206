// The charges of the person who is signed in, the newest first.

import { ask, supabase } from "../api.js";
import { fill, h, pill } from "../dom.js";
import { dateTime, duration, kwh, money, month, plain } from "../format.js";
import { me } from "../me.js";
import { busy, problem } from "../say.js";

const PAGE = 20;
const MONTHS = 3;
const STATES = {
  pending: ["busy", "Waiting"],
  started: ["ok", "Charging"],
  stopped: ["off", "Ended"],
  error: ["bad", "Failed"],
};

export async function show(root, { signal }) {
  const list = h("ul", { class: "sessions" });
  const trouble = h("div");
  const more = h("button", { type: "button", onclick: () => busy(more, next), hidden: true }, "Older ones");
  const months = h("div");
  fill(root, h("h1", null, "My charges"), months, list, trouble, more);
  let from = 0;

  async function next() {
    fill(trouble, h("p", { class: "loading" }, "Loading …"));
    try {
      const rows = await ask(
        supabase
          .from("session_history")
          .select("id,status,station_id,location_name,time_zone,start_time,stop_time,created_at,energy,amount,currency")
          .eq("user_id", me.id)
          .order("created_at", { ascending: false })
          .range(from, from + PAGE - 1),
      );
      if (signal.aborted) return;
      fill(trouble);
      from += rows.length;
      list.append(...rows.map(item));
      more.hidden = rows.length < PAGE;
      if (from === 0) {
        fill(trouble, h("p", { class: "card" }, "Nothing yet. ", h("a", { href: "#/" }, "Find a station"), "."));
      }
    } catch (error) {
      fill(trouble, problem(error));
      more.hidden = false;
    }
  }
  await next();
  const totals = await ask(
    supabase.from("monthly_totals_by_driver").select("*").eq("user_id", me.id).order("month", { ascending: false })
      .limit(MONTHS),
  );
  if (!signal.aborted && totals.length > 0) fill(months, monthsOf(totals));
}

function item(session) {
  const [tone, words] = STATES[session.status];
  const facts = [
    dateTime(session.start_time ?? session.created_at, session.time_zone),
    session.station_id,
    session.stop_time && duration((new Date(session.stop_time) - new Date(session.start_time)) / 1000),
    session.energy > 0 && kwh(session.energy, 3),
  ];
  return h(
    "li",
    null,
    h(
      "a",
      { class: "card", href: `#/session/${session.id}` },
      h(
        "div",
        { class: "row" },
        h("h2", null, session.location_name ?? session.station_id),
        session.status === "stopped" ? h("strong", null, money(session.amount, session.currency)) : pill(tone, words),
      ),
      h("p", { class: "where" }, facts.filter(Boolean).join(" · ")),
    ),
  );
}

function monthsOf(totals) {
  return h(
    "section",
    { class: "card" },
    h("h2", null, "By month"),
    h(
      "div",
      { class: "scroll", tabindex: 0, role: "region", "aria-label": "By month" },
      h(
        "table",
        null,
        h(
          "thead",
          null,
          h(
            "tr",
            null,
            h("th", { scope: "col" }, "Month"),
            ["Charges", "Energy", "Cost"].map((name) => h("th", { scope: "col", class: "number" }, name)),
          ),
        ),
        h(
          "tbody",
          null,
          totals.map((total) =>
            h(
              "tr",
              null,
              h("th", { scope: "row" }, month(total.month)),
              [plain(total.sessions), kwh(total.energy), money(total.amount, total.currency)].map((text) =>
                h("td", { class: "number" }, text)
              ),
            )
          ),
        ),
      ),
    ),
  );
}
