-- Tariffs: what an hour, a kWh and a session cost, and why. One way of pricing: quotes, running costs and bills are all
-- price_periods(tariff, periods). docs/tariffs.md says it with examples.
--
-- plpgsql also where one statement would do: PostgreSQL 17 plans a "language sql" function anew at each call, and these run
-- in the ingest of every meter value. For the same reason they force generic plans: planning price_periods() for each call
-- takes five times as long as running it.

-- Money and clocks -------------------------------------------------------------------------------
create or replace function private.currency_digits(p_currency text) returns integer
language sql immutable set search_path = ''
as $$
  select case
    when p_currency in ('BIF', 'CLP', 'DJF', 'GNF', 'ISK', 'JPY', 'KMF', 'KRW', 'PYG', 'RWF', 'UGX', 'UYI', 'VND', 'VUV', 'XAF',
                        'XOF', 'XPF') then 0
    when p_currency in ('BHD', 'IQD', 'JOD', 'KWD', 'LYD', 'OMR', 'TND') then 3
    when p_currency in ('CLF', 'UYW') then 4
    else 2 end
$$;
comment on function private.currency_digits is 'Decimals of the currency''s minor unit (ISO 4217): KGS 2, JPY 0, KWD 3. 2 for a code it does not know.';

create or replace function private.zone_changes(p_time_zone text, p_from timestamptz, p_until timestamptz) returns timestamptz[]
language plpgsql stable set search_path = ''
as $$
declare
  v_changes timestamptz[] := '{}';
  v_day timestamptz := date_trunc('second', p_from);
  v_low timestamptz;
  v_high timestamptz;
  v_middle timestamptz;
  v_offset interval := (v_day at time zone p_time_zone) - (v_day at time zone 'UTC');
begin
  -- PostgreSQL does not tell when a zone's offset changes, so look once a day and halve the day in which it did.
  while v_day < p_until loop
    v_low := v_day;
    v_day := v_day + interval '24 hours';
    if (v_day at time zone p_time_zone) - (v_day at time zone 'UTC') <> v_offset then
      v_high := v_day;
      while v_high - v_low > interval '1 second' loop
        v_middle := date_trunc('second', v_low + (v_high - v_low) / 2);
        if (v_middle at time zone p_time_zone) - (v_middle at time zone 'UTC') = v_offset then
          v_low := v_middle;
        else
          v_high := v_middle;
        end if;
      end loop;
      v_changes := v_changes || v_high;
      v_offset := (v_day at time zone p_time_zone) - (v_day at time zone 'UTC');
    end if;
  end loop;
  return v_changes;
end $$;
comment on function private.zone_changes is 'The instants from p_from to a day behind p_until at which the zone''s offset from UTC changes: daylight-saving time.';

create or replace function private.default_time_zone() returns text
language sql immutable set search_path = ''
as $$
  select 'Asia/Bishkek'
$$;
comment on function private.default_time_zone is 'IANA name of the zone of a station at no location: that of the default of locations.time_zone.';

create or replace function private.is_time_zone(p_name text) returns boolean
language plpgsql stable set search_path = ''
as $$
begin
  -- PostgreSQL also takes zones as POSIX writes them: there +06:00 lies west of Greenwich.
  if p_name ~ '[0-9]' and not exists (select from pg_catalog.pg_timezone_names as z where lower(z.name) = lower(p_name)) then
    return false;
  end if;
  return now() at time zone p_name is not null;
exception when invalid_parameter_value then
  return false;
end $$;
comment on function private.is_time_zone is 'Whether this is the name of a time zone, as the IANA data base has them. An offset is none.';

create or replace function private.check_time_zone() returns trigger
language plpgsql volatile set search_path = ''
as $$
begin
  if not private.is_time_zone(to_jsonb(new) ->> tg_argv[0]) then
    raise exception '% "%" is not known', tg_argv[0], to_jsonb(new) ->> tg_argv[0]
      using errcode = '22023', hint = 'Use a name of the IANA data base, such as Asia/Bishkek; an offset such as +06:00 is none.';
  end if;
  return new;
end $$;
comment on function private.check_time_zone is 'Trigger: refuses what is no time zone, in the column that its argument names.';

-- The tariff of a session ------------------------------------------------------------------------
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
  v_untold text;  -- tax_included, where taxes at rates that nobody tells are within the prices (YES) or on top of them (NO)
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

  v_untold := case when not v_measures ? 'vat' then nullif(p_plan.tax_included, 'N/A') end;
  return jsonb_strip_nulls(jsonb_build_object(
    'connector_type', p_type, 'power_kw', trim_scale(p_power), 'plan_id', p_plan.id, 'plan_name', p_plan.name, 'currency', v_currency,
    'left_out', v_left_out, 'time_zone', p_time_zone, 'rules', coalesce(v_rules, '[]'), 'discount_percent', nullif(trim_scale(p_discount), 0),
    -- Of a limit on both sides of taxes that nobody tells, only the side of the prices can be kept.
    'min_price', case when v_untold = 'YES' and p_plan.min_price_incl_vat is not null then null else trim_scale(p_plan.min_price) end,
    'min_price_incl_vat', case when v_untold = 'NO' and p_plan.min_price is not null then null else trim_scale(p_plan.min_price_incl_vat) end,
    'max_price', case when v_untold = 'YES' and p_plan.max_price_incl_vat is not null then null else trim_scale(p_plan.max_price) end,
    'max_price_incl_vat', case when v_untold = 'NO' and p_plan.max_price is not null then null else trim_scale(p_plan.max_price_incl_vat) end)) || v_measures;
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

-- Pricing ----------------------------------------------------------------------------------------
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
    v_taxes := array[0];
  end if;

  -- Both sides of a limit hold. What a limit moves is shared out to the rates, and the VAT of each goes with it.
  v_limited_net := round(least(greatest(v_net, (p_tariff ->> 'min_price')::numeric), (p_tariff ->> 'max_price')::numeric), v_digits);
  v_limited_gross := v_gross;
  if v_limited_net <> v_net then
    v_bases := private.spread(v_limited_net, v_bases, v_digits);
    v_limited_gross := v_limited_net + coalesce((select round(sum(b.base * b.rate) / 100, v_digits) from unnest(v_bases, v_rates) as b (base, rate)), 0);
  end if;
  v_within := round(least(greatest(v_limited_gross, (p_tariff ->> 'min_price_incl_vat')::numeric), (p_tariff ->> 'max_price_incl_vat')::numeric,
                          case when not v_known then (p_tariff ->> 'max_price')::numeric end), v_digits);
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

create or replace function private.samples_near(
  p_session_id uuid, p_cuts timestamptz[], p_clock interval, p_from timestamptz, p_until timestamptz, p_least_wh numeric, p_most_wh numeric
) returns table (reported_at timestamptz, energy_wh numeric)
language plpgsql stable set search_path = '' set plan_cache_mode = force_generic_plan
-- Two steps into the index (session_id, reported_at) for each cut. Where the planner knows little of a fresh partition it
-- would rather fetch and sort the whole session, a hundred times the work. Compiling (jit) never pays here, but what is switched
-- off counts as dear, which would call for it.
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
begin
  return query
  select distinct near.reported_at, near.energy_wh
    from unnest(p_cuts) as c (cut)
   cross join lateral (
     (select m.reported_at, m.energy_wh from public.meter_values as m
       where m.session_id = p_session_id and m.energy_wh between p_least_wh and p_most_wh
         and m.reported_at > p_from - p_clock and m.reported_at <= c.cut - p_clock
       order by m.reported_at desc, m.energy_wh desc limit 1)
     union all
     (select m.reported_at, m.energy_wh from public.meter_values as m
       where m.session_id = p_session_id and m.energy_wh between p_least_wh and p_most_wh
         and m.reported_at >= c.cut - p_clock and m.reported_at < p_until - p_clock
       order by m.reported_at, m.energy_wh desc limit 1)) as near;
end $$;
comment on function private.samples_near is 'The registers (Wh) of a session last before, or at, and first after, or at, each of p_cuts: those between p_from and p_until and '
  'between p_least_wh and p_most_wh. p_clock is what to add to reported_at, the station''s own time.';

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

create or replace function private.price_session(p_session public.charging_sessions, p_until timestamptz default null) returns jsonb
language plpgsql stable set search_path = ''
as $$
begin
  return private.price_periods(p_session.tariff, private.session_periods(p_session, p_until));
end $$;
comment on function private.price_session is 'The bill of a session under the tariff it began with, itemised as price_periods() has it; the cost so far while it runs. Writes nothing.';

-- Quotes -----------------------------------------------------------------------------------------
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

-- What people ask ----------------------------------------------------------------------------------
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
     and (private.sees_all() or s.station_id = any (private.operated_station_ids())
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
  v_longest constant interval := '5 seconds';  -- requests of signed-in users end after 8, and then tell nothing
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
       and (private.sees_all() or s.station_id = any (private.operated_station_ids()))
     order by s.start_time limit v_most + 1);
  if cardinality(v_sessions) > v_most then
    perform private.fail(400, 'OCNUM', format('more than %s sessions began from "from" to "to"', v_most), 'Ask for a shorter time and add up.');
  end if;

  for v_session in select s.* from public.charging_sessions as s where s.id = any (v_sessions) order by s.station_id, s.start_time loop
    if clock_timestamp() > statement_timestamp() + v_longest then
      perform private.fail(400, 'OCNUM', format('%s sessions began from "from" to "to", more than this plan can be tried on in %s s', cardinality(v_sessions), extract(epoch from v_longest)::integer),
        'Ask for a shorter time and add up.');
    end if;
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
  'stations, no discounts. Writes nothing. At most 5000 sessions, and no more than it can price in 5 s. 404 OCPLN, 400 OCNUM.';

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
  v_first timestamptz;
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
  -- Windows come again each week, but for one that the change of the clock skips.
  v_first := v_at + case when private.zone_changes(v_tariff ->> 'time_zone', v_at, v_at + interval '14 days') = '{}' then interval '7 days' else interval '14 days' end;
  v_dates := array(select e.at from jsonb_to_recordset(v_tariff -> 'rules') as r (valid_from timestamptz, valid_until timestamptz, date_from date, date_until date)
                    cross join unnest(array[r.valid_from, r.valid_until, r.date_from::timestamptz, r.date_until::timestamptz]) as e (at) where e.at > v_at);
  while v_changes_at is null and v_week < v_until and not (v_tariff -> 'flat')::boolean loop
    -- What did not change in the first weeks changes near a date only.
    if v_week < v_first or exists (select from unnest(v_dates) as d (at) where d.at between v_week - interval '8 days' and v_week + interval '8 days') then
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

-- Rules that cannot be ---------------------------------------------------------------------------
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
    perform private.fail(400, 'OCARG', format('client_id of %s must be a company: kind operator', case tg_table_name when 'users' then 'an operator' else tg_table_name end),
      'An account pays; companies own locations and tariff plans, and employ operators.');
  end if;
  return null;
end $$;
comment on function private.check_owner is 'Trigger: locations, tariff plans and operators belong to companies. Behind the write, so that policies are asked first.';
create or replace trigger check_owner after insert or update of client_id on public.locations
  for each row when (new.client_id is not null) execute function private.check_owner();
create or replace trigger check_owner after insert or update of client_id on public.tariff_plans
  for each row when (new.client_id is not null) execute function private.check_owner();

create or replace trigger check_owner after insert or update of role, client_id on public.users
  for each row when (new.role = 'operator' and new.client_id is not null) execute function private.check_owner();

create or replace function private.check_company() returns trigger
language plpgsql volatile set search_path = ''
security definer  -- as check_owner
as $$
begin
  if exists (select from public.locations where client_id = new.id) or exists (select from public.tariff_plans where client_id = new.id)
     or exists (select from public.users where client_id = new.id and role = 'operator') then
    perform private.fail(409, 'OCARG', format('"%s" has locations, tariff plans or operators: it stays a company', new.name), 'Open another client, of kind account.');
  end if;
  return null;
end $$;
comment on function private.check_company is 'Trigger: what check_owner() asked of a client stays so. 409 OCARG.';
create or replace trigger check_company after update of kind on public.clients
  for each row when (old.kind = 'operator' and new.kind <> 'operator') execute function private.check_company();

-- Prices of single accounts ------------------------------------------------------------------------
create or replace function private.may_grant_plan(p_tariff_plan_id uuid) returns boolean
language sql stable set search_path = ''
security definer  -- as operates_plan
as $$
  select p_tariff_plan_id is null or exists (
    select from public.tariff_plans as p
     where p.id = p_tariff_plan_id and (p.client_id is null and p.is_active or p.client_id = private.operated_client_id()))
$$;
comment on function private.may_grant_plan is 'Whether the signed-in operator may let an account charge by the tariff plan: one of the company, or of the whole service.';

-- Who may call -----------------------------------------------------------------------------------
-- calculate_cost runs as its caller, so the caller needs what it calls. These touch no table, but for tariff_snapshot, which
-- tells no more than the prices of one station; private is not exposed, so nobody calls them by themselves.
grant execute on function private.currency_digits, private.zone_changes, private.tariff_snapshot, private.tariff_cuts,
  private.price_periods, private.with_vat, private.spread, private.may_grant_plan,
  private.rates, private.plan_changes to anon, authenticated, service_role;
grant execute on function private.is_time_zone to authenticated, service_role;  -- check_time_zone asks it for whoever writes
revoke execute on function public.calculate_cost from public;
grant execute on function public.calculate_cost to anon, authenticated, service_role;
revoke execute on function public.next_rate_change from public;
grant execute on function public.next_rate_change to anon, authenticated, service_role;
revoke execute on function public.receipt, public.simulate_tariff from public, anon;
grant execute on function public.receipt, public.simulate_tariff to authenticated, service_role;
