-- The tables of the product. Who may do what stands in *_open_access.sql; the rules of sessions and tariffs in sql/.

-- Closed by default ------------------------------------------------------------------------------
-- A hosted project opens everything that postgres creates in public to anon and authenticated. Undo that before the
-- first table exists: from here on a grant is always a line that somebody wrote.
alter default privileges in schema public revoke all on tables from anon, authenticated, service_role;
alter default privileges in schema public revoke all on sequences from anon, authenticated, service_role;
alter default privileges in schema public revoke all on functions from anon, authenticated, service_role;
alter default privileges revoke execute on functions from public;  -- only this form, without "in schema", has an effect

create schema private;
comment on schema private is 'Rules, partitions and connection state. Not exposed by PostgREST.';
grant usage on schema private to anon, authenticated, service_role;  -- policies call its functions as the caller

-- Types ------------------------------------------------------------------------------------------
create type public.user_role as enum ('driver', 'operator', 'admin', 'superadmin', 'bridge');
create type public.client_kind as enum ('operator', 'account');
create type public.client_status as enum ('active', 'inactive', 'blocked');
create type public.station_operation as enum ('active', 'inactive', 'maintenance');
create type public.registration_status as enum ('Accepted', 'Pending', 'Rejected');
create type public.connector_status as enum ('Available', 'Preparing', 'Charging', 'SuspendedEVSE', 'SuspendedEV',
  'Finishing', 'Reserved', 'Unavailable', 'Faulted');
create type public.id_tag_status as enum ('Accepted', 'Blocked', 'Expired', 'Invalid');
create type public.maintenance_status as enum ('pending', 'in_progress', 'completed', 'cancelled');
create type public.tariff_type as enum ('per_kwh', 'per_minute', 'session_fee', 'parking_fee');
create type public.session_status as enum ('pending', 'started', 'stopped', 'error');
create type public.limit_type as enum ('none', 'energy', 'amount', 'both');
create type public.command_status as enum ('queued', 'sent', 'accepted', 'rejected', 'failed', 'timed_out', 'expired',
  'cancelled');
create type public.message_direction as enum ('from_station', 'to_station');
comment on type public.connector_status is 'ChargePointStatus of OCPP 1.6 §7.7, spelled as on the wire.';
comment on type public.registration_status is 'RegistrationStatus of OCPP 1.6 §7.33.';
comment on type public.id_tag_status is 'AuthorizationStatus of OCPP 1.6 §7.2, less ConcurrentTx, which is found out at the time.';

create function private.set_updated_at() returns trigger
language plpgsql volatile set search_path = ''
as $$
begin
  new.updated_at := now();
  return new;
end $$;
comment on function private.set_updated_at is 'Trigger: keeps updated_at.';

create function private.check_time_zone() returns trigger
language plpgsql volatile set search_path = ''
as $$
begin
  perform now() at time zone (to_jsonb(new) ->> tg_argv[0]);
  return new;
exception when invalid_parameter_value then
  raise exception '% "%" is not known', tg_argv[0], to_jsonb(new) ->> tg_argv[0]
    using errcode = '22023', hint = 'Use a name of the IANA data base, such as Asia/Bishkek.';
end $$;
comment on function private.check_time_zone is 'Trigger: refuses a time zone that PostgreSQL does not know, in the column that its argument names.';

-- People and companies ---------------------------------------------------------------------------
create table public.clients (
  id uuid primary key default gen_random_uuid(),
  kind public.client_kind not null default 'account',
  name text not null check (name <> ''),
  email text,
  phone text,
  address text,
  contract_number text,
  contract_start_date date,
  contract_end_date date check (contract_end_date >= contract_start_date),
  balance numeric(14, 2) not null default 0,
  currency text not null default 'KGS' check (currency ~ '^[A-Z]{3}$'),
  status public.client_status not null default 'active',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
comment on table public.clients is 'Companies that own locations (kind operator: the tenant) and payers with a balance (kind account).';
comment on column public.clients.balance is 'Money of the account holder, in currency.';
comment on column public.clients.currency is 'ISO 4217.';

create table public.users (
  id uuid primary key references auth.users (id) on delete cascade,
  email text,
  full_name text,
  phone text,
  role public.user_role not null default 'driver',
  client_id uuid references public.clients (id) on delete set null,
  admin_id uuid references public.users (id) on delete set null,
  is_active boolean not null default true,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
comment on table public.users is 'Staff, drivers and bridges; one row per Supabase Auth user, made when that user is made.';
comment on column public.users.id is 'The id of the Supabase Auth user: auth.uid().';
comment on column public.users.role is 'What the user may do. Read from here at each request, so that a change holds at once.';
comment on column public.users.client_id is 'The employer of an operator; the account that pays for a driver.';
comment on column public.users.admin_id is 'The user who looks after this one.';
create index users_email_idx on public.users (lower(email));
create index users_client_id_idx on public.users (client_id);
create index users_admin_id_idx on public.users (admin_id);

-- Places and stations ----------------------------------------------------------------------------
create table public.locations (
  id uuid primary key default gen_random_uuid(),
  client_id uuid references public.clients (id) on delete restrict,
  name text not null check (name <> ''),
  address text,
  city text,
  country text not null default 'KG',
  latitude double precision check (latitude between -90 and 90),
  longitude double precision check (longitude between -180 and 180),
  time_zone text not null default 'Asia/Bishkek',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
comment on table public.locations is 'Places with stations.';
comment on column public.locations.client_id is 'The company that owns the location: the tenant of everything in it.';
comment on column public.locations.time_zone is 'IANA name. Tariff windows are read in this zone.';
create index locations_client_id_idx on public.locations (client_id);

create table public.tariff_plans (
  id uuid primary key default gen_random_uuid(),
  client_id uuid references public.clients (id) on delete restrict,
  name text not null check (name <> ''),
  description text,
  is_default boolean not null default false,
  is_active boolean not null default true,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
comment on table public.tariff_plans is 'A named set of tariff rules. A station without a plan uses the default plan of its company.';
comment on column public.tariff_plans.client_id is 'The company whose plan it is; null: of the whole service.';
create unique index tariff_plans_default_key on public.tariff_plans (client_id) nulls not distinct where is_default;
create index tariff_plans_client_id_idx on public.tariff_plans (client_id);

create table public.tariff_rules (
  id uuid primary key default gen_random_uuid(),
  tariff_plan_id uuid not null references public.tariff_plans (id) on delete cascade,
  name text not null check (name <> ''),
  tariff_type public.tariff_type not null,
  connector_type text not null default 'ALL' check (connector_type <> ''),
  power_range_min numeric not null default 0 check (power_range_min >= 0),
  power_range_max numeric not null default 1000 check (power_range_max >= power_range_min),
  price numeric(14, 4) not null check (price >= 0),
  currency text not null default 'KGS' check (currency ~ '^[A-Z]{3}$'),
  time_start time not null default '00:00',
  time_end time not null default '24:00',
  is_weekend boolean not null default false,
  days_of_week smallint[] check (days_of_week <@ '{1,2,3,4,5,6,7}'::smallint[] and days_of_week <> '{}'),
  valid_from timestamptz,
  valid_until timestamptz check (valid_until > valid_from),
  min_duration_minutes numeric check (min_duration_minutes >= 0),
  max_duration_minutes numeric check (max_duration_minutes > coalesce(min_duration_minutes, 0)),
  priority integer not null default 0,
  is_active boolean not null default true,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
comment on table public.tariff_rules is 'One price. Of the rules of a plan that fit an instant, the one with the highest priority wins for each tariff_type.';
comment on column public.tariff_rules.connector_type is 'ALL, or the connector type it is for, as in connectors.type.';
comment on column public.tariff_rules.power_range_min is 'kW, inclusive: the power of the connector.';
comment on column public.tariff_rules.power_range_max is 'kW, inclusive.';
comment on column public.tariff_rules.currency is 'ISO 4217, of price.';
comment on column public.tariff_rules.price is 'Per kWh, per minute, or per session, as tariff_type says; parking_fee is per minute of parking.';
comment on column public.tariff_rules.time_start is 'Local time of the location, inclusive. With time_start > time_end the window wraps midnight.';
comment on column public.tariff_rules.time_end is 'Local time, exclusive. Equal to time_start, or 00:00 to 24:00: the whole day.';
comment on column public.tariff_rules.is_weekend is 'True: only on Saturdays and Sundays.';
comment on column public.tariff_rules.days_of_week is 'ISO days, 1 = Monday; null: every day. The day is that of the instant, also behind midnight.';
comment on column public.tariff_rules.min_duration_minutes is 'Minutes since the session began from which the rule holds, inclusive.';
comment on column public.tariff_rules.max_duration_minutes is 'Minutes since the session began until which the rule holds, exclusive.';
create index tariff_rules_tariff_plan_id_idx on public.tariff_rules (tariff_plan_id);

create table public.stations (
  id text primary key check (id ~ '^[^[:space:]/[:cntrl:]][^/[:cntrl:]]{0,254}$' and id = btrim(id)),
  location_id uuid references public.locations (id) on delete restrict,
  serial_number text unique,
  model text,
  manufacturer text,
  firmware_version text,
  power_capacity numeric check (power_capacity >= 0),
  connector_types text[] not null default '{}',
  installation_date date,
  status public.station_operation not null default 'active',
  tariff_plan_id uuid references public.tariff_plans (id) on delete restrict,
  price_per_kwh numeric(14, 4) check (price_per_kwh >= 0),
  session_fee numeric(14, 4) check (session_fee >= 0),
  currency text not null default 'KGS' check (currency ~ '^[A-Z]{3}$'),
  admin_id uuid references public.users (id) on delete set null,
  ocpp_status public.connector_status,
  ocpp_error_code text,
  registration_status public.registration_status not null default 'Accepted',
  last_boot_at timestamptz,
  strict boolean not null default false,
  allow_no_subprotocol boolean not null default true,
  ping_interval_s integer default 20 check (ping_interval_s > 0),
  ping_timeout_s integer default 20 check (ping_timeout_s > 0),
  clock_time_zone text not null default 'UTC',
  hold_implausible boolean not null default false,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
comment on table public.stations is 'Charge points. The id is chosen by the operator and is the OCPP identity in the WebSocket URL.';
comment on column public.stations.id is 'OCPP identity; compared without regard to case, answered in this spelling.';
comment on column public.stations.power_capacity is 'kW.';
comment on column public.stations.connector_types is 'Types present, e.g. {Type2,CCS2}.';
comment on column public.stations.price_per_kwh is 'The station''s own price per kWh; takes the place of the plan''s per_kwh rules.';
comment on column public.stations.session_fee is 'The station''s own fee per session; takes the place of the plan''s session_fee rules.';
comment on column public.stations.currency is 'ISO 4217, of the station''s own prices.';
comment on column public.stations.ocpp_status is 'Last StatusNotification for connector 0: the station as a whole.';
comment on column public.stations.registration_status is 'What a BootNotification is answered with (OCPP 1.6 §4.2).';
comment on column public.stations.strict is 'Answer schema violations with a CALLERROR instead of tolerating and recording them.';
comment on column public.stations.allow_no_subprotocol is 'Take a WebSocket that offers no sub-protocol for OCPP 1.6.';
comment on column public.stations.ping_interval_s is 'Seconds between WebSocket pings; null: never ping.';
comment on column public.stations.ping_timeout_s is 'Seconds to wait for a pong; null: do not care.';
comment on column public.stations.clock_time_zone is 'Zone assumed for time stamps that carry none.';
comment on column public.stations.hold_implausible is 'Hold the bill of a session flagged implausible_energy back for review.';
create unique index stations_lower_id_key on public.stations (lower(id));
create index stations_location_id_idx on public.stations (location_id);
create index stations_tariff_plan_id_idx on public.stations (tariff_plan_id);
create index stations_admin_id_idx on public.stations (admin_id);

create table public.connectors (
  id uuid primary key default gen_random_uuid(),
  station_id text not null references public.stations (id) on delete cascade on update cascade,
  number integer not null check (number between 1 and 1000),
  type text,
  power numeric check (power >= 0),
  status public.connector_status,
  error_code text,
  info text,
  vendor_error_code text,
  status_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  unique (station_id, number)
);
comment on table public.connectors is 'Connectors of a station; a number that a station reports for the first time makes its row.';
comment on column public.connectors.number is 'connectorId of OCPP, from 1. (0, the whole station, is stations.ocpp_status.)';
comment on column public.connectors.power is 'kW; null: that of the station.';
comment on column public.connectors.status is 'Last StatusNotification (OCPP 1.6 §4.9); null: none yet.';
comment on column public.connectors.error_code is 'ChargePointErrorCode of OCPP 1.6 §7.6; NoError when all is well.';
comment on column public.connectors.status_at is 'When the status was reported.';

create table public.station_configuration (
  station_id text not null references public.stations (id) on delete cascade on update cascade,
  key text not null,
  value text,
  readonly boolean not null default false,
  reported_at timestamptz not null default now(),
  primary key (station_id, key)
);
comment on table public.station_configuration is 'Configuration keys as the station last reported them (GetConfiguration, OCPP 1.6 §5.8). Secret keys are not kept.';

create table public.station_boots (
  station_id text primary key references public.stations (id) on delete cascade on update cascade,
  payload jsonb not null,
  received_at timestamptz not null
);
comment on table public.station_boots is 'The last BootNotification of each station, whole (OCPP 1.6 §6.1).';

create table public.station_inbox (
  id uuid primary key default gen_random_uuid(),
  station_id text not null,
  remote_address text,
  user_agent text,
  protocols text[],
  attempts integer not null default 1,
  first_seen_at timestamptz not null default now(),
  last_seen_at timestamptz not null default now()
);
comment on table public.station_inbox is 'Stations that knocked without being registered. adopt_station() makes one of them a station.';
create unique index station_inbox_station_id_key on public.station_inbox (lower(station_id));
create index station_inbox_last_seen_at_idx on public.station_inbox (last_seen_at);

create table public.maintenance (
  id uuid primary key default gen_random_uuid(),
  station_id text not null references public.stations (id) on delete cascade on update cascade,
  request_date timestamptz not null default now(),
  description text not null,
  assigned_to uuid references public.users (id) on delete set null,
  notes text,
  status public.maintenance_status not null default 'pending',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
comment on table public.maintenance is 'Work requested on a station.';
create index maintenance_station_id_idx on public.maintenance (station_id);
create index maintenance_assigned_to_idx on public.maintenance (assigned_to);

-- Tags and sessions ------------------------------------------------------------------------------
create table public.id_tags (
  id uuid primary key default gen_random_uuid(),
  id_tag text not null check (char_length(id_tag) between 1 and 20),
  parent_id_tag text check (char_length(parent_id_tag) between 1 and 20),
  status public.id_tag_status not null default 'Accepted',
  expiry_date timestamptz,
  user_id uuid references public.users (id) on delete set null,
  client_id uuid references public.clients (id) on delete set null,
  note text,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
comment on table public.id_tags is 'Cards and other identifiers that may charge (idTag, OCPP 1.6 §3.9): at most 20 characters, compared without regard to case.';
comment on column public.id_tags.parent_id_tag is 'Group (OCPP 1.6 §3.10): any tag of the group may stop what another started.';
comment on column public.id_tags.user_id is 'Whose tag it is.';
comment on column public.id_tags.client_id is 'Who pays; null: the client of the user.';
create unique index id_tags_id_tag_key on public.id_tags (lower(id_tag));
create index id_tags_user_id_idx on public.id_tags (user_id);
create index id_tags_client_id_idx on public.id_tags (client_id);
create index id_tags_parent_id_tag_idx on public.id_tags (lower(parent_id_tag));

-- OCPP's transactionId is an integer; ids come from here and nowhere else, so 0 and negative ones are never ours.
create sequence private.transaction_ids as integer minvalue 1;

create table public.charging_sessions (
  id uuid primary key default gen_random_uuid(),
  transaction_id integer not null unique default nextval('private.transaction_ids'),
  station_id text not null references public.stations (id) on delete restrict on update cascade,
  connector_id integer,
  user_id uuid references public.users (id) on delete set null,
  client_id uuid references public.clients (id) on delete restrict,
  id_tag text,
  status public.session_status not null default 'pending',
  start_time timestamptz,
  stop_time timestamptz,
  energy numeric(14, 3) not null default 0,
  amount numeric not null default 0,
  currency text not null default 'KGS' check (currency ~ '^[A-Z]{3}$'),
  limit_type public.limit_type not null generated always as (
    case when limit_energy_kwh is not null and limit_amount is not null then 'both'::public.limit_type
         when limit_energy_kwh is not null then 'energy'::public.limit_type
         when limit_amount is not null then 'amount'::public.limit_type
         else 'none'::public.limit_type end) stored,
  limit_energy_kwh numeric(14, 3) check (limit_energy_kwh > 0),
  limit_amount numeric(14, 2) check (limit_amount > 0),
  meter_start_wh numeric,
  meter_stop_wh numeric,
  meter_last_wh numeric,
  meter_last_at timestamptz,
  meter_max_wh numeric,
  meter_steps_wh numeric not null default 0,
  meter_restarted boolean not null default false,
  energy_wh numeric not null default 0,
  power_w numeric,
  soc_percent numeric,
  parking_start_time timestamptz,
  reported_start text,
  start_key uuid,
  start_reply jsonb,
  stop_key uuid,
  clock_offset interval not null default '0',
  reservation_id integer,
  stop_reason text,
  stop_id_tag text,
  stop_requested_at timestamptz,
  provisional_at timestamptz,
  expires_at timestamptz,
  flags text[] not null default '{}',
  error text,
  tariff jsonb,
  receipt jsonb,
  priced_at timestamptz,
  priced_energy_wh numeric,
  live_at timestamptz,
  settled_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  foreign key (station_id, connector_id) references public.connectors (station_id, number) on update cascade,
  check (stop_time is null or start_time is null or stop_time >= start_time)
) with (fillfactor = 70);  -- a meter value touches no indexed column: room for the new version on the same page
comment on table public.charging_sessions is 'One row per charging session: asked for (pending), under way (started), ended (stopped), or come to nothing (error). Written by functions only.';
comment on column public.charging_sessions.transaction_id is 'transactionId of OCPP, given by us.';
comment on column public.charging_sessions.connector_id is 'connectors.number; null when the station named an impossible one.';
comment on column public.charging_sessions.user_id is 'Who charged.';
comment on column public.charging_sessions.client_id is 'Who pays.';
comment on column public.charging_sessions.id_tag is 'As in RemoteStartTransaction or as the station reported it.';
comment on column public.charging_sessions.start_time is 'When the station began, by its clock if that is plausible, else when we heard of it.';
comment on column public.charging_sessions.energy is 'kWh so far; billed kWh once stopped.';
comment on column public.charging_sessions.amount is 'Cost so far; the bill once stopped. In currency.';
comment on column public.charging_sessions.currency is 'ISO 4217, of amount and limit_amount.';
comment on column public.charging_sessions.limit_energy_kwh is 'Stop at this energy, kWh.';
comment on column public.charging_sessions.limit_amount is 'Stop at this cost, in currency.';
comment on column public.charging_sessions.meter_start_wh is 'Register of the station at the start, Wh.';
comment on column public.charging_sessions.meter_stop_wh is 'Register at the end, Wh.';
comment on column public.charging_sessions.meter_last_wh is 'Newest register seen, Wh, at meter_last_at.';
comment on column public.charging_sessions.meter_last_at is 'When the newest meter value was taken, less clock_offset: by the station''s own clock.';
comment on column public.charging_sessions.meter_max_wh is 'Highest register seen, Wh: one below it means that the meter restarted, or hiccuped.';
comment on column public.charging_sessions.meter_steps_wh is 'Sum of the positive steps of the register, Wh: what counts when the meter restarted.';
comment on column public.charging_sessions.meter_restarted is 'The register fell and stayed low.';
comment on column public.charging_sessions.energy_wh is 'Energy so far, Wh, unrounded; energy shows it in kWh.';
comment on column public.charging_sessions.power_w is 'Last power reported, W.';
comment on column public.charging_sessions.soc_percent is 'Last state of charge of the car, percent.';
comment on column public.charging_sessions.parking_start_time is 'Since when the car draws nothing more; from here on it parks.';
comment on column public.charging_sessions.reported_start is 'timestamp of the StartTransaction as sent.';
comment on column public.charging_sessions.start_key is 'Digest of connector, tag, reported time and register: a repeated StartTransaction finds its session by it.';
comment on column public.charging_sessions.start_reply is 'The answer to the StartTransaction; a repeat gets the same.';
comment on column public.charging_sessions.stop_key is 'Digest of the StopTransaction: a repeat that names no transactionId of ours finds its session by it.';
comment on column public.charging_sessions.clock_offset is 'What to add to the station''s time stamps where its clock was found wrong at the start.';
comment on column public.charging_sessions.reservation_id is 'reservationId of the StartTransaction.';
comment on column public.charging_sessions.stop_reason is 'Reason of OCPP 1.6 §7.36; Local when the station names none.';
comment on column public.charging_sessions.stop_requested_at is 'When stop_charge was called.';
comment on column public.charging_sessions.provisional_at is 'When it was ended for want of a StopTransaction; one that still comes within a day wins.';
comment on column public.charging_sessions.expires_at is 'Pending: until when the StartTransaction must have come.';
comment on column public.charging_sessions.flags is 'What wants a look: implausible_energy, clock_wrong, meter_restarted, id_tag_refused, …: docs/architecture.md.';
comment on column public.charging_sessions.error is 'Why the session came to nothing, for people.';
comment on column public.charging_sessions.tariff is 'The tariff as it was when the session began.';
comment on column public.charging_sessions.receipt is 'The itemised bill {cost, currency, lines}; set once, when the session is settled.';
comment on column public.charging_sessions.priced_energy_wh is 'The energy_wh that amount is the cost of.';
comment on column public.charging_sessions.live_at is 'When its Realtime topic last got it.';
comment on column public.charging_sessions.settled_at is 'When the bill was made. Happens once.';
create unique index charging_sessions_start_key on public.charging_sessions (station_id, start_key);
create index charging_sessions_station_id_idx on public.charging_sessions (station_id, connector_id, created_at desc);
create index charging_sessions_user_id_idx on public.charging_sessions (user_id, created_at desc);
create index charging_sessions_client_id_idx on public.charging_sessions (client_id, created_at desc);
create index charging_sessions_start_time_idx on public.charging_sessions (station_id, connector_id, start_time desc);
create index charging_sessions_stop_key_idx on public.charging_sessions (station_id, stop_key) where stop_key is not null;
create index charging_sessions_open_idx on public.charging_sessions (station_id, connector_id) where status in ('pending', 'started');
create index charging_sessions_unsettled_idx on public.charging_sessions (stop_time) where stop_time is not null and settled_at is null;
-- None of these holds a column that a meter value changes: its update needs no new index entries.
create index charging_sessions_pending_tag_idx on public.charging_sessions (lower(id_tag)) where status in ('pending', 'started');

create table public.transaction_orphans (
  id uuid primary key default gen_random_uuid(),
  station_id text not null references public.stations (id) on delete cascade on update cascade,
  action text not null,
  reported_transaction_id numeric,
  payload jsonb not null,
  payload_digest uuid not null,
  received_at timestamptz not null,
  session_id uuid references public.charging_sessions (id) on delete set null,
  resolved_at timestamptz,
  unique (station_id, action, payload_digest)
);
comment on table public.transaction_orphans is 'StopTransactions that fitted no session. Confirmed to the station and kept; resolved when the StartTransaction arrives late.';
comment on column public.transaction_orphans.reported_transaction_id is 'transactionId as reported; null when that was no number.';
create index transaction_orphans_session_id_idx on public.transaction_orphans (session_id);
create index transaction_orphans_open_idx on public.transaction_orphans (station_id) where resolved_at is null;

-- Commands ---------------------------------------------------------------------------------------
create table public.commands (
  id uuid primary key default gen_random_uuid(),
  station_id text not null references public.stations (id) on delete cascade on update cascade,
  action text not null,
  payload jsonb not null default '{}',
  status public.command_status not null default 'queued',
  result jsonb,
  error text,
  late boolean not null default false,
  session_id uuid references public.charging_sessions (id) on delete set null,
  created_by uuid references public.users (id) on delete set null default auth.uid(),
  connection_id uuid,
  attempts integer not null default 0,
  timeout_s integer not null default 30 check (timeout_s > 0),
  created_at timestamptz not null default now(),
  sent_at timestamptz,
  answered_at timestamptz,
  effect_at timestamptz,
  expires_at timestamptz not null default now() + interval '60 s',
  updated_at timestamptz not null default now()
);
comment on table public.commands is 'CALLs to stations: queued, claimed and sent by a bridge, answered. Written by functions only.';
comment on column public.commands.action is 'Action of OCPP 1.6, e.g. Reset.';
comment on column public.commands.payload is 'Payload as on the wire.';
comment on column public.commands.status is 'sent: on its way, the answer is awaited. expired: not sent in time. accepted: answered, and not with a refusal.';
comment on column public.commands.result is 'Payload of the station''s answer.';
comment on column public.commands.error is 'What went wrong, for people.';
comment on column public.commands.late is 'The answer came after the command had timed out.';
comment on column public.commands.connection_id is 'The connection on which it was sent.';
comment on column public.commands.timeout_s is 'How long the station may take to answer, seconds.';
comment on column public.commands.effect_at is 'When what was commanded was seen to happen: StartTransaction, StopTransaction, BootNotification …';
comment on column public.commands.expires_at is 'Not sent any more after this.';
create index commands_waiting_idx on public.commands (station_id, created_at) where status in ('queued', 'sent');
create index commands_station_id_idx on public.commands (station_id, created_at desc);
create index commands_session_id_idx on public.commands (session_id);
create index commands_created_by_idx on public.commands (created_by, created_at desc);

-- What must not be read by anybody leaves the payload and waits here until it was sent.
create table private.command_secrets (
  command_id uuid primary key references public.commands (id) on delete cascade deferrable initially deferred,
  payload jsonb not null
);
comment on table private.command_secrets is 'Payloads, whole, of commands that carry a secret and are not answered yet; commands.payload shows them redacted.';

-- What stations report, by time ------------------------------------------------------------------
create table public.meter_values (
  id uuid not null default gen_random_uuid(),
  station_id text not null references public.stations (id) on delete restrict on update cascade,
  connector_id integer not null,
  session_id uuid references public.charging_sessions (id) on delete set null,
  transaction_id numeric,
  reported_at timestamptz not null,
  received_at timestamptz not null,
  context text not null default 'Sample.Periodic',
  energy_wh numeric,
  power_w numeric,
  current_a numeric,
  voltage_v numeric,
  temperature_c numeric,
  soc_percent numeric,
  samples jsonb not null,
  digest uuid not null,
  primary key (station_id, connector_id, reported_at, context, digest)
) partition by range (reported_at);
comment on table public.meter_values is 'One row per MeterValue of a station (OCPP 1.6 §4.7, §7.32); the same one is stored once.';
comment on column public.meter_values.connector_id is 'As reported; 0 is the main meter.';
comment on column public.meter_values.transaction_id is 'transactionId as reported, whatever it is worth; session_id is what it was found to mean.';
comment on column public.meter_values.reported_at is 'Time by the station''s clock, uncorrected; received_at when that is unreadable.';
comment on column public.meter_values.context is 'Reading context of the samples (OCPP 1.6 §7.35).';
comment on column public.meter_values.energy_wh is 'Energy.Active.Import.Register, Wh.';
comment on column public.meter_values.power_w is 'Power.Active.Import, W.';
comment on column public.meter_values.current_a is 'Current.Import, A; the mean of the phases.';
comment on column public.meter_values.voltage_v is 'Voltage, V; the mean of the phases.';
comment on column public.meter_values.temperature_c is 'Temperature, degrees Celsius.';
comment on column public.meter_values.soc_percent is 'SoC, percent.';
comment on column public.meter_values.samples is 'sampledValue as sent.';
create index meter_values_session_id_idx on public.meter_values (session_id, reported_at) where session_id is not null;
create table private.meter_values_default partition of public.meter_values default;

create table public.ocpp_messages (
  id uuid not null default gen_random_uuid(),
  station_id text not null,
  connection_id uuid,
  direction public.message_direction not null,
  message_id text,
  action text,
  payload jsonb,
  reply jsonb,
  reply_error text,
  violations jsonb,
  received_at timestamptz not null
) partition by range (received_at);
comment on table public.ocpp_messages is 'Every message of every station with its answer. Secrets are redacted.';
comment on column public.ocpp_messages.reply is 'Payload of the CALLRESULT, or {code, description, details} of the CALLERROR.';
comment on column public.ocpp_messages.reply_error is 'Error code when the answer was a CALLERROR.';
comment on column public.ocpp_messages.violations is 'What was wrong with it and tolerated: [{code, path, message}].';
comment on column public.ocpp_messages.received_at is 'When the bridge had it.';
create index ocpp_messages_station_id_idx on public.ocpp_messages (station_id, received_at desc);
create table private.ocpp_messages_default partition of public.ocpp_messages default;

create function private.ensure_partitions(p_at timestamptz) returns void
language plpgsql volatile set search_path = ''
set lock_timeout = '2s'  -- attaching needs strong locks: better later than in the way of everybody
as $$
declare
  v_parent text;
  v_column text;
  v_name text;
  v_from timestamptz;
  v_until timestamptz;
begin
  for v_parent, v_column in values ('meter_values', 'reported_at'), ('ocpp_messages', 'received_at') loop
    for i in 0..1 loop
      v_from := (date_trunc('month', p_at at time zone 'UTC') + make_interval(months => i)) at time zone 'UTC';
      v_until := (date_trunc('month', p_at at time zone 'UTC') + make_interval(months => i + 1)) at time zone 'UTC';
      v_name := v_parent || to_char(v_from at time zone 'UTC', '_YYYYMM');
      continue when to_regclass(format('private.%I', v_name)) is not null;
      execute format('create table private.%I (like public.%I including all)', v_name, v_parent);
      execute format('alter table private.%I enable row level security', v_name);
      -- A clock that runs ahead has put rows of that month into the default partition, where they would forbid the new one.
      execute format('with moved as (delete from private.%I where %I >= %L and %I < %L returning *) insert into private.%I select * from moved',
        v_parent || '_default', v_column, v_from, v_column, v_until, v_name);
      execute format('alter table public.%I attach partition private.%I for values from (%L) to (%L)', v_parent, v_name, v_from, v_until);
    end loop;
  end loop;
end $$;
comment on function private.ensure_partitions is 'Makes the monthly partitions of the month of p_at and the next, in private, where nobody has rights.';
select private.ensure_partitions(now());

-- Bridges and connections ------------------------------------------------------------------------
create table private.bridges (
  id text primary key,
  settings jsonb not null default '{}',
  started_at timestamptz not null default now(),
  lease_expires_at timestamptz not null
);
comment on table private.bridges is 'Running bridges. One whose lease is over holds no station any more.';

create table private.station_connections (
  station_id text primary key references public.stations (id) on delete cascade on update cascade,
  connection_id uuid not null,
  bridge_id text not null,
  protocol text,
  remote_address text,
  user_agent text,
  connected_at timestamptz not null,
  booted_at timestamptz,
  last_message_at timestamptz not null,
  disconnected_at timestamptz,
  disconnect_code integer
) with (fillfactor = 50);
comment on table private.station_connections is 'The newest connection of each station; the newest socket wins.';
comment on column private.station_connections.booted_at is 'BootNotification accepted on this connection.';
create index station_connections_bridge_id_idx on private.station_connections (bridge_id) where disconnected_at is null;

create view private.open_connections with (security_invoker = on) as
select c.* from private.station_connections as c join private.bridges as b on b.id = c.bridge_id
 where c.disconnected_at is null and b.lease_expires_at > now();
comment on view private.open_connections is 'Connections of the stations that are online: not closed, and held by a bridge whose lease is valid.';

create table private.station_keys (
  station_id text primary key references public.stations (id) on delete cascade on update cascade,
  salt bytea not null,
  key_hash bytea not null,
  created_at timestamptz not null default now()
);
comment on table private.station_keys is 'Salted SHA-256 of the Basic-auth password of a station (OCPP-J §6.2). The keys are random, so a slow hash buys nothing.';

create table private.settings (
  only_row boolean primary key default true check (only_row),
  live_update_interval interval not null default '10 s',
  start_timeout interval not null default '180 s',
  reprice_per_batch integer not null default 8
);
comment on table private.settings is 'Settings of the service; one row.';
comment on column private.settings.live_update_interval is 'A session''s Realtime topic gets at most one meter update in this time: a project may send about 100 messages a second.';
comment on column private.settings.start_timeout is 'How long after an accepted RemoteStartTransaction the StartTransaction may take: ConnectionTimeOut and a margin.';
comment on column private.settings.reprice_per_batch is 'Running costs computed anew per ingest call; the others follow with the next heartbeat of a bridge.';
insert into private.settings default values;

-- Housekeeping of the tables ---------------------------------------------------------------------
do $$
declare
  v_table text;
begin
  foreach v_table in array array['clients', 'users', 'locations', 'tariff_plans', 'tariff_rules', 'stations', 'connectors',
    'maintenance', 'id_tags', 'charging_sessions', 'commands'] loop
    execute format('create trigger set_updated_at before update on public.%I for each row execute function private.set_updated_at()', v_table);
  end loop;
  for v_table in select c.oid::regclass from pg_catalog.pg_class c
      where c.relnamespace in ('public'::regnamespace, 'private'::regnamespace) and c.relkind in ('r', 'p') loop
    execute format('alter table %s enable row level security', v_table);
  end loop;
end $$;
create trigger check_time_zone before insert or update of time_zone on public.locations
  for each row execute function private.check_time_zone('time_zone');
create trigger check_time_zone before insert or update of clock_time_zone on public.stations
  for each row execute function private.check_time_zone('clock_time_zone');
