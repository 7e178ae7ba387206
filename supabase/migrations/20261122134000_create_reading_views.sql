-- Views for people, apps and the dashboard, with what they read quickly from. docs/views.md has them with examples.

-- Types ------------------------------------------------------------------------------------------
create type public.availability as enum ('free', 'in_use', 'faulted', 'unavailable', 'offline');
comment on type public.availability is 'What a driver finds: free, in_use (a car is plugged in, or somebody has reserved), faulted, unavailable (taken out of use), offline. In this order the first is the best.';
create type public.total_period as enum ('day', 'month');
comment on type public.total_period is 'What a row of totals spans, by the clock of the location.';
create type public.fault_kind as enum ('station_offline', 'station_faulted', 'connector_faulted', 'command_failed', 'session_flagged', 'stop_unclaimed');
comment on type public.fault_kind is 'What the view faults found.';

-- Indexes ----------------------------------------------------------------------------------------
create index locations_latitude_idx on public.locations (latitude, longitude);
create index charging_sessions_id_tag_idx on public.charging_sessions (id_tag, created_at desc);
create index charging_sessions_flagged_idx on public.charging_sessions (created_at desc) where flags <> '{}';
create index commands_created_at_idx on public.commands (created_at desc);
create index commands_failed_idx on public.commands (created_at desc) where status in ('rejected', 'failed', 'timed_out');

-- Totals: one row per key, and one per session settled since they were last brought together -----------
create table public.station_totals (
  id bigint generated always as identity primary key,
  period public.total_period not null,
  starts_on date not null,
  station_id text not null references public.stations (id) on delete cascade on update cascade,
  currency text not null,
  sessions integer not null,
  energy numeric not null,
  amount numeric not null,
  minutes numeric not null,
  is_sum boolean not null default false
);
create index station_totals_starts_on_idx on public.station_totals (period, starts_on);
create index station_totals_station_id_idx on public.station_totals (station_id, period, starts_on);
create unique index station_totals_sum_key on public.station_totals (station_id, period, starts_on, currency) where is_sum;
create index station_totals_fresh_idx on public.station_totals (id) where not is_sum;
create table public.driver_totals (
  id bigint generated always as identity primary key,
  month date not null,
  user_id uuid not null references public.users (id) on delete cascade,
  station_id text not null references public.stations (id) on delete cascade on update cascade,
  currency text not null,
  sessions integer not null,
  energy numeric not null,
  amount numeric not null,
  minutes numeric not null,
  is_sum boolean not null default false
);
create index driver_totals_month_idx on public.driver_totals (month);
create index driver_totals_station_id_idx on public.driver_totals (station_id, month);
create index driver_totals_user_id_idx on public.driver_totals (user_id, month);
create unique index driver_totals_sum_key on public.driver_totals (user_id, month, station_id, currency) where is_sum;
create index driver_totals_fresh_idx on public.driver_totals (id) where not is_sum;
alter table public.station_totals enable row level security;
alter table public.driver_totals enable row level security;
create policy "Operators read the totals of their stations, admins all" on public.station_totals for select to authenticated
  using ((select private.is_admin()) or station_id in (select private.operated_stations()));
create policy "Drivers read their own totals, operators their stations'" on public.driver_totals for select to authenticated
  using (user_id = (select private.active_user_id()) or station_id = any ((select private.operated_station_ids())::text[]));
grant select on public.station_totals, public.driver_totals to authenticated, service_role;

-- Functions: sql/reading_functions.sql --------------------------------------------------------------
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

select private.count_session(s, 1) from public.charging_sessions as s where s.settled_at is not null;
select private.sum_totals();

create or replace function private.keep_station_id() returns trigger
language plpgsql volatile set search_path = ''
security definer  -- looks at connections and sessions that the caller may not read
as $$
begin
  if private.is_online(old.id) then
    perform private.fail(409, 'OCUSE', format('station "%s" is online', old.id), 'Its messages are stored under this id. Give the station its new id in its own settings, or switch it off, and then rename it here.');
  elsif exists (select from public.charging_sessions where station_id = old.id and status in ('pending', 'started')) then
    perform private.fail(409, 'OCUSE', format('station "%s" has a session that waits or runs', old.id), 'Rename the station when the session has ended.');
  end if;
  return new;
end $$;
comment on function private.keep_station_id is 'Trigger: a station is not renamed while it is online or charges. 409 OCUSE.';
create or replace trigger keep_id before update of id on public.stations for each row
  when (new.id is distinct from old.id) execute function private.keep_station_id();

-- The map ----------------------------------------------------------------------------------------
create view public.connector_overview with (security_invoker = on) as
select c.id, c.station_id, s.location_id, c.number, c.type, coalesce(c.power, s.power_capacity) as power,
       private.availability(s.status, s.id in (select private.online_stations()), s.ocpp_status, c.status)::public.availability as availability,
       c.status, c.error_code, c.info, c.vendor_error_code, c.status_at, x.session_id, s.status as station_operation
  from public.connectors as c
  join public.stations as s on s.id = c.station_id
  left join private.visible_sessions() as x on x.station_id = c.station_id and x.connector_id = c.number;

create view public.connector_prices with (security_invoker = on) as
select c.station_id, c.number, c.location_id, (c.quote ->> 'price_per_kwh')::numeric as price_per_kwh, (c.quote ->> 'session_fee')::numeric as session_fee,
       c.quote ->> 'currency' as currency
  from private.connector_prices() as c;

-- "group by" tells the planner that there is one row at most: who does not ask for prices does not pay for them.
create view public.location_prices with (security_invoker = on) as
select location_id, min(price_per_kwh) as price_from, min(currency) as currency
  from public.connector_prices
 where location_id is not null
 group by location_id
having count(distinct currency) = 1;

create view public.station_overview with (security_invoker = on) as
select s.id, s.location_id, l.name as location_name, l.address, l.city, l.latitude, l.longitude, l.client_id,
       s.status, coalesce(p.online, false) as online, p.last_seen_at,
       coalesce(c.availability, case when s.status <> 'active' then 'unavailable' when p.online then 'free' else 'offline' end::public.availability) as availability,
       coalesce(c.free, 0) as connectors_free, coalesce(c.total, 0) as connectors_count, coalesce(c.connectors, '[]') as connectors,
       q.price_from, coalesce(q.currency, s.currency) as currency, s.model, s.manufacturer, s.power_capacity, s.connector_types
  from public.stations as s
  left join public.locations as l on l.id = s.location_id
  left join private.presences() as p on p.station_id = s.id
  left join lateral (
             select min(o.availability) as availability, count(*) as total, count(*) filter (where o.availability = 'free') as free,
                    jsonb_agg(jsonb_build_object('number', o.number, 'type', o.type, 'power', o.power, 'availability', o.availability, 'status', o.status,
                      'error_code', o.error_code, 'status_at', o.status_at, 'session_id', o.session_id) order by o.number) as connectors
               from public.connector_overview as o where o.station_id = s.id) as c on true
  -- Here station by station: of a page of stations only those on it are priced, and none where nobody asks.
  left join lateral (select min((k.quote ->> 'price_per_kwh')::numeric) as price_from, min(k.quote ->> 'currency') as currency
                       from (select public.calculate_cost(s.id, 0, connector_id => n.number) as quote
                               from (select c.number from public.connectors as c where c.station_id = s.id
                                     union all select null where not exists (select from public.connectors as c where c.station_id = s.id)) as n
                              offset 0) as k) as q on true;

create view public.location_overview with (security_invoker = on) as
select l.id, l.name, l.address, l.city, l.country, l.latitude, l.longitude, l.time_zone, l.client_id,
       c.availability, coalesce(c.stations_count, 0) as stations_count, coalesce(c.total, 0) as connectors_count, coalesce(c.free, 0) as connectors_free,
       coalesce(c.in_use, 0) as connectors_in_use, coalesce(c.faulted, 0) as connectors_faulted, coalesce(c.unavailable, 0) as connectors_unavailable,
       coalesce(c.offline, 0) as connectors_offline, coalesce(c.types, '{}') as connector_types, c.max_power, q.price_from, q.currency,
       null::numeric as distance_km
  from public.locations as l
  left join lateral (
             select min(o.availability) as availability, count(distinct s.id) as stations_count, count(o.id) as total,
                    count(*) filter (where o.availability = 'free') as free, count(*) filter (where o.availability = 'in_use') as in_use,
                    count(*) filter (where o.availability = 'faulted') as faulted, count(*) filter (where o.availability = 'unavailable') as unavailable,
                    count(*) filter (where o.availability = 'offline') as offline,
                    array_agg(distinct o.type order by o.type) filter (where o.type is not null) as types,
                    max(coalesce(o.power, s.power_capacity)) as max_power
               from public.stations as s
               left join public.connector_overview as o on o.station_id = s.id
              where s.location_id = l.id and s.status <> 'inactive') as c on true
  left join public.location_prices as q on q.location_id = l.id;

-- As in the first migration, the presence of all stations looked up at once.
create or replace view public.station_status with (security_invoker = on) as
select s.id as station_id, coalesce(p.online, false) as online, s.status, p.last_seen_at, s.registration_status,
       coalesce(c.connectors, '[]') as connectors
  from public.stations as s
  left join private.presences() as p on p.station_id = s.id
  left join lateral (
             select jsonb_agg(jsonb_build_object('number', o.number, 'status', o.status, 'error_code', o.error_code,
                      'session_id', o.session_id) order by o.number) as connectors
               from public.connector_overview as o where o.station_id = s.id) as c on true;
drop function private.presence(text);

-- Sessions and totals ----------------------------------------------------------------------------
create view public.session_history with (security_invoker = on) as
select s.id, s.transaction_id, s.status, s.station_id, s.connector_id, p.location_id, l.name as location_name, l.address, l.city, l.time_zone,
       s.user_id, u.full_name as driver_name, s.client_id, c.name as client_name, s.id_tag, s.start_time, s.stop_time,
       round(extract(epoch from coalesce(s.stop_time, case when s.status = 'started' then now() end) - s.start_time) / 60, 1) as minutes,
       s.energy, s.amount, s.currency, s.power_w, s.soc_percent, s.limit_type, s.limit_energy_kwh, s.limit_amount, s.held_amount, s.unpaid_amount, s.stop_reason, s.flags, s.error,
       s.settled_at, s.created_at, p.client_id as company_id
  from public.charging_sessions as s
  left join private.station_places() as p on p.station_id = s.station_id
  left join public.locations as l on l.id = p.location_id
  left join public.users as u on u.id = s.user_id
  left join public.clients as c on c.id = s.client_id;

-- A view of its own: beneath a policy a status that comes as a parameter cannot use an index, the one written here does.
create view public.sessions_under_way with (security_invoker = on) as
select * from public.session_history where status in ('pending', 'started');

create view public.monthly_totals_by_driver with (security_invoker = on) as
select t.month, t.user_id, u.full_name as driver_name, sum(t.sessions) as sessions, sum(t.energy) as energy, sum(t.amount) as amount, t.currency,
       round(sum(t.minutes), 1) as minutes
  from public.driver_totals as t
  left join public.users as u on u.id = t.user_id
 group by t.month, t.user_id, u.full_name, t.currency
having sum(t.sessions) > 0;

create view public.monthly_totals_by_station with (security_invoker = on) as
select t.starts_on as month, t.station_id, s.location_id, l.name as location_name, sum(t.sessions) as sessions, sum(t.energy) as energy,
       sum(t.amount) as amount, t.currency, round(sum(t.minutes), 1) as minutes
  from public.station_totals as t
  left join public.stations as s on s.id = t.station_id
  left join public.locations as l on l.id = s.location_id
 where t.period = 'month'
 group by t.starts_on, t.station_id, s.location_id, l.name, t.currency
having sum(t.sessions) > 0;

create view public.monthly_totals_by_company with (security_invoker = on) as
select t.starts_on as month, l.client_id, c.name as client_name, count(distinct t.station_id) as stations, sum(t.sessions) as sessions,
       sum(t.energy) as energy, sum(t.amount) as amount, t.currency, round(sum(t.minutes), 1) as minutes
  from public.station_totals as t
  left join public.stations as s on s.id = t.station_id
  left join public.locations as l on l.id = s.location_id
  left join public.clients as c on c.id = l.client_id
 where t.period = 'month'
 group by t.starts_on, l.client_id, c.name, t.currency
having sum(t.sessions) > 0;

create view public.revenue_by_day with (security_invoker = on) as
select t.starts_on as day, t.station_id, s.location_id, l.name as location_name, l.client_id, sum(t.sessions) as sessions, sum(t.energy) as energy,
       sum(t.amount) as amount, t.currency, round(sum(t.minutes), 1) as minutes
  from public.station_totals as t
  left join public.stations as s on s.id = t.station_id
  left join public.locations as l on l.id = s.location_id
 where t.period = 'day'
 group by t.starts_on, t.station_id, s.location_id, l.name, l.client_id, t.currency
having sum(t.sessions) > 0;

create view public.revenue_by_day_and_company with (security_invoker = on) as
select day, client_id, count(*) as stations, sum(sessions) as sessions, sum(energy) as energy, sum(amount) as amount, currency, sum(minutes) as minutes
  from public.revenue_by_day
 group by day, client_id, currency;

-- What wants a look ------------------------------------------------------------------------------
create view public.faults with (security_invoker = on) as
select kind, since, station_id, connector_id, location_id, location_name, what, session_id, command_id from private.faults();

create view public.waiting_stations with (security_invoker = on) as
select i.station_id, i.last_seen_at > now() - interval '10 minutes' as still_knocking, i.attempts, i.first_seen_at, i.last_seen_at, i.remote_address,
       i.user_agent, i.protocols, i.id
  from public.station_inbox as i;

grant select on public.connector_overview, public.connector_prices, public.location_prices, public.station_overview, public.location_overview to anon, authenticated, service_role;
grant select on public.session_history, public.sessions_under_way, public.monthly_totals_by_driver, public.monthly_totals_by_station, public.monthly_totals_by_company,
  public.revenue_by_day, public.revenue_by_day_and_company, public.faults, public.waiting_stations to authenticated, service_role;

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

grant execute on function private.online_stations, private.presences, private.connector_prices, public.nearby_locations to anon, authenticated, service_role;
grant execute on function private.station_places, private.faults to authenticated, service_role;

-- Comments: everything that people see in the dashboard and in the API's description ------------------
comment on type public.user_role is 'What a user may do: docs/access.md. superadmin: an admin who may also make and unmake superadmins.';
comment on type public.client_kind is 'operator: a company that owns locations. account: somebody who pays, with a balance.';
comment on type public.client_status is 'blocked: does not charge any more. inactive: kept for its history.';
comment on type public.station_operation is 'active: in service. maintenance: on the map, out of service. inactive: off the map.';
comment on type public.maintenance_status is 'How far the work is.';
comment on type public.tariff_type is 'What a price is per: kWh, minute of charging, session, minute of parking after charging.';
comment on type public.session_status is 'pending: asked for. started: under way. stopped: ended. error: came to nothing.';
comment on type public.limit_type is 'Where a session stops by itself: at an energy, at an amount, at whichever comes first, or nowhere.';
comment on type public.command_status is 'Life of a command: queued, sent, then accepted, rejected, failed or timed_out; or expired or cancelled before it was sent.';
comment on type public.message_direction is 'Who sent the message.';

comment on table public.station_totals is 'Settled sessions by station, per day and per month; kept by the settlement itself. To read, take the views revenue_by_day and monthly_totals_by_…: a key may have several rows, which add up.';
comment on table public.driver_totals is 'Settled sessions by driver, station and month; kept by the settlement itself. To read, take the view monthly_totals_by_driver: a key may have several rows, which add up.';
comment on view public.connector_overview is 'Each connector as a driver finds it now. Public.';
comment on view public.connector_prices is 'What each connector costs now, as calculate_cost() quotes it to the caller. Public.';
comment on view public.location_prices is 'The lowest price per kWh now at each location, for the caller; none where its stations have different currencies. Public.';
comment on view public.station_overview is 'Each station as it is now: place, connectors, price from. Public. connectors: [{number, type, power, availability, status, error_code, status_at, session_id}].';
comment on view public.location_overview is 'Each location with what is free there now; stations that are inactive do not count. Public. By distance: nearby_locations().';
comment on view public.station_status is 'Each station as it is now, in short. connectors: [{number, status, error_code, session_id}]; session_id only where the caller may see the session.';
comment on view public.session_history is 'Sessions with the names of place, driver and payer: drivers their own, operators those at their stations. Receipt and meter values are at charging_sessions and meter_values.';
comment on view public.sessions_under_way is 'session_history of the sessions that wait for their start or run.';
comment on view public.monthly_totals_by_driver is 'Settled sessions per driver and month, by the clock of each location; one row per currency. Drivers see themselves, operators what was charged at their stations.';
comment on view public.monthly_totals_by_station is 'Settled sessions per station and month, by the clock of the location; one row per currency.';
comment on view public.monthly_totals_by_company is 'Settled sessions per company (who owns the locations today) and month, by the clock of each location; one row per currency.';
comment on view public.revenue_by_day is 'Billed per day and station, by the clock of the location; one row per currency. A session counts on the day on which it ended.';
comment on view public.revenue_by_day_and_company is 'Billed per day and company, by the clock of each location; one row per currency.';
comment on view public.faults is 'What wants a look, for operators: stations offline or faulted, connectors faulted, commands that failed (7 days), sessions flagged and stops that fit none (30 days).';
comment on view public.waiting_stations is 'Unknown stations that knocked, for admins. adopt_station() makes one of them a station.';

do $$
declare
  v record;
begin
  for v in select * from (values
    ('users', 'email', 'Kept by Supabase Auth.'),
    ('users', 'full_name', 'As people are called; may be changed by themselves.'),
    ('users', 'phone', 'With country code; may be changed by themselves.'),
    ('users', 'is_active', 'False: signs in, and may do nothing.'),
    ('clients', 'kind', 'operator: a company that owns locations. account: a payer.'),
    ('clients', 'name', 'Of the company or person.'),
    ('clients', 'email', 'For invoices and notices.'),
    ('clients', 'phone', 'With country code.'),
    ('clients', 'address', 'Postal address.'),
    ('clients', 'contract_number', 'Of the contract with the service.'),
    ('clients', 'contract_start_date', 'First day of the contract.'),
    ('clients', 'contract_end_date', 'Last day of the contract; null: open.'),
    ('clients', 'status', 'active, inactive or blocked.'),
    ('locations', 'name', 'As drivers know it.'),
    ('locations', 'address', 'Street and number.'),
    ('locations', 'city', 'City or town.'),
    ('locations', 'country', 'ISO 3166-1 alpha-2.'),
    ('locations', 'latitude', 'Degrees north, WGS 84.'),
    ('locations', 'longitude', 'Degrees east, WGS 84.'),
    ('stations', 'location_id', 'Where it stands; null: nowhere yet, and nobody''s but the admins''.'),
    ('stations', 'serial_number', 'Of the manufacturer.'),
    ('stations', 'model', 'Model name; filled by the first BootNotification where it is empty.'),
    ('stations', 'manufacturer', 'Vendor; filled by the first BootNotification where it is empty.'),
    ('stations', 'firmware_version', 'As last reported.'),
    ('stations', 'installation_date', 'Day on which it went into service.'),
    ('stations', 'status', 'active: in service. maintenance: on the map, out of service. inactive: off the map.'),
    ('stations', 'tariff_plan_id', 'Its prices; null: the default plan of the company, else of the service.'),
    ('stations', 'admin_id', 'The user who looks after it.'),
    ('stations', 'ocpp_error_code', 'ChargePointErrorCode last reported for connector 0.'),
    ('stations', 'last_boot_at', 'When its last BootNotification came.'),
    ('connectors', 'station_id', 'The station that it belongs to.'),
    ('connectors', 'type', 'Plug, e.g. Type2, CCS2, CHAdeMO, GBT; tariff rules may ask for it.'),
    ('connectors', 'info', 'Free text of the last StatusNotification.'),
    ('connectors', 'vendor_error_code', 'The vendor''s own error code of the last StatusNotification.'),
    ('tariff_plans', 'name', 'As shown to people.'),
    ('tariff_plans', 'description', 'For people.'),
    ('tariff_plans', 'is_default', 'The plan of the company''s stations that name none; without a company, of everybody''s.'),
    ('tariff_plans', 'is_active', 'False counts as no plan.'),
    ('tariff_rules', 'tariff_plan_id', 'The plan that it belongs to.'),
    ('tariff_rules', 'name', 'As it stands on the receipt.'),
    ('tariff_rules', 'tariff_type', 'What the price is per.'),
    ('tariff_rules', 'valid_from', 'Holds from this instant on; null: always has.'),
    ('tariff_rules', 'valid_until', 'Holds until before this instant; null: open.'),
    ('tariff_rules', 'priority', 'The highest that fits wins; of equals the newest.'),
    ('tariff_rules', 'is_active', 'False: out of use.'),
    ('id_tags', 'id_tag', 'At most 20 characters; upper and lower case do not matter.'),
    ('id_tags', 'status', 'Accepted or Blocked; Expired and Invalid refuse as well.'),
    ('id_tags', 'expiry_date', 'Refused from this instant on; null: never.'),
    ('id_tags', 'note', 'For people.'),
    ('maintenance', 'station_id', 'The station to be worked on.'),
    ('maintenance', 'request_date', 'When it was asked for.'),
    ('maintenance', 'description', 'What is to be done.'),
    ('maintenance', 'assigned_to', 'Who does it.'),
    ('maintenance', 'notes', 'What was found and done.'),
    ('maintenance', 'status', 'pending, in_progress, completed or cancelled.'),
    ('charging_sessions', 'station_id', 'Where.'),
    ('charging_sessions', 'status', 'pending: asked for. started: under way. stopped: ended. error: came to nothing.'),
    ('charging_sessions', 'stop_time', 'When it ended; null until then.'),
    ('charging_sessions', 'limit_type', 'Follows from limit_energy_kwh and limit_amount.'),
    ('charging_sessions', 'stop_id_tag', 'The tag that stopped it, if one did.'),
    ('charging_sessions', 'priced_at', 'When amount was last worked out.'),
    ('transaction_orphans', 'station_id', 'The station that reported it.'),
    ('transaction_orphans', 'action', 'StopTransaction.'),
    ('transaction_orphans', 'payload', 'As reported.'),
    ('transaction_orphans', 'payload_digest', 'By which a repeat is recognised.'),
    ('transaction_orphans', 'received_at', 'When the bridge had it.'),
    ('transaction_orphans', 'session_id', 'The session that it turned out to belong to.'),
    ('transaction_orphans', 'resolved_at', 'When that was found; null: still open.'),
    ('commands', 'station_id', 'To whom.'),
    ('commands', 'session_id', 'The session that it starts or stops.'),
    ('commands', 'created_by', 'The user who gave it; null: the system.'),
    ('commands', 'attempts', 'How often it was sent; more than once only where twice does no harm.'),
    ('commands', 'sent_at', 'When a bridge took it to the station.'),
    ('commands', 'answered_at', 'When the station answered, or the wait was over.'),
    ('meter_values', 'station_id', 'The station that reported it.'),
    ('meter_values', 'session_id', 'The session that it belongs to; null: none was under way.'),
    ('meter_values', 'received_at', 'When the bridge had it.'),
    ('meter_values', 'digest', 'Of the samples: the same value is stored once.'),
    ('ocpp_messages', 'station_id', 'Whose message; kept when the station is deleted.'),
    ('ocpp_messages', 'connection_id', 'The WebSocket connection.'),
    ('ocpp_messages', 'direction', 'from_station: its CALL. to_station: our CALL, a command.'),
    ('ocpp_messages', 'message_id', 'OCPP-J message id.'),
    ('ocpp_messages', 'action', 'Action of OCPP 1.6; null: the frame could not be read.'),
    ('ocpp_messages', 'payload', 'Of the CALL.'),
    ('station_boots', 'station_id', 'The station that booted.'),
    ('station_boots', 'payload', 'Of the BootNotification.'),
    ('station_boots', 'received_at', 'When the bridge had it.'),
    ('station_configuration', 'station_id', 'The station whose key it is.'),
    ('station_configuration', 'key', 'Configuration key (OCPP 1.6 §9).'),
    ('station_configuration', 'value', 'As text; null: the station names none.'),
    ('station_configuration', 'readonly', 'Whether ChangeConfiguration is refused.'),
    ('station_configuration', 'reported_at', 'When the station last told.'),
    ('station_inbox', 'station_id', 'The id in its URL.'),
    ('station_inbox', 'remote_address', 'Where it came from last.'),
    ('station_inbox', 'user_agent', 'What its WebSocket client calls itself.'),
    ('station_inbox', 'protocols', 'Sub-protocols that it offered.'),
    ('station_inbox', 'attempts', 'How often it knocked.'),
    ('station_inbox', 'first_seen_at', 'When it knocked first.'),
    ('station_inbox', 'last_seen_at', 'When it knocked last.'),
    ('station_totals', 'period', 'day or month.'),
    ('station_totals', 'starts_on', 'First day of the period, by the clock of the location; a session counts when it ended.'),
    ('station_totals', 'station_id', 'Where.'),
    ('station_totals', 'currency', 'ISO 4217, of amount.'),
    ('station_totals', 'sessions', 'Number of sessions; -1 takes one out again.'),
    ('station_totals', 'energy', 'kWh billed.'),
    ('station_totals', 'amount', 'Billed, in currency.'),
    ('station_totals', 'minutes', 'Minutes from start to stop.'),
    ('station_totals', 'is_sum', 'True: of many sessions, one row per key. False: of one session, not added yet.'),
    ('driver_totals', 'month', 'First day of the month, by the clock of the location; a session counts when it ended.'),
    ('driver_totals', 'user_id', 'Who charged.'),
    ('connections', 'station_id', 'The station that is online.'),
    ('connections', 'bridge_id', 'The bridge that holds its socket.'),
    ('connections', 'connection_id', 'Changes with each connection.'),
    ('connections', 'protocol', 'WebSocket sub-protocol agreed on; null: none was offered.'),
    ('connections', 'remote_address', 'Where it comes from.'),
    ('connections', 'connected_at', 'Since when.'),
    ('connections', 'last_message_at', 'When it was last heard.'),
    ('connector_overview', 'location_id', 'Where the station stands.'),
    ('connector_overview', 'power', 'kW; that of the station where the connector has none of its own.'),
    ('connector_overview', 'availability', 'What a driver finds here now.'),
    ('connector_overview', 'session_id', 'The session under way, where the caller may see it.'),
    ('connector_overview', 'station_operation', 'stations.status: whether the station is in service.'),
    ('connector_prices', 'station_id', 'The station; those that are inactive are left out.'),
    ('connector_prices', 'number', 'connectors.number; null: a station without connectors.'),
    ('connector_prices', 'location_id', 'Where the station stands.'),
    ('connector_prices', 'price_per_kwh', 'Per kWh, in currency; null: no energy price holds now.'),
    ('connector_prices', 'session_fee', 'Per session, in currency; null: none.'),
    ('connector_prices', 'currency', 'ISO 4217.'),
    ('location_prices', 'location_id', 'The location.'),
    ('location_prices', 'price_from', 'Per kWh, in currency.'),
    ('location_prices', 'currency', 'ISO 4217.'),
    ('station_overview', 'location_name', 'Name of the location.'),
    ('station_overview', 'online', 'Whether a bridge holds its connection now.'),
    ('station_overview', 'last_seen_at', 'When it was last heard; null: never connected.'),
    ('station_overview', 'availability', 'The best of its connectors.'),
    ('station_overview', 'connectors_free', 'Connectors that are free now.'),
    ('station_overview', 'connectors_count', 'Connectors in all.'),
    ('station_overview', 'connectors', '[{number, type, power (kW), availability, status, error_code, status_at, session_id}].'),
    ('station_overview', 'price_from', 'Lowest price per kWh now, in currency, for the caller; null: none, or not on the map.'),
    ('station_overview', 'currency', 'ISO 4217, of price_from.'),
    ('location_overview', 'availability', 'The best of its connectors; null: there is none.'),
    ('location_overview', 'stations_count', 'Stations on the map.'),
    ('location_overview', 'connectors_count', 'Connectors of these.'),
    ('location_overview', 'connectors_free', 'Connectors that are free now.'),
    ('location_overview', 'connectors_in_use', 'Connectors with a car, or reserved.'),
    ('location_overview', 'connectors_faulted', 'Connectors out of order.'),
    ('location_overview', 'connectors_unavailable', 'Connectors taken out of use.'),
    ('location_overview', 'connectors_offline', 'Connectors of stations that are offline: nobody knows.'),
    ('location_overview', 'connector_types', 'Plugs there are.'),
    ('location_overview', 'max_power', 'kW of the strongest connector.'),
    ('location_overview', 'price_from', 'Lowest price per kWh now, in currency, for the caller; null: none, or stations with different currencies.'),
    ('location_overview', 'currency', 'ISO 4217, of price_from.'),
    ('location_overview', 'distance_km', 'Kilometres from the point asked for in nearby_locations(); null in the view itself.'),
    ('station_status', 'station_id', 'The station.'),
    ('station_status', 'online', 'Whether a bridge holds its connection now.'),
    ('station_status', 'last_seen_at', 'When it was last heard; null: never connected.'),
    ('station_status', 'connectors', '[{number, status, error_code, session_id}].'),
    ('session_history', 'location_id', 'Where the station stands.'),
    ('session_history', 'location_name', 'Name of the location.'),
    ('session_history', 'driver_name', 'Name of who charged, where the caller may see the person.'),
    ('session_history', 'client_name', 'Name of who pays, where the caller may see the client.'),
    ('session_history', 'minutes', 'From start to stop, or until now.'),
    ('session_history', 'company_id', 'The company that owns the location.'),
    ('monthly_totals_by_driver', 'driver_name', 'Name of the driver, where the caller may see the person.'),
    ('monthly_totals_by_station', 'month', 'First day of the month.'),
    ('monthly_totals_by_station', 'location_id', 'Where the station stands today.'),
    ('monthly_totals_by_station', 'location_name', 'Name of the location.'),
    ('monthly_totals_by_company', 'month', 'First day of the month.'),
    ('monthly_totals_by_company', 'client_id', 'The company; null: stations without a location.'),
    ('monthly_totals_by_company', 'client_name', 'Name of the company.'),
    ('monthly_totals_by_company', 'stations', 'Stations with a session in the month.'),
    ('revenue_by_day', 'day', 'By the clock of the location.'),
    ('revenue_by_day', 'location_id', 'Where the station stands today.'),
    ('revenue_by_day', 'location_name', 'Name of the location.'),
    ('revenue_by_day', 'client_id', 'The company that owns the location.'),
    ('revenue_by_day_and_company', 'day', 'By the clock of the locations.'),
    ('revenue_by_day_and_company', 'client_id', 'The company; null: stations without a location.'),
    ('revenue_by_day_and_company', 'stations', 'Stations with a session on the day.'),
    ('faults', 'kind', 'What was found.'),
    ('faults', 'since', 'When it was reported or happened; station_offline: when it was last heard.'),
    ('faults', 'station_id', 'Where.'),
    ('faults', 'connector_id', 'connectors.number; null: the station as a whole.'),
    ('faults', 'location_id', 'Where the station stands.'),
    ('faults', 'location_name', 'Name of the location.'),
    ('faults', 'what', 'Error code, flags or failure, for people.'),
    ('faults', 'session_id', 'The session that it is about.'),
    ('faults', 'command_id', 'The command that it is about.'),
    ('waiting_stations', 'still_knocking', 'Seen in the last ten minutes.')
  ) as c (relation, attribute, text) loop
    execute format('comment on column public.%I.%I is %L', v.relation, v.attribute, v.text);
  end loop;

  -- A view's column that is a table's says the same.
  for v in
    select p.view, a.attname, d.description
      from (values ('connector_overview', 'connectors'), ('station_overview', 'stations'), ('station_overview', 'locations'), ('location_overview', 'locations'),
              ('station_status', 'stations'), ('session_history', 'charging_sessions'), ('session_history', 'locations'), ('sessions_under_way', 'charging_sessions'), ('sessions_under_way', 'locations'), ('sessions_under_way', 'session_history'), ('driver_totals', 'station_totals'),
              ('monthly_totals_by_driver', 'driver_totals'), ('monthly_totals_by_driver', 'station_totals'), ('monthly_totals_by_station', 'station_totals'),
              ('monthly_totals_by_company', 'station_totals'), ('revenue_by_day', 'station_totals'), ('revenue_by_day_and_company', 'station_totals'),
              ('waiting_stations', 'station_inbox')) as p (view, source)
      join pg_catalog.pg_attribute as a on a.attrelid = ('public.' || p.view)::regclass and a.attnum > 0
      join pg_catalog.pg_attribute as b on b.attrelid = ('public.' || p.source)::regclass and b.attname = a.attname
      join pg_catalog.pg_description as d on d.objoid = b.attrelid and d.objsubid = b.attnum
     where pg_catalog.col_description(a.attrelid, a.attnum) is null
  loop
    execute format('comment on column public.%I.%I is %L', v.view, v.attname, v.description);
  end loop;
end $$;
