// What something costs, line by line: a quote and a bill have the same lines, and their sum is the cost.

import { call } from "./api.js";
import { h } from "./dom.js";
import { fromTo, kwh, money, plain, price } from "./format.js";

/** The lines of a quote (calculate_cost) or bill as a table. */
export function linesTable(cost, caption) {
  const { lines, currency } = cost;
  return h(
    "table",
    { class: "lines" },
    h("caption", { class: "sr-only" }, caption),
    h(
      "thead",
      null,
      h(
        "tr",
        null,
        h("th", { scope: "col" }, "What"),
        h("th", { scope: "col" }, "Quantity"),
        h("th", { scope: "col", class: "number" }, "Amount"),
      ),
    ),
    h(
      "tbody",
      null,
      lines.map((line) =>
        h(
          "tr",
          { dataset: { amount: line.amount } },
          h("th", { scope: "row" }, line.rule_name),
          h("td", null, quantityOf(line, currency)),
          h("td", { class: "number" }, money(line.amount, currency)),
        )
      ),
    ),
    h(
      "tfoot",
      null,
      h(
        "tr",
        { dataset: { total: cost.cost } },
        h("th", { scope: "row", colspan: 2 }, "Total"),
        h("td", { class: "number total" }, money(cost.cost, currency)),
      ),
      cost.vat > 0 &&
        h(
          "tr",
          { class: "vat" },
          h("th", { scope: "row", colspan: 2 }, "VAT in it"),
          h("td", { class: "number" }, money(cost.vat, currency)),
        ),
    ),
  );
}

function quantityOf({ tariff_type: type, quantity, unit, price: each }, currency) {
  if (type === "vat") return unit === "%" ? `on ${money(quantity, currency)}` : "";
  if (type === "min_price" || type === "max_price") return "";
  return `${plain(quantity)} ${unit} × ${price(each, currency)}`;
}

/** The receipt of a session, asked for and drawn; null while the bill is not final. Throws ApiError. */
export async function receipt(sessionId) {
  const bill = await call("receipt", { session_id: sessionId }, { get: true });
  if (!bill.final) return null;
  const { company, location, time_zone: timeZone } = bill;
  const facts = [
    [company.name, company.address, company.phone],
    [location.name, location.address, location.city],
    [bill.station_id, bill.connector_id && `connector ${bill.connector_id}`, bill.connector_type],
    [fromTo(bill.start_time, bill.stop_time, timeZone), kwh(bill.energy_kwh, 3)],
    [
      bill.plan_name && `Tariff ${bill.plan_name}`,
      bill.discount_percent && `discount ${plain(bill.discount_percent)} %`,
    ],
  ];
  return h(
    "section",
    { class: "card receipt", "aria-labelledby": "receipt-name" },
    h(
      "div",
      { class: "row" },
      h("h2", { id: "receipt-name" }, `Receipt no. ${bill.transaction_id}`),
      h("button", { type: "button", class: "quiet no-print", onclick: () => print() }, "Print"),
    ),
    facts.map((line) => line.filter(Boolean).join(" · ")).filter(Boolean).map((line) =>
      h("p", { class: "hint" }, line)
    ),
    linesTable(bill, "Lines of the bill"),
  );
}
