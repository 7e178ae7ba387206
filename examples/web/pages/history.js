// The charges of the person who is signed in, the newest first.

import { ask, supabase } from "../api.js";
import { fill, h, pill } from "../dom.js";
import { dateTime, duration, kwh, money } from "../format.js";
import { me } from "../me.js";
import { busy, problem } from "../say.js";

const PAGE = 20;
const STATES = { pending: ["busy", "Waiting"], started: ["ok", "Charging"], stopped: ["off", "Ended"], error: ["bad", "Failed"] };

export async function show(root, { signal }) {
  const list = h("ul", { class: "sessions" });
  const trouble = h("div");
  const more = h("button", { type: "button", onclick: () => busy(more, next), hidden: true }, "Older ones");
  fill(root, h("h1", null, "My charges"), list, trouble, more);
  let from = 0;

  async function next() {
    fill(trouble);
    try {
      const rows = await ask(
        supabase
          .from("charging_sessions")
          .select("id,status,station_id,start_time,stop_time,created_at,energy,amount,currency,station:stations(location:locations(name,city,time_zone))")
          .eq("user_id", me.id)
          .order("created_at", { ascending: false })
          .range(from, from + PAGE - 1),
      );
      if (signal.aborted) return;
      from += rows.length;
      list.append(...rows.map(item));
      more.hidden = rows.length < PAGE;
      if (from === 0) fill(trouble, h("p", { class: "card" }, "Nothing yet. ", h("a", { href: "#/" }, "Find a station"), "."));
    } catch (error) {
      fill(trouble, problem(error));
      more.hidden = false;
    }
  }
  await next();
}

function item(session) {
  const location = session.station?.location;
  const seconds = session.start_time && (new Date(session.stop_time ?? Date.now()) - new Date(session.start_time)) / 1000;
  const [tone, words] = STATES[session.status];
  return h(
    "li",
    null,
    h(
      "a",
      { class: "card", href: `#/session/${session.id}` },
      h("div", { class: "row" }, h("h2", null, location?.name ?? session.station_id), session.status === "stopped" ? h("strong", null, money(session.amount, session.currency)) : pill(tone, words)),
      h(
        "p",
        { class: "where" },
        [dateTime(session.start_time ?? session.created_at, location?.time_zone), session.station_id, seconds && duration(seconds), session.energy > 0 && kwh(session.energy, 3)].filter(Boolean).join(" · "),
      ),
    ),
  );
}
