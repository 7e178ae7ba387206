-- Who may do what. Policies call these; roles are read from public.users at each request, never from the token, so that a
-- change of role holds at once.

create or replace function private.user_role() returns public.user_role
language sql stable set search_path = ''
security definer  -- reads the caller's own row whatever the policies of users say
as $$
  select role from public.users where id = auth.uid() and is_active
$$;
comment on function private.user_role is 'Role of the signed-in user; null for anon and for users that are not active.';

create or replace function private.is_admin() returns boolean
language sql stable set search_path = ''
as $$
  select coalesce(private.user_role() in ('admin', 'superadmin'), false)
$$;
comment on function private.is_admin is 'Whether the signed-in user is an admin or superadmin.';

create or replace function private.operated_client_id() returns uuid
language sql stable set search_path = ''
security definer  -- as user_role
as $$
  select client_id from public.users where id = auth.uid() and is_active and role = 'operator'
$$;
comment on function private.operated_client_id is 'Company of the signed-in operator; null for everybody else.';

create or replace function private.operated_station_ids() returns text[]
language sql stable set search_path = ''
security definer  -- one look-up for the whole statement instead of a policy within a policy per row
as $$
  select coalesce(array_agg(s.id), '{}')
    from public.stations as s
    left join public.locations as l on l.id = s.location_id
   where (select private.is_admin()) or l.client_id = (select private.operated_client_id())
$$;
comment on function private.operated_station_ids is 'Stations that the signed-in user runs: an operator the company''s, an admin all.';

create or replace function private.operates_location(p_location_id uuid) returns boolean
language sql stable set search_path = ''
security definer  -- as operated_station_ids
as $$
  select private.is_admin() or exists (
    select from public.locations where id = p_location_id and client_id = private.operated_client_id())
$$;
comment on function private.operates_location is 'Whether the signed-in user runs the location.';

create or replace function private.operates_plan(p_tariff_plan_id uuid) returns boolean
language sql stable set search_path = ''
security definer  -- as operated_station_ids
as $$
  select private.is_admin() or exists (
    select from public.tariff_plans where id = p_tariff_plan_id and client_id = private.operated_client_id())
$$;
comment on function private.operates_plan is 'Whether the signed-in user may change the tariff plan.';

create or replace function private.own_session_ids() returns uuid[]
language sql stable set search_path = ''
security definer  -- as operated_station_ids
as $$
  select coalesce(array_agg(id), '{}') from public.charging_sessions where user_id = auth.uid()
$$;
comment on function private.own_session_ids is 'Sessions of the signed-in driver.';

create or replace function private.may_join(p_topic text) returns boolean
language sql stable set search_path = ''
security definer  -- looks at rows that the caller may not read
as $$
  select case split_part(p_topic, ':', 1)
    when 'session' then exists (
      select from public.charging_sessions as s
       where s.id = case when pg_catalog.pg_input_is_valid(substr(p_topic, 9), 'uuid') then substr(p_topic, 9)::uuid end
         and (s.user_id = auth.uid() or s.station_id = any ((select private.operated_station_ids())::text[])))
    when 'command' then exists (
      select from public.commands as c
       where c.id = case when pg_catalog.pg_input_is_valid(substr(p_topic, 9), 'uuid') then substr(p_topic, 9)::uuid end
         and (c.created_by = auth.uid() or c.station_id = any ((select private.operated_station_ids())::text[])))
    when 'station' then exists (
      select from public.stations as s
       where s.id = substr(p_topic, 9) and (s.status <> 'inactive' or s.id = any ((select private.operated_station_ids())::text[])))
    when 'bridge' then p_topic like 'bridge:_%' and coalesce(private.user_role() = 'bridge', false)
    else false
  end and (auth.role() = 'service_role' or private.user_role() is not null)
$$;
comment on function private.may_join is 'Whether the signed-in user may listen to a Realtime topic: session:{id} and command:{id} their own or the company''s, '
  'station:{id} any that is on the map, bridge:{id} bridges only.';

create or replace function private.may_use_plan(p_location_id uuid, p_tariff_plan_id uuid) returns boolean
language sql stable set search_path = ''
security definer  -- as operated_station_ids
as $$
  select p_tariff_plan_id is null or private.is_admin() or exists (
    select from public.tariff_plans as p
     where p.id = p_tariff_plan_id
       and (p.client_id is null and p.is_active or p.client_id = (select l.client_id from public.locations as l where l.id = p_location_id)))
$$;
comment on function private.may_use_plan is 'Whether a station at the location may have the tariff plan: one of its company, or of the whole service.';

create or replace function private.assert_bridge() returns void
language plpgsql stable set search_path = ''
as $$
begin
  if auth.role() = 'service_role' or private.user_role() = 'bridge' then
    return;
  end if;
  perform private.fail(403, 'OCBRG', 'only a bridge may call this',
    'Sign in as a user whose role in users is bridge, or use the service key.');
end $$;
comment on function private.assert_bridge is 'Ends the request with 403 OCBRG unless the caller is a bridge or the service role.';

create or replace function private.handle_auth_user() returns trigger
language plpgsql volatile set search_path = ''
security definer  -- Auth writes as a role of its own, which has no rights here
as $$
begin
  insert into public.users (id, email, full_name, phone)
  values (new.id, new.email, new.raw_user_meta_data ->> 'full_name', new.phone)
  on conflict (id) do update set email = excluded.email, phone = coalesce(excluded.phone, public.users.phone);
  return new;
end $$;
comment on function private.handle_auth_user is 'Trigger on auth.users: every new user is a driver until an admin says otherwise.';

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
    perform private.fail(403, 'OCPRM', 'only a superadmin may make, change or unmake a superadmin');
  end if;
  return new;
end $$;
comment on function private.guard_users is 'Trigger: the columns of users that give rights are for admins.';

grant execute on function private.user_role, private.is_admin, private.operated_client_id, private.operated_station_ids,
  private.operates_location, private.operates_plan, private.may_use_plan, private.own_session_ids, private.may_join to anon, authenticated, service_role;

-- Users follow Supabase Auth ----------------------------------------------------------------------
create trigger evpower_handle_auth_user after insert or update of email, phone on auth.users
  for each row execute function private.handle_auth_user();
insert into public.users (id, email) select id, email from auth.users on conflict (id) do nothing;
create trigger guard_users before update on public.users for each row execute function private.guard_users();

-- Policies: named as sentences, one per command and role --------------------------------------------
create policy "Everyone reads the map's locations" on public.locations for select to anon, authenticated using (true);
create policy "Operators add locations of their company" on public.locations for insert to authenticated
  with check ((select private.is_admin()) or client_id = (select private.operated_client_id()));
create policy "Operators change locations of their company" on public.locations for update to authenticated
  using ((select private.is_admin()) or client_id = (select private.operated_client_id()))
  with check ((select private.is_admin()) or client_id = (select private.operated_client_id()));
create policy "Operators delete locations of their company" on public.locations for delete to authenticated
  using ((select private.is_admin()) or client_id = (select private.operated_client_id()));

create policy "Anon reads stations that are on the map" on public.stations for select to anon using (status <> 'inactive');
create policy "Users read stations on the map, operators also their others" on public.stations for select to authenticated
  using (status <> 'inactive' or id = any ((select private.operated_station_ids())::text[]));
create policy "Operators add stations at their locations" on public.stations for insert to authenticated
  with check (private.operates_location(location_id) and private.may_use_plan(location_id, tariff_plan_id));
create policy "Operators change their stations" on public.stations for update to authenticated
  using (id = any ((select private.operated_station_ids())::text[])) with check (private.operates_location(location_id) and private.may_use_plan(location_id, tariff_plan_id));
create policy "Operators delete their stations" on public.stations for delete to authenticated
  using (id = any ((select private.operated_station_ids())::text[]));

create policy "Everyone reads connectors of stations they see" on public.connectors for select to anon, authenticated
  using (station_id in (select id from public.stations));
create policy "Operators add connectors to their stations" on public.connectors for insert to authenticated
  with check (station_id = any ((select private.operated_station_ids())::text[]));
create policy "Operators change connectors of their stations" on public.connectors for update to authenticated
  using (station_id = any ((select private.operated_station_ids())::text[]))
  with check (station_id = any ((select private.operated_station_ids())::text[]));
create policy "Operators delete connectors of their stations" on public.connectors for delete to authenticated
  using (station_id = any ((select private.operated_station_ids())::text[]));

create policy "Anon reads active tariff plans" on public.tariff_plans for select to anon using (is_active);
create policy "Users read active tariff plans, operators all of their company" on public.tariff_plans for select to authenticated
  using (is_active or (select private.is_admin()) or client_id = (select private.operated_client_id()));
create policy "Operators add tariff plans of their company" on public.tariff_plans for insert to authenticated
  with check ((select private.is_admin()) or client_id = (select private.operated_client_id()));
create policy "Operators change tariff plans of their company" on public.tariff_plans for update to authenticated
  using ((select private.is_admin()) or client_id = (select private.operated_client_id()))
  with check ((select private.is_admin()) or client_id = (select private.operated_client_id()));
create policy "Operators delete tariff plans of their company" on public.tariff_plans for delete to authenticated
  using ((select private.is_admin()) or client_id = (select private.operated_client_id()));

create policy "Anon reads active rules on show" on public.tariff_rules for select to anon
  using (is_active and tariff_plan_id in (select id from public.tariff_plans));
create policy "Users read active rules on show, operators all of theirs" on public.tariff_rules for select to authenticated
  using (tariff_plan_id in (select id from public.tariff_plans) and (is_active or private.operates_plan(tariff_plan_id)));
create policy "Operators add rules to their tariff plans" on public.tariff_rules for insert to authenticated
  with check (private.operates_plan(tariff_plan_id));
create policy "Operators change rules of their tariff plans" on public.tariff_rules for update to authenticated
  using (private.operates_plan(tariff_plan_id)) with check (private.operates_plan(tariff_plan_id));
create policy "Operators delete rules of their tariff plans" on public.tariff_rules for delete to authenticated
  using (private.operates_plan(tariff_plan_id));

create policy "Users read their own row, operators their company's" on public.users for select to authenticated
  using (id = (select auth.uid()) or client_id = (select private.operated_client_id()) or (select private.is_admin()));
create policy "People change their own row, admins all" on public.users for update to authenticated
  using (id = (select auth.uid()) and (select private.user_role()) <> 'bridge' or (select private.is_admin()))
  with check (id = (select auth.uid()) and (select private.user_role()) <> 'bridge' or (select private.is_admin()));

create policy "Users read the client they belong to, admins all" on public.clients for select to authenticated
  using (id = (select u.client_id from public.users as u where u.id = (select auth.uid())) or (select private.is_admin()));
create policy "Admins add clients" on public.clients for insert to authenticated with check ((select private.is_admin()));
create policy "Admins change clients" on public.clients for update to authenticated
  using ((select private.is_admin())) with check ((select private.is_admin()));
create policy "Admins delete clients" on public.clients for delete to authenticated using ((select private.is_admin()));

create policy "Drivers read their own tags, operators their company's" on public.id_tags for select to authenticated
  using (user_id = (select auth.uid()) or client_id = (select private.operated_client_id()) or (select private.is_admin()));
create policy "Operators add tags of their company" on public.id_tags for insert to authenticated
  with check ((select private.is_admin()) or client_id = (select private.operated_client_id())
              and (user_id is null or user_id in (select u.id from public.users as u where u.client_id = (select private.operated_client_id()))));
create policy "Operators change tags of their company" on public.id_tags for update to authenticated
  using ((select private.is_admin()) or client_id = (select private.operated_client_id()))
  with check ((select private.is_admin()) or client_id = (select private.operated_client_id())
              and (user_id is null or user_id in (select u.id from public.users as u where u.client_id = (select private.operated_client_id()))));
create policy "Operators delete tags of their company" on public.id_tags for delete to authenticated
  using ((select private.is_admin()) or client_id = (select private.operated_client_id()));

create policy "Operators read maintenance of their stations" on public.maintenance for select to authenticated
  using (station_id = any ((select private.operated_station_ids())::text[]));
create policy "Operators add maintenance of their stations" on public.maintenance for insert to authenticated
  with check (station_id = any ((select private.operated_station_ids())::text[]));
create policy "Operators change maintenance of their stations" on public.maintenance for update to authenticated
  using (station_id = any ((select private.operated_station_ids())::text[]))
  with check (station_id = any ((select private.operated_station_ids())::text[]));
create policy "Operators delete maintenance of their stations" on public.maintenance for delete to authenticated
  using (station_id = any ((select private.operated_station_ids())::text[]));

create policy "Drivers read their own sessions, operators their stations'" on public.charging_sessions for select to authenticated
  using (user_id = (select auth.uid()) or station_id = any ((select private.operated_station_ids())::text[]));
create policy "Drivers read their own meter values, operators their stations'" on public.meter_values for select to authenticated
  using (session_id = any ((select private.own_session_ids())::uuid[]) or station_id = any ((select private.operated_station_ids())::text[]));
create policy "Users read their own commands, operators their stations'" on public.commands for select to authenticated
  using (created_by = (select auth.uid()) or station_id = any ((select private.operated_station_ids())::text[]));
-- Messages outlive their station; then no company has it any more.
create policy "Operators read messages of their stations, admins all" on public.ocpp_messages for select to authenticated
  using (station_id = any ((select private.operated_station_ids())::text[]) or (select private.is_admin()));
create policy "Operators read orphans of their stations" on public.transaction_orphans for select to authenticated
  using (station_id = any ((select private.operated_station_ids())::text[]));
create policy "Operators read the configuration of their stations" on public.station_configuration for select to authenticated
  using (station_id = any ((select private.operated_station_ids())::text[]));
create policy "Operators read boots of their stations" on public.station_boots for select to authenticated
  using (station_id = any ((select private.operated_station_ids())::text[]));
create policy "Admins read unknown stations" on public.station_inbox for select to authenticated using ((select private.is_admin()));
create policy "Admins forget unknown stations" on public.station_inbox for delete to authenticated using ((select private.is_admin()));

create policy "Users listen to the topics they may join" on realtime.messages for select to authenticated
  using (extension in ('broadcast', 'presence') and (select private.may_join((select realtime.topic()))));

-- Grants: opened by name ---------------------------------------------------------------------------
grant select on public.locations, public.stations, public.connectors, public.tariff_plans, public.tariff_rules to anon, authenticated;
grant insert, update, delete on public.locations, public.tariff_plans, public.tariff_rules, public.id_tags, public.maintenance,
  public.clients to authenticated;
-- What stations report about themselves (status, errors, boots) nobody else writes.
grant insert (id, station_id, number, type, power), update (station_id, number, type, power), delete on public.connectors to authenticated;
grant delete on public.stations to authenticated;
grant insert (id, location_id, serial_number, model, manufacturer, firmware_version, power_capacity, connector_types,
  installation_date, status, tariff_plan_id, price_per_kwh, session_fee, currency, admin_id, registration_status, strict,
  allow_no_subprotocol, ping_interval_s, ping_timeout_s, clock_time_zone, hold_implausible) on public.stations to authenticated;
grant update (id, location_id, serial_number, model, manufacturer, firmware_version, power_capacity, connector_types,
  installation_date, status, tariff_plan_id, price_per_kwh, session_fee, currency, admin_id, registration_status, strict,
  allow_no_subprotocol, ping_interval_s, ping_timeout_s, clock_time_zone, hold_implausible) on public.stations to authenticated;
grant select, update (email, full_name, phone, role, client_id, admin_id, is_active) on public.users to authenticated;
grant select on public.clients, public.id_tags, public.maintenance, public.charging_sessions, public.meter_values, public.commands,
  public.ocpp_messages, public.transaction_orphans, public.station_configuration, public.station_boots to authenticated;
grant select, delete on public.station_inbox to authenticated;
grant select, insert, update, delete on all tables in schema public to service_role;
grant usage on sequence private.transaction_ids to service_role;
