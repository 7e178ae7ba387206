-- Reading: what the views for people, apps and the dashboard need beyond the tables. docs/views.md has the views.

create or replace function private.availability(p_station_status public.station_operation, p_online boolean, p_ocpp_status public.connector_status,
  p_status public.connector_status) returns text
language plpgsql immutable set search_path = ''  -- called for each connector of a map: an SQL function takes four times as long
as $$
begin
  return case when p_station_status <> 'active' then 'unavailable'
              when p_online is not true then 'offline'
              when 'Faulted' in (p_status, p_ocpp_status) then 'faulted'
              when 'Unavailable' in (p_status, p_ocpp_status) then 'unavailable'
              when p_status is null or p_status = 'Available' then 'free'
              else 'in_use' end;
end $$;
comment on function private.availability is 'What a driver finds at a connector: a word of public.availability. p_ocpp_status: of the station as a whole.';
grant execute on function private.availability to anon, authenticated, service_role;

create or replace function private.online_stations() returns setof text
language sql stable set search_path = '' rows 200
security definer  -- the tables are private; whether a station is online is public
as $$
  select c.station_id from private.open_connections as c
$$;
comment on function private.online_stations is 'The stations that are online. For views: station_id in (…) is a look-up in a hash table, whatever else is asked.';

create or replace function private.presences() returns table (station_id text, online boolean, last_seen_at timestamptz)
language sql stable set search_path = '' rows 200
security definer  -- as online_stations
as $$
  select c.station_id, c.disconnected_at is null and coalesce(b.lease_expires_at > now(), false), c.last_message_at
    from private.station_connections as c
    left join private.bridges as b on b.id = c.bridge_id
$$;
comment on function private.presences is 'Whether each station that ever connected is online, and when it was last heard.';

create or replace function private.station_places() returns table (station_id text, location_id uuid, client_id uuid)
language sql stable set search_path = '' rows 200
security definer  -- a session stays readable, and its place with it, when its station has been taken off the map
as $$
  select s.id, s.location_id, l.client_id
    from public.stations as s
    left join public.locations as l on l.id = s.location_id
$$;
comment on function private.station_places is 'Location and company of each station, for rows that name a station and have policies of their own.';

create or replace function private.connector_prices(p_location_ids uuid[] default null)
  returns table (station_id text, number integer, location_id uuid, quote jsonb)
language sql stable set search_path = '' rows 500
security definer  -- as tariff_snapshot: prices are the same whatever the policies hide
as $$
  -- Connectors that agree in all that a tariff asks of them are priced once.
  with connector as (
    select s.id as station_id, k.number, s.location_id,
           row(s.tariff_plan_id, l.client_id, l.time_zone, s.price_per_kwh, s.session_fee, s.currency,
             lower(coalesce(k.type, case when cardinality(s.connector_types) = 1 then s.connector_types[1] end)),
             coalesce(k.power, s.power_capacity))::text collate "C" as alike
      from public.stations as s
      left join public.locations as l on l.id = s.location_id
      left join public.connectors as k on k.station_id = s.id
     where s.status <> 'inactive' and (p_location_ids is null or s.location_id = any (p_location_ids))
  ), priced as materialized (
    select one.alike, public.calculate_cost(one.station_id, 0, connector_id => one.number) as quote
      from (select distinct on (alike) alike, station_id, number from connector order by alike) as one
  )
  select c.station_id, c.number, c.location_id, p.quote
    from connector as c
    join priced as p using (alike)
$$;
comment on function private.connector_prices is 'What calculate_cost() quotes the caller now for each connector on the map; a station without connectors has one row, its number null. '
  'p_location_ids: only there; null: everywhere.';

create or replace function private.faults() returns table (kind public.fault_kind, since timestamptz, station_id text, connector_id integer,
  location_id uuid, location_name text, what text, session_id uuid, command_id uuid)
language sql stable set search_path = '' rows 50
security definer  -- beneath policies the planner may not use the indexes of what failed; the rows are those of the caller's stations
as $$
  select f.kind, f.since, f.station_id, f.connector_id, s.location_id, l.name, f.what, f.session_id, f.command_id
    from (
      select 'station_offline'::public.fault_kind as kind, coalesce(p.last_seen_at, s.created_at) as since, s.id as station_id, null::integer as connector_id,
             case when p.last_seen_at is null then 'never connected' else 'offline' end as what, null::uuid as session_id, null::uuid as command_id
        from public.stations as s
        left join private.presences() as p on p.station_id = s.id
       where s.status = 'active' and p.online is not true
      union all
      select 'station_faulted', s.updated_at, s.id, null, coalesce(nullif(s.ocpp_error_code, 'NoError'), 'Faulted'), null, null
        from public.stations as s
       where s.status <> 'inactive' and (s.ocpp_status = 'Faulted' or s.ocpp_error_code <> 'NoError')
      union all
      select 'connector_faulted', c.status_at, c.station_id, c.number,
             concat_ws(': ', coalesce(nullif(c.error_code, 'NoError'), 'Faulted'), nullif(concat_ws(' ', c.vendor_error_code, c.info), '')), null, null
        from public.connectors as c
        join public.stations as s on s.id = c.station_id
       where s.status <> 'inactive' and (c.status = 'Faulted' or c.error_code <> 'NoError')
      union all
      select 'command_failed', coalesce(k.answered_at, k.created_at), k.station_id, null,
             concat_ws(': ', k.action || ' ' || k.status, coalesce(k.error, k.result ->> 'status')), k.session_id, k.id
        from public.commands as k
       where k.status in ('rejected', 'failed', 'timed_out') and k.created_at > now() - interval '7 days'
      union all
      select 'session_flagged', coalesce(x.stop_time, x.start_time, x.created_at), x.station_id, x.connector_id, array_to_string(x.flags, ', '), x.id, null
        from public.charging_sessions as x
       where x.flags <> '{}' and x.created_at > now() - interval '30 days'
      union all
      select 'stop_unclaimed', o.received_at, o.station_id, null, concat('a stop that fits no session, transaction ', o.reported_transaction_id), null, null
        from public.transaction_orphans as o
       where o.resolved_at is null and o.received_at > now() - interval '30 days'
    ) as f
    join public.stations as s on s.id = f.station_id
    left join public.locations as l on l.id = s.location_id
   where (select private.sees_all()) or f.station_id in (select private.operated_stations())
$$;
comment on function private.faults is 'What wants a look at the stations that the caller runs: stations offline or faulted, connectors faulted, commands failed (7 days), sessions flagged and stops unclaimed (30 days).';

create or replace function public.nearby_locations(latitude double precision, longitude double precision, radius_km double precision default 10)
  returns setof public.location_overview
language plpgsql stable set search_path = ''
as $$
begin
  if latitude is null or longitude is null or not latitude between -90 and 90 or not longitude between -180 and 180 then
    perform private.fail(400, 'OCNUM', 'latitude must be a number from -90 to 90, longitude from -180 to 180', 'Degrees, for example latitude=42.87&longitude=74.59');
  elsif radius_km is null or not radius_km between 0 and 20040 then
    perform private.fail(400, 'OCNUM', 'radius_km must be a number from 0 to 20040', 'Kilometres; 20040 is half way round the Earth.');
  end if;
  return query
    with near as materialized (
      select l.id, 12742 * asin(least(1, sqrt(sin(radians(l.latitude - nearby_locations.latitude) / 2) ^ 2
               + cos(radians(l.latitude)) * cos(radians(nearby_locations.latitude)) * sin(radians(l.longitude - nearby_locations.longitude) / 2) ^ 2))) as distance_km
        from public.locations as l
       where l.latitude between nearby_locations.latitude - radius_km / 111 and nearby_locations.latitude + radius_km / 111
    )
    select o.id, o.name, o.address, o.city, o.country, o.latitude, o.longitude, o.time_zone, o.client_id, o.availability, o.stations_count,
           o.connectors_count, o.connectors_free, o.connectors_in_use, o.connectors_faulted, o.connectors_unavailable, o.connectors_offline,
           o.connector_types, o.max_power, p.price_from, p.currency, round(n.distance_km::numeric, 3)
      from near as n
      join public.location_overview as o using (id)
      left join (select c.location_id, min((c.quote ->> 'price_per_kwh')::numeric) as price_from, min(c.quote ->> 'currency') as currency
                   from private.connector_prices(array(select x.id from near as x where x.distance_km <= radius_km)) as c
                  group by c.location_id having count(distinct c.quote ->> 'currency') = 1) as p on p.location_id = n.id
     where n.distance_km <= radius_km
     order by n.distance_km;
end $$;
comment on function public.nearby_locations is 'Locations within radius_km (kilometres, 10 by default) of a point in degrees, nearest first, as location_overview has them, with distance_km. '
  'Filters, select and embedding work as on the view. 400 OCNUM.';

-- Totals -----------------------------------------------------------------------------------------
create or replace function private.count_session(p_session public.charging_sessions, p_sign integer) returns void
language plpgsql volatile set search_path = '' set plan_cache_mode = force_generic_plan
as $$
declare
  v_day date;
  v_minutes numeric := round(extract(epoch from p_session.stop_time - p_session.start_time) / 60, 3) * p_sign;
begin
  select (coalesce(p_session.stop_time, p_session.settled_at) at time zone coalesce(l.time_zone, private.default_time_zone()))::date into v_day
    from public.stations as s
    left join public.locations as l on l.id = s.location_id
   where s.id = p_session.station_id;
  insert into public.station_totals (period, starts_on, station_id, currency, sessions, energy, amount, minutes)
  select p.period, date_trunc(p.period::text, v_day::timestamp)::date, p_session.station_id, p_session.currency,
         p_sign, p_session.energy * p_sign, p_session.amount * p_sign, coalesce(v_minutes, 0)
    from unnest(enum_range(null::public.total_period)) as p (period);
  if p_session.user_id is not null then
    insert into public.driver_totals (month, user_id, station_id, currency, sessions, energy, amount, minutes)
    values (date_trunc('month', v_day::timestamp)::date, p_session.user_id, p_session.station_id, p_session.currency,
            p_sign, p_session.energy * p_sign, p_session.amount * p_sign, coalesce(v_minutes, 0));
  end if;
end $$;
comment on function private.count_session is 'Adds a settled session to the totals, or takes it out again (p_sign -1). Inserts only, so that two settlements never wait for each other.';

create or replace function private.sum_totals() returns void
language plpgsql volatile set search_path = '' set plan_cache_mode = force_generic_plan
as $$
begin
  if not pg_try_advisory_xact_lock(hashtext('private.sum_totals')) then
    return;  -- somebody else does it
  end if;
  with fresh as (
    delete from public.station_totals where not is_sum returning *
  )
  insert into public.station_totals as t (is_sum, period, starts_on, station_id, currency, sessions, energy, amount, minutes)
  select true, period, starts_on, station_id, currency, sum(sessions), sum(energy), sum(amount), sum(minutes)
    from fresh group by period, starts_on, station_id, currency
  on conflict (station_id, period, starts_on, currency) where is_sum do update
    set sessions = t.sessions + excluded.sessions, energy = t.energy + excluded.energy, amount = t.amount + excluded.amount,
        minutes = t.minutes + excluded.minutes;
  with fresh as (
    delete from public.driver_totals where not is_sum returning *
  )
  insert into public.driver_totals as t (is_sum, month, user_id, station_id, currency, sessions, energy, amount, minutes)
  select true, month, user_id, station_id, currency, sum(sessions), sum(energy), sum(amount), sum(minutes)
    from fresh group by month, user_id, station_id, currency
  on conflict (user_id, month, station_id, currency) where is_sum do update
    set sessions = t.sessions + excluded.sessions, energy = t.energy + excluded.energy, amount = t.amount + excluded.amount,
        minutes = t.minutes + excluded.minutes;
end $$;
comment on function private.sum_totals is 'Brings the rows of single sessions in the totals together, one per key. Readers add up either way, so nothing changes for them.';

create or replace function private.keep_totals() returns trigger
language plpgsql volatile set search_path = '' set plan_cache_mode = force_generic_plan
security definer  -- nobody writes the totals
as $$
begin
  if tg_op <> 'INSERT' and old.settled_at is not null then
    perform private.count_session(old, -1);
  end if;
  if tg_op <> 'DELETE' and new.settled_at is not null then
    perform private.count_session(new, 1);
  end if;
  return null;
end $$;
comment on function private.keep_totals is 'Trigger: counts a session in the totals when it is settled, once; corrects them when a settled session is changed by hand.';
create or replace trigger keep_totals_of_new after insert on public.charging_sessions for each row
  when (new.settled_at is not null) execute function private.keep_totals();
create or replace trigger keep_totals after update of settled_at, energy, amount, currency, start_time, stop_time on public.charging_sessions for each row
  when ((old.settled_at is not null or new.settled_at is not null)
        and (old.settled_at is null, old.energy, old.amount, old.currency, old.start_time, old.stop_time)
            is distinct from (new.settled_at is null, new.energy, new.amount, new.currency, new.start_time, new.stop_time))
  execute function private.keep_totals();
create or replace trigger keep_totals_of_gone after delete on public.charging_sessions for each row
  when (old.settled_at is not null) execute function private.keep_totals();

grant execute on function private.online_stations, private.presences, private.connector_prices, public.nearby_locations to anon, authenticated, service_role;
grant execute on function private.station_places, private.faults to authenticated, service_role;
