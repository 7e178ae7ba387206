// What database.ts can only call Json: the answers of RPCs that are no rows (docs/tariffs.md), and the payloads of the
// Realtime topics (docs/realtime.md). Written by hand; tests compare the fields with the pages and with what is sent.
//
//   const supabase = createClient<Api>(url, key);                                 // Database, and these answers
//   const { data: bill } = await supabase.rpc("receipt", { session_id });         // bill: Receipt | null
//   channel.on<SessionEvent>("broadcast", { event: "session" }, ({ payload }) => show(payload.energy));

import type { Database, Enums } from "./database";

type Functions = Database["public"]["Functions"];
type Known = {
  calculate_cost: { Returns: Cost };
  next_rate_change: { Returns: RateChange };
  receipt: { Returns: Receipt };
  set_station_password: { Args: { station_id: string; password: string | null } }; // null removes it
};

/** Database, and what it does not know of the RPCs. */
export type Api = Omit<Database, "public"> & {
  public: Omit<Database["public"], "Functions"> & {
    Functions: {
      [Name in keyof Functions]: Name extends keyof Known
        ? Omit<Functions[Name], keyof Known[Name]> & Known[Name]
        : Functions[Name];
    };
  };
};

/** A line of a quote or bill; `amount` is what it adds to `cost`. */
export type Line = {
  tariff_type: Enums<"tariff_type"> | "vat" | "min_price" | "max_price";
  rule_id?: string; // not for a station's own price, VAT, least and most price
  rule_name: string;
  quantity: number; // in `unit`; of "%" what the tax is on
  unit: "kWh" | "min" | "h" | "session" | "reservation" | "%";
  price: number; // of one unit; of "%" the rate
  list_price?: number; // what others pay, where the account has a discount
  vat?: number; // % that come on top, or are in it
  reservation?: Enums<"reservation_restriction">; // of a rule for reservations
  amount: number;
};

/** What a session costs: calculate_cost(), charging_sessions.receipt. */
export type Cost = {
  cost: number;
  currency: string;
  price_per_kwh?: number | null; // in force at the start; these two not for a session that has not begun
  session_fee?: number | null;
  lines: Line[];
  cost_before_vat?: number; // these three where a rule has a VAT rate
  vat?: number;
  vat_lines?: { rate?: number; base: number; vat: number }[];
};

/** receipt() */
export type Receipt = Cost & {
  session_id: string;
  transaction_id: number;
  status: Enums<"session_status">;
  final: boolean; // false: the cost so far
  company: { name?: string; address?: string; phone?: string; email?: string };
  location: { name?: string; address?: string; city?: string; country?: string };
  station_id: string;
  connector_id: number | null;
  connector_type: string | null;
  plan_name: string | null;
  discount_percent: number | null;
  start_time: string | null;
  stop_time: string | null;
  time_zone: string | null;
  settled_at: string | null;
  energy_kwh: number;
  charging_minutes: number | null;
  parking_minutes: number;
};

export type Rates = {
  price_per_kwh: number | null;
  session_fee: number | null;
  price_per_minute: number | null;
  parking_per_minute: number | null;
};

/** next_rate_change(); the rates at the top are those of `after`. */
export type RateChange = Rates & {
  at: string | null; // null: not within 400 days
  currency: string;
  time_zone: string;
  before: Rates;
  after: Rates;
};

/** Event `session` of session:{id} and client:{id}. */
export type SessionEvent = {
  session_id: string;
  status: Enums<"session_status">;
  station_id: string;
  connector_id: number | null;
  transaction_id: number;
  start_time: string | null;
  stop_time: string | null;
  energy: number; // kWh
  amount: number;
  currency: string;
  power_w: number | null;
  soc_percent: number | null;
  limit_energy_kwh: number | null;
  limit_amount: number | null;
  held_amount: number;
  unpaid_amount: number;
  limit_warned_at: string | null;
  limit_reached_at: string | null;
  stop_reason: string | null;
  error: string | null;
  receipt: Cost | null;
};

/** Event `limit_warning` of session:{id}. */
export type LimitWarningEvent = {
  session_id: string;
  limit: "energy" | "amount" | "balance";
  share: number; // of the limit: 0.8 and more
  energy: number;
  amount: number;
  currency: string;
  limit_energy_kwh: number | null;
  limit_amount: number | null;
};

/** Event `connector` of station:{id} and client:{id}. */
export type ConnectorEvent = {
  station_id: string;
  number: number;
  status: Enums<"connector_status"> | null;
  error_code: string | null;
  status_at: string | null;
};

/** Event `presence` of station:{id}. */
export type PresenceEvent = {
  station_id: string;
  online: boolean;
  at: string;
};

/** Event `presence` of client:{id}. */
export type CompanyPresenceEvent = {
  station_ids: string[];
  online: boolean;
  at: string;
};

/** Event `station` of station:{id} and client:{id}. */
export type StationEvent = {
  station_id: string;
  status: Enums<"station_operation">;
  registration_status: Enums<"registration_status">;
  ocpp_status: Enums<"connector_status"> | null;
  ocpp_error_code: string | null;
};

/** Event `location` of location:{id}. */
export type LocationEvent = {
  location_id: string;
  stations_count: number;
  connectors_count: number;
  connectors_free: number;
  connectors_in_use: number;
  connectors_faulted: number;
  connectors_unavailable: number;
  connectors_offline: number;
  connectors: {
    station_id: string;
    number: number;
    type: string | null;
    power: number | null; // kW
    status: Enums<"connector_status"> | null;
    availability: Enums<"availability">;
  }[];
};

/** Event `command` of command:{id} and client:{id}. */
export type CommandEvent = {
  command_id: string;
  station_id: string;
  action: string;
  status: Enums<"command_status">;
  result: Record<string, unknown> | null; // the station's answer, as on the wire
  error: string | null;
  late: boolean;
  session_id: string | null;
  created_at: string;
  sent_at: string | null;
  answered_at: string | null;
  effect_at: string | null;
};
