-- Who may do what, looked at again: a user who is not active has nothing any more, policies stay fast for drivers with very many
-- sessions and companies with very many stations, and nobody inherits the messages of a station that had the same name.


create or replace function private.active_user_id() returns uuid
language sql stable set search_path = ''
security definer  -- as user_role
as $$
  select id from public.users where id = auth.uid() and is_active
$$;
comment on function private.active_user_id is 'The signed-in user; null for anon, and for users that are gone or not active: nothing is theirs.';

create or replace function private.own_client_id() returns uuid
language sql stable set search_path = ''
security definer  -- as user_role
as $$
  select client_id from public.users where id = auth.uid() and is_active
$$;
comment on function private.own_client_id is 'The company or account that the signed-in user belongs to; null for users that are not active.';

create or replace function private.operated_station_ids() returns text[]
language sql stable set search_path = ''
security definer  -- one look-up for the whole statement instead of a policy within a policy per row
as $$
  select case
    when private.is_admin() then (select coalesce(array_agg(id), '{}') from public.stations)
    when private.operated_client_id() is null then '{}'
    else (select coalesce(array_agg(s.id), '{}') from public.locations as l join public.stations as s on s.location_id = l.id
           where l.client_id = (select private.operated_client_id()))
  end
$$;
comment on function private.operated_station_ids is 'Stations that the signed-in user runs: an operator the company''s, an admin all. For policies of large tables: with '
  'station_id = any (…) an index finds the rows.';

create or replace function private.operated_stations() returns setof text
language sql stable set search_path = ''
security definer  -- as operated_station_ids
as $$
  select unnest(private.operated_station_ids())
$$;
comment on function private.operated_stations is 'As operated_station_ids, a row each. For policies where other conditions find the rows: station_id in (…) is a '
  'look-up in a hash table, however many stations there are.';

create or replace function private.guard_users() returns trigger
language plpgsql volatile set search_path = ''
as $$
begin
  if current_user <> 'authenticated' then
    return new;  -- not through the API with a user's token
  end if;
  if not private.is_admin() and (new.id, new.email, new.role, new.client_id, new.admin_id, new.is_active)
      is distinct from (old.id, old.email, old.role, old.client_id, old.admin_id, old.is_active) then
    perform private.fail(403, 'OCPRM', 'only an admin may change role, client, admin, e-mail or is_active of a user',
      'You may change full_name and phone.');
  end if;
  if 'superadmin' in (new.role, old.role) and private.user_role() <> 'superadmin' then
    perform private.fail(403, 'OCPRM', 'only a superadmin may make, change or unmake a superadmin', 'Ask a superadmin.');
  end if;
  return new;
end $$;
comment on function private.guard_users is 'Trigger: the columns of users that give rights are for admins.';

create or replace function private.operates_station(p_station_id text) returns boolean
language sql stable set search_path = ''
as $$
  select coalesce(auth.role() = 'service_role', false) or private.is_admin() or exists (
    select from public.stations as s join public.locations as l on l.id = s.location_id
     where s.id = p_station_id and l.client_id = private.operated_client_id())
$$;
comment on function private.operates_station is 'Whether the caller runs the station.';

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

create or replace function private.boot_notification(p_station public.stations, p_event jsonb) returns jsonb
language plpgsql volatile set search_path = '' set plan_cache_mode = force_generic_plan
as $$
declare
  v_payload jsonb := p_event -> 'payload';
  v_received_at timestamptz := (p_event ->> 'received_at')::timestamptz;
  v_serial text := coalesce(v_payload ->> 'chargePointSerialNumber', v_payload ->> 'chargeBoxSerialNumber');
begin
  update public.stations as s
     set last_boot_at = v_received_at,
         -- what an operator has entered stays; station_boots keeps what the station says of itself
         manufacturer = coalesce(nullif(s.manufacturer, ''), v_payload ->> 'chargePointVendor'),
         model = coalesce(nullif(s.model, ''), v_payload ->> 'chargePointModel'),
         firmware_version = coalesce(v_payload ->> 'firmwareVersion', s.firmware_version),
         serial_number = coalesce(s.serial_number, case when not exists (select from public.stations as o where o.serial_number = v_serial) then v_serial end)
   where s.id = p_station.id;
  insert into public.station_boots (station_id, payload, received_at) values (p_station.id, v_payload, v_received_at)
  on conflict (station_id) do update set payload = excluded.payload, received_at = excluded.received_at;
  if p_station.registration_status = 'Accepted' then
    update private.station_connections set booted_at = v_received_at
     where station_id = p_station.id and connection_id = (p_event ->> 'connection_id')::uuid;
  end if;
  update public.commands set effect_at = v_received_at
   where station_id = p_station.id and action = 'Reset' and effect_at is null and sent_at > v_received_at - interval '1 hour';
  return jsonb_build_object(
    'result', jsonb_build_object('status', p_station.registration_status, 'currentTime', private.ocpp_time(v_received_at),
      'interval', case when p_station.registration_status = 'Accepted'
                       then coalesce(private.to_integer(to_jsonb(private.bridge_setting(p_station.id, 'heartbeat_interval_s'))), 300) else 60 end),
    'log', jsonb_build_object('level', 'INFO', 'message', format('BootNotification: vendor=%s, model=%s, firmware=%s, status=%s',
      v_payload ->> 'chargePointVendor', v_payload ->> 'chargePointModel', v_payload ->> 'firmwareVersion', p_station.registration_status)),
    'more', exists (select from public.commands where station_id = p_station.id and status = 'queued'));
end $$;
comment on function private.boot_notification is 'OCPP 1.6 §4.2. The interval is the heartbeat''s, in seconds; not yet accepted: the wait before the next BootNotification.';

grant execute on function private.active_user_id, private.own_client_id, private.operated_stations to anon, authenticated, service_role;

-- What is somebody's own is theirs while they are active.
alter policy "Drivers read their own sessions, operators their stations'" on public.charging_sessions
  using (user_id = (select private.active_user_id()) or station_id = any ((select private.operated_station_ids())::text[]));
alter policy "Users read their own commands, operators their stations'" on public.commands
  using (created_by = (select private.active_user_id()) or station_id = any ((select private.operated_station_ids())::text[]));
alter policy "Drivers read their own tags, operators their company's" on public.id_tags
  using (user_id = (select private.active_user_id()) or client_id = (select private.operated_client_id()) or (select private.is_admin()));
alter policy "Users read the client they belong to, admins all" on public.clients
  using (id = (select private.own_client_id()) or (select private.is_admin()));

-- Meter values and messages are asked for by session, or by station and time; that finds the rows, and these conditions check them.
alter policy "Drivers read their own meter values, operators their stations'" on public.meter_values
  using ((select private.is_admin())
         or exists (select from public.charging_sessions as s where s.id = session_id and s.user_id = (select private.active_user_id()))
         or station_id in (select private.operated_stations()));
drop function private.own_session_ids;
-- Messages outlive their station, and its id may be given again, perhaps by another company.
alter policy "Operators read messages of their stations, admins all" on public.ocpp_messages
  using ((select private.is_admin())
         or station_id in (select private.operated_stations())
            and received_at >= (select s.created_at from public.stations as s where s.id = station_id));
alter policy "Everyone reads connectors of stations they see" on public.connectors
  using (exists (select from public.stations as s where s.id = station_id));
alter policy "Anon reads active rules on show" on public.tariff_rules
  using (is_active and exists (select from public.tariff_plans as p where p.id = tariff_plan_id));
alter policy "Users read active rules on show, operators all of theirs" on public.tariff_rules
  using (exists (select from public.tariff_plans as p
                  where p.id = tariff_plan_id
                    and (tariff_rules.is_active or (select private.is_admin()) or p.client_id = (select private.operated_client_id()))));

-- A balance comes from what was paid, not from a form.
revoke insert, update on public.clients from authenticated;
grant insert (id, kind, name, email, phone, address, contract_number, contract_start_date, contract_end_date, currency, credit_limit, status),
  update (kind, name, email, phone, address, contract_number, contract_start_date, contract_end_date, currency, credit_limit, status)
  on public.clients to authenticated;
