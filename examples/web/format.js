// Numbers, money and times as the reader's language writes them; times in the zone of the place they are about.

// Some languages, Kyrgyz among them, are known to Chromium by name only: it would write "2026 M11 22".
const isKnown = (language) => !/M\d/.test(new Intl.DateTimeFormat(language, { month: "short" }).format());
const LANGUAGE = navigator.languages.find(isKnown) ?? document.documentElement.lang;

const cache = new Map();

function formatter(Kind, options) {
  const key = Kind.name + JSON.stringify(options);
  if (!cache.has(key)) cache.set(key, new Kind(LANGUAGE, options));
  return cache.get(key);
}

const number = (value, options) => formatter(Intl.NumberFormat, options).format(value);

/** Money with its currency; its decimals are the currency's. */
export const money = (amount, currency) =>
  number(amount ?? 0, { style: "currency", currency, currencyDisplay: "code" });

/** A price, which may have more decimals than the currency: 0.1234 KGS. */
export const price = (amount, currency) =>
  number(amount, { style: "currency", currency, currencyDisplay: "code", maximumFractionDigits: 4 });

export const kwh = (energy, digits = 2) =>
  `${number(energy ?? 0, { minimumFractionDigits: digits, maximumFractionDigits: Math.max(digits, 3) })}\u00a0kWh`;

export const kw = (watts) => `${number((watts ?? 0) / 1000, { maximumFractionDigits: 1 })}\u00a0kW`;

export const plain = (value, digits = 3) => number(value, { maximumFractionDigits: digits });

export const percent = (share) => number(share, { style: "percent", maximumFractionDigits: 0 });

const at = (time, options) => (time ? formatter(Intl.DateTimeFormat, options).format(new Date(time)) : "–");

export const clock = (time, timeZone) => at(time, { timeStyle: "short", timeZone });

export const exactClock = (time, timeZone) => at(time, { timeStyle: "medium", timeZone });

export const day = (time, timeZone) => at(time, { dateStyle: "medium", timeZone });

export const dateTime = (time, timeZone) => at(time, { dateStyle: "medium", timeStyle: "short", timeZone });

/** Of a date, 2026-11-01: Nov 2026. */
export const month = (date) => at(date, { month: "short", year: "numeric", timeZone: "UTC" });

/** "23 Nov 2026, 00:42 – 01:10" */
export const fromTo = (start, end, timeZone) =>
  formatter(Intl.DateTimeFormat, { dateStyle: "medium", timeStyle: "short", timeZone }).formatRange(
    new Date(start),
    new Date(end),
  );

/** Of seconds: 1:02:03. */
export function duration(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const two = (value) => String(value).padStart(2, "0");
  const rest = `${two(Math.floor(whole / 60) % 60)}:${two(whole % 60)}`;
  return whole >= 3600 ? `${Math.floor(whole / 3600)}:${rest}` : rest;
}

/** Of minutes: 45 min, 1 h 49 min. */
export function roughly(minutes) {
  const whole = Math.round(minutes);
  return whole < 60 ? `${whole} min` : `${Math.floor(whole / 60)} h ${whole % 60} min`;
}

/** "3 min ago", in the reader's language. */
export function ago(time) {
  const seconds = (new Date(time).getTime() - Date.now()) / 1000;
  const units = { day: 86400, hour: 3600, minute: 60, second: 1 };
  const unit = Object.keys(units).find((name) => Math.abs(seconds) >= units[name]) ?? "second";
  return formatter(Intl.RelativeTimeFormat, { numeric: "auto", style: "short" }).format(
    Math.round(seconds / units[unit]),
    unit,
  );
}
