-- Stations as people see them: presence, adoption, credentials.

create or replace function private.sees_all() returns boolean
language sql stable set search_path = ''
as $$
  select case when auth.role() is null then session_user <> 'authenticator' else auth.role() = 'service_role' end
$$;
comment on function private.sees_all is 'The service role, and whoever talks to the database without a token (the dashboard).';

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
  if not (private.is_admin() or auth.role() = 'service_role') then
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

grant execute on function private.sees_all, private.visible_connections to authenticated, service_role;
grant execute on function private.visible_sessions to anon, authenticated, service_role;
grant execute on function public.adopt_station, public.set_station_password to authenticated, service_role;
