// The itemised bill of a session.

import { h } from "./dom.js";
import { fromTo, kwh, money, plain, price } from "./format.js";

export function receipt(session, timeZone) {
  const { lines, currency, cost } = session.receipt;
  return h(
    "section",
    { class: "card receipt", "aria-labelledby": "receipt-name" },
    h("div", { class: "row" }, h("h2", { id: "receipt-name" }, "Receipt"), h("button", { type: "button", class: "quiet no-print", onclick: () => print() }, "Print")),
    h("p", { class: "hint" }, `No. ${session.transaction_id} · ${session.station_id} · ${fromTo(session.start_time, session.stop_time, timeZone)} · ${kwh(session.energy, 3)}`),
    h(
      "table",
      { class: "lines" },
      h("caption", { class: "sr-only" }, "Lines of the bill"),
      h("thead", null, h("tr", null, h("th", { scope: "col" }, "What"), h("th", { scope: "col" }, "Quantity"), h("th", { scope: "col", class: "number" }, "Amount"))),
      h(
        "tbody",
        null,
        lines.map((line) =>
          h(
            "tr",
            { dataset: { amount: line.amount } },
            h("th", { scope: "row" }, line.rule_name),
            h("td", null, `${plain(line.quantity)} ${line.unit} × ${price(line.price, currency)}`),
            h("td", { class: "number" }, money(line.amount, currency)),
          ),
        ),
      ),
      h("tfoot", null, h("tr", { dataset: { total: cost } }, h("th", { scope: "row", colspan: 2 }, "Total"), h("td", { class: "number total" }, money(cost, currency)))),
    ),
  );
}
