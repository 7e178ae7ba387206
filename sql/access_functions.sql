-- Who may do what. Policies call these; roles are read from public.users at each request, never from the token, so that a
-- change of role holds at once.

create or replace function private.user_role() returns public.user_role
language sql stable set search_path = ''
security definer  -- reads the caller's own row whatever the policies of users say
as $$
  select role from public.users where id = auth.uid() and is_active
$$;
comment on function private.user_role is 'Role of the signed-in user; null for anon and for users that are not active.';

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

create or replace function private.is_staff() returns boolean
language sql stable set search_path = ''
as $$
  select coalesce(private.user_role() in ('operator', 'admin', 'superadmin'), false)
$$;
comment on function private.is_staff is 'Whether the signed-in user is an operator, admin or superadmin.';

-- For the policies of tables that grow: docs/decisions/009-policies-that-tell-the-planner.md.
create or replace function private.admin_since() returns timestamptz
language sql stable set search_path = ''
as $$
  select case when private.is_admin() then '-infinity'::timestamptz end
$$;
comment on function private.admin_since is 'Admins: before everything; others null, which no row is behind. For policies: created_at >= (…) is a range of an index, is_admin() is not.';

create or replace function private.admin_from() returns uuid
language sql stable set search_path = ''
as $$
  select case when private.is_admin() then '00000000-0000-0000-0000-000000000000'::uuid end
$$;
comment on function private.admin_from is 'As admin_since, for ids.';

create or replace function private.operated_station_range() returns text[]
language sql stable set search_path = ''
security definer  -- as operated_station_ids
as $$
  select case when private.operated_client_id() is not null then (
    select array[min(s.id), max(s.id)] from public.locations as l join public.stations as s on s.location_id = l.id
     where l.client_id = (select private.operated_client_id()))
  end
$$;
comment on function private.operated_station_range is 'First and last of an operator''s stations; null for everybody else. For policies: the planner takes a range for few rows.';

create or replace function private.readable_share() returns uuid
language plpgsql stable set search_path = ''
security definer  -- as user_role
as $$
declare
  v_user public.users;
  v_share numeric := 0;
begin
  select * into v_user from public.users where id = auth.uid() and is_active;
  if v_user.role in ('admin', 'superadmin') then
    v_share := 1;
  elsif v_user.role = 'operator' then
    select count(*)::numeric / greatest((select count(*) from public.stations), 1) into v_share
      from public.locations as l join public.stations as s on s.location_id = l.id
     where l.client_id = v_user.client_id;
  end if;
  return (lpad(to_hex(floor(v_share * 4294967295)::bigint), 8, '0') || '-0000-0000-0000-000000000000')::uuid;
end $$;
comment on function private.readable_share is 'The id below which lies the share of all random ids that the caller may see of what stations do: a driver the first id, an admin the last. '
  'The planner evaluates it for its estimate; no row is ever let through by it.';

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

create or replace function private.topic_id(p_topic text) returns uuid
language sql immutable set search_path = ''
as $$
  select case when pg_catalog.pg_input_is_valid(v, 'uuid') and v::uuid::text = v then v::uuid end
    from pg_catalog.substr(p_topic, pg_catalog.strpos(p_topic, ':') + 1) as v
$$;
comment on function private.topic_id is 'The id behind the colon of a topic; null unless it is spelled as messages are addressed: a topic in another spelling would stay silent.';

create or replace function private.may_join(p_topic text) returns boolean
language sql stable set search_path = ''
security definer  -- looks at rows that the caller may not read
as $$
  select case split_part(p_topic, ':', 1)
    when 'station' then exists (
      select from public.stations as s
       where s.id = substr(p_topic, 9) and (s.status <> 'inactive' or s.id = any ((select private.operated_station_ids())::text[])))
    when 'location' then exists (select from public.locations as l where l.id = private.topic_id(p_topic))
    when 'session' then exists (
      select from public.charging_sessions as s
       where s.id = private.topic_id(p_topic)
         and (s.user_id = auth.uid() or s.station_id = any ((select private.operated_station_ids())::text[])))
    when 'command' then exists (
      select from public.commands as c
       where c.id = private.topic_id(p_topic)
         and (c.created_by = auth.uid() or c.station_id = any ((select private.operated_station_ids())::text[])))
    when 'client' then exists (
      select from public.clients as c
       where c.id = private.topic_id(p_topic) and c.kind = 'operator' and (private.is_admin() or c.id = private.operated_client_id()))
    when 'bridge' then p_topic like 'bridge:_%' and coalesce(private.user_role() = 'bridge', false)
    else false
  end and (auth.role() in ('anon', 'service_role') or private.user_role() is not null)
$$;
comment on function private.may_join is 'Whether the caller may listen to a Realtime topic: station:{id} and location:{id} everybody, for what is on the map; session:{id} and command:{id} their own '
  'or the company''s; client:{id} the company''s operators; bridge:{id} bridges only. Admins all but the last.';

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

create or replace function private.may_use_group(p_parent_id_tag text) returns boolean
language sql stable set search_path = ''
security definer  -- tags of other companies count, which the caller may not read
as $$
  select p_parent_id_tag is null or private.is_admin() or not exists (
    select from public.id_tags as t
     where (lower(t.parent_id_tag) = lower(p_parent_id_tag) or lower(t.id_tag) = lower(p_parent_id_tag))
       and t.client_id is distinct from private.operated_client_id())
$$;
comment on function private.may_use_group is 'Whether the signed-in operator may put a tag into the group (OCPP 1.6 §3.10): one that has no tags of others, whose charges it could stop.';

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
  -- deeper it is handle_auth_user(), which brings what was changed there
  if new.email is distinct from old.email and pg_trigger_depth() = 1 then
    perform private.fail(403, 'OCPRM', 'the e-mail of a user is the one to sign in with', 'Change it in Supabase Auth; users.email follows.');
  end if;
  if current_user <> 'authenticated' then
    return new;  -- not through the API with a user's token
  end if;
  if not private.is_admin() and (new.id, new.role, new.client_id, new.admin_id, new.is_active)
      is distinct from (old.id, old.role, old.client_id, old.admin_id, old.is_active) then
    perform private.fail(403, 'OCPRM', 'only an admin may change role, client, admin or is_active of a user',
      'You may change full_name and phone.');
  end if;
  if 'superadmin' in (new.role, old.role) and private.user_role() <> 'superadmin' then
    perform private.fail(403, 'OCPRM', 'only a superadmin may make, change or unmake a superadmin', 'Ask a superadmin.');
  end if;
  return new;
end $$;
comment on function private.guard_users is 'Trigger: the columns of users that give rights are for admins, and the e-mail is that of Auth.';

-- Cards --------------------------------------------------------------------------------------------
create or replace function private.clean_id_tag() returns trigger
language plpgsql volatile set search_path = ''
security definer  -- calls clean_tag, which is for what stations send
as $$
begin
  new.id_tag := coalesce(private.clean_tag(to_jsonb(new.id_tag)), '');  -- the constraint of the column says what is wrong with ''
  new.parent_id_tag := private.clean_tag(to_jsonb(new.parent_id_tag));
  return new;
end $$;
comment on function private.clean_id_tag is 'Trigger: a tag is kept as clean_tag() reads it from a station. With the blanks of a spreadsheet it would never be found.';
create or replace trigger clean_id_tag before insert or update of id_tag, parent_id_tag on public.id_tags
  for each row execute function private.clean_id_tag();

create or replace function private.void_tags() returns trigger
language plpgsql volatile set search_path = ''
security definer  -- Auth deletes as a role of its own, which has no rights here
as $$
begin
  update public.id_tags set status = 'Invalid'
   where case tg_table_name when 'users' then user_id = old.id and client_id is null else client_id = old.id end;
  return old;
end $$;
comment on function private.void_tags is 'Trigger: when the user or client who pays for a tag is deleted, the tag becomes Invalid. It would go on to charge, and nobody would pay.';
create or replace trigger void_tags before delete on public.users for each row execute function private.void_tags();
create or replace trigger void_tags before delete on public.clients for each row execute function private.void_tags();

grant execute on function private.user_role, private.active_user_id, private.own_client_id, private.is_admin, private.operated_client_id,
  private.operated_station_ids, private.operated_stations, private.operates_location, private.operates_plan, private.may_use_plan, private.may_use_group,
  private.may_join to anon, authenticated, service_role;
grant execute on function private.is_staff, private.admin_since, private.admin_from, private.operated_station_range, private.readable_share
  to authenticated, service_role;
