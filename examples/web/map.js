// A map without a tile server: the places where they truly are, on a grid of degrees, north up. Places too close to be
// told apart are one marker with their number; choosing it zooms in.

import { fill, h, s } from "./dom.js";

const MARKER = 13; // radius, px
const TOO_CLOSE = 2 * MARKER + 4;
const MARGIN = 40;
const RIGHT_MARGIN = 76;
const BUTTONS = { width: 60, height: 160 };
const KM_PER_DEGREE = 111.32;
const MAX_PX_PER_DEGREE = 60_000; // about 2 m a pixel
const STEPS = [10, 5, 2, 1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01];

export class StationMap {
  /** choose(place) is called when one place is chosen. place: {id, name, latitude, longitude, tone, state}. */
  constructor(choose) {
    this.choose = choose;
    this.places = [];
    this.view = null; // {longitude, latitude} of the middle, and px per degree of latitude
    this.svg = s("svg", { class: "map", role: "group", "aria-label": "Map of the locations" });
    const button = (label, sign, act) =>
      h("button", { type: "button", class: "icon", "aria-label": label, title: label, onclick: act }, sign);
    this.element = h(
      "div",
      { class: "map-frame" },
      this.svg,
      h(
        "div",
        { class: "map-buttons" },
        button("Zoom in", "+", () => this.zoom(2)),
        button("Zoom out", "−", () => this.zoom(0.5)),
        button("Show all places", "⤢", () => this.showAll()),
      ),
    );
    new ResizeObserver(() => this.draw()).observe(this.element);
    this.dragWithPointer();
  }

  /** New places, or new states of the same. */
  update(places) {
    this.places = places.filter(({ latitude, longitude }) => latitude !== null && longitude !== null);
    this.draw();
  }

  showAll(places = this.places) {
    this.view = this.fit(places);
    this.draw();
  }

  zoom(factor, middle = this.view) {
    if (!this.view) return;
    const scale = Math.min(this.view.scale * factor, MAX_PX_PER_DEGREE);
    this.view = { ...middle, scale: Math.max(scale, 20) };
    this.draw();
  }

  get size() {
    return { width: this.svg.clientWidth || 600, height: this.svg.clientHeight || 320 };
  }

  fit(places) {
    const latitudes = places.map(({ latitude }) => latitude);
    const longitudes = places.map(({ longitude }) => longitude);
    const [south, north, west, east] = [
      Math.min(...latitudes),
      Math.max(...latitudes),
      Math.min(...longitudes),
      Math.max(...longitudes),
    ];
    const latitude = (south + north) / 2;
    const { width, height } = this.size;
    const shrink = Math.cos((latitude * Math.PI) / 180); // a degree of longitude is shorter than one of latitude
    const scale = Math.min(
      (height - 2 * MARGIN) / Math.max(north - south, 1e-6),
      (width - MARGIN - RIGHT_MARGIN) / Math.max((east - west) * shrink, 1e-6),
      places.length > 1 ? MAX_PX_PER_DEGREE : 3000,
    );
    return { latitude, longitude: (west + east) / 2 + (RIGHT_MARGIN - MARGIN) / 2 / scale / shrink, scale };
  }

  project({ latitude, longitude }) {
    const { width, height } = this.size;
    const shrink = Math.cos((this.view.latitude * Math.PI) / 180);
    return {
      x: width / 2 + (longitude - this.view.longitude) * shrink * this.view.scale,
      y: height / 2 - (latitude - this.view.latitude) * this.view.scale,
    };
  }

  draw() {
    if (this.places.length === 0 || !this.element.isConnected) return;
    this.view ??= this.fit(this.places);
    const focused = this.svg.contains(document.activeElement) ? document.activeElement.dataset.key : null;
    const { width, height } = this.size;
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    fill(this.svg, this.grid(), this.markers(), this.scaleBar());
    if (focused) [...this.svg.querySelectorAll("[data-key]")].find((one) => one.dataset.key === focused)?.focus();
  }

  grid() {
    const { width, height } = this.size;
    const { latitude, longitude, scale } = this.view;
    const shrink = Math.cos((latitude * Math.PI) / 180);
    const step = STEPS.findLast((degrees) => degrees * scale >= 70) ?? STEPS[0];
    const digits = step >= 1 ? 0 : step >= 0.1 ? 1 : 2;
    const lines = [];
    const multiples = (from, to) => {
      const found = [];
      for (let n = Math.ceil(from / step); n * step <= to; n += 1) found.push(n * step);
      return found;
    };
    for (const at of multiples(latitude - height / 2 / scale, latitude + height / 2 / scale)) {
      const { y } = this.project({ latitude: at, longitude });
      lines.push(
        s("line", { x1: 0, x2: width, y1: y, y2: y }),
        s("text", { x: 6, y: y - 4 }, `${Math.abs(at).toFixed(digits)}° ${at < 0 ? "S" : "N"}`),
      );
    }
    for (const at of multiples(longitude - width / 2 / scale / shrink, longitude + width / 2 / scale / shrink)) {
      const { x } = this.project({ latitude, longitude: at });
      lines.push(
        s("line", { x1: x, x2: x, y1: 0, y2: height }),
        s("text", { x: x + 4, y: height - 6 }, `${Math.abs(at).toFixed(digits)}° ${at < 0 ? "W" : "E"}`),
      );
    }
    return s("g", { class: "grid", "aria-hidden": "true" }, lines);
  }

  scaleBar() {
    const { width, height } = this.size;
    const pxPerKm = this.view.scale / KM_PER_DEGREE;
    const km = [500, 200, 100, 50, 20, 10, 5, 2, 1, 0.5, 0.2, 0.1, 0.05].find((length) => length * pxPerKm <= 110) ??
      0.05;
    const [x, y, length] = [width - 14, height - 22, km * pxPerKm];
    return s(
      "g",
      { class: "scale", "aria-hidden": "true" },
      s("path", { d: `M${x - length} ${y - 5}v5h${length}v-5` }),
      s("text", { x: x - length / 2, y: y - 8, "text-anchor": "middle" }, km < 1 ? `${km * 1000} m` : `${km} km`),
    );
  }

  clusters() {
    const found = [];
    for (const place of this.places) {
      const point = this.project(place);
      const near = found.find((one) => Math.hypot(one.x - point.x, one.y - point.y) < TOO_CLOSE);
      if (near) near.places.push(place);
      else found.push({ ...point, places: [place] });
    }
    return found;
  }

  markers() {
    const { width, height } = this.size;
    const taken = [[width - BUTTONS.width, 0, width, BUTTONS.height]];
    const visible = this.clusters().filter(({ x, y }) =>
      x > -MARKER && y > -MARKER && x < width + MARKER && y < height + MARKER
    );
    for (const { x, y } of visible) taken.push([x - MARKER, y - MARKER, x + MARKER, y + MARKER]);
    return visible.map((cluster) => this.marker(cluster, taken));
  }

  marker({ x, y, places }, taken) {
    const one = places.length === 1 ? places[0] : null;
    const tones = new Set(places.map(({ tone }) => tone));
    const tone = ["ok", "busy", "bad", "off"].find((name) => tones.has(name));
    const name = one ? one.name : `${places.length} places`;
    const act = () => (one ? this.choose(one) : this.open(places));
    return s(
      "g",
      {
        class: "marker",
        role: "button",
        tabindex: 0,
        dataset: { tone, key: places[0].id },
        "aria-label": one
          ? `${one.name}: ${one.state}`
          : `${places.length} places: ${places.map((place) => place.name).join(", ")}. Zoom in.`,
        onclick: act,
        onkeydown: (event) => {
          if (event.key !== "Enter" && event.key !== " ") return;
          event.preventDefault();
          act();
        },
      },
      s(
        "title",
        null,
        one ? `${one.name}: ${one.state}` : places.map((place) => `${place.name}: ${place.state}`).join("\n"),
      ),
      s("circle", { cx: x, cy: y, r: MARKER }),
      one
        ? s("path", { class: "bolt", d: `M${x + 1} ${y - 7}l-5.5 8h4l-.8 6 6-8.5h-4z` })
        : s("text", { class: "count", x, y: y + 4.5 }, places.length),
      this.label(one ? one.name : placeOf(places, name), x, y, taken),
    );
  }

  /** The name beside the marker, on the side where there is room; none where there is none. */
  label(text, x, y, taken) {
    const length = text.length * 6.4 + 4;
    const sides = [
      [x + MARKER + 4, y + 4, "start", [x + MARKER + 2, y - 8, x + MARKER + 4 + length, y + 8]],
      [x - MARKER - 4, y + 4, "end", [x - MARKER - 4 - length, y - 8, x - MARKER - 2, y + 8]],
      [x, y + MARKER + 13, "middle", [x - length / 2, y + MARKER + 2, x + length / 2, y + MARKER + 16]],
      [x, y - MARKER - 5, "middle", [x - length / 2, y - MARKER - 16, x + length / 2, y - MARKER - 2]],
    ];
    const { width } = this.size;
    const free = sides.find(
      ([, , , box]) =>
        box[0] >= 0 && box[2] <= width &&
        !taken.some((other) => box[0] < other[2] && box[2] > other[0] && box[1] < other[3] && box[3] > other[1]),
    );
    if (!free) return null;
    taken.push(free[3]);
    return s("text", { class: "name", x: free[0], y: free[1], "text-anchor": free[2], "aria-hidden": "true" }, text);
  }

  open(places) {
    const before = this.view;
    this.showAll(places);
    if (this.view.scale <= before.scale * 1.05) this.zoom(2); // already as close as they fit: closer still
    if (this.clusters().length < 2) this.choose(places[0]); // at the very same spot
  }

  dragWithPointer() {
    let from = null;
    this.svg.addEventListener("pointerdown", (event) => {
      if (event.target.closest(".marker") || !this.view) return;
      from = { x: event.clientX, y: event.clientY, view: this.view };
      this.svg.setPointerCapture(event.pointerId);
    });
    this.svg.addEventListener("pointermove", (event) => {
      if (!from) return;
      const shrink = Math.cos((from.view.latitude * Math.PI) / 180);
      this.view = {
        scale: from.view.scale,
        latitude: from.view.latitude + (event.clientY - from.y) / from.view.scale,
        longitude: from.view.longitude - (event.clientX - from.x) / from.view.scale / shrink,
      };
      this.draw();
    });
    for (const end of ["pointerup", "pointercancel"]) this.svg.addEventListener(end, () => (from = null));
  }
}

/** The city that the places share, else the words given. */
function placeOf(places, otherwise) {
  const cities = new Set(places.map(({ city }) => city));
  return cities.size === 1 && places[0].city ? places[0].city : otherwise;
}
