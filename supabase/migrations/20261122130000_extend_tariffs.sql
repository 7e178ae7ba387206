-- Tariffs in full: the restrictions, steps, VAT and price limits of OCPI 2.2.1 and 2.3, prices of single accounts, and plans
-- that came from another party's system. Plans and rules as they were keep their meaning and their price.

-- Plans ------------------------------------------------------------------------------------------
alter table public.tariff_plans
  add column valid_from timestamptz,
  add column valid_until timestamptz check (valid_until > valid_from),
  add column tax_included text check (tax_included in ('YES', 'NO', 'N/A')),
  add column min_price numeric(14, 4) check (min_price >= 0 and min_price < 'NaN'),
  add column min_price_incl_vat numeric(14, 4) check (min_price_incl_vat >= 0 and min_price_incl_vat < 'NaN'),
  add column max_price numeric(14, 4) check (max_price >= 0 and max_price < 'NaN'),
  add column max_price_incl_vat numeric(14, 4) check (max_price_incl_vat >= 0 and max_price_incl_vat < 'NaN'),
  add column ocpi_country_code text check (ocpi_country_code ~ '^[A-Za-z]{2}$'),
  add column ocpi_party_id text check (ocpi_party_id ~ '^[A-Za-z0-9]{3}$'),
  add column ocpi_id text check (char_length(ocpi_id) between 1 and 36),
  add column ocpi jsonb,
  add column imported_at timestamptz,
  add constraint "valid_from and valid_until are times, or empty for no bound" check (isfinite(valid_from) and isfinite(valid_until)),
  add check (num_nonnulls(ocpi_country_code, ocpi_party_id, ocpi_id) in (0, 3)),
  add check (max_price >= min_price),
  add check (max_price_incl_vat >= min_price_incl_vat);
comment on column public.tariff_plans.valid_from is 'From this instant on sessions may begin with the plan; before it counts as none. Null: always.';
comment on column public.tariff_plans.valid_until is 'Sessions that begin before this instant may use the plan. Null: for ever.';
comment on column public.tariff_plans.tax_included is 'Of rules with a VAT rate: YES their prices contain the VAT, NO or null it comes on top, N/A no tax is due. Without VAT rates prices are what is paid.';
comment on column public.tariff_plans.min_price is 'The least a session costs before VAT, in the currency of the rules. Null: no least.';
comment on column public.tariff_plans.min_price_incl_vat is 'The least a session costs with VAT, in the currency of the rules. Null: no least.';
comment on column public.tariff_plans.max_price is 'The most a session costs before VAT, in the currency of the rules. Null: no most.';
comment on column public.tariff_plans.max_price_incl_vat is 'The most a session costs with VAT, in the currency of the rules. Null: no most.';
comment on column public.tariff_plans.ocpi_country_code is 'country_code of the OCPI Tariff: ISO 3166-1 alpha-2. Null with a plan made here.';
comment on column public.tariff_plans.ocpi_party_id is 'party_id of the OCPI Tariff.';
comment on column public.tariff_plans.ocpi_id is 'id of the OCPI Tariff. With country code and party, without regard to case, what import_ocpi_tariff() knows a plan by.';
comment on column public.tariff_plans.ocpi is 'What of the OCPI Tariff has no column: type, texts, energy mix, last_updated, fields of others. Kept for export_ocpi_tariff().';
comment on column public.tariff_plans.imported_at is 'When import_ocpi_tariff() last wrote the plan.';
create unique index tariff_plans_ocpi_key on public.tariff_plans
  (client_id, upper(ocpi_country_code), upper(ocpi_party_id), lower(ocpi_id)) nulls not distinct where ocpi_id is not null;

-- Rules ------------------------------------------------------------------------------------------
create type public.reservation_restriction as enum ('RESERVATION', 'RESERVATION_EXPIRES');
comment on type public.reservation_restriction is 'ReservationRestrictionType of OCPI 2.2.1, spelled as there.';
alter table public.tariff_rules
  add column per_hour boolean not null default false,
  add column vat numeric(7, 4) check (vat between 0 and 100),
  add column step_size integer check (step_size >= 0),
  add column date_from date,
  add column date_until date check (date_until > date_from),
  add column min_kwh numeric(14, 4) check (min_kwh >= 0 and min_kwh < 'NaN'),
  add column max_kwh numeric(14, 4) check (max_kwh > coalesce(min_kwh, 0) and max_kwh < 'NaN'),
  add column min_current numeric(14, 4) check (min_current >= 0 and min_current < 'NaN'),
  add column max_current numeric(14, 4) check (max_current > coalesce(min_current, 0) and max_current < 'NaN'),
  add column min_power numeric(14, 4) check (min_power >= 0 and min_power < 'NaN'),
  add column max_power numeric(14, 4) check (max_power > coalesce(min_power, 0) and max_power < 'NaN'),
  add column reservation public.reservation_restriction,
  add check (not per_hour or tariff_type in ('per_minute', 'parking_fee')),
  add check (step_size > 0 or tariff_type = 'session_fee'),
  add check (reservation is null or tariff_type in ('per_minute', 'session_fee'));
comment on column public.tariff_rules.price is 'Per kWh, per minute (per hour where per_hour is on), or per session, as tariff_type says; parking_fee is for time of parking.';
comment on column public.tariff_rules.per_hour is 'Of per_minute and parking_fee: the price is per hour, as in OCPI.';
comment on column public.tariff_rules.vat is 'VAT rate, percent. Null: no VAT is known of. tariff_plans.tax_included says whether the price contains it.';
comment on column public.tariff_rules.step_size is 'Billed in blocks of this size: Wh for energy, seconds for time. Taken once per session, by the last rule in force (OCPI step_size). Null: exactly what was used.';
comment on column public.tariff_rules.date_from is 'From this local day of the location on. Null: always.';
comment on column public.tariff_rules.date_until is 'Until this local day of the location, exclusive. Null: always.';
comment on column public.tariff_rules.min_kwh is 'Holds from this energy of the session on, kWh.';
comment on column public.tariff_rules.max_kwh is 'Holds until this energy of the session, kWh, exclusive.';
comment on column public.tariff_rules.min_current is 'Holds while the car draws this current or more, A, summed over the phases.';
comment on column public.tariff_rules.max_current is 'Holds while the car draws less than this current, A, summed over the phases.';
comment on column public.tariff_rules.min_power is 'Holds while the car draws this power or more, kW, as measured. (power_range_* are about what the connector could give.)';
comment on column public.tariff_rules.max_power is 'Holds while the car draws less than this power, kW, as measured.';
comment on column public.tariff_rules.reservation is 'The rule prices the time reserved before the session (per_minute) or the reservation (session_fee); RESERVATION_EXPIRES one that no session followed.';

-- Prices of single accounts ----------------------------------------------------------------------
create table public.client_tariffs (
  id uuid primary key default gen_random_uuid(),
  client_id uuid not null references public.clients (id) on delete cascade,
  company_id uuid references public.clients (id) on delete cascade,
  tariff_plan_id uuid references public.tariff_plans (id) on delete restrict,
  discount_percent numeric(5, 2) not null default 0 check (discount_percent between 0 and 100),
  valid_from timestamptz,
  valid_until timestamptz check (valid_until > valid_from),
  note text,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint "valid_from and valid_until are times, or empty for no bound" check (isfinite(valid_from) and isfinite(valid_until)),
  check (tariff_plan_id is not null or discount_percent > 0)
);
comment on table public.client_tariffs is 'What an account pays otherwise than everybody: a plan of its own, a discount, or both. Sessions that begin while it is valid keep it.';
comment on column public.client_tariffs.client_id is 'The payer: an account, or a company, whose staff then charge at these prices.';
comment on column public.client_tariffs.company_id is 'At whose stations: the company that grants it. Null: everywhere; only admins write that. Of the company goes before everywhere, of several the newest.';
comment on column public.client_tariffs.tariff_plan_id is 'The plan that takes the place of the station''s, its own prices included. Null: the same plan as everybody.';
comment on column public.client_tariffs.discount_percent is 'Off every price, percent; least and most price stay.';
comment on column public.client_tariffs.valid_from is 'For sessions that begin from this instant on. Null: always.';
comment on column public.client_tariffs.valid_until is 'For sessions that begin before this instant. Null: always.';
comment on column public.client_tariffs.note is 'For people: the contract it comes from.';
create index client_tariffs_client_id_idx on public.client_tariffs (client_id);
create index client_tariffs_company_id_idx on public.client_tariffs (company_id);
create index client_tariffs_tariff_plan_id_idx on public.client_tariffs (tariff_plan_id);
create trigger set_updated_at before update on public.client_tariffs for each row execute function private.set_updated_at();
alter table public.client_tariffs enable row level security;

-- Functions ---------------------------------------------------------------------------------------
drop function private.tariff_snapshot(text, integer, timestamptz);

create or replace function private.default_time_zone() returns text
language sql immutable set search_path = ''
as $$
  select 'Asia/Bishkek'
$$;
comment on function private.default_time_zone is 'IANA name of the zone of a station at no location: that of the default of locations.time_zone.';

create or replace function private.plan_tariff(
  p_plan public.tariff_plans, p_station public.stations, p_type text, p_power numeric, p_time_zone text, p_discount numeric, p_at timestamptz
) returns jsonb
language plpgsql stable set search_path = '' set plan_cache_mode = force_generic_plan
as $$
declare
  v_currency text;
  v_rules jsonb;
  v_left_out jsonb;
  v_measures jsonb;
begin
  v_currency := coalesce(
    case when p_station.price_per_kwh is not null or p_station.session_fee is not null then p_station.currency end,
    (select r.currency from public.tariff_rules as r
      where r.tariff_plan_id = p_plan.id and r.is_active order by r.priority desc, r.created_at desc, r.id limit 1),
    p_station.currency);

  with fitting as (
    select r.id, r.name, r.tariff_type, r.price, r.currency, r.priority, r.created_at,
           case when r.time_start <> r.time_end and not (r.time_start = '00:00' and r.time_end = '24:00') then r.time_start end as time_start,
           r.time_end,
           case when r.is_weekend then array(select d from unnest(coalesce(r.days_of_week, '{6,7}')) as d where d in (6, 7))
                when not r.days_of_week @> '{1,2,3,4,5,6,7}' then r.days_of_week end as days,
           -- A bound that lies a day back is settled; a day, because a station's clock may be behind ours.
           case when r.valid_from > p_at - interval '1 day' then r.valid_from end as valid_from, r.valid_until, r.date_from, r.date_until,
           nullif(r.min_duration_minutes, 0) as min_minutes, r.max_duration_minutes as max_minutes,
           nullif(r.min_kwh, 0) as min_kwh, r.max_kwh, nullif(r.min_power, 0) as min_power, r.max_power, nullif(r.min_current, 0) as min_current, r.max_current,
           r.reservation, r.per_hour, r.step_size, case when p_plan.tax_included is distinct from 'N/A' then r.vat end as vat
      from public.tariff_rules as r
     where r.tariff_plan_id = p_plan.id and r.is_active
       and (lower(r.connector_type) = 'all' or lower(r.connector_type) = lower(p_type))
       -- 1000 kW is the column's default and means no upper bound. Nothing known about the power: only rules that do not ask.
       and coalesce(p_power, 0) >= r.power_range_min
       and (r.power_range_max >= 1000 or p_power <= r.power_range_max)
       and (r.valid_until is null or r.valid_until > p_at - interval '1 day')
       and not (r.tariff_type = 'per_kwh' and p_station.price_per_kwh is not null)
       and not (r.tariff_type = 'session_fee' and r.reservation is null and p_station.session_fee is not null)
    union all
    select null, own.name, own.tariff_type, own.price, p_station.currency, 0, null, null, null, null, null, null, null, null, null, null,
           null, null, null, null, null, null, null, false, null, null
      from (values ('Station price', 'per_kwh'::public.tariff_type, p_station.price_per_kwh),
                   ('Station session fee', 'session_fee', p_station.session_fee)) as own (name, tariff_type, price)
     where own.price is not null
  ), ranked as (
    select fitting.*, row_number() over (order by priority desc, created_at desc, id) as rank,
           coalesce(min_kwh, max_kwh, min_power, max_power, min_current, max_current) is not null as measured,
           coalesce(min_power, max_power, min_current, max_current) is not null as sampled,
           time_start is not null or days is not null or valid_from is not null or valid_until is not null
             or date_from is not null or date_until is not null or min_minutes is not null or max_minutes is not null as timed
      from fitting
     where days is distinct from '{}' and currency = v_currency
  ), reachable as (
    select *
      from (select ranked.*,
                   min(rank) filter (where not timed and not measured) over (partition by tariff_type, reservation) as always_rank
              from ranked) as r
     where rank <= coalesce(always_rank, rank)  -- below a rule that always holds none of its type can win
  )
  select (select jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
                   'rule_id', id, 'rule_name', name, 'tariff_type', tariff_type,
                   'price', trim_scale(price * (100 - p_discount) / 100), 'list_price', case when p_discount > 0 then trim_scale(price) end,
                   'time_start', time_start, 'time_end', case when time_start is not null then time_end end,
                   'days', to_jsonb(days), 'valid_from', valid_from, 'valid_until', valid_until, 'date_from', date_from, 'date_until', date_until,
                   'min_minutes', min_minutes, 'max_minutes', max_minutes, 'min_kwh', trim_scale(min_kwh), 'max_kwh', trim_scale(max_kwh),
                   'min_power', trim_scale(min_power), 'max_power', trim_scale(max_power),
                   'min_current', trim_scale(min_current), 'max_current', trim_scale(max_current), 'reservation', reservation,
                   'per_hour', case when per_hour then true end, 'step_size', nullif(step_size, 0), 'vat', trim_scale(vat))) order by rank)
            from reachable),
         (select jsonb_agg(name order by name) from fitting where currency <> v_currency),
         (select jsonb_strip_nulls(jsonb_build_object(
             -- The session fee is that of the first instant, so its conditions split nothing; a plan from OCPI has it whenever it holds.
             'flat', not coalesce(bool_or(timed) filter (where tariff_type <> 'session_fee' or p_plan.ocpi_id is not null), false),
             'simple', nullif(not bool_or(timed or measured or reservation is not null), false),
             'steps', nullif(bool_or(step_size > 0), false),
             'late_fee', nullif(p_plan.ocpi_id is not null and bool_or(timed or measured) filter (where tariff_type = 'session_fee'), false),
             'vat', case when count(vat) > 0 then case p_plan.tax_included when 'YES' then 'included' else 'excluded' end end,
             'reserves', case when count(reservation) > 0 then true end,
             'measured', nullif(bool_or(measured) or count(reservation) > 0, false),
             'every_sample', nullif(bool_or(sampled or measured and tariff_type in ('per_minute', 'parking_fee')), false),
             'kwh', (select jsonb_agg(distinct b order by b) from reachable as r cross join unnest(array[r.min_kwh, r.max_kwh]) as b where b is not null),
             'kw', (select jsonb_agg(distinct b order by b) from reachable as r cross join unnest(array[r.min_power, r.max_power]) as b where b is not null),
             'a', (select jsonb_agg(distinct b order by b) from reachable as r cross join unnest(array[r.min_current, r.max_current]) as b where b is not null)))
            from reachable)
    into v_rules, v_left_out, v_measures;

  return jsonb_strip_nulls(jsonb_build_object(
    'connector_type', p_type, 'power_kw', trim_scale(p_power), 'plan_id', p_plan.id, 'plan_name', p_plan.name, 'currency', v_currency,
    'left_out', v_left_out, 'time_zone', p_time_zone, 'rules', coalesce(v_rules, '[]'), 'discount_percent', nullif(trim_scale(p_discount), 0),
    'min_price', trim_scale(p_plan.min_price), 'min_price_incl_vat', trim_scale(p_plan.min_price_incl_vat),
    'max_price', trim_scale(p_plan.max_price), 'max_price_incl_vat', trim_scale(p_plan.max_price_incl_vat))) || v_measures;
end $$;
comment on function private.plan_tariff is 'What tariff_snapshot() keeps of a plan for a connector of p_type and p_power (kW), prices less p_discount percent. p_station gives '
  'prices of its own that go before the plan''s, and the currency of a plan without rules.';

create or replace function private.tariff_snapshot(p_station_id text, p_connector_id integer, p_at timestamptz, p_client_id uuid default null) returns jsonb
language plpgsql stable set search_path = '' set plan_cache_mode = force_generic_plan
security definer  -- quote and bill must see the same rules, whatever the policies hide from the caller
as $$
declare
  v_station public.stations;
  v_location public.locations;
  v_connector public.connectors;
  v_plan public.tariff_plans;
  v_client public.client_tariffs;
begin
  select * into v_station from public.stations where lower(id) = lower(p_station_id);
  if not found then
    return null;
  end if;
  select * into v_location from public.locations where id = v_station.location_id;
  select * into v_connector from public.connectors
   where station_id = v_station.id
     and (number = p_connector_id or p_connector_id is null)
     -- not told which one: the only one, if there is only one
     and (p_connector_id is not null or 1 = (select count(*) from public.connectors where station_id = v_station.id));
  if p_client_id is not null then
    select c.* into v_client from public.client_tariffs as c
     where c.client_id = p_client_id and (c.company_id is null or c.company_id = v_location.client_id)
       and (c.valid_from is null or c.valid_from <= p_at) and (c.valid_until is null or c.valid_until > p_at)
     order by c.company_id is null, c.created_at desc, c.id
     limit 1;
  end if;

  select p.* into v_plan from public.tariff_plans as p
   where p.is_active and (p.valid_from is null or p.valid_from <= p_at) and (p.valid_until is null or p.valid_until > p_at)
     and (p.id in (v_client.tariff_plan_id, v_station.tariff_plan_id)
          or (p.is_default and (p.client_id is null or p.client_id = v_location.client_id)))
   order by (p.id = v_client.tariff_plan_id) is true desc, (p.id = v_station.tariff_plan_id) is true desc, p.client_id is null
   limit 1;
  if v_plan.id = v_client.tariff_plan_id then
    v_station.price_per_kwh := null;
    v_station.session_fee := null;
  end if;

  return jsonb_strip_nulls(jsonb_build_object('station_id', v_station.id, 'connector_id', v_connector.number))
    || private.plan_tariff(v_plan, v_station,
         coalesce(v_connector.type, case when cardinality(v_station.connector_types) = 1 then v_station.connector_types[1] end),
         coalesce(v_connector.power, v_station.power_capacity),
         coalesce(v_location.time_zone, private.default_time_zone()),
         coalesce(v_client.discount_percent, 0), p_at);
end $$;
comment on function private.tariff_snapshot is 'All that is needed to price a session that begins at p_at, paid by client p_client_id, also later when the tables have changed: '
  '{station_id, connector_id, connector_type, power_kw, plan_id, plan_name, currency, time_zone, flat, rules}. The rules stand in the order in which '
  'they win: priority, then the newest, then the smallest id. Times of day are local, bounds without effect are left out. flat: no price depends '
  'on the time. left_out names rules in another currency than the station''s own price (of before that was refused). Where the plan asks for more: kwh, kw, a: bounds of energy, power and current; '
  'measured, every_sample, reserves, late_fee; vat: included or excluded; min_price, max_price; discount_percent. Null for a station that does not exist.';

create or replace function private.tariff_cuts(p_tariff jsonb, p_from timestamptz, p_until timestamptz) returns timestamptz[]
language plpgsql stable set search_path = '' set plan_cache_mode = force_generic_plan
as $$
declare
  v_zone text := p_tariff ->> 'time_zone';
  v_edges time[];
  v_cuts timestamptz[];
  v_changes timestamptz[];
begin
  if (p_tariff ->> 'flat')::boolean or p_from is null then
    return '{}';
  end if;
  select array_agg(distinct e.edge) filter (where e.edge is not null), array_agg(e.cut) filter (where e.cut is not null)
    into v_edges, v_cuts
    from jsonb_to_recordset(p_tariff -> 'rules') as r (tariff_type text, time_start time, time_end time, days jsonb,
           valid_from timestamptz, valid_until timestamptz, min_minutes double precision, max_minutes double precision, date_from date, date_until date)
   cross join lateral (
     values (r.time_start, r.valid_from), (r.time_end, r.valid_until),
            (case when r.days is not null then time '00:00' end, p_from + interval '1 minute' * r.min_minutes),
            (null, p_from + interval '1 minute' * r.max_minutes),
            (null, r.date_from::timestamp at time zone v_zone), (null, r.date_until::timestamp at time zone v_zone)) as e (edge, cut)
   where r.tariff_type <> 'session_fee' or p_tariff ? 'late_fee';

  if v_edges is not null then
    -- The clock on the wall runs evenly between two changes of its offset: there an edge's instant is local time less offset.
    -- A change is a cut as well, since it may jump into a window or out of it.
    v_changes := private.zone_changes(v_zone, p_from, p_until);
    v_cuts := v_cuts || v_changes || array(
      select (d.day + e.edge - s.utc_offset) at time zone 'UTC'
        from (select b.start_at, b.end_at, (b.start_at at time zone v_zone) - (b.start_at at time zone 'UTC') as utc_offset
                from (select start_at, lead(start_at, 1, p_until) over (order by start_at) as end_at
                        from unnest(p_from || v_changes) as start_at) as b) as s
       cross join lateral generate_series(date_trunc('day', s.start_at at time zone 'UTC' + s.utc_offset) - interval '1 day',
                                          s.end_at at time zone 'UTC' + s.utc_offset, interval '1 day') as d (day)
       cross join unnest(v_edges) as e (edge)
       where (d.day + e.edge - s.utc_offset) at time zone 'UTC' between s.start_at and s.end_at);
  end if;
  return array(select distinct c from unnest(v_cuts) as c where c > p_from and c <= p_until order by c);
end $$;
comment on function private.tariff_cuts is 'The instants after p_from, when the session begins, up to p_until at which a price of the tariff may change, in order: '
  'edges of local windows, local midnights, bounds of validity, date and duration, daylight-saving changes. None for a flat tariff.';

create or replace function private.price_periods(p_tariff jsonb, p_periods jsonb) returns jsonb
language plpgsql stable set search_path = '' set plan_cache_mode = force_generic_plan
as $$
declare
  v_from timestamptz := (p_periods -> 0 ->> 'start_at')::timestamptz;
  v_until timestamptz := (p_periods -> -1 ->> 'end_at')::timestamptz;
  v_begin timestamptz := v_from;  -- of the session, behind a reservation
  v_zone text := p_tariff ->> 'time_zone';
  v_currency text := p_tariff ->> 'currency';
  v_digits integer := private.currency_digits(v_currency);
  v_measured boolean := p_tariff ? 'measured';
  v_late_fee boolean := p_tariff ? 'late_fee';
  v_rules jsonb := p_tariff -> 'rules';
  v_kwh numeric[];
  v_kw numeric[];
  v_a numeric[];
  v_cuts timestamptz[];
  v_used record;
  -- What was used of each rule in force, in the order of the lines: its place among the rules; kWh, seconds or sessions; where last.
  v_ranks integer[];
  v_amounts numeric[];
  v_last bigint[];
  v_price_per_kwh numeric;
  v_session_fee numeric;
  v_rule jsonb;
  v_type text;
  v_divisor integer;
  v_running numeric[];
  v_quantity numeric;
  v_rounded numeric;
  v_amount numeric;
  v_cost numeric := 0;
  v_lines jsonb := '[]';
  v_result jsonb;
begin
  if p_tariff ? 'simple' then
    -- One rule of each type, and it always holds: nothing to look for.
    select sum(kwh) as kwh, sum(seconds) filter (where not parking and not idle) as charging, sum(seconds) filter (where parking) as parking
      into v_used
      from (select coalesce(parking, false) as parking, coalesce(idle, false) as idle, coalesce(energy_kwh, energy_wh * 0.001, 0) as kwh,
                   extract(epoch from end_at - start_at) as seconds
              from jsonb_to_recordset(p_periods) as (start_at timestamptz, end_at timestamptz, energy_wh numeric, energy_kwh numeric, parking boolean, idle boolean)) as p;
    foreach v_type in array array['per_kwh', 'per_minute', 'session_fee', 'parking_fee'] loop
      for i in 0 .. jsonb_array_length(v_rules) - 1 loop
        if v_rules -> i ->> 'tariff_type' = v_type and v_from is not null then
          v_ranks := v_ranks || i + 1;
          v_amounts := v_amounts || case v_type when 'per_kwh' then v_used.kwh when 'per_minute' then v_used.charging when 'parking_fee' then v_used.parking else 1 end;
          if v_type = 'per_kwh' then
            v_price_per_kwh := (v_rules -> i -> 'price')::numeric;
          elsif v_type = 'session_fee' then
            v_session_fee := (v_rules -> i -> 'price')::numeric;
          end if;
        end if;
      end loop;
    end loop;
    v_last := v_ranks;
  else
    if v_measured then
      v_kwh := array(select b::numeric from jsonb_array_elements_text(coalesce(p_tariff -> 'kwh', '[]')) as b);
      v_kw := array(select b::numeric from jsonb_array_elements_text(coalesce(p_tariff -> 'kw', '[]')) as b);
      v_a := array(select b::numeric from jsonb_array_elements_text(coalesce(p_tariff -> 'a', '[]')) as b);
      v_begin := coalesce((select (p ->> 'start_at')::timestamptz from jsonb_array_elements(p_periods) with ordinality as x (p, o)
                            where p ->> 'reserved' is null order by o limit 1), v_from);
    end if;
    v_cuts := private.tariff_cuts(p_tariff, v_begin, v_until);
    if v_begin > v_from then
      v_cuts := array(select distinct c from unnest(private.tariff_cuts(p_tariff, v_from, v_begin) || v_begin || v_cuts) as c order by c);
    end if;

    with rule as materialized (
      select * from rows from (jsonb_to_recordset(p_tariff -> 'rules') as (
        tariff_type public.tariff_type, price numeric, time_start time, time_end time, days smallint[],
        valid_from timestamptz, valid_until timestamptz, min_minutes double precision, max_minutes double precision, date_from date, date_until date,
        min_kwh numeric, max_kwh numeric, min_power numeric, max_power numeric, min_current numeric, max_current numeric,
        reservation public.reservation_restriction)) with ordinality
        as r (tariff_type, price, time_start, time_end, days, valid_from, valid_until, min_minutes, max_minutes, date_from, date_until,
              min_kwh, max_kwh, min_power, max_power, min_current, max_current, reservation, rank)
    ), cell as materialized (  -- between two cuts nothing changes; the last cell also holds what happens at v_until itself
      select n, start_at, lead(start_at, 1, 'infinity') over (order by n) as end_at,
             (start_at at time zone v_zone)::time as local_time, extract(isodow from start_at at time zone v_zone) as local_day,
             (start_at at time zone v_zone)::date as local_date
        from unnest(v_from || v_cuts) with ordinality as c (start_at, n)
       where start_at is not null
    ), piece as materialized (
      -- Forty decimals, so that thirds and sevenths that make a whole again do so at the thirty that are kept below.
      select o, n, parking, idle, reserved, power_kw, current_a, seconds,
             case when seconds = of_seconds then energy_kwh else round(energy_kwh * seconds, 40) / of_seconds end as energy_kwh,
             case when of_seconds > 0 then energy_kwh * 3600 / of_seconds end as mean_kw
        from (select p.o, c.n, p.parking, p.idle, p.reserved, p.power_kw, p.current_a, p.energy_kwh,
                     extract(epoch from p.end_at - p.start_at) as of_seconds,
                     extract(epoch from least(p.end_at, c.end_at) - greatest(p.start_at, c.start_at)) as seconds
                from (select start_at, end_at, coalesce(parking, false) as parking, coalesce(idle, false) as idle, coalesce(reserved, 0) as reserved,
                             power_kw, current_a, coalesce(energy_kwh, energy_wh * 0.001, 0) as energy_kwh, o
                        from rows from (jsonb_to_recordset(p_periods) as (start_at timestamptz, end_at timestamptz, energy_wh numeric, energy_kwh numeric,
                               parking boolean, idle boolean, reserved integer, power_kw numeric, current_a numeric)) with ordinality
                               as p (start_at, end_at, energy_wh, energy_kwh, parking, idle, reserved, power_kw, current_a, o)) as p
                join cell as c on c.end_at > p.start_at and (c.start_at < p.end_at or c.start_at = p.start_at)) as cut
    ), part as materialized (
      -- state: between which bounds of energy, power and current it lies, and whether it is of a reservation.
      select (o * 1000000 + n) * 10000 as seq, n, parking, idle, reserved, seconds, energy_kwh, 0::bigint as state
        from piece where not v_measured
      union all
      select (o * 1000000 + n) * 10000 + k, n, parking, idle, reserved,
             case when bound_from = before_kwh and bound_until = after_kwh then seconds else round(seconds * (bound_until - bound_from), 40) / energy_kwh end,
             bound_until - bound_from,
             k + 10000 * (width_bucket(kw, v_kw) + 10000 * (width_bucket(coalesce(current_a, kw * 1000 / 230), v_a) + 10000::bigint * reserved))
        from (select level.*, greatest(before_kwh, v_kwh[k]) as bound_from, least(after_kwh, v_kwh[k + 1]) as bound_until, k
                from (select sum.*, width_bucket(round(before_kwh, 25), v_kwh) as low, before_kwh + energy_kwh as after_kwh,
                             round(coalesce(power_kw, mean_kw, (p_tariff ->> 'power_kw')::numeric, 0), 6) as kw
                        from (select piece.*, coalesce(sum(energy_kwh) over (order by o, n rows between unbounded preceding and 1 preceding), 0) as before_kwh
                                from piece) as sum) as level
               cross join lateral generate_series(low, case when v_kwh[low + 1] < after_kwh then cardinality(v_kwh) else low end) as k
               where k = low or v_kwh[k] < after_kwh) as split
       where v_measured
    ), winner as materialized (
      select distinct on (c.n, c.state, r.tariff_type) c.n, c.state, r.tariff_type, r.rank, r.price
        from (select cell.*, spot.state, spot.state / 1000000000000 as reserved, v_kwh[spot.state % 10000] as kwh,
                     v_kw[spot.state / 10000 % 10000] as kw, v_a[spot.state / 100000000 % 10000] as a
                from (select distinct n, state from part) as spot join cell using (n)) as c
        join rule as r
          on (r.valid_from is null or r.valid_from <= c.start_at)
         and (r.valid_until is null or r.valid_until > c.start_at)
         and (r.date_from is null or r.date_from <= c.local_date)
         and (r.date_until is null or r.date_until > c.local_date)
         and (r.min_minutes is null or case when c.reserved = 0 then v_begin else v_from end + interval '1 minute' * r.min_minutes <= c.start_at)
         and (r.max_minutes is null or case when c.reserved = 0 then v_begin else v_from end + interval '1 minute' * r.max_minutes > c.start_at)
         and (r.days is null or c.local_day = any (r.days))
         and (r.time_start is null
              or case when r.time_start < r.time_end then c.local_time >= r.time_start and c.local_time < r.time_end
                      else c.local_time >= r.time_start or c.local_time < r.time_end end)
         and (r.min_kwh is null or r.min_kwh <= c.kwh) and (r.max_kwh is null or r.max_kwh > coalesce(c.kwh, 0))
         and (r.min_power is null or r.min_power <= c.kw) and (r.max_power is null or r.max_power > coalesce(c.kw, 0))
         and (r.min_current is null or r.min_current <= c.a) and (r.max_current is null or r.max_current > coalesce(c.a, 0))
         and case c.reserved when 0 then r.reservation is null when 1 then r.reservation = 'RESERVATION' else r.reservation is not null end
       order by c.n, c.state, r.tariff_type, r.reservation desc nulls last, r.rank  -- what prices an expired reservation goes first
    ), share as (
      select w.tariff_type, w.rank,
             min(p.seq) filter (where w.tariff_type = 'per_kwh' or p.seconds > 0) as first_seq,
             max(p.seq) filter (where case w.tariff_type when 'per_kwh' then p.energy_kwh > 0 else p.seconds > 0 end) as last_seq,
             round(case w.tariff_type when 'per_kwh' then sum(p.energy_kwh) else sum(p.seconds) end, 30) as used  -- kWh, seconds
        from part as p join winner as w using (n, state)
       where w.tariff_type = 'per_kwh' and p.reserved = 0 or w.tariff_type = 'per_minute' and not p.parking and not p.idle
          or w.tariff_type = 'parking_fee' and p.parking and p.reserved = 0
       group by w.tariff_type, w.rank
      union all
      select fee.tariff_type, fee.rank, fee.seq, fee.seq, 1
        from (select distinct on (p.reserved > 0) w.tariff_type, w.rank, p.seq
                from (select part.*, row_number() over (partition by reserved > 0 order by seq) as place from part) as p
                join winner as w using (n, state)
               where w.tariff_type = 'session_fee' and (p.place = 1 or v_late_fee)
               order by p.reserved > 0, p.seq) as fee
    ), first as (
      select n, state from part where reserved = 0 order by seq limit 1
    )
    select array_agg(s.rank), array_agg(s.used), array_agg(s.last_seq),
           (select price from winner join first using (n, state) where tariff_type = 'per_kwh'),
           (select price from winner join first using (n, state) where tariff_type = 'session_fee')
      into v_ranks, v_amounts, v_last, v_price_per_kwh, v_session_fee
      from (select rank, used, last_seq from share where used > 0 order by tariff_type, first_seq, rank) as s;
  end if;

  if p_tariff ? 'steps' then
    -- OCPI: step_size counts once for the energy, once for the time; of charging and parking the parking, if there is any. What it adds has
    -- the price of the last rule in force.
    v_amounts := array(
      select u.used + case when u.step > 0 and u.is_last and not (u.kind = 'per_minute' and u.reservation is null and u.parks)
                           then ceil(round(u.total / u.step, 12)) * u.step - u.total else 0 end
        from (select i, used, step, kind, reservation, sum(used) over whole as total,
                     last_seq = max(last_seq) filter (where round(used, 12) > 0) over whole as is_last, bool_or(kind = 'parking_fee' and used > 0) over () as parks
                from (select x.i, x.used, x.last_seq, r ->> 'tariff_type' as kind, r ->> 'reservation' as reservation,
                             case r ->> 'tariff_type' when 'per_kwh' then 0.001 when 'session_fee' then 0 else 1 end * (r -> 'step_size')::numeric as step
                        from unnest(v_ranks, v_amounts, v_last) with ordinality as x (rank, used, last_seq, i)
                       cross join lateral (select v_rules -> x.rank - 1) as rule (r)) as y
              window whole as (partition by kind, reservation)) as u
       order by u.i);
  end if;

  for i in 1 .. coalesce(cardinality(v_ranks), 0) loop
    v_rule := v_rules -> v_ranks[i] - 1;
    if v_type is distinct from v_rule ->> 'tariff_type' or i = 1 then
      v_type := v_rule ->> 'tariff_type';
      v_running := array[0, 0];
    end if;
    v_divisor := case when v_type in ('per_kwh', 'session_fee') then 1 when v_rule ? 'per_hour' then 3600 else 60 end;
    v_quantity := case v_divisor when 1 then v_amounts[i] else round(round(v_amounts[i], 40) / v_divisor, 30) end;
    -- Rounded as running totals: the quantities of a type add up to the whole.
    v_rounded := v_running[1 + v_divisor / 3600];
    v_running[1 + v_divisor / 3600] := v_rounded + v_quantity;
    v_rounded := round(v_running[1 + v_divisor / 3600], 6) - round(v_rounded, 6);
    if v_rounded > 0 then
      -- An hour has no end in decimals: the price per hour is multiplied by the seconds.
      v_amount := trim_scale(round(case v_divisor when 3600 then round(v_amounts[i], 6) * (v_rule -> 'price')::numeric / 3600
                                                  else v_rounded * (v_rule -> 'price')::numeric end, v_digits));
      v_cost := v_cost + v_amount;
      v_lines := v_lines || (v_rule - '{time_start,time_end,days,valid_from,valid_until,date_from,date_until,min_minutes,max_minutes,min_kwh,max_kwh,min_power,max_power,min_current,max_current,per_hour,step_size}'::text[]
        || jsonb_build_object('quantity', trim_scale(v_rounded), 'amount', v_amount, 'unit',
             case when v_type = 'per_kwh' then 'kWh' when v_divisor = 60 then 'min' when v_divisor = 3600 then 'h'
                  when v_rule ? 'reservation' then 'reservation' else 'session' end));
    end if;
  end loop;
  v_result := jsonb_build_object('cost', trim_scale(v_cost), 'currency', v_currency, 'lines', v_lines,
                                 'price_per_kwh', v_price_per_kwh, 'session_fee', v_session_fee);
  if p_tariff ?| '{vat,min_price,min_price_incl_vat,max_price,max_price_incl_vat}' then
    return private.with_vat(p_tariff, v_result);
  end if;
  return v_result;
end $$;
comment on function private.price_periods is 'The cost of periods [{start_at, end_at, energy_wh or energy_kwh, parking}] under a tariff_snapshot(): '
  '{cost, currency, lines: [{tariff_type, rule_id, rule_name, quantity, unit, price, amount}], price_per_kwh, session_fee}. Periods stand in order and without gaps, '
  'the first begins the session; energy is spread evenly over its period; start_at = end_at is an instant. One line per winning rule: '
  'quantity (kWh, minutes or hours, sessions; 6 decimals) x price, rounded half up to the currency''s minor unit, is amount (of hours: the exact time x price); cost is '
  'the sum of the amounts. price_per_kwh and session_fee: the rules that win at the first instant, null without one. Periods may also have power_kw and current_a (else their mean power, '
  '230 V), idle (neither charging nor parking), and reserved: 1 a reservation before the session, 2 one that expired. With VAT or price limits: with_vat().';

create or replace function private.spread(p_amount numeric, p_weights numeric[], p_digits integer) returns numeric[]
language plpgsql immutable set search_path = '' set plan_cache_mode = force_generic_plan
as $$
begin
  return (select array_agg(coalesce(round(p_amount * so_far / whole, p_digits) - round(p_amount * (so_far - weight) / whole, p_digits), 0) order by n)
            from (select n, weight, sum(weight) over (order by n) as so_far, nullif(sum(weight) over (), 0) as whole
                    from unnest(p_weights) with ordinality as w (weight, n)) as totals);
end $$;
comment on function private.spread is 'p_amount in shares by weight, rounded as running totals, so that they add up to it. Zeros where nothing has a weight.';

create or replace function private.with_vat(p_tariff jsonb, p_result jsonb) returns jsonb
language plpgsql stable set search_path = '' set plan_cache_mode = force_generic_plan
as $$
declare
  v_digits integer := private.currency_digits(p_result ->> 'currency');
  v_included boolean := coalesce(p_tariff ->> 'vat' = 'included', false);
  v_known boolean := p_tariff ? 'vat';
  v_rates numeric[];
  v_bases numeric[];
  v_taxes numeric[];
  v_net numeric;
  v_gross numeric;
  v_vat numeric;
  v_limited_net numeric;
  v_limited_gross numeric;
  v_within numeric;
  v_lines jsonb := p_result -> 'lines';
  v_vat_lines jsonb;
  v_limit text;
begin
  -- VAT is worked out on the sum of the lines of each rate; its sum is rounded once, and shared out.
  select array_agg(rate order by rate), array_agg(amount order by rate), array_agg(coalesce(tax, 0) order by rate), coalesce(sum(amount), 0), coalesce(round(sum(tax), v_digits), 0)
    into v_rates, v_bases, v_taxes, v_net, v_vat
    from (select rate, amount, amount * rate / case when v_included then 100 + rate else 100 end as tax
            from (select (l ->> 'vat')::numeric as rate, sum((l ->> 'amount')::numeric) as amount
                    from jsonb_array_elements(v_lines) as l group by 1) as by_rate) as taxed;
  v_taxes := private.spread(v_vat, v_taxes, v_digits);
  if v_included then
    v_net := v_net - v_vat;
    v_bases := array(select b.amount - b.tax from unnest(v_bases, v_taxes) with ordinality as b (amount, tax, n) order by b.n);
  end if;
  v_gross := v_net + v_vat;
  if v_net = 0 and round(greatest((p_tariff ->> 'min_price')::numeric, (p_tariff ->> 'min_price_incl_vat')::numeric), v_digits) > 0 then
    -- A least price without anything that it could be on is at the highest rate.
    v_rates := array[(select max((r ->> 'vat')::numeric) from jsonb_array_elements(p_tariff -> 'rules') as r)];
    v_bases := array[1];
  end if;

  -- Both sides of a limit hold. What a limit moves is shared out to the rates, and the VAT of each goes with it.
  v_limited_net := round(least(greatest(v_net, (p_tariff ->> 'min_price')::numeric), (p_tariff ->> 'max_price')::numeric), v_digits);
  v_limited_gross := v_gross;
  if v_limited_net <> v_net then
    v_bases := private.spread(v_limited_net, v_bases, v_digits);
    v_limited_gross := v_limited_net + coalesce((select round(sum(b.base * b.rate) / 100, v_digits) from unnest(v_bases, v_rates) as b (base, rate)), 0);
  end if;
  v_within := round(least(greatest(v_limited_gross, (p_tariff ->> 'min_price_incl_vat')::numeric), (p_tariff ->> 'max_price_incl_vat')::numeric), v_digits);
  if v_within <> v_limited_gross then
    -- The price before VAT moves along, but for one at its own limit (as in OCPI's example of a most price), and not beyond that.
    if v_limited_net = v_net then
      v_limited_net := case when v_net > 0 then v_within * v_net / v_gross else v_within * 100 / (100 + coalesce(v_rates[1], 0)) end;
      v_limited_net := round(least(greatest(v_limited_net, (p_tariff ->> 'min_price')::numeric), (p_tariff ->> 'max_price')::numeric), v_digits);
    end if;
    v_limited_gross := v_within;
    v_limited_net := case when v_known then least(v_limited_net, v_limited_gross) else v_limited_gross end;  -- no VAT: the limits are about what is paid
    v_bases := private.spread(v_limited_net, v_bases, v_digits);
  end if;

  if (v_limited_net, v_limited_gross) <> (v_net, v_gross) then
    v_taxes := private.spread(v_limited_gross - v_limited_net,
      array(select coalesce(b.base * b.rate, 0) from unnest(v_bases, v_rates) with ordinality as b (base, rate, n) order by b.n), v_digits);
    v_limit := case when v_limited_gross > v_gross or v_limited_net > v_net then 'min_price' else 'max_price' end;
    v_lines := v_lines || coalesce((
      select jsonb_build_array(jsonb_build_object('tariff_type', v_limit, 'rule_name', case v_limit when 'min_price' then 'Minimum price' else 'Maximum price' end,
               'quantity', 1, 'unit', 'session', 'price', trim_scale(d), 'amount', trim_scale(d)))
        from (select case when v_included then v_limited_gross - v_gross else v_limited_net - v_net end as d) as difference where d <> 0), '[]');
  end if;
  if v_known then
    v_vat_lines := coalesce((select jsonb_agg(jsonb_build_object('rate', b.rate, 'base', trim_scale(b.base), 'vat', trim_scale(b.tax)) order by b.rate)
                               from unnest(v_rates, v_bases, v_taxes) as b (rate, base, tax) where b.rate is not null), '[]');
    if v_limited_gross - v_limited_net <> coalesce((select sum((r -> 'vat')::numeric) from jsonb_array_elements(v_vat_lines) as r), 0) then
      -- the plan's limits leave VAT to what has none
      v_vat_lines := jsonb_build_array(jsonb_build_object('base', trim_scale(v_limited_net), 'vat', trim_scale(v_limited_gross - v_limited_net)));
    end if;
    if not v_included then
      -- VAT that a limit of the plan sets, or the rounding of the sum, is no percentage.
      v_lines := v_lines || coalesce((
        select jsonb_agg(jsonb_build_object('tariff_type', 'vat', 'rule_name', 'VAT' || coalesce(' ' || (r ->> 'rate') || ' %', ''), 'amount', r -> 'vat')
                 || case when round((r -> 'base')::numeric * (r -> 'rate')::numeric / 100, v_digits) = (r -> 'vat')::numeric
                         then jsonb_build_object('quantity', r -> 'base', 'unit', '%', 'price', r -> 'rate')
                         else jsonb_build_object('quantity', 1, 'unit', 'session', 'price', r -> 'vat') end)
          from jsonb_array_elements(v_vat_lines) as r where (r -> 'vat')::numeric <> 0), '[]');
    end if;
  end if;
  return p_result || jsonb_build_object('cost', trim_scale(v_limited_gross), 'lines', v_lines)
    || case when v_known then jsonb_build_object('cost_before_vat', trim_scale(v_limited_net), 'vat', trim_scale(v_limited_gross - v_limited_net), 'vat_lines', v_vat_lines) else '{}' end;
end $$;
comment on function private.with_vat is 'The result of price_periods() with VAT and the least and most price of the plan: cost is what is paid, still the sum of the amounts of all lines '
  '(lines min_price, max_price and, where prices are without VAT, vat are added); cost_before_vat, vat, vat_lines: [{rate (percent), base, vat}] where a rule has a VAT rate. '
  'Of a vat line quantity (the base) x price percent is amount; where a limit of the plan, or the rounding of all VAT at once, sets the VAT, it is 1 x amount. The bases, and amounts without a rate, add up to cost_before_vat.';

create or replace function private.reservation_periods(p_session public.charging_sessions) returns jsonb
language plpgsql stable set search_path = '' set plan_cache_mode = force_generic_plan
as $$
begin
  if p_session.reservation_id is null or not coalesce(p_session.tariff ? 'reserves', false) then
    return null;
  end if;
  return (
    select jsonb_build_array(jsonb_build_object('start_at', c.answered_at, 'end_at', p_session.start_time, 'energy_wh', 0, 'reserved', 1))
      from public.commands as c
     where c.station_id = p_session.station_id and c.action = 'ReserveNow' and c.status = 'accepted'
       and private.to_number(c.payload -> 'reservationId') = p_session.reservation_id and c.answered_at < p_session.start_time
     order by c.created_at desc limit 1);
end $$;
comment on function private.reservation_periods is 'The time for which the connector was reserved for the session, [] of one period for price_periods(): from the accepted ReserveNow '
  'to the start. Null without a reservation, or where the tariff does not price it.';

create or replace function private.session_periods(p_session public.charging_sessions, p_until timestamptz default null) returns jsonb
language plpgsql stable set search_path = '' set plan_cache_mode = force_generic_plan
as $$
declare
  v_from timestamptz := p_session.start_time;
  v_clock interval := coalesce(p_session.clock_offset, '0');  -- meter values keep the station's own time
  v_energy numeric := coalesce(p_session.energy_wh, 0);
  -- When the register had grown by energy_wh.
  v_known timestamptz := greatest(v_from, coalesce(p_session.stop_time, p_session.meter_last_at + v_clock, v_from));
  v_until timestamptz := greatest(v_from, least(coalesce(p_until, v_known), p_session.stop_time));
  v_base numeric := coalesce(p_session.meter_stop_wh, p_session.meter_last_wh) - v_energy;
  v_extra timestamptz[];  -- instants at which a period must end though no sample was taken
  v_cuts timestamptz[];
  v_times timestamptz[];
  v_registers numeric[];
  v_kw numeric[];  -- power and current from each of v_times on
  v_a numeric[];
  v_kwh_bounds numeric[];
  v_kw_bounds numeric[];
  v_a_bounds numeric[];
  v_every boolean := coalesce(p_session.tariff ? 'every_sample', false);
  v_only_grew boolean := not p_session.meter_restarted and v_base = coalesce(p_session.meter_start_wh, v_base);
begin
  if v_from is null then
    return '[]';
  end if;
  v_extra := array(select t from unnest(array[p_session.parking_start_time, v_until]) as t where t > v_from and t < v_until or t = v_until and t < v_known);
  if v_energy > 0 and not v_every then
    v_cuts := array(select distinct c from unnest(private.tariff_cuts(p_session.tariff, v_from, v_until) || v_extra) as c
                     where c < v_known order by c);
  end if;

  if v_every then
    -- The tariff asks for the power or the current: each meter value ends a period. Those between the same bounds make one, but for
    -- the values next to a cut or to a bound of energy.
    v_cuts := private.tariff_cuts(p_session.tariff, v_from, v_until) || v_extra;
    v_cuts := array(select distinct c from unnest(v_cuts) as c order by c);
    v_kwh_bounds := array(select b::numeric from jsonb_array_elements_text(p_session.tariff -> 'kwh') as b);
    v_kw_bounds := array(select b::numeric from jsonb_array_elements_text(p_session.tariff -> 'kw') as b);
    v_a_bounds := array(select b::numeric from jsonb_array_elements_text(p_session.tariff -> 'a') as b);
    with value as materialized (
      select m.reported_at, m.energy_wh, m.power_w,
             case when v_a_bounds <> '{}' then coalesce((  -- OCPI counts the sum over the phases
               select sum(private.to_number(x -> 'value')) from jsonb_array_elements(m.samples) as x
                where x ->> 'measurand' = 'Current.Import' and x ->> 'phase' ~ '^L[123]$'), m.current_a) end as a
        from public.meter_values as m
       where m.session_id = p_session.id and m.energy_wh is not null
         and (not v_only_grew or m.energy_wh between v_base and v_base + v_energy)
         and m.reported_at > v_from - v_clock and m.reported_at < v_known - v_clock
    ), sample as (
      select reported_at + v_clock as t, max(energy_wh - v_base) as wh, max(power_w) * 0.001 as kw, max(a) as a
        from value where v_only_grew group by reported_at
      union all
      select reported_at + v_clock, max(grown_wh), max(power_w) * 0.001, max(a)
        from (select step.*, sum(step_wh) over (order by reported_at, energy_wh) as grown_wh
                from (select value.*, greatest(energy_wh - lag(energy_wh, 1, coalesce(p_session.meter_start_wh, energy_wh)) over (order by reported_at, energy_wh), 0) as step_wh
                        from value where not v_only_grew) as step) as grown
       group by reported_at
    ), span as (
      select t, wh, coalesce((kw + lead(kw) over w) / 2, kw, lead(kw) over w,
                             (lead(wh) over w - wh) * 3.6 / nullif(extract(epoch from lead(t) over w - t), 0)) as kw,
             coalesce((a + lead(a) over w) / 2, a, lead(a) over w) as a
        from (select t, least(v_energy, greatest(0, max(wh) over (order by t))) as wh, kw, a from sample
              union all values (v_from, 0::numeric, null::numeric, null::numeric), (v_known, v_energy, null, null)) as x
      window w as (order by t, wh)
    ), placed as (
      select t, wh, kw, a, lag(place) over w as former, place, lag(spot) over w as former_spot, spot, lead(spot) over w as next_spot
        from (select span.*, width_bucket(t, v_cuts) * 10000 + width_bucket(wh / 1000, v_kwh_bounds) as spot,
                     width_bucket(round(kw, 6), v_kw_bounds) * 10000
                       + case when v_a_bounds <> '{}' then width_bucket(coalesce(a, kw * 1000 / 230), v_a_bounds) else 0 end as place
                from span) as x
      window w as (order by t, wh)
    )
    select array_agg(p.t - v_clock order by p.t, p.wh), array_agg(p.wh order by p.t, p.wh), array_agg(p.kw order by p.t, p.wh), array_agg(p.a order by p.t, p.wh)
      into v_times, v_registers, v_kw, v_a
      from placed as p
     where p.t < v_known and (p.place is distinct from p.former or p.spot is distinct from p.former_spot or p.spot is distinct from p.next_spot);
  elsif cardinality(v_cuts) > 0 and v_only_grew then
    -- The register only grew: between two cuts its way does not matter, so the samples next to each cut will do.
    -- Registers outside of start and end are of another meter.
    select array_agg(s.reported_at order by s.reported_at), array_agg(s.energy_wh - v_base order by s.reported_at)
      into v_times, v_registers
      from private.samples_near(p_session.id, v_cuts, v_clock, v_from, v_known, v_base, v_base + v_energy) as s;
  elsif cardinality(v_cuts) > 0 then
    -- The register began anew: every step counts. Kept are the samples next to a cut.
    select array_agg(s.reported_at order by s.reported_at), array_agg(s.grown_wh order by s.reported_at)
      into v_times, v_registers
      from (select reported_at, grown_wh, bucket, lag(bucket) over w as former, lead(bucket) over w as next
              from (select reported_at, max(grown_wh) as grown_wh, width_bucket(reported_at + v_clock, v_cuts) as bucket
                      from (select reported_at, sum(step_wh) over (order by reported_at, energy_wh) as grown_wh
                              from (select m.reported_at, m.energy_wh,
                                           greatest(m.energy_wh - lag(m.energy_wh, 1, coalesce(p_session.meter_start_wh, m.energy_wh))
                                                                    over (order by m.reported_at, m.energy_wh), 0) as step_wh
                                      from public.meter_values as m
                                     where m.session_id = p_session.id and m.energy_wh is not null
                                       and m.reported_at > v_from - v_clock and m.reported_at < v_known - v_clock) as step) as grown
                     group by reported_at) as sample
            window w as (order by reported_at)) as s
     where s.bucket is distinct from s.former or s.bucket is distinct from s.next;
  end if;

  return coalesce(private.reservation_periods(p_session), '[]') || (
    with known as (  -- Wh since the start; never falling, and in the end what the ingest counted
      select t, least(v_energy, greatest(0, max(wh) over (order by t))) as wh, kw, a
        from (select t + v_clock as t, wh, kw, a from unnest(v_times, v_registers, v_kw, v_a) as s (t, wh, kw, a)) as sample
      union all select v_from, 0, null, null where v_times is null or not v_every
      union all values (v_known, v_energy, null::numeric, null::numeric)
      union all select v_until, v_energy, null, null where v_until > v_known
    ), point as (
      select t, wh, kw, a from known where t <= v_until
      union all
      select x, round(a.wh + (b.wh - a.wh) * extract(epoch from x - a.t) / extract(epoch from b.t - a.t), 9), a.kw, a.a
        from unnest(v_extra) as x
       cross join lateral (select k.* from known as k where k.t <= x order by k.t desc, k.wh desc limit 1) as a
       cross join lateral (select k.t, k.wh from known as k where k.t > x order by k.t, k.wh limit 1) as b
       where a.t < x
    )
    select jsonb_agg(jsonb_build_object('start_at', t, 'end_at', next_t, 'energy_wh', trim_scale(next_wh - wh),
                                        'parking', coalesce(t >= p_session.parking_start_time, false))
                     || case when v_every then jsonb_build_object('power_kw', kw, 'current_a', a) else '{}' end order by t, next_t)
      from (select t, wh, kw, a, lead(t) over w as next_t, lead(wh) over w as next_wh
              from point window w as (order by t, wh)) as period
     where next_t is not null and (next_t > t or next_wh > wh or v_from = v_until));
end $$;
comment on function private.session_periods is 'What a session did, for price_periods(): from start_time to stop_time, while it runs to its last meter value, or to p_until. '
  'Energy lies where the meter values put it, evenly where there are none, and adds up to energy_wh; from parking_start_time on the car parks. '
  'Reads only the meter values next to the instants at which the tariff changes; all of them where it asks for power or current: then the periods have power_kw '
  'and current_a, as reported. A reservation before it that the tariff prices comes first. [] before the start.';

create or replace function private.own_client_id() returns uuid
language sql stable set search_path = ''
security definer  -- as user_role
as $$
  select client_id from public.users where id = auth.uid() and is_active
$$;
comment on function private.own_client_id is 'The company or account that the signed-in user belongs to; null for users that are not active.';

create or replace function public.calculate_cost(
  station_id text,
  energy_kwh numeric,
  minutes numeric default 0,
  connector_id integer default null,
  at timestamptz default now(),
  parking_minutes numeric default 0
) returns jsonb
language plpgsql stable set search_path = ''
as $$
declare
  v_at timestamptz := coalesce(at, now());
  v_minutes numeric := coalesce(minutes, 0);
  v_parking numeric := coalesce(parking_minutes, 0);
  v_plugged timestamptz;
  v_tariff jsonb;
begin
  -- NaN is greater than every number, so one comparison catches it and infinity.
  if energy_kwh is null or not energy_kwh between 0 and 1000000 then
    perform private.fail(400, 'OCNUM', 'energy_kwh must be a number from 0 to 1000000', 'kWh, for example energy_kwh=25.5');
  elsif not v_minutes between 0 and 44640 or not v_parking between 0 and 44640 then
    perform private.fail(400, 'OCNUM', 'minutes and parking_minutes must be numbers from 0 to 44640',
      'minutes: charging; parking_minutes: parked after it. 44640 minutes are 31 days.');
  elsif not v_at between '1970-01-01Z' and '2200-01-01Z' then
    perform private.fail(400, 'OCNUM', 'at must be a time between 1970 and 2200', 'ISO 8601 with its zone, for example at=2026-01-31T18:00:00Z');
  end if;

  v_tariff := private.tariff_snapshot(station_id, connector_id, v_at, private.own_client_id());
  -- The prices are read beyond the policies (see tariff_snapshot), so the caller's policies decide here what there is.
  if not exists (select from public.stations as s where s.id = v_tariff ->> 'station_id') then
    perform private.fail(404, 'OCSTA', format('station "%s" is not known', left(station_id, 64)), 'Stations are in table stations.');
  elsif connector_id is not null and v_tariff -> 'connector_id' is null then
    perform private.fail(400, 'OCCON', format('station "%s" has no connector %s', v_tariff ->> 'station_id', connector_id),
      'Its connectors are in table connectors; leave connector_id out for the station as a whole.');
  end if;

  v_plugged := v_at + interval '1 minute' * v_minutes::double precision;
  return private.price_periods(v_tariff, jsonb_build_array(
           jsonb_build_object('start_at', v_at, 'end_at', v_plugged, 'energy_kwh', energy_kwh, 'parking', false))
      || case when v_parking > 0 then jsonb_build_array(jsonb_build_object('start_at', v_plugged,
           'end_at', v_plugged + interval '1 minute' * v_parking::double precision, 'energy_kwh', 0, 'parking', true)) else '[]' end);
end $$;
comment on function public.calculate_cost is 'What a session would cost: energy_kwh, drawn evenly over minutes from at on, then parking_minutes. '
  '{cost, currency, lines: [{tariff_type, rule_id, rule_name, quantity, unit, price, amount}], price_per_kwh, session_fee}. A session with these facts is billed the same. '
  'Errors: 404 OCSTA unknown station, 400 OCCON unknown connector, 400 OCNUM a number out of range.';

create or replace function public.receipt(session_id uuid) returns jsonb
language plpgsql stable set search_path = ''
security definer  -- company and location of a bill are for those who may see it, whatever the policies of clients say
as $$
declare
  v_session public.charging_sessions;
  v_station public.stations;
  v_location public.locations;
  v_company public.clients;
  v_bill jsonb;
  v_parking timestamptz;
  v_end timestamptz;
begin
  select s.* into v_session from public.charging_sessions as s
   where s.id = receipt.session_id
     and (auth.role() = 'service_role' or s.station_id = any (private.operated_station_ids())
          or private.user_role() is not null and (s.user_id = auth.uid()
             or s.client_id = (select u.client_id from public.users as u where u.id = auth.uid())));
  if not found then
    perform private.fail(404, 'OCSES', 'no such session', 'Drivers see their own sessions, an account those that it pays, operators those at their stations.');
  end if;
  select * into v_station from public.stations where id = v_session.station_id;
  select * into v_location from public.locations where id = v_station.location_id;
  select * into v_company from public.clients where id = v_location.client_id;

  v_bill := case when v_session.settled_at is not null then v_session.receipt
                 when v_session.start_time is not null and v_session.tariff is not null then private.price_so_far(v_session, private.priced_until(v_session)) end;
  v_end := coalesce(v_session.stop_time, private.priced_until(v_session), v_session.meter_last_at + coalesce(v_session.clock_offset, '0'), v_session.start_time);
  v_parking := least(v_session.parking_start_time, v_end);
  return jsonb_build_object(
      'session_id', v_session.id, 'transaction_id', v_session.transaction_id, 'status', v_session.status, 'final', v_session.settled_at is not null,
      'company', jsonb_strip_nulls(jsonb_build_object('name', v_company.name, 'address', v_company.address, 'phone', v_company.phone, 'email', v_company.email)),
      'location', jsonb_strip_nulls(jsonb_build_object('name', v_location.name, 'address', v_location.address, 'city', v_location.city, 'country', v_location.country)),
      'station_id', v_session.station_id, 'connector_id', v_session.connector_id, 'connector_type', v_session.tariff -> 'connector_type', 'plan_name', v_session.tariff -> 'plan_name',
      'discount_percent', v_session.tariff -> 'discount_percent',
      'start_time', v_session.start_time, 'stop_time', v_session.stop_time, 'time_zone', coalesce(v_session.tariff ->> 'time_zone', v_location.time_zone),
      'settled_at', v_session.settled_at, 'energy_kwh', trim_scale(round(v_session.energy_wh / 1000, 3)),
      'charging_minutes', trim_scale(round(extract(epoch from coalesce(v_parking, v_end) - v_session.start_time) / 60, 2)),
      'parking_minutes', trim_scale(round(coalesce(extract(epoch from v_end - v_parking) / 60, 0), 2)))
    || coalesce(v_bill, jsonb_build_object('cost', 0, 'currency', v_session.currency, 'lines', '[]'::jsonb));
end $$;
comment on function public.receipt is 'The itemised bill of a session for its driver, the people of the account that pays and the station''s operator: company, location, station, times, energy_kwh, '
  'charging_minutes, parking_minutes, lines, cost, currency, and cost_before_vat, vat, vat_lines where VAT is known. final: false while it runs or is held: the cost so far. 404 OCSES.';

create or replace function public.simulate_tariff(plan_id uuid, "from" timestamptz, "to" timestamptz) returns jsonb
language plpgsql stable set search_path = ''
security definer  -- prices sessions by rules that may be hidden; who operates them is asked here
as $$
declare
  v_plan public.tariff_plans := private.managed_plan(plan_id);
  v_currency text := (select r.currency from public.tariff_rules as r where r.tariff_plan_id = v_plan.id and r.is_active limit 1);
  v_most constant integer := 5000;
  v_session public.charging_sessions;
  v_connector public.connectors;
  v_station public.stations;
  v_sessions uuid[];
  v_snapshots jsonb := '{}';
  v_key text;
  v_cost jsonb;
  v_totals jsonb := '{}';
  v_entry jsonb;
begin
  if "from" is null or "to" is null or not "from" between '1970-01-01Z' and '2200-01-01Z' or not "to" between "from" and '2200-01-01Z' then
    perform private.fail(400, 'OCNUM', 'from and to must be times between 1970 and 2200, from the earlier one', 'ISO 8601 with the zone, for example 2026-01-31T18:00:00Z.');
  end if;
  v_sessions := array(
    select s.id from public.charging_sessions as s
     where s.start_time >= "from" and s.start_time < "to" and s.status = 'stopped' and s.settled_at is not null
       and (auth.role() = 'service_role' or s.station_id = any (private.operated_station_ids()))
     order by s.start_time limit v_most + 1);
  if cardinality(v_sessions) > v_most then
    perform private.fail(400, 'OCNUM', format('more than %s sessions began from "from" to "to"', v_most), 'Ask for a shorter time and add up.');
  end if;

  for v_session in select s.* from public.charging_sessions as s where s.id = any (v_sessions) order by s.station_id, s.start_time loop
    -- the plan as it is today, for the connector as it is today
    v_key := v_session.station_id || ' ' || coalesce(v_session.connector_id, 0);
    if not v_snapshots ? v_key then
      select * into v_station from public.stations where id = v_session.station_id;
      select * into v_connector from public.connectors where station_id = v_session.station_id and number = v_session.connector_id;
      v_snapshots := v_snapshots || jsonb_build_object(v_key, private.plan_tariff(v_plan, null,
        coalesce(v_connector.type, case when cardinality(v_station.connector_types) = 1 then v_station.connector_types[1] end),
        coalesce(v_connector.power, v_station.power_capacity), coalesce(v_session.tariff ->> 'time_zone', private.default_time_zone()), 0, "from"));
    end if;
    v_session.tariff := v_snapshots -> v_key;
    v_cost := private.price_session(v_session);
    v_entry := v_totals -> (v_session.station_id || ' ' || v_session.currency);
    v_totals := v_totals || jsonb_build_object(v_session.station_id || ' ' || v_session.currency, jsonb_build_object(
      'station_id', v_session.station_id, 'currency', v_session.currency, 'sessions', coalesce((v_entry -> 'sessions')::integer, 0) + 1,
      'energy_kwh', coalesce((v_entry -> 'energy_kwh')::numeric, 0) + v_session.energy, 'earned', coalesce((v_entry -> 'earned')::numeric, 0) + v_session.amount,
      'would_have_earned', coalesce((v_entry -> 'would_have_earned')::numeric, 0) + (v_cost -> 'cost')::numeric));
  end loop;

  return (
    with station as (
      select * from jsonb_each(v_totals) as e (key, value)
       cross join lateral jsonb_to_record(e.value) as t (station_id text, currency text, sessions integer, energy_kwh numeric, earned numeric, would_have_earned numeric)
    )
    select jsonb_build_object('plan_id', v_plan.id, 'plan_name', v_plan.name, 'from', "from", 'to', "to",
             'currency', v_currency,
             'not_compared', (select jsonb_build_object('sessions', coalesce(sum(sessions), 0), 'currencies', coalesce(jsonb_agg(distinct currency), '[]'))
                                from station where currency <> v_currency),
             'totals', (select coalesce(jsonb_agg(jsonb_build_object('currency', t.currency, 'sessions', t.sessions, 'energy_kwh', trim_scale(t.energy_kwh), 'earned', trim_scale(t.earned),
                                                    'would_have_earned', trim_scale(t.would_have_earned), 'difference', case when t.currency = coalesce(v_currency, t.currency) then trim_scale(t.would_have_earned - t.earned) end) order by t.currency), '[]')
                          from (select currency, sum(sessions) as sessions, sum(energy_kwh) as energy_kwh, sum(earned) as earned, sum(would_have_earned) as would_have_earned
                                  from station group by currency) as t),
             'stations', (select coalesce(jsonb_agg(jsonb_build_object('station_id', t.station_id, 'currency', t.currency, 'sessions', t.sessions, 'energy_kwh', trim_scale(t.energy_kwh),
                                                    'earned', trim_scale(t.earned), 'would_have_earned', trim_scale(t.would_have_earned),
                                                    'difference', case when t.currency = coalesce(v_currency, t.currency) then trim_scale(t.would_have_earned - t.earned) end) order by t.station_id, t.currency), '[]') from station as t)));
end $$;
comment on function public.simulate_tariff is 'For operators and admins: what the billed sessions that began from "from" (inclusive) to "to" (exclusive) at the caller''s stations would have earned by a plan, beside what they '
  'earned: {currency of the plan, totals: [{currency of the bills, sessions, energy_kwh, earned, would_have_earned, difference}], stations: [the same of each], not_compared: {sessions, currencies}: billed in another currency than the plan''s, so that would_have_earned is in the plan''s and difference is null}. By the plan alone: no own prices of '
  'stations, no discounts. Writes nothing. At most 5000 sessions. 404 OCPLN, 400 OCNUM.';

create or replace function private.rates(p_tariff jsonb, p_at timestamptz) returns jsonb
language plpgsql stable set search_path = '' set plan_cache_mode = force_generic_plan
as $$
declare
  v_second constant interval := '1 second';
  v_price jsonb;
begin
  -- What a session pays that begins at p_at: one that charges for a second and parks for one. So next_rate_change() knows no rule of its own.
  v_price := private.price_periods(p_tariff - '{min_price,min_price_incl_vat,max_price,max_price_incl_vat,vat,steps}'::text[], jsonb_build_array(
    jsonb_build_object('start_at', p_at, 'end_at', p_at, 'energy_kwh', 0.001),
    jsonb_build_object('start_at', p_at, 'end_at', p_at + v_second),
    jsonb_build_object('start_at', p_at + v_second, 'end_at', p_at + 2 * v_second, 'parking', true)));
  return jsonb_build_object('price_per_kwh', v_price -> 'price_per_kwh', 'session_fee', v_price -> 'session_fee')
    || (select jsonb_build_object('price_per_minute', min(per_minute) filter (where kind = 'per_minute'), 'parking_per_minute', min(per_minute) filter (where kind = 'parking_fee'))
          from (select l ->> 'tariff_type' as kind, trim_scale(case l ->> 'unit' when 'h' then round((l -> 'price')::numeric / 60, 6) else (l -> 'price')::numeric end) as per_minute
                  from jsonb_array_elements(v_price -> 'lines') as l) as line);
end $$;
comment on function private.rates is 'What a session that begins at p_at pays at first: {price_per_kwh, session_fee, price_per_minute, parking_per_minute}, null where nothing is asked; before VAT where it comes on top.';

create or replace function public.next_rate_change(station_id text, connector_id integer default null, at timestamptz default now()) returns jsonb
language plpgsql stable set search_path = ''
as $$
declare
  v_at timestamptz := coalesce(at, now());
  v_client_id uuid := private.own_client_id();
  v_tariff jsonb;
  v_before jsonb;
  v_after jsonb;
  v_changes_at timestamptz;
  v_week timestamptz;
  v_until timestamptz;
  v_bounds timestamptz[];
  v_dates timestamptz[];
  v_cut timestamptz;
begin
  if not v_at between '1970-01-01Z' and '2200-01-01Z' then
    perform private.fail(400, 'OCNUM', 'at must be a time between 1970 and 2200', 'ISO 8601 with its zone, for example at=2026-01-31T18:00:00Z');
  end if;
  v_tariff := private.tariff_snapshot(station_id, connector_id, v_at, v_client_id);
  -- as calculate_cost: the caller's policies decide what there is
  if not exists (select from public.stations as s where s.id = v_tariff ->> 'station_id') then
    perform private.fail(404, 'OCSTA', format('station "%s" is not known', left(station_id, 64)), 'Stations are in table stations.');
  elsif connector_id is not null and v_tariff -> 'connector_id' is null then
    perform private.fail(400, 'OCCON', format('station "%s" has no connector %s', v_tariff ->> 'station_id', connector_id),
      'Its connectors are in table connectors; leave connector_id out for the station as a whole.');
  end if;
  v_before := private.rates(v_tariff, v_at);
  -- Another plan may come into force, or a discount; else the rules of this one decide.
  v_bounds := private.plan_changes(v_tariff ->> 'station_id', v_client_id, v_at, v_at + interval '400 days');
  v_until := coalesce(v_bounds[1], v_at + interval '400 days');
  v_week := v_at;
  v_dates := array(select e.at from jsonb_to_recordset(v_tariff -> 'rules') as r (valid_from timestamptz, valid_until timestamptz, date_from date, date_until date)
                    cross join unnest(array[r.valid_from, r.valid_until, r.date_from::timestamptz, r.date_until::timestamptz]) as e (at) where e.at > v_at);
  while v_changes_at is null and v_week < v_until and not (v_tariff -> 'flat')::boolean loop
    -- Windows come again each week: what did not change in the first two changes near a date only.
    if v_week < v_at + interval '14 days' or exists (select from unnest(v_dates) as d (at) where d.at between v_week - interval '8 days' and v_week + interval '8 days') then
      foreach v_cut in array private.tariff_cuts(v_tariff, v_week, least(v_week + interval '7 days', v_until)) loop
        v_after := private.rates(v_tariff, v_cut);
        if v_after <> v_before then
          v_changes_at := v_cut;
          exit;
        end if;
      end loop;
    end if;
    v_week := v_week + interval '7 days';
  end loop;
  if v_changes_at is null then
    v_after := null;
    select b.at, r.rates into v_changes_at, v_after
      from unnest(v_bounds) as b (at)
     cross join lateral private.rates(private.tariff_snapshot(station_id, connector_id, b.at, v_client_id), b.at) as r (rates)
     where r.rates <> v_before
     order by b.at limit 1;
  end if;
  return jsonb_build_object('at', v_changes_at, 'currency', v_tariff -> 'currency', 'time_zone', v_tariff -> 'time_zone', 'before', v_before, 'after', v_after)
    || coalesce(v_after, '{"price_per_kwh": null, "session_fee": null, "price_per_minute": null, "parking_per_minute": null}');
end $$;
comment on function public.next_rate_change is 'When a session at a station would next begin at other prices than one that begins at "at": {at (null: not within 400 days), currency, time_zone, before, after, and the prices '
  'of after once more}; prices are {price_per_kwh, session_fee, price_per_minute, parking_per_minute}, null where nothing is asked. Errors: 404 OCSTA, 400 OCCON, OCNUM.';

create or replace function private.plan_changes(p_station_id text, p_client_id uuid, p_from timestamptz, p_until timestamptz) returns timestamptz[]
language sql stable set search_path = ''
security definer  -- as tariff_snapshot
as $$
  select array(
    select distinct b.at
      from public.stations as s
      left join public.locations as l on l.id = s.location_id
     cross join lateral (
       select unnest(array[p.valid_from, p.valid_until]) from public.tariff_plans as p
        where p.is_active and (p.id = s.tariff_plan_id or p.is_default and (p.client_id is null or p.client_id = l.client_id)
                               or p.id in (select c.tariff_plan_id from public.client_tariffs as c where c.client_id = p_client_id))
       union all
       select unnest(array[c.valid_from, c.valid_until]) from public.client_tariffs as c
        where c.client_id = p_client_id and (c.company_id is null or c.company_id = l.client_id)) as b (at)
     where s.id = p_station_id and b.at > p_from and b.at <= p_until
     order by b.at)
$$;
comment on function private.plan_changes is 'The instants at which another plan or discount may come into force at a station for an account, in order.';

create or replace function private.normalise_tariff_rule() returns trigger
language plpgsql volatile set search_path = ''
as $$
begin
  -- The old service had no 24:00 and wrote 23:59:59 for the end of the day; taken literally each day would have a free second.
  if new.time_end >= '23:59:59' then
    new.time_end := '24:00';
  end if;
  if new.price = 'NaN' or new.power_range_max = 'NaN' or greatest(new.min_duration_minutes, new.max_duration_minutes) > 1000000 then
    raise exception 'price, power range and duration of tariff rule "%" must be numbers, the duration at most 1000000 minutes', new.name
      using errcode = 'OCTRF', hint = 'NaN is no price; leave a duration empty for no bound.';
  end if;
  if not (isfinite(coalesce(new.valid_from, now())) and isfinite(coalesce(new.valid_until, now()))
          and isfinite(coalesce(new.date_from, current_date)) and isfinite(coalesce(new.date_until, current_date))) then
    raise exception 'valid_from, valid_until, date_from and date_until of tariff rule "%" must be times and days, not infinite ones', new.name
      using errcode = 'OCTRF', hint = 'Leave a bound empty for none.';
  end if;
  return new;
end $$;
comment on function private.normalise_tariff_rule is 'Trigger: a rule that ends at 23:59:59, the end of the day in the old service, ends at 24:00. Refuses NaN and infinity.';
create or replace trigger normalise_tariff_rule before insert or update on public.tariff_rules
  for each row execute function private.normalise_tariff_rule();

create or replace function private.price_conflict(p_station public.stations) returns table (plan_id uuid, problem text)
language plpgsql stable set search_path = ''
as $$
begin
  return query
  with plan as (  -- as tariff_snapshot() finds them: the first that holds, and those that may hold before it or after it
    select p.id, p.name, p.valid_from is null and p.valid_until is null as always,
           row_number() over (order by (p.id = p_station.tariff_plan_id) is true desc, p.client_id is null) as rank
      from public.tariff_plans as p
     where p.is_active and (p.valid_until is null or p.valid_until > now())
       and (p.id = p_station.tariff_plan_id
            or p.is_default and (p.client_id is null or p.client_id = (select l.client_id from public.locations as l where l.id = p_station.location_id)))
  )
  select plan.id, format('station "%s" has a price of its own in %s, its tariff plan "%s" is in %s', p_station.id, p_station.currency, plan.name, r.currency)
    from plan
    join public.tariff_rules as r on r.tariff_plan_id = plan.id and r.is_active and r.currency <> p_station.currency
   where (p_station.price_per_kwh is not null or p_station.session_fee is not null)
     and plan.rank <= coalesce((select min(f.rank) from plan as f where f.always), plan.rank)
   order by plan.rank limit 1;
end $$;
comment on function private.price_conflict is 'The plan in another currency than the station''s own prices that sessions there may be priced by, and the problem in a sentence; no row where all is well.';

create or replace function private.check_plan_currency() returns trigger
language plpgsql volatile set search_path = ''
security definer  -- counts all rules and stations of the plan, not only those that the caller may read
as $$
declare
  v_name text;
  v_currencies text;
  v_problem text;
begin
  -- Two who add rules to one plan at a time wait for each other here, else neither would see the other's.
  perform from public.tariff_plans where id in (select tariff_plan_id from changed) order by id for no key update;
  select p.name, string_agg(distinct r.currency, ', ') into v_name, v_currencies
    from public.tariff_plans as p
    join public.tariff_rules as r on r.tariff_plan_id = p.id and r.is_active
   where p.id in (select tariff_plan_id from changed where is_active)
   group by p.id
  having count(distinct r.currency) > 1
   limit 1;
  if found then
    raise exception 'tariff plan "%" would mix currencies: %', v_name, v_currencies
      using errcode = 'OCTRF', hint = 'All active rules of a plan share one currency. To change it, change all rules in one statement.';
  end if;
  select c.problem into v_problem
    from public.stations as s
   cross join lateral private.price_conflict(s) as c
   where (s.price_per_kwh is not null or s.session_fee is not null) and c.plan_id in (select tariff_plan_id from changed where is_active)
   limit 1;
  if found then
    raise exception '%', v_problem
      using errcode = 'OCTRF', hint = 'Own prices and the plan that holds share one currency. Give the station a plan of its own in its currency first, or take its own prices away.';
  end if;
  return null;
end $$;
comment on function private.check_plan_currency is 'Trigger: a plan has one currency, and so have the stations'' own prices that go before its, or a session''s bill could not be summed.';
create or replace trigger check_plan_currency_of_new_rules after insert on public.tariff_rules
  referencing new table as changed for each statement execute function private.check_plan_currency();
create or replace trigger check_plan_currency_of_changed_rules after update on public.tariff_rules
  referencing new table as changed for each statement execute function private.check_plan_currency();

create or replace function private.check_station_price() returns trigger
language plpgsql volatile set search_path = ''
security definer  -- sees the rules of the plan, whoever changes the station
as $$
declare
  v_problem text;
begin
  if new.price_per_kwh = 'NaN' or new.session_fee = 'NaN' then
    raise exception 'price_per_kwh and session_fee of station "%" must be numbers', new.id
      using errcode = 'OCTRF', hint = 'Leave a price empty to take that of the tariff plan.';
  end if;
  if new.price_per_kwh is not null or new.session_fee is not null then
    -- Whoever changes a plan that may hold here, or its rules, waits; see check_plan_currency.
    perform from public.tariff_plans as p
     where p.id = new.tariff_plan_id or p.client_id is null or p.client_id = (select l.client_id from public.locations as l where l.id = new.location_id)
     order by p.id for share;
    select c.problem into v_problem from private.price_conflict(new) as c;
    if found then
      raise exception '%', v_problem
        using errcode = 'OCTRF', hint = 'Own prices and the plan that holds (the station''s, else the default plan) share one currency. Give the station a plan in its currency.';
    end if;
  end if;
  return new;
end $$;
comment on function private.check_station_price is 'Trigger: a station''s own prices are in the currency of the plan that holds there.';
create or replace trigger check_station_price before insert or update of location_id, tariff_plan_id, price_per_kwh, session_fee, currency on public.stations
  for each row execute function private.check_station_price();

create or replace function private.check_own_prices() returns trigger
language plpgsql volatile set search_path = ''
security definer  -- as check_plan_currency
as $$
declare
  v_new jsonb := coalesce(to_jsonb(new), to_jsonb(old));
  v_problem text;
begin
  select c.problem into v_problem
    from public.stations as s
    left join public.locations as l on l.id = s.location_id
   cross join lateral private.price_conflict(s) as c
   where (s.price_per_kwh is not null or s.session_fee is not null)
     and case tg_table_name
           when 'locations' then l.id = old.id
           -- a plan of the whole service: every station; of a company: its stations, and those that were given the plan
           else old.client_id is null or v_new ->> 'client_id' is null
                or l.client_id in (old.client_id, (v_new ->> 'client_id')::uuid) or s.tariff_plan_id = old.id end
   limit 1;
  if found then
    raise exception '%', v_problem
      using errcode = 'OCTRF', hint = 'So it would be by this change. Give the station a plan of its own in its currency first, or take its own prices away.';
  end if;
  return null;
end $$;
comment on function private.check_own_prices is 'Trigger: no station with prices of its own comes under a plan in another currency because a plan, or the company of a location, changes.';
create or replace trigger check_own_prices after update of client_id, is_default, is_active, valid_from, valid_until or delete on public.tariff_plans
  for each row execute function private.check_own_prices();
create or replace trigger check_own_prices after update of client_id on public.locations
  for each row execute function private.check_own_prices();

create or replace function private.check_owner() returns trigger
language plpgsql volatile set search_path = ''
security definer  -- reads what kind of client it is, whoever writes
as $$
begin
  if exists (select from public.clients where id = new.client_id and kind <> 'operator') then
    perform private.fail(400, 'OCARG', format('client_id of %s must be a company: kind operator', tg_table_name), 'An account pays; companies own locations and tariff plans.');
  end if;
  return null;
end $$;
comment on function private.check_owner is 'Trigger: locations and tariff plans belong to companies. Behind the write, so that policies are asked first.';
create or replace trigger check_owner after insert or update of client_id on public.locations
  for each row when (new.client_id is not null) execute function private.check_owner();
create or replace trigger check_owner after insert or update of client_id on public.tariff_plans
  for each row when (new.client_id is not null) execute function private.check_owner();

create or replace function private.may_grant_plan(p_tariff_plan_id uuid) returns boolean
language sql stable set search_path = ''
security definer  -- as operates_plan
as $$
  select p_tariff_plan_id is null or exists (
    select from public.tariff_plans as p
     where p.id = p_tariff_plan_id and (p.client_id is null and p.is_active or p.client_id = private.operated_client_id()))
$$;
comment on function private.may_grant_plan is 'Whether the signed-in operator may let an account charge by the tariff plan: one of the company, or of the whole service.';

create or replace function private.ocpi_number(p_object jsonb, p_key text, p_path text, p_least numeric, p_most numeric, p_decimals integer) returns numeric
language plpgsql immutable set search_path = ''
as $$
declare
  v_value jsonb := p_object -> p_key;
  v_number numeric;
begin
  if coalesce(jsonb_typeof(v_value), 'null') = 'null' then
    return null;
  end if;
  if jsonb_typeof(v_value) = 'number' then
    v_number := (v_value #>> '{}')::numeric;
    if v_number between p_least and p_most and min_scale(v_number) <= p_decimals then
      return v_number;
    end if;
  end if;
  perform private.fail(400, 'OCOCP', format('%s.%s must be a number from %s to %s', p_path, p_key, p_least, p_most),
    case p_decimals when 0 then 'A whole number.' else format('A JSON number, not a string, with at most %s decimals.', p_decimals) end);
end $$;
comment on function private.ocpi_number is 'The number in a field of an OCPI object; null when it is not there. 400 OCOCP when it is anything else, out of range or too fine.';

create or replace function private.ocpi_text(p_object jsonb, p_key text, p_path text, p_pattern text, p_hint text, p_required boolean) returns text
language plpgsql immutable set search_path = ''
as $$
begin
  if coalesce(jsonb_typeof(p_object -> p_key), 'null') = 'null' and not p_required then
    return null;
  end if;
  if jsonb_typeof(p_object -> p_key) is distinct from 'string' or p_object ->> p_key !~ p_pattern then
    perform private.fail(400, 'OCOCP', format('%s.%s is missing or cannot be', p_path, p_key), p_hint);
  end if;
  return p_object ->> p_key;
end $$;
comment on function private.ocpi_text is 'The text in a field of an OCPI object, of p_pattern; null when it is not there and need not be. 400 OCOCP otherwise.';

create or replace function private.ocpi_date_time(p_object jsonb, p_key text, p_path text, p_required boolean) returns timestamptz
language plpgsql stable set search_path = ''
as $$
declare
  v_text text := private.ocpi_text(p_object, p_key, p_path, '^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)?$',
                                   'A DateTime of OCPI in UTC, for example 2026-05-06T12:00:00Z.', p_required);
  v_time timestamptz;
begin
  if v_text is null then
    return null;
  end if;
  if v_text !~ '(Z|[+-]\d\d:\d\d)$' then
    v_text := v_text || 'Z';  -- OCPI: a DateTime without a zone is UTC
  end if;
  if pg_catalog.pg_input_is_valid(v_text, 'timestamptz') then
    v_time := v_text::timestamptz;
  end if;
  if v_time is null or not v_time between '1970-01-01Z' and '2200-01-01Z' then
    perform private.fail(400, 'OCOCP', format('%s.%s is no time between 1970 and 2200', p_path, p_key), 'For example 2026-05-06T12:00:00Z.');
  end if;
  return v_time;
end $$;
comment on function private.ocpi_date_time is 'The time in a field of an OCPI object, UTC where it names no zone; null when it is not there and need not be. 400 OCOCP otherwise.';

create or replace function private.ocpi_rules(p_elements jsonb) returns jsonb
language plpgsql stable set search_path = ''
as $$
declare
  v_days text[] := array['MONDAY', 'TUESDAY', 'WEDNESDAY', 'THURSDAY', 'FRIDAY', 'SATURDAY', 'SUNDAY'];
  v_rules jsonb := '[]';
  v_element jsonb;
  v_restrictions jsonb;
  v_component jsonb;
  v_path text;
  v_at text;
  v_type text;
  v_types text[];
  v_reservation text;
  v_common jsonb;
  v_pair text;
  v_least numeric;
  v_most numeric;
  v_day_numbers integer[];
begin
  if jsonb_typeof(p_elements) is distinct from 'array' or not jsonb_array_length(p_elements) between 1 and 500 then
    perform private.fail(400, 'OCOCP', 'tariff.elements must be a list of 1 to 500 TariffElements', 'OCPI 2.2.1 §11.3.1.');
  end if;
  for e in 0 .. jsonb_array_length(p_elements) - 1 loop
    v_element := p_elements -> e;
    v_path := format('tariff.elements[%s]', e);
    v_restrictions := coalesce(nullif(v_element -> 'restrictions', 'null'), '{}');
    if jsonb_typeof(v_element) is distinct from 'object' or jsonb_typeof(v_restrictions) <> 'object'
       or jsonb_typeof(v_element -> 'price_components') is distinct from 'array' or not jsonb_array_length(v_element -> 'price_components') between 1 and 4 then
      perform private.fail(400, 'OCOCP', format('%s must have price_components, one to four, and may have restrictions', v_path), 'OCPI 2.2.1 §11.4.4.');
    end if;

    v_at := v_path || '.restrictions';
    v_common := '{}';
    foreach v_pair in array array['kwh', 'current', 'power', 'duration'] loop
      v_least := private.ocpi_number(v_restrictions, 'min_' || v_pair, v_at, 0, 10000000, case v_pair when 'duration' then 0 else 4 end);
      v_most := private.ocpi_number(v_restrictions, 'max_' || v_pair, v_at, 0, 10000000, case v_pair when 'duration' then 0 else 4 end);
      if v_most <= coalesce(v_least, 0) then
        perform private.fail(400, 'OCOCP', format('%s.max_%s must be more than min_%s and more than 0', v_at, v_pair, v_pair), 'An element that never holds says nothing.');
      end if;
      v_common := v_common || case v_pair
        when 'duration' then jsonb_build_object('min_duration_minutes', v_least / 60, 'max_duration_minutes', v_most / 60)
        else jsonb_build_object('min_' || v_pair, v_least, 'max_' || v_pair, v_most) end;
    end loop;
    v_common := v_common || jsonb_build_object(
      'time_start', coalesce(private.ocpi_text(v_restrictions, 'start_time', v_at, '^([01]\d|2[0-3]):[0-5]\d$', 'Local time as HH:MM, 00:00 to 23:59.', false), '00:00'),
      'time_end', coalesce(nullif(private.ocpi_text(v_restrictions, 'end_time', v_at, '^([01]\d|2[0-3]):[0-5]\d$', 'Local time as HH:MM; 00:00 is the end of the day.', false), '00:00'), '24:00'),
      'date_from', private.ocpi_text(v_restrictions, 'start_date', v_at, '^[12]\d{3}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$', 'A local day as YYYY-MM-DD.', false),
      'date_until', private.ocpi_text(v_restrictions, 'end_date', v_at, '^[12]\d{3}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$', 'A local day as YYYY-MM-DD, exclusive.', false),
      'reservation', private.ocpi_text(v_restrictions, 'reservation', v_at, '^RESERVATION(_EXPIRES)?$', 'RESERVATION or RESERVATION_EXPIRES.', false));
    if not pg_catalog.pg_input_is_valid(coalesce(v_common ->> 'date_from', '2000-01-01'), 'date')
       or not pg_catalog.pg_input_is_valid(coalesce(v_common ->> 'date_until', '2000-01-01'), 'date')
       or v_common ->> 'date_until' <= v_common ->> 'date_from' then
      perform private.fail(400, 'OCOCP', format('%s.start_date and end_date must be days, the end behind the start', v_at), 'For example 2026-12-24 and 2026-12-27: three days.');
    end if;
    if jsonb_typeof(coalesce(nullif(v_restrictions -> 'day_of_week', 'null'), '[]')) <> 'array' then
      perform private.fail(400, 'OCOCP', format('%s.day_of_week must be a list', v_at), 'For example ["SATURDAY", "SUNDAY"].');
    end if;
    select array_agg(distinct array_position(v_days, d #>> '{}') order by array_position(v_days, d #>> '{}')) into v_day_numbers
      from jsonb_array_elements(nullif(v_restrictions -> 'day_of_week', 'null')) as d;
    if array_position(v_day_numbers, null) > 0 then
      perform private.fail(400, 'OCOCP', format('%s.day_of_week names a day that is none', v_at), 'MONDAY to SUNDAY, in capitals.');
    end if;
    v_common := v_common || jsonb_build_object('days_of_week', to_jsonb(v_day_numbers));

    v_types := '{}';
    v_reservation := v_common ->> 'reservation';
    for c in 0 .. jsonb_array_length(v_element -> 'price_components') - 1 loop
      v_component := v_element -> 'price_components' -> c;
      v_at := format('%s.price_components[%s]', v_path, c);
      v_type := private.ocpi_text(v_component, 'type', v_at, '^(ENERGY|FLAT|PARKING_TIME|TIME)$', 'ENERGY, FLAT, PARKING_TIME or TIME.', true);
      if v_type = any (v_types) then
        perform private.fail(400, 'OCOCP', format('%s.type: %s is priced twice in one element', v_at, v_type), 'Put it into an element of its own; the first that holds wins.');
      elsif v_reservation is not null and v_type not in ('FLAT', 'TIME') then
        perform private.fail(400, 'OCOCP', format('%s.type: a reservation has no %s', v_at, v_type), 'Elements with restriction reservation price FLAT and TIME only.');
      end if;
      v_types := v_types || v_type;
      if coalesce(jsonb_typeof(v_component -> 'price'), 'null') = 'null' or coalesce(jsonb_typeof(v_component -> 'step_size'), 'null') = 'null' then
        perform private.fail(400, 'OCOCP', format('%s must have price and step_size', v_at), 'OCPI 2.2.1 §11.4.2.');
      end if;
      v_rules := v_rules || (v_common || jsonb_build_object(
        'name', case v_type when 'ENERGY' then 'Energy' when 'PARKING_TIME' then 'Parking'
                  when 'TIME' then case v_reservation when 'RESERVATION' then 'Reservation' when 'RESERVATION_EXPIRES' then 'Reservation expired' else 'Charging time' end
                  else case v_reservation when 'RESERVATION' then 'Reservation fee' when 'RESERVATION_EXPIRES' then 'Reservation expired' else 'Start fee' end end,
        'tariff_type', case v_type when 'ENERGY' then 'per_kwh' when 'TIME' then 'per_minute' when 'PARKING_TIME' then 'parking_fee' else 'session_fee' end,
        'per_hour', v_type in ('TIME', 'PARKING_TIME'),
        'price', private.ocpi_number(v_component, 'price', v_at, 0, 1000000000, 4),
        'vat', private.ocpi_number(v_component, 'vat', v_at, 0, 100, 4),
        'step_size', private.ocpi_number(v_component, 'step_size', v_at, case v_type when 'FLAT' then 0 else 1 end, 2000000000, 0),
        -- the first element wins: it has the highest priority
        'priority', jsonb_array_length(p_elements) - e));
    end loop;
  end loop;
  return v_rules;
end $$;
comment on function private.ocpi_rules is 'TariffElements of OCPI as rows for tariff_rules, in a list. 400 OCOCP where they are no TariffElements, or nothing could be priced by them.';

create or replace function private.managed_plan(p_plan_id uuid) returns public.tariff_plans
language plpgsql stable set search_path = ''
as $$
declare
  v_plan public.tariff_plans;
begin
  select * into v_plan from public.tariff_plans as p
   where p.id = p_plan_id
     and (auth.role() = 'service_role' or private.is_admin()
          or private.operated_client_id() is not null and (p.client_id = private.operated_client_id() or p.client_id is null and p.is_active));
  if not found then
    perform private.fail(404, 'OCPLN', 'no such tariff plan', 'Operators price by plans of their company and of the whole service: GET /rest/v1/tariff_plans.');
  end if;
  return v_plan;
end $$;
comment on function private.managed_plan is 'A plan that the caller may price by: operators one of their company or of the whole service, admins any. 404 OCPLN otherwise.';

create or replace function public.import_ocpi_tariff(tariff jsonb, client_id uuid default null) returns public.tariff_plans
language plpgsql volatile set search_path = ''
security definer  -- replaces all rules of the plan at once; who may is asked first
as $$
#variable_conflict use_column
declare
  v_client_id uuid := import_ocpi_tariff.client_id;
  v_plan public.tariff_plans;
  v_rules jsonb;
  v_limits jsonb;
  v_least jsonb;
  v_taxes text;
  v_currency text;
  v_from timestamptz;
  v_until timestamptz;
begin
  if not (coalesce(auth.role() = 'service_role', false) or private.is_admin()) then
    if private.operated_client_id() is null or v_client_id <> private.operated_client_id() then
      perform private.fail(403, 'OCPRM', 'only operators, for their own company, and admins may import tariffs',
      'Ask an operator of the company.');
    end if;
    v_client_id := private.operated_client_id();
  elsif v_client_id is not null and not exists (select from public.clients as c where c.id = v_client_id and c.kind = 'operator') then
    perform private.fail(400, 'OCARG', 'client_id names no company', 'Leave it out for a plan of the whole service.');
  end if;

  if jsonb_typeof(tariff) is distinct from 'object' then
    perform private.fail(400, 'OCOCP', 'tariff must be an OCPI Tariff object', 'OCPI 2.2.1 or 2.3.0, module Tariffs.');
  end if;
  perform private.ocpi_text(tariff, 'country_code', 'tariff', '^[A-Za-z]{2}$', 'Two letters, ISO 3166-1, for example KG.', true),
          private.ocpi_text(tariff, 'party_id', 'tariff', '^[A-Za-z0-9]{3}$', 'Three letters or digits.', true),
          private.ocpi_text(tariff, 'id', 'tariff', '^[ -~]{1,36}$', 'One to 36 characters.', true),
          private.ocpi_text(tariff, 'type', 'tariff', '^(AD_HOC_PAYMENT|PROFILE_CHEAP|PROFILE_FAST|PROFILE_GREEN|REGULAR)$', 'A TariffType of OCPI.', false),
          private.ocpi_date_time(tariff, 'last_updated', 'tariff', false);
  v_currency := private.ocpi_text(tariff, 'currency', 'tariff', '^[A-Z]{3}$', 'ISO 4217, three capitals, for example KGS.', true);
  v_taxes := private.ocpi_text(tariff, 'tax_included', 'tariff', '^(YES|NO|N/A)$', 'YES, NO or N/A; not there in OCPI 2.2.1.', false);
  v_from := private.ocpi_date_time(tariff, 'start_date_time', 'tariff', false);
  v_until := private.ocpi_date_time(tariff, 'end_date_time', 'tariff', false);
  if v_until <= v_from then
    perform private.fail(400, 'OCOCP', 'tariff.end_date_time must be behind start_date_time', 'Else no session could begin with it.');
  end if;
  select jsonb_object_agg(name || side, private.ocpi_number(coalesce(nullif(tariff -> name, 'null'), '{}'), field, 'tariff.' || name, 0, 1000000000, 4))
    into v_limits
    from unnest(array['min_price', 'max_price']) as name
   cross join (values ('', 'excl_vat', false), ('_incl_vat', 'incl_vat', false), ('', 'before_taxes', true), ('_incl_vat', 'after_taxes', true)) as f (side, field, later)
   where later = (v_taxes is not null);
  foreach v_least in array array[tariff -> 'min_price', tariff -> 'max_price'] loop
    if coalesce(jsonb_typeof(v_least), 'null') <> 'null'
       and (jsonb_typeof(v_least) <> 'object' or coalesce(jsonb_typeof(v_least -> case when v_taxes is null then 'excl_vat' else 'before_taxes' end), 'null') = 'null') then
      perform private.fail(400, 'OCOCP', 'tariff.min_price and max_price must be prices', case when v_taxes is null
        then 'OCPI 2.2.1: {"excl_vat": 0.5, "incl_vat": 0.55}, the second optional.' else 'OCPI 2.3.0: {"before_taxes": 0.5, "after_taxes": 0.55}, the second optional.' end);
    end if;
  end loop;
  if (v_limits ->> 'max_price')::numeric < (v_limits ->> 'min_price')::numeric
     or (v_limits ->> 'max_price_incl_vat')::numeric < (v_limits ->> 'min_price_incl_vat')::numeric then
    perform private.fail(400, 'OCOCP', 'tariff.max_price must not be less than min_price', 'Before as after VAT.');
  end if;
  v_rules := private.ocpi_rules(tariff -> 'elements');

  insert into public.tariff_plans as p (client_id, name, valid_from, valid_until, tax_included, min_price, min_price_incl_vat, max_price, max_price_incl_vat,
      ocpi_country_code, ocpi_party_id, ocpi_id, ocpi, imported_at)
  values (v_client_id, format('%s-%s %s', upper(tariff ->> 'country_code'), upper(tariff ->> 'party_id'), tariff ->> 'id'), v_from, v_until, v_taxes,
      (v_limits ->> 'min_price')::numeric, (v_limits ->> 'min_price_incl_vat')::numeric, (v_limits ->> 'max_price')::numeric, (v_limits ->> 'max_price_incl_vat')::numeric,
      tariff ->> 'country_code', tariff ->> 'party_id', tariff ->> 'id',
      jsonb_strip_nulls(tariff - '{country_code,party_id,id,currency,min_price,max_price,elements,start_date_time,end_date_time,tax_included}'::text[]), now())
  on conflict (client_id, upper(ocpi_country_code), upper(ocpi_party_id), lower(ocpi_id)) where ocpi_id is not null do update
     set valid_from = excluded.valid_from, valid_until = excluded.valid_until, tax_included = excluded.tax_included, min_price = excluded.min_price,
         min_price_incl_vat = excluded.min_price_incl_vat, max_price = excluded.max_price, max_price_incl_vat = excluded.max_price_incl_vat,
         ocpi_country_code = excluded.ocpi_country_code, ocpi_party_id = excluded.ocpi_party_id, ocpi_id = excluded.ocpi_id,
         ocpi = excluded.ocpi, imported_at = excluded.imported_at
   -- a push that was overtaken by a newer one changes nothing
   where coalesce(private.ocpi_date_time(excluded.ocpi, 'last_updated', 'tariff', false) >= private.ocpi_date_time(p.ocpi, 'last_updated', 'stored tariff', false), true)
  returning * into v_plan;
  if not found then
    select p.* into v_plan from public.tariff_plans as p
     where p.client_id is not distinct from v_client_id and upper(p.ocpi_country_code) = upper(tariff ->> 'country_code')
       and upper(p.ocpi_party_id) = upper(tariff ->> 'party_id') and lower(p.ocpi_id) = lower(tariff ->> 'id');
    return v_plan;
  end if;
  delete from public.tariff_rules where tariff_plan_id = v_plan.id;
  insert into public.tariff_rules (tariff_plan_id, name, tariff_type, price, currency, per_hour, vat, step_size, time_start, time_end, date_from, date_until,
      days_of_week, min_duration_minutes, max_duration_minutes, min_kwh, max_kwh, min_current, max_current, min_power, max_power, reservation, priority)
  select v_plan.id, r.name, r.tariff_type, r.price, v_currency, r.per_hour, r.vat, r.step_size, r.time_start, r.time_end, r.date_from, r.date_until,
         r.days_of_week, r.min_duration_minutes, r.max_duration_minutes, r.min_kwh, r.max_kwh, r.min_current, r.max_current, r.min_power, r.max_power,
         r.reservation, r.priority
    from jsonb_populate_recordset(null::public.tariff_rules, v_rules) as r;
  return v_plan;
end $$;
comment on function public.import_ocpi_tariff is 'For operators and admins: makes a plan with its rules from a Tariff of OCPI 2.2.1 or 2.3.0; a repeat with the same country_code, party_id and id '
  'replaces it, unless its last_updated is older: then the plan stays as it is and is returned. Of an operator it is the company''s; of an admin that of client_id, null: of the whole service. 403 OCPRM, 400 OCARG, OCOCP.';

create or replace function public.export_ocpi_tariff(plan_id uuid, connector_type text default null, power_kw numeric default null) returns jsonb
language plpgsql stable set search_path = ''
security definer  -- reads the plan whole, also what a policy hides; managed_plan() asks who may
as $$
declare
  v_plan public.tariff_plans := private.managed_plan(plan_id);
  v_rule public.tariff_rules;
  v_former public.tariff_rules;
  v_elements jsonb := '[]';
  v_components jsonb := '[]';
  v_restrictions jsonb;
  v_former_restrictions jsonb;
  v_type text;
  v_changed timestamptz := v_plan.updated_at;
  v_dates text := 'YYYY-MM-DD"T"HH24:MI:SS';
begin
  for v_rule in
    select r.* from public.tariff_rules as r
     where r.tariff_plan_id = v_plan.id and r.is_active and (r.valid_until is null or r.valid_until > now())
       and (lower(r.connector_type) = 'all' or export_ocpi_tariff.connector_type is null or lower(r.connector_type) = lower(export_ocpi_tariff.connector_type))
       and (power_kw is null or power_kw >= r.power_range_min and (r.power_range_max >= 1000 or power_kw <= r.power_range_max))
       and (not r.is_weekend or r.days_of_week is null or r.days_of_week && '{6,7}')
     order by r.priority desc, r.created_at desc, r.id
  loop
    if lower(v_rule.connector_type) <> 'all' and export_ocpi_tariff.connector_type is null or (v_rule.power_range_min > 0 or v_rule.power_range_max < 1000) and power_kw is null then
      perform private.fail(409, 'OCOCP', format('rule "%s" is for some connectors only, which an OCPI Tariff cannot say', v_rule.name),
        'Export the tariff of one connector: give connector_type and power_kw.');
    elsif extract(second from v_rule.time_start) > 0 or extract(second from v_rule.time_end) > 0 or v_rule.valid_until is not null or v_rule.valid_from > now()
       or round(v_rule.min_duration_minutes * 60, 6) % 1 <> 0 or round(v_rule.max_duration_minutes * 60, 6) % 1 <> 0 then
      perform private.fail(409, 'OCOCP', format('rule "%s" has a bound that an OCPI Tariff cannot say', v_rule.name),
        'OCPI knows whole minutes of the day, whole days (date_from, date_until instead of valid_from, valid_until) and whole seconds of duration.');
    end if;
    v_restrictions := jsonb_strip_nulls(jsonb_build_object(
      'start_time', case when v_rule.time_start <> '00:00' then to_char(v_rule.time_start, 'HH24:MI') end,
      'end_time', case when v_rule.time_end not in ('24:00', '00:00') then to_char(v_rule.time_end, 'HH24:MI') end,
      'start_date', v_rule.date_from, 'end_date', v_rule.date_until,
      'min_kwh', trim_scale(v_rule.min_kwh), 'max_kwh', trim_scale(v_rule.max_kwh), 'min_current', trim_scale(v_rule.min_current), 'max_current', trim_scale(v_rule.max_current),
      'min_power', trim_scale(v_rule.min_power), 'max_power', trim_scale(v_rule.max_power),
      'min_duration', round(v_rule.min_duration_minutes * 60), 'max_duration', round(v_rule.max_duration_minutes * 60),
      'day_of_week', (select jsonb_agg(d.name order by d.number)
                        from unnest(array['MONDAY', 'TUESDAY', 'WEDNESDAY', 'THURSDAY', 'FRIDAY', 'SATURDAY', 'SUNDAY']) with ordinality as d (name, number)
                       where d.number = any (coalesce(v_rule.days_of_week, case when v_rule.is_weekend then '{6,7}'::smallint[] end))
                         and (not v_rule.is_weekend or d.number >= 6)),
      'reservation', v_rule.reservation));
    v_type := case v_rule.tariff_type when 'per_kwh' then 'ENERGY' when 'per_minute' then 'TIME' when 'parking_fee' then 'PARKING_TIME' else 'FLAT' end;
    -- Rules one after the other with the same restrictions are one element again.
    if jsonb_array_length(v_components) > 0
       and ((v_rule.priority, v_rule.created_at, v_restrictions) is distinct from (v_former.priority, v_former.created_at, v_former_restrictions)
            or v_components @> jsonb_build_array(jsonb_build_object('type', v_type))) then
      v_elements := v_elements || private.ocpi_element(v_components, v_former_restrictions);
      v_components := '[]';
    end if;
    v_components := v_components || jsonb_strip_nulls(jsonb_build_object('type', v_type, 'vat', trim_scale(v_rule.vat), 'step_size', coalesce(v_rule.step_size, 1),
      'price', trim_scale(v_rule.price * case when v_type in ('TIME', 'PARKING_TIME') and not v_rule.per_hour then 60 else 1 end)));
    v_former := v_rule;
    v_former_restrictions := v_restrictions;
    v_changed := greatest(v_changed, v_rule.updated_at);
  end loop;
  if v_former.id is null then
    perform private.fail(409, 'OCOCP', 'the tariff plan has no rule in force, which an OCPI Tariff must have', 'A free tariff has a session_fee of 0.');
  end if;

  return jsonb_strip_nulls(coalesce(v_plan.ocpi, '{}') || jsonb_build_object(
    'country_code', coalesce(v_plan.ocpi_country_code, (select min(l.country) from public.locations as l where l.client_id = v_plan.client_id and l.country ~ '^[A-Z]{2}$'), 'KG'),
    'party_id', coalesce(v_plan.ocpi_party_id, 'EVP'), 'id', coalesce(v_plan.ocpi_id, v_plan.id::text), 'currency', v_former.currency,
    'min_price', private.ocpi_price(v_plan.min_price, v_plan.min_price_incl_vat, 0, v_plan.tax_included is not null),
    'max_price', private.ocpi_price(v_plan.max_price, v_plan.max_price_incl_vat, v_plan.max_price_incl_vat, v_plan.tax_included is not null),
    'elements', v_elements || private.ocpi_element(v_components, v_former_restrictions), 'tax_included', v_plan.tax_included,
    'start_date_time', private.ocpi_time(v_plan.valid_from), 'end_date_time', private.ocpi_time(v_plan.valid_until),
    'last_updated', case when v_changed <= v_plan.imported_at and v_plan.ocpi ? 'last_updated' then v_plan.ocpi -> 'last_updated' else to_jsonb(private.ocpi_time(v_changed)) end));
end $$;
comment on function public.export_ocpi_tariff is 'For operators and admins: a plan as a Tariff of OCPI: 2.3.0 where tariff_plans.tax_included is set, else 2.2.1. connector_type and power_kw (kW): for a plan '
  'with rules for some connectors only. What import_ocpi_tariff() took comes out the same. 404 OCPLN; 409 OCOCP what OCPI cannot say.';

create or replace function private.ocpi_element(p_components jsonb, p_restrictions jsonb) returns jsonb
language sql immutable set search_path = ''
as $$
  select jsonb_build_object('price_components', (select jsonb_agg(c order by c ->> 'type') from jsonb_array_elements(p_components) as c))
    || case when p_restrictions = '{}' then '{}' else jsonb_build_object('restrictions', p_restrictions) end
$$;
comment on function private.ocpi_element is 'A TariffElement of OCPI, its components by type.';

create or replace function private.ocpi_price(p_before numeric, p_after numeric, p_other numeric, p_later boolean) returns jsonb
language sql immutable set search_path = ''
as $$
  select case when coalesce(p_before, p_after) is not null then jsonb_strip_nulls(jsonb_build_object(
    case when p_later then 'before_taxes' else 'excl_vat' end, trim_scale(coalesce(p_before, p_other)), case when p_later then 'after_taxes' else 'incl_vat' end, trim_scale(p_after))) end
$$;
comment on function private.ocpi_price is 'A Price of OCPI 2.2.1, or a PriceLimit of 2.3.0 (p_later). OCPI wants the price before VAT: p_other where only the other is known.';

create or replace function private.ocpi_time(p_at timestamptz) returns text
language sql stable set search_path = ''
as $$
  select to_char(p_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS') || coalesce('.' || nullif(rtrim(to_char(p_at at time zone 'UTC', 'US'), '0'), ''), '') || 'Z'
$$;
comment on function private.ocpi_time is 'A DateTime of OCPI, UTC.';

create or replace function private.ocpi_periods(p_periods jsonb, p_end timestamptz) returns jsonb
language plpgsql stable set search_path = ''
as $$
declare
  v_types text := '^(CURRENT|ENERGY|ENERGY_EXPORT|ENERGY_IMPORT|MAX_CURRENT|MIN_CURRENT|MAX_POWER|MIN_POWER|PARKING_TIME|POWER|RESERVATION_TIME|STATE_OF_CHARGE|TIME)$';
  v_result jsonb := '[]';
  v_path text;
  v_period jsonb;
  v_dimension jsonb;
  v_type text;
  v_sum jsonb;
  v_start timestamptz;
  v_next timestamptz;
  v_named_end timestamptz;
  v_clock numeric;
  v_hours numeric;
  v_reserved numeric;
  v_charging numeric;
  v_parking numeric;
  v_energy numeric;
  v_measures jsonb;
  v_charges boolean := false;
begin
  if jsonb_typeof(p_periods) is distinct from 'array' or not jsonb_array_length(p_periods) between 1 and 10000 then
    perform private.fail(400, 'OCOCP', 'periods must be a list of 1 to 10000 ChargingPeriods, or a CDR', 'OCPI 2.2.1 §10.4.6.');
  end if;
  v_next := private.ocpi_date_time(p_periods -> 0, 'start_date_time', 'periods[0]', true);
  for i in 0 .. jsonb_array_length(p_periods) - 1 loop
    v_path := format('periods[%s]', i);
    v_period := p_periods -> i;
    v_start := v_next;
    if jsonb_typeof(v_period -> 'dimensions') is distinct from 'array' or jsonb_array_length(v_period -> 'dimensions') > 100 then
      perform private.fail(400, 'OCOCP', format('%s.dimensions must be a list', v_path), 'For example [{"type": "ENERGY", "volume": 20}].');
    end if;
    v_sum := '{}';
    for d in 0 .. jsonb_array_length(v_period -> 'dimensions') - 1 loop
      v_dimension := v_period -> 'dimensions' -> d;
      v_type := private.ocpi_text(v_dimension, 'type', format('%s.dimensions[%s]', v_path, d), v_types, 'A CdrDimensionType of OCPI, for example ENERGY, TIME, PARKING_TIME, RESERVATION_TIME.', true);
      if coalesce(jsonb_typeof(v_dimension -> 'volume'), 'null') = 'null' or v_sum ? v_type then
        perform private.fail(400, 'OCOCP', format('%s.dimensions[%s]: %s must stand there once, with a volume', v_path, d, v_type), 'kWh, hours, kW or A.');
      end if;
      v_sum := v_sum || jsonb_build_object(v_type, private.ocpi_number(v_dimension, 'volume', format('%s.dimensions[%s]', v_path, d), 0, 1000000, 15));
    end loop;

    v_reserved := (v_sum ->> 'RESERVATION_TIME')::numeric;
    v_charging := (v_sum ->> 'TIME')::numeric;
    v_parking := (v_sum ->> 'PARKING_TIME')::numeric;
    v_energy := coalesce((v_sum ->> 'ENERGY')::numeric, (v_sum ->> 'ENERGY_IMPORT')::numeric, 0);
    v_hours := coalesce(v_reserved, 0) + coalesce(v_charging, 0) + coalesce(v_parking, 0);
    v_named_end := private.ocpi_date_time(v_period, 'end_date_time', v_path, false);
    v_next := case when i < jsonb_array_length(p_periods) - 1
                   then private.ocpi_date_time(p_periods -> i + 1, 'start_date_time', format('periods[%s]', i + 1), true)
                   else coalesce(v_named_end, p_end, v_start + private.ocpi_hours(v_hours)) end;
    if v_next < v_start or v_named_end <> v_next then
      perform private.fail(400, 'OCOCP', format('%s must end when the next begins, and not before it began', v_path), 'A period ends when the next starts (OCPI 2.2.1 §10.4.6); put them in order.');
    elsif v_next > (p_periods -> 0 ->> 'start_date_time')::timestamptz + interval '400 days' then
      perform private.fail(400, 'OCOCP', format('%s ends more than 400 days after the session began', v_path), 'Check the times.');
    end if;
    v_clock := extract(epoch from v_next - v_start);
    -- Volumes of hours are rounded to four decimals, 0.36 s each.
    if v_hours * 3600 > v_clock + 2 then
      perform private.fail(400, 'OCOCP', format('%s: its times add up to %s h, more than it lasts', v_path, trim_scale(v_hours)), 'TIME, PARKING_TIME and RESERVATION_TIME are hours.');
    end if;
    v_charges := v_charges or coalesce(v_reserved, 0) = 0 or v_energy + coalesce(v_charging, 0) + coalesce(v_parking, 0) > 0;
    v_measures := jsonb_strip_nulls(jsonb_build_object('power_kw', coalesce(v_sum -> 'POWER', v_sum -> 'MAX_POWER', v_sum -> 'MIN_POWER'),
                                                       'current_a', coalesce(v_sum -> 'CURRENT', v_sum -> 'MAX_CURRENT', v_sum -> 'MIN_CURRENT')));
    if coalesce(v_reserved, v_charging, v_parking) is null then
      v_charging := v_clock / 3600;
    elsif v_energy > 0 and coalesce(v_charging, 0) = 0 and coalesce(v_parking, 0) = 0 then
      v_charging := 0;
    end if;
    -- One after the other: reserved, charging, parking, and the rest neither. What rounding left goes to the last.
    v_result := v_result || (
      select coalesce(jsonb_agg(v_measures || jsonb_build_object('start_at', from_at, 'end_at', until_at, 'energy_kwh', case when kind = energy_in then v_energy else 0 end,
                                                   'parking', kind = 3, 'idle', kind = 4, 'reserved', case when kind = 1 then 1 end) order by kind), '[]')
        from (select kind, energy_in, case when rest > 2 or kind < last_kind then v_start + private.ocpi_hours(before_hours + hours) else v_next end as until_at,
                     v_start + private.ocpi_hours(before_hours) as from_at
                from (select kind, hours, sum(hours) over (order by kind) - hours as before_hours, max(kind) over () as last_kind, v_clock - v_hours * 3600 as rest,
                             min(kind) filter (where kind in (2, 3)) over () as energy_in
                        from (values (1, v_reserved), (2, v_charging), (3, v_parking),
                                     (4, case when coalesce(v_reserved, v_charging, v_parking) is not null and v_clock - v_hours * 3600 > 2 and v_hours > 0
                                              then v_clock / 3600 - v_hours end)) as k (kind, hours)
                       where hours is not null) as kinds) as laid);
  end loop;
  if not v_charges then  -- nothing followed the reservation
    select jsonb_agg(p || case when p -> 'reserved' = '1' then '{"reserved": 2}'::jsonb else '{}' end order by o) into v_result
      from jsonb_array_elements(v_result) with ordinality as x (p, o);
  end if;
  return v_result;
end $$;
comment on function private.ocpi_periods is 'ChargingPeriods of OCPI as periods for price_periods(). The last ends with the session: at its end_date_time, at p_end, or after its hours. Times within a '
  'period come one after the other: RESERVATION_TIME, TIME, PARKING_TIME, and a rest that is neither. Without any of them a period charges. 400 OCOCP.';

create or replace function private.ocpi_hours(p_hours numeric) returns interval
language sql immutable set search_path = ''
as $$
  select make_interval(secs => round(p_hours * 3600, 6)::double precision)
$$;
comment on function private.ocpi_hours is 'A volume of hours, to the microsecond.';

create or replace function public.cost_of_periods(plan_id uuid, periods jsonb, time_zone text) returns jsonb
language plpgsql stable set search_path = ''
security definer  -- as export_ocpi_tariff
as $$
declare
  v_plan public.tariff_plans := private.managed_plan(plan_id);
  v_periods jsonb;
  v_tariff jsonb;
  v_result jsonb;
  v_net numeric;
  v_tax numeric;
begin
  begin
    if now() at time zone time_zone is null then
      raise invalid_parameter_value;
    end if;
  exception when invalid_parameter_value then
    perform private.fail(400, 'OCNUM', 'time_zone is not known', 'A name of the IANA data base, for example Asia/Bishkek.');
  end;
  v_periods := case jsonb_typeof(periods)
    when 'object' then private.ocpi_periods(periods -> 'charging_periods', private.ocpi_date_time(periods, 'end_date_time', 'periods', false))
    else private.ocpi_periods(periods, null) end;
  v_tariff := private.plan_tariff(v_plan, null, null, null, time_zone, 0, (v_periods -> 0 ->> 'start_at')::timestamptz);
  v_result := private.price_periods(v_tariff, v_periods);

  -- OCPI's amounts have four decimals.
  select coalesce(sum(x.amount), 0), sum(x.amount * x.vat / 100)
    into v_net, v_tax
    from (select (l -> 'quantity')::numeric * (l -> 'price')::numeric as amount, (l -> 'vat')::numeric as vat from jsonb_array_elements(v_result -> 'lines') as l
           where l ->> 'tariff_type' <> 'vat') as x;
  if v_tariff ->> 'vat' = 'included' or v_tariff ?| '{min_price,min_price_incl_vat,max_price,max_price_incl_vat}'
       and (v_result -> 'lines' @? '$[*] ? (@.tariff_type == "min_price" || @.tariff_type == "max_price")'
            or round(v_tax, private.currency_digits(v_result ->> 'currency')) <> (v_result -> 'vat')::numeric) then
    v_net := coalesce((v_result ->> 'cost_before_vat')::numeric, (v_result ->> 'cost')::numeric);
    v_tax := (v_result ->> 'vat')::numeric;
  end if;
  return v_result || jsonb_build_object(
    'cost_before_vat', coalesce(v_result -> 'cost_before_vat', v_result -> 'cost'), 'vat', v_result -> 'vat', 'vat_lines', coalesce(v_result -> 'vat_lines', '[]'),
    'energy_kwh', (select trim_scale(sum((p ->> 'energy_kwh')::numeric)) from jsonb_array_elements(v_periods) as p),
    'total_cost', jsonb_strip_nulls(jsonb_build_object('excl_vat', trim_scale(round(v_net, 4)), 'incl_vat', trim_scale(round(v_net + v_tax, 4)))));
end $$;
comment on function public.cost_of_periods is 'For operators and admins: what ChargingPeriods of OCPI 2.2.1 or 2.3.0 (a list, or a whole CDR) cost by a plan at a place in time_zone. As calculate_cost, and '
  'cost_before_vat, vat (null: no rate is known), vat_lines: [{rate, base, vat}], energy_kwh, total_cost: {excl_vat, incl_vat}, not rounded to the minor unit. Rules for some '
  'connectors only do not apply; validity of the plan does not count. 404 OCPLN, 400 OCOCP, OCNUM.';

revoke execute on function public.import_ocpi_tariff, public.export_ocpi_tariff, public.cost_of_periods from public, anon;
grant execute on function public.import_ocpi_tariff, public.export_ocpi_tariff, public.cost_of_periods to authenticated, service_role;

-- Who reads and writes them ------------------------------------------------------------------------
create policy "People read their own prices, operators those of their company" on public.client_tariffs for select to authenticated
  using (client_id = (select private.own_client_id()) or company_id = (select private.operated_client_id()) or (select private.is_admin()));
create policy "Operators add prices of their company" on public.client_tariffs for insert to authenticated
  with check ((select private.is_admin()) or company_id = (select private.operated_client_id()) and private.may_grant_plan(tariff_plan_id));
create policy "Operators change prices of their company" on public.client_tariffs for update to authenticated
  using ((select private.is_admin()) or company_id = (select private.operated_client_id()))
  with check ((select private.is_admin()) or company_id = (select private.operated_client_id()) and private.may_grant_plan(tariff_plan_id));
create policy "Operators delete prices of their company" on public.client_tariffs for delete to authenticated
  using ((select private.is_admin()) or company_id = (select private.operated_client_id()));
grant select, insert, update, delete on public.client_tariffs to authenticated, service_role;

-- Who may call -----------------------------------------------------------------------------------
-- calculate_cost runs as its caller, so the caller needs what it calls. These touch no table, but for tariff_snapshot, which
-- tells no more than the prices of one station; private is not exposed, so nobody calls them by themselves.
grant execute on function private.currency_digits, private.zone_changes, private.tariff_snapshot, private.tariff_cuts,
  private.price_periods, private.with_vat, private.spread, private.own_client_id, private.may_grant_plan,
  private.rates, private.plan_changes to anon, authenticated, service_role;
revoke execute on function public.calculate_cost from public;
grant execute on function public.calculate_cost to anon, authenticated, service_role;
revoke execute on function public.next_rate_change from public;
grant execute on function public.next_rate_change to anon, authenticated, service_role;
revoke execute on function public.receipt, public.simulate_tariff from public, anon;
grant execute on function public.receipt, public.simulate_tariff to authenticated, service_role;
