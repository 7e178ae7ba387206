// Power, energy and cost of one session over time, one above the other, with a limit where there is one.

import { fill, h, s } from "./dom.js";
import { clock, exactClock, kw, kwh, money, plain } from "./format.js";

const PANEL = 96; // px, of each of the three
const GAP = 30;
const LEFT = 46;
const RIGHT = 14;
const AXIS = 22;
const SHORTEST_MS = 60_000; // an axis of two seconds would tell nothing

const PANELS = [
  { name: "Power", tone: "power", value: ({ power }) => power && power / 1000, text: ({ power }) => kw(power) },
  {
    name: "Energy",
    tone: "energy",
    value: ({ energy }) => energy,
    text: ({ energy }) => kwh(energy, 3),
    limit: ({ limitEnergy }) => limitEnergy,
  },
  {
    name: "Cost",
    tone: "cost",
    value: ({ amount }) => amount,
    text: ({ amount }, currency) => money(amount, currency),
    limit: ({ limitAmount }) => limitAmount,
  },
];

export class SessionPlot {
  constructor() {
    this.points = []; // {at: ms, power: W, energy: kWh, amount}; null where unknown
    this.about = { currency: "KGS" };
    this.svg = s("svg", { class: "plot", role: "img" });
    this.table = h("tbody");
    this.readings = h("details", { class: "readings", ontoggle: () => this.drawTable() });
    this.element = h("div", null, this.svg, this.readings);
    fill(
      this.readings,
      h("summary", null, "The readings as a table"),
      h(
        "div",
        { class: "scroll", tabindex: 0, role: "region", "aria-label": "Readings" },
        h(
          "table",
          null,
          h(
            "thead",
            null,
            h(
              "tr",
              null,
              h("th", { scope: "col" }, "Time"),
              PANELS.map(({ name }) => h("th", { scope: "col", class: "number" }, name)),
            ),
          ),
          this.table,
        ),
      ),
    );
    this.hover = null;
    this.svg.addEventListener("pointermove", (event) => this.point(event.clientX));
    this.svg.addEventListener("pointerleave", () => this.point(null));
    new ResizeObserver(() => this.draw()).observe(this.element);
  }

  /** points in order of time; about: {start, end, currency, timeZone, limitEnergy, limitAmount}. */
  update(points, about) {
    this.points = points;
    this.about = about;
    this.draw();
  }

  point(clientX) {
    const before = this.hover;
    if (clientX === null || this.points.length === 0) this.hover = null;
    else {
      const x = clientX - this.svg.getBoundingClientRect().left;
      this.hover = this.points.reduce((
        best,
        one,
      ) => (Math.abs(this.x(one.at) - x) < Math.abs(this.x(best.at) - x) ? one : best));
    }
    if (this.hover !== before) this.draw();
  }

  x(at) {
    const [from, to] = this.span;
    return LEFT + ((at - from) / (to - from)) * (this.width - LEFT - RIGHT);
  }

  draw() {
    if (!this.element.isConnected || this.points.length === 0) return;
    this.width = this.svg.clientWidth || 600;
    const { start, end, timeZone } = this.about;
    const last = this.points.at(-1);
    const from = start ?? this.points[0].at;
    this.span = [from, Math.max(end ?? last.at, last.at, from + SHORTEST_MS)];
    const height = PANELS.length * (PANEL + GAP) + AXIS;
    this.svg.setAttribute("viewBox", `0 0 ${this.width} ${height}`);
    this.svg.style.height = `${height}px`;
    const shown = this.hover ?? last;
    fill(
      this.svg,
      PANELS.map((panel, index) => this.panel(panel, GAP + index * (PANEL + GAP), shown)),
      this.timeAxis(height, timeZone),
      this.crosshair(height, timeZone),
    );
    this.svg.setAttribute(
      "aria-label",
      `Plot since ${clock(from, timeZone)}. Now: ${
        PANELS.map((panel) => `${panel.name} ${this.text(panel, last)}`).join(", ")
      }.`,
    );
    this.drawTable();
  }

  drawTable() {
    if (!this.readings.open) return;
    fill(
      this.table,
      this.points.toReversed().map((one) =>
        h(
          "tr",
          null,
          h("td", null, exactClock(one.at, this.about.timeZone)),
          PANELS.map((panel) => h("td", { class: "number" }, this.text(panel, one))),
        )
      ),
    );
  }

  text({ value, text }, point) {
    return value(point) === null ? "–" : text(point, this.about.currency);
  }

  panel(panel, top, shown) {
    const { name, tone, value } = panel;
    const limit = panel.limit?.(this.about);
    const known = this.points.filter((one) => value(one) !== null);
    const highest = Math.max(...known.map(value), 0);
    const near = limit && highest > limit / 4; // a limit far above would press the curve flat
    const ceiling = niceCeiling(near ? Math.max(highest, limit) : highest);
    const bottom = top + PANEL;
    const y = (amount) => bottom - (amount / ceiling) * PANEL;
    const path = known.map((one, index) =>
      `${index === 0 ? "M" : "L"}${this.x(one.at).toFixed(1)} ${y(value(one)).toFixed(1)}`
    ).join("");
    const right = this.width - RIGHT;
    return s(
      "g",
      { class: `panel ${tone}` },
      s("text", { class: "title", x: LEFT, y: top - 9 }, name),
      s("text", { class: "value", x: right, y: top - 9, "text-anchor": "end" }, this.text(panel, shown)),
      s("line", { class: "base", x1: LEFT, x2: right, y1: bottom, y2: bottom }),
      s("line", { class: "line", x1: LEFT, x2: right, y1: top, y2: top }),
      s("line", { class: "line", x1: LEFT, x2: right, y1: top + PANEL / 2, y2: top + PANEL / 2 }),
      s("text", { class: "tick", x: LEFT - 6, y: top + 4 }, plain(ceiling)),
      s("text", { class: "tick", x: LEFT - 6, y: top + PANEL / 2 + 4 }, plain(ceiling / 2)),
      s("text", { class: "tick", x: LEFT - 6, y: bottom + 4 }, "0"),
      near && s("line", { class: "limit", x1: LEFT, x2: right, y1: y(limit), y2: y(limit) }),
      near && s("text", { class: "limit-name", x: LEFT + 6, y: y(limit) + 13 }, "Limit"),
      known.length > 1 &&
        s("path", {
          class: "area",
          d: `${path}L${this.x(known.at(-1).at).toFixed(1)} ${bottom}L${this.x(known[0].at).toFixed(1)} ${bottom}Z`,
        }),
      known.length > 1 && s("path", { class: "curve", d: path }),
      known.length > 0 &&
        s("circle", { class: "dot", cx: this.x(known.at(-1).at), cy: y(value(known.at(-1))), r: 3.5 }),
    );
  }

  timeAxis(height, timeZone) {
    const [from, to] = this.span;
    const count = Math.max(2, Math.floor((this.width - LEFT - RIGHT) / 130) + 1);
    const write = to - from < 10 * 60_000 ? exactClock : clock;
    return Array.from({ length: count }, (_, index) => {
      const at = from + ((to - from) * index) / (count - 1);
      const anchor = index === 0 ? "start" : index === count - 1 ? "end" : "middle";
      return s("text", { class: "time", x: this.x(at), y: height - 6, "text-anchor": anchor }, write(at, timeZone));
    });
  }

  crosshair(height, timeZone) {
    if (!this.hover) return null;
    const x = this.x(this.hover.at);
    const anchor = x > this.width / 2 ? "end" : "start";
    return s(
      "g",
      { class: "crosshair" },
      s("line", { x1: x, x2: x, y1: GAP, y2: height - AXIS }),
      s(
        "text",
        { x: x + (anchor === "end" ? -5 : 5), y: GAP + 12, "text-anchor": anchor },
        exactClock(this.hover.at, timeZone),
      ),
    );
  }
}

/** The next of some factors of a power of ten, chosen so that half of it reads well too. */
function niceCeiling(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].map((factor) => factor * power).find((step) => step >= value * 0.999);
}
