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

-- The tariff of a session ------------------------------------------------------------------------
create or replace function private.tariff_snapshot(p_station_id text, p_connector_id integer, p_at timestamptz, p_client_id uuid default null) returns jsonb
language plpgsql stable set search_path = '' set plan_cache_mode = force_generic_plan
security definer  -- quote and bill must see the same rules, whatever the policies hide from the caller
as $$
declare
  v_station public.stations;
  v_location public.locations;
  v_connector public.connectors;
  v_plan public.tariff_plans;
  v_type text;
  v_power numeric;
  v_currency text;
  v_rules jsonb;
  v_left_out jsonb;
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
  v_type := coalesce(v_connector.type, case when cardinality(v_station.connector_types) = 1 then v_station.connector_types[1] end);
  v_power := coalesce(v_connector.power, v_station.power_capacity);

  select p.* into v_plan from public.tariff_plans as p
   where p.is_active
     and (p.id = v_station.tariff_plan_id
          or (p.is_default and (p.client_id is null or p.client_id = v_location.client_id)))
   order by (p.id = v_station.tariff_plan_id) is true desc, p.client_id is null
   limit 1;

  v_currency := coalesce(
    case when v_station.price_per_kwh is not null or v_station.session_fee is not null then v_station.currency end,
    (select r.currency from public.tariff_rules as r
      where r.tariff_plan_id = v_plan.id and r.is_active order by r.priority desc, r.created_at desc, r.id limit 1),
    v_station.currency);

  with fitting as (
    select r.id, r.name, r.tariff_type, r.price, r.currency, r.priority, r.created_at,
           case when r.time_start <> r.time_end and not (r.time_start = '00:00' and r.time_end = '24:00') then r.time_start end as time_start,
           r.time_end,
           case when r.is_weekend then array(select d from unnest(coalesce(r.days_of_week, '{6,7}')) as d where d in (6, 7))
                when not r.days_of_week @> '{1,2,3,4,5,6,7}' then r.days_of_week end as days,
           -- A bound that lies a day back is settled; a day, because a station's clock may be behind ours.
           case when r.valid_from > p_at - interval '1 day' then r.valid_from end as valid_from, r.valid_until,
           nullif(r.min_duration_minutes, 0) as min_minutes, r.max_duration_minutes as max_minutes
      from public.tariff_rules as r
     where r.tariff_plan_id = v_plan.id and r.is_active
       and (lower(r.connector_type) = 'all' or lower(r.connector_type) = lower(v_type))
       -- 1000 kW is the column's default and means no upper bound. Nothing known about the power: only rules that do not ask.
       and coalesce(v_power, 0) >= r.power_range_min
       and (r.power_range_max >= 1000 or v_power <= r.power_range_max)
       and (r.valid_until is null or r.valid_until > p_at - interval '1 day')
       and not (r.tariff_type = 'per_kwh' and v_station.price_per_kwh is not null)
       and not (r.tariff_type = 'session_fee' and v_station.session_fee is not null)
    union all
    select null, own.name, own.tariff_type, own.price, v_station.currency, 0, null, null, null, null, null, null, null, null
      from (values ('Station price', 'per_kwh'::public.tariff_type, v_station.price_per_kwh),
                   ('Station session fee', 'session_fee', v_station.session_fee)) as own (name, tariff_type, price)
     where own.price is not null
  ), ranked as (
    select fitting.*, row_number() over (order by priority desc, created_at desc, id) as rank,
           time_start is null and days is null and valid_from is null and valid_until is null
             and min_minutes is null and max_minutes is null as always
      from fitting
     where days is distinct from '{}' and currency = v_currency
  ), reachable as (
    select *
      from (select ranked.*, min(rank) filter (where always) over (partition by tariff_type) as always_rank from ranked) as r
     where rank <= coalesce(always_rank, rank)  -- below a rule that always holds none of its type can win
  )
  select (select jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
                   'rule_id', id, 'rule_name', name, 'tariff_type', tariff_type, 'price', trim_scale(price),
                   'time_start', time_start, 'time_end', case when time_start is not null then time_end end,
                   'days', to_jsonb(days), 'valid_from', valid_from, 'valid_until', valid_until,
                   'min_minutes', min_minutes, 'max_minutes', max_minutes)) order by rank) from reachable),
         (select jsonb_agg(name order by name) from fitting where currency <> v_currency)
    into v_rules, v_left_out;

  return jsonb_strip_nulls(jsonb_build_object(
    'station_id', v_station.id, 'connector_id', v_connector.number, 'connector_type', v_type, 'power_kw', trim_scale(v_power),
    'plan_id', v_plan.id, 'plan_name', v_plan.name, 'currency', v_currency, 'left_out', v_left_out,
    'time_zone', coalesce(v_location.time_zone, 'Asia/Bishkek'),  -- as the default of locations.time_zone
    'rules', coalesce(v_rules, '[]'),
    -- The session fee is that of the first instant, so its conditions split nothing.
    'flat', not exists (
      select from jsonb_array_elements(v_rules) as r
       where r ->> 'tariff_type' <> 'session_fee'
         and r ?| '{time_start,days,valid_from,valid_until,min_minutes,max_minutes}')));
end $$;
comment on function private.tariff_snapshot is 'All that is needed to price a session that begins at p_at, also later when the tables have changed: '
  '{station_id, connector_id, connector_type, power_kw, plan_id, plan_name, currency, time_zone, flat, rules}. The rules stand in the order in which '
  'they win: priority, then the newest, then the smallest id. Times of day are local, bounds without effect are left out. flat: no price depends '
  'on the time. left_out names rules in another currency than the station''s own price. Null for a station that does not exist.';

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
           valid_from timestamptz, valid_until timestamptz, min_minutes double precision, max_minutes double precision)
   cross join lateral (
     values (r.time_start, r.valid_from), (r.time_end, r.valid_until),
            (case when r.days is not null then time '00:00' end, p_from + interval '1 minute' * r.min_minutes),
            (null, p_from + interval '1 minute' * r.max_minutes)) as e (edge, cut)
   where r.tariff_type <> 'session_fee';

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
  'edges of local windows, local midnights, bounds of validity and of duration, daylight-saving changes. None for a flat tariff.';

-- Pricing ----------------------------------------------------------------------------------------
create or replace function private.price_periods(p_tariff jsonb, p_periods jsonb) returns jsonb
language plpgsql stable set search_path = '' set plan_cache_mode = force_generic_plan
as $$
declare
  v_from timestamptz := (p_periods -> 0 ->> 'start_at')::timestamptz;
  v_until timestamptz := (p_periods -> -1 ->> 'end_at')::timestamptz;
  v_zone text := p_tariff ->> 'time_zone';
  v_currency text := p_tariff ->> 'currency';
  v_digits integer := private.currency_digits(v_currency);
  v_cuts timestamptz[] := private.tariff_cuts(p_tariff, v_from, v_until);
  v_result jsonb;
begin
  with rule as materialized (
    select * from rows from (jsonb_to_recordset(p_tariff -> 'rules') as (
      rule_id uuid, rule_name text, tariff_type public.tariff_type, price numeric, time_start time, time_end time, days smallint[],
      valid_from timestamptz, valid_until timestamptz, min_minutes double precision, max_minutes double precision)) with ordinality
      as r (rule_id, rule_name, tariff_type, price, time_start, time_end, days, valid_from, valid_until, min_minutes, max_minutes, rank)
  ), cell as materialized (  -- between two cuts nothing changes; the last cell also holds what happens at v_until itself
    select n, start_at, lead(start_at, 1, 'infinity') over (order by n) as end_at,
           (start_at at time zone v_zone)::time as local_time, extract(isodow from start_at at time zone v_zone) as local_day
      from unnest(v_from || v_cuts) with ordinality as c (start_at, n)
     where start_at is not null
  ), winner as materialized (
    select distinct on (c.n, r.tariff_type) c.n, c.start_at, c.end_at, r.tariff_type, r.rank, r.price
      from cell as c
      join rule as r
        on (r.valid_from is null or r.valid_from <= c.start_at)
       and (r.valid_until is null or r.valid_until > c.start_at)
       and (r.min_minutes is null or v_from + interval '1 minute' * r.min_minutes <= c.start_at)
       and (r.max_minutes is null or v_from + interval '1 minute' * r.max_minutes > c.start_at)
       and (r.days is null or c.local_day = any (r.days))
       and (r.time_start is null
            or case when r.time_start < r.time_end then c.local_time >= r.time_start and c.local_time < r.time_end
                    else c.local_time >= r.time_start or c.local_time < r.time_end end)
     order by c.n, r.tariff_type, r.rank
  ), piece as materialized (
    select c.n, p.parking, greatest(p.start_at, c.start_at) as start_at, p.energy_kwh, p.seconds as of_seconds,
           extract(epoch from least(p.end_at, c.end_at) - greatest(p.start_at, c.start_at)) as seconds
      from (select start_at, end_at, coalesce(parking, false) as parking, coalesce(energy_kwh, energy_wh * 0.001, 0) as energy_kwh,
                   extract(epoch from end_at - start_at) as seconds
              from jsonb_to_recordset(p_periods) as (start_at timestamptz, end_at timestamptz, energy_wh numeric, energy_kwh numeric, parking boolean)
           ) as p
      join cell as c on c.end_at > p.start_at and (c.start_at < p.end_at or c.start_at = p.start_at)
  ), share as (
    -- Forty decimals, so that thirds and sevenths that make a whole again do so at the thirty that are kept below.
    select w.tariff_type, w.rank,
           min(p.start_at) filter (where w.tariff_type = 'per_kwh' or p.seconds > 0 and p.parking = (w.tariff_type = 'parking_fee')) as first_at,
           round(case w.tariff_type
             when 'per_kwh' then sum(case when p.seconds = p.of_seconds then p.energy_kwh else round(p.energy_kwh * p.seconds, 40) / p.of_seconds end)
             when 'per_minute' then round(sum(p.seconds) filter (where not p.parking), 40) / 60
             when 'parking_fee' then round(sum(p.seconds) filter (where p.parking), 40) / 60
           end, 30) as quantity
      from piece as p join winner as w using (n)
     where w.tariff_type <> 'session_fee'
     group by w.tariff_type, w.rank
    union all
    select w.tariff_type, w.rank, w.start_at, 1 from winner as w where w.tariff_type = 'session_fee' and w.n = 1
  ), counted as (
    -- Rounded as running totals: the quantities of a type add up to the whole.
    select share.*, round(sum(quantity) over so_far, 6) - round(sum(quantity) over so_far - quantity, 6) as rounded
      from share
     where quantity > 0
    window so_far as (partition by tariff_type order by first_at, rank)
  ), line as (
    select c.tariff_type, c.first_at, c.rank, round(c.rounded * r.price, v_digits) as amount,
           jsonb_strip_nulls(jsonb_build_object(
             'tariff_type', c.tariff_type, 'rule_id', r.rule_id, 'rule_name', r.rule_name, 'quantity', trim_scale(c.rounded),
             'unit', case c.tariff_type when 'per_kwh' then 'kWh' when 'session_fee' then 'session' else 'min' end,
             'price', r.price, 'amount', trim_scale(round(c.rounded * r.price, v_digits)))) as line
      from counted as c join rule as r using (rank)
     where c.rounded > 0
  )
  select jsonb_build_object(
           'cost', (select trim_scale(coalesce(sum(amount), 0)) from line),
           'currency', v_currency,
           'lines', (select coalesce(jsonb_agg(line order by tariff_type, first_at, rank), '[]') from line),
           'price_per_kwh', (select price from winner where n = 1 and tariff_type = 'per_kwh'),
           'session_fee', (select price from winner where n = 1 and tariff_type = 'session_fee'))
    into v_result;
  return v_result;
end $$;
comment on function private.price_periods is 'The cost of periods [{start_at, end_at, energy_wh or energy_kwh, parking}] under a tariff_snapshot(): '
  '{cost, currency, lines: [{tariff_type, rule_id, rule_name, quantity, unit, price, amount}], price_per_kwh, session_fee}. Periods stand in order and without gaps, '
  'the first begins the session; energy is spread evenly over its period; start_at = end_at is an instant. One line per winning rule: '
  'quantity (kWh, minutes, sessions; 6 decimals) x price, rounded half up to the currency''s minor unit, is amount; cost is the sum of the amounts. '
  'price_per_kwh and session_fee: the rules that win at the first instant, null without one.';

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
begin
  if v_from is null then
    return '[]';
  end if;
  v_extra := array(select t from unnest(array[p_session.parking_start_time, v_until]) as t where t > v_from and t < v_until or t = v_until and t < v_known);
  if v_energy > 0 then
    v_cuts := array(select distinct c from unnest(private.tariff_cuts(p_session.tariff, v_from, v_until) || v_extra) as c
                     where c < v_known order by c);
  end if;

  if cardinality(v_cuts) > 0 and not p_session.meter_restarted
     and v_base = coalesce(p_session.meter_start_wh, v_base) then
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

  return (
    with known as (  -- Wh since the start; never falling, and in the end what the ingest counted
      select t, least(v_energy, greatest(0, max(wh) over (order by t))) as wh
        from (select t + v_clock as t, wh from unnest(v_times, v_registers) as s (t, wh)) as sample
      union all values (v_from, 0::numeric), (v_known, v_energy)
      union all select v_until, v_energy where v_until > v_known
    ), point as (
      select t, wh from known where t <= v_until
      union all
      select x, round(a.wh + (b.wh - a.wh) * extract(epoch from x - a.t) / extract(epoch from b.t - a.t), 9)
        from unnest(v_extra) as x
       cross join lateral (select k.t, k.wh from known as k where k.t <= x order by k.t desc, k.wh desc limit 1) as a
       cross join lateral (select k.t, k.wh from known as k where k.t > x order by k.t, k.wh limit 1) as b
       where a.t < x
    )
    select jsonb_agg(jsonb_build_object('start_at', t, 'end_at', next_t, 'energy_wh', trim_scale(next_wh - wh),
                                        'parking', coalesce(t >= p_session.parking_start_time, false)) order by t, next_t)
      from (select t, wh, lead(t) over w as next_t, lead(wh) over w as next_wh from point window w as (order by t, wh)) as period
     where next_t is not null and (next_t > t or next_wh > wh or v_from = v_until));
end $$;
comment on function private.session_periods is 'What a session did, for price_periods(): from start_time to stop_time, while it runs to its last meter value, or to p_until. '
  'Energy lies where the meter values put it, evenly where there are none, and adds up to energy_wh; from parking_start_time on the car parks. '
  'Reads only the meter values next to the instants at which the tariff changes. [] before the start.';

create or replace function private.price_session(p_session public.charging_sessions, p_until timestamptz default null) returns jsonb
language plpgsql stable set search_path = ''
as $$
begin
  return private.price_periods(p_session.tariff, private.session_periods(p_session, p_until));
end $$;
comment on function private.price_session is 'The bill of a session under the tariff it began with, itemised as price_periods() has it; the cost so far while it runs. Writes nothing.';

-- Quotes -----------------------------------------------------------------------------------------
create or replace function private.own_account_id() returns uuid
language sql stable set search_path = ''
security definer  -- anon has no rights on users, and gets null
as $$
  select c.id from public.users as u join public.clients as c on c.id = u.client_id where u.id = auth.uid() and c.kind = 'account'
$$;
comment on function private.own_account_id is 'The account that pays for the caller; null for anon, staff, and drivers without one.';

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

  v_tariff := private.tariff_snapshot(station_id, connector_id, v_at, private.own_account_id());
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
      using errcode = 'OCTRF';
  end if;
  return new;
end $$;
comment on function private.normalise_tariff_rule is 'Trigger: a rule that ends at 23:59:59, the end of the day in the old service, ends at 24:00. Refuses NaN.';
create or replace trigger normalise_tariff_rule before insert or update on public.tariff_rules
  for each row execute function private.normalise_tariff_rule();

create or replace function private.check_plan_currency() returns trigger
language plpgsql volatile set search_path = ''
security definer  -- counts all rules and stations of the plan, not only those that the caller may read
as $$
declare
  v_name text;
  v_currencies text;
begin
  -- Two who add rules to one plan at a time wait for each other here, else neither would see the other's.
  perform from public.tariff_plans where id in (select tariff_plan_id from changed) order by id for no key update;
  select p.name, string_agg(distinct used.currency, ', ') into v_name, v_currencies
    from public.tariff_plans as p
    join (select tariff_plan_id, currency from public.tariff_rules where is_active
          union
          select tariff_plan_id, currency from public.stations where price_per_kwh is not null or session_fee is not null) as used
      on used.tariff_plan_id = p.id
   where p.id in (select tariff_plan_id from changed where is_active)
   group by p.id
  having count(*) > 1
   limit 1;
  if found then
    raise exception 'tariff plan "%" would mix currencies: %', v_name, v_currencies
      using errcode = 'OCTRF', hint = 'All active rules of a plan, and the own prices of stations with that plan, share one currency. '
        'To change it, change all rules in one statement.';
  end if;
  return null;
end $$;
comment on function private.check_plan_currency is 'Trigger: a plan has one currency, or a session''s bill could not be summed.';
create or replace trigger check_plan_currency_of_new_rules after insert on public.tariff_rules
  referencing new table as changed for each statement execute function private.check_plan_currency();
create or replace trigger check_plan_currency_of_changed_rules after update on public.tariff_rules
  referencing new table as changed for each statement execute function private.check_plan_currency();

create or replace function private.check_station_price() returns trigger
language plpgsql volatile set search_path = ''
security definer  -- sees the rules of the plan, whoever changes the station
as $$
declare
  v_currency text;
begin
  if new.price_per_kwh = 'NaN' or new.session_fee = 'NaN' then
    raise exception 'price_per_kwh and session_fee of station "%" must be numbers', new.id using errcode = 'OCTRF';
  end if;
  if new.price_per_kwh is not null or new.session_fee is not null then
    perform from public.tariff_plans where id = new.tariff_plan_id for no key update;  -- as check_plan_currency
    select currency into v_currency from public.tariff_rules
     where tariff_plan_id = new.tariff_plan_id and is_active and currency <> new.currency limit 1;
    if found then
      raise exception 'station "%" has a price of its own in %, its tariff plan is in %', new.id, new.currency, v_currency
        using errcode = 'OCTRF', hint = 'Own prices and the rules of the plan share one currency.';
    end if;
  end if;
  return new;
end $$;
comment on function private.check_station_price is 'Trigger: a station''s own prices are in the currency of its plan.';
create or replace trigger check_station_price before insert or update of tariff_plan_id, price_per_kwh, session_fee, currency on public.stations
  for each row execute function private.check_station_price();

-- Who may call -----------------------------------------------------------------------------------
-- calculate_cost runs as its caller, so the caller needs what it calls. These touch no table, but for tariff_snapshot, which
-- tells no more than the prices of one station; private is not exposed, so nobody calls them by themselves.
grant execute on function private.currency_digits, private.zone_changes, private.tariff_snapshot, private.tariff_cuts,
  private.price_periods, private.own_account_id to anon, authenticated, service_role;
revoke execute on function public.calculate_cost from public;
grant execute on function public.calculate_cost to anon, authenticated, service_role;
