// The prepaid account of the person who is signed in: what is on it, and every entry of its ledger.

import { ask, supabase } from "../api.js";
import { fill, h } from "../dom.js";
import { clock, day, money } from "../format.js";
import { me, refreshMe } from "../me.js";
import { busy, problem } from "../say.js";

const PAGE = 30;
const KINDS = {
  top_up: "Top-up",
  hold: "Put on hold",
  release: "Hold given back",
  charge: "Charge",
  refund: "Refund",
  waiver: "Waived",
  correction: "Correction",
};

export async function show(root, { signal }) {
  await refreshMe();
  if (signal.aborted) return;
  if (!me.account) {
    fill(root, h("h1", null, "Account"), h("p", { class: "card" }, "You have no prepaid account."));
    return;
  }
  const { balance, held, credit_limit: credit, currency } = me.account;
  const figure = (name, amount) =>
    h(
      "div",
      { class: "figure" },
      h("span", { class: "name" }, name),
      h("span", { class: "value" }, money(amount, currency)),
    );
  const rows = h("tbody");
  const trouble = h("div");
  const more = h("button", { type: "button", hidden: true, onclick: () => busy(more, next) }, "Older entries");
  fill(
    root,
    h("h1", null, "Account"),
    h(
      "section",
      { class: "figures", "aria-label": "Figures" },
      figure("Balance", balance),
      figure("On hold", held),
      credit > 0 && figure("Credit", credit),
    ),
    h(
      "section",
      { class: "card" },
      h("h2", null, "Entries"),
      h(
        "table",
        null,
        h(
          "thead",
          null,
          h(
            "tr",
            null,
            h("th", { scope: "col" }, "When"),
            h("th", { scope: "col" }, "What"),
            h("th", { scope: "col", class: "number" }, "Amount"),
          ),
        ),
        rows,
      ),
    ),
    trouble,
    more,
  );
  let from = 0;

  async function next() {
    fill(trouble, h("p", { class: "loading" }, "Loading …"));
    try {
      const entries = await ask(
        supabase
          .from("ledger_entries")
          .select("kind,amount,currency,session_id,note,created_at")
          .eq("client_id", me.account.id)
          .order("created_at", { ascending: false })
          .range(from, from + PAGE - 1),
      );
      if (signal.aborted) return;
      fill(trouble);
      from += entries.length;
      rows.append(...entries.map(row));
      more.hidden = entries.length < PAGE;
    } catch (error) {
      fill(trouble, problem(error));
      more.hidden = false;
    }
  }
  await next();
}

function row({ kind, amount, currency, session_id: session, note, created_at: at }) {
  const what = session ? h("a", { href: `#/session/${session}` }, KINDS[kind]) : KINDS[kind];
  return h(
    "tr",
    null,
    h("td", { class: "when" }, `${day(at)}, `, h("span", null, clock(at))),
    h("td", null, what, note && h("span", { class: "hint" }, ` ${note}`)),
    h("td", { class: "number" }, money(amount, currency)),
  );
}
