-- Stations as people see them: presence, adoption, credentials.

create or replace function private.sees_all() returns boolean
language sql stable set search_path = ''
as $$
  -- current_user is no use here: in a security definer function it is the owner
  select case when auth.role() is null then session_user <> 'authenticator' and current_setting('role') not in ('anon', 'authenticated')
              else auth.role() = 'service_role' end
$$;
comment on function private.sees_all is 'The service role, and whoever talks to the database itself, without a token: the dashboard. They may do what an admin may.';

create or replace function private.visible_connections() returns table (station_id text, bridge_id text, connection_id uuid, protocol text,
  remote_address text, connected_at timestamptz, last_message_at timestamptz)
language sql stable set search_path = ''
security definer  -- the table is private; the rows are those of the caller's stations
as $$
  select c.station_id, c.bridge_id, c.connection_id, c.protocol, c.remote_address, c.connected_at, c.last_message_at
    from private.open_connections as c
   where (select private.sees_all()) or c.station_id = any ((select private.operated_station_ids())::text[])
$$;
comment on function private.visible_connections is 'Open connections of the stations that the caller runs.';

create or replace function private.visible_sessions() returns table (station_id text, connector_id integer, session_id uuid)
language sql stable set search_path = ''
security definer  -- anon reads station_status too, and has no right on charging_sessions
as $$
  select distinct on (s.station_id, s.connector_id) s.station_id, s.connector_id, s.id
    from public.charging_sessions as s
   where s.status = 'started'
     and ((select private.sees_all()) or s.user_id = (select private.active_user_id()) or s.station_id = any ((select private.operated_station_ids())::text[]))
   order by s.station_id, s.connector_id, s.start_time desc
$$;
comment on function private.visible_sessions is 'Sessions under way that the caller may see, the newest of each connector.';

create or replace function public.adopt_station(station_id text, location_id uuid default null) returns public.stations
language plpgsql volatile set search_path = ''
security definer  -- takes from the inbox, which only admins read
as $$
declare
  v_station public.stations;
begin
  if not (private.is_admin() or private.sees_all()) then
    perform private.fail(403, 'OCPRM', 'only an admin may adopt stations', 'Ask an admin, or add the station to table stations.');
  end if;
  if not exists (select from public.station_inbox as i where lower(i.station_id) = lower(adopt_station.station_id)) then
    perform private.fail(404, 'OCSTA', format('station "%s" is not waiting', adopt_station.station_id), 'GET /rest/v1/station_inbox lists those that are.');
  end if;
  if adopt_station.location_id is not null and not exists (select from public.locations as l where l.id = adopt_station.location_id) then
    perform private.fail(404, 'OCLOC', 'no such location', 'GET /rest/v1/locations lists them.');
  end if;
  insert into public.stations (id, location_id)
  select i.station_id, adopt_station.location_id from public.station_inbox as i where lower(i.station_id) = lower(adopt_station.station_id)
  on conflict do nothing
  returning * into v_station;
  delete from public.station_inbox as i where lower(i.station_id) = lower(adopt_station.station_id);
  return private.station_by_id(adopt_station.station_id);
end $$;
comment on function public.adopt_station is 'For admins: makes a station that waits in station_inbox a registered one. 403 OCPRM, 404 OCSTA, OCLOC.';

create or replace function public.set_station_password(station_id text, password text) returns void
language plpgsql volatile set search_path = ''
security definer  -- the keys are private
as $$
declare
  v_station public.stations;
  v_salt bytea := decode(replace(gen_random_uuid()::text, '-', ''), 'hex');
begin
  perform private.assert_person();
  v_station := private.station_by_id(set_station_password.station_id);
  if not private.operates_station(v_station.id) then
    perform private.fail(403, 'OCPRM', format('station "%s" is not yours', v_station.id),
      'Operators set the passwords of the stations of their own company.');
  end if;
  if password is null then
    delete from private.station_keys as k where k.station_id = v_station.id;
    return;
  end if;
  if octet_length(password) not between 16 and 40 then
    perform private.fail(400, 'OCARG', 'the password must have 16 to 40 bytes', 'Make a random one; 40 hex digits stand for 20 bytes (OCPP-J 1.6 §6.2).');
  end if;
  insert into private.station_keys (station_id, salt, key_hash) values (v_station.id, v_salt, private.key_hash(v_salt, password))
  on conflict on constraint station_keys_pkey do update set salt = excluded.salt, key_hash = excluded.key_hash, created_at = now();
end $$;
comment on function public.set_station_password is 'Sets the HTTP Basic password that a station must show from its next connection on (security profile 1); null: none. '
  'Only a salted hash is kept. 403 OCPRM, 404 OCSTA, 400 OCARG.';

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
  new.named_at := now();
  return new;
end $$;
comment on function private.keep_station_id is 'Trigger: a station is not renamed while it is online or charges, and notes since when it has its id. 409 OCUSE.';
create or replace trigger keep_id before update of id on public.stations for each row
  when (new.id is distinct from old.id) execute function private.keep_station_id();

-- Deleting what has been used --------------------------------------------------------------------
create or replace function private.explain_use() returns trigger
language plpgsql volatile set search_path = ''
security definer  -- looks at rows that the caller may not read
as $$
declare
  v_old jsonb := to_jsonb(old);
  v_problem text;
  v_hint text;
begin
  case tg_table_name
    when 'stations' then
      if exists (select from public.charging_sessions where station_id = old.id) or exists (select from public.meter_values where station_id = old.id) then
        v_problem := format('station "%s" has sessions or meter values, which stay', old.id);
        v_hint := 'Set its status to inactive: nobody charges there any more, and it is not on the map.';
      end if;
    when 'connectors' then
      if exists (select from public.charging_sessions where station_id = v_old ->> 'station_id' and connector_id = (v_old ->> 'number')::integer) then
        v_problem := format('connector %s of station "%s" has sessions, which stay', v_old ->> 'number', v_old ->> 'station_id');
        v_hint := 'Its number, type and power can be changed.';
      end if;
    when 'locations' then
      if exists (select from public.stations where location_id = old.id) then
        v_problem := format('location "%s" has stations', v_old ->> 'name');
        v_hint := 'Give them another location first: stations.location_id.';
      end if;
    when 'tariff_plans' then
      if exists (select from public.stations where tariff_plan_id = old.id) or exists (select from public.client_tariffs where tariff_plan_id = old.id) then
        v_problem := format('tariff plan "%s" is that of stations or accounts', v_old ->> 'name');
        v_hint := 'Give them another plan first (stations.tariff_plan_id, client_tariffs.tariff_plan_id), or set its is_active to false.';
      end if;
    when 'clients' then
      if exists (select from public.locations where client_id = old.id) or exists (select from public.tariff_plans where client_id = old.id)
         or exists (select from public.charging_sessions where client_id = old.id) or exists (select from public.ledger_entries where client_id = old.id) then
        v_problem := format('client "%s" has locations, tariff plans, sessions or entries in its ledger', v_old ->> 'name');
        v_hint := 'Set its status to inactive or blocked.';
      end if;
  end case;
  if v_problem is not null then
    raise exception '%', v_problem using errcode = '23503', hint = v_hint;
  end if;
  return old;
end $$;
comment on function private.explain_use is 'Trigger: why a row cannot be deleted, and what to do instead, in words for people. Foreign keys would refuse it anyway.';
create or replace trigger explain_use before delete on public.stations for each row execute function private.explain_use();
create or replace trigger explain_use before delete on public.connectors for each row execute function private.explain_use();
create or replace trigger explain_use before delete on public.locations for each row execute function private.explain_use();
create or replace trigger explain_use before delete on public.tariff_plans for each row execute function private.explain_use();
create or replace trigger explain_use before delete on public.clients for each row execute function private.explain_use();

grant execute on function private.sees_all, private.visible_connections to authenticated, service_role;
grant execute on function private.visible_sessions to anon, authenticated, service_role;
grant execute on function public.adopt_station, public.set_station_password to authenticated, service_role;
