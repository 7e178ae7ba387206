-- Tariffs know who pays: the snapshot takes the paying client.
drop function private.tariff_snapshot(text, integer, timestamptz);

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

grant execute on function private.tariff_snapshot, private.own_account_id to anon, authenticated, service_role;
