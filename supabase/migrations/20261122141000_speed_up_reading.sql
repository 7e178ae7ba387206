-- Nobody's list grows dearer with the tables: policies that find the rows of each role by index, and tell the planner how many
-- they are. docs/decisions/009-policies-that-tell-the-planner.md.

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

grant execute on function private.is_staff, private.admin_since, private.admin_from, private.operated_station_range, private.readable_share
  to authenticated, service_role;

-- Charges name their station -----------------------------------------------------------------------
alter table public.ledger_entries add column station_id text references public.stations (id) on delete restrict on update cascade;
comment on column public.ledger_entries.station_id is 'Of a charge, refund or waiver: the station of its session, whose operator reads it. Null: only the account holder and admins do.';
alter table public.ledger_entries disable trigger keep_entry;
update public.ledger_entries as e set station_id = s.station_id from public.charging_sessions as s where s.id = e.session_id and e.kind::text in ('charge', 'refund', 'waiver');
alter table public.ledger_entries enable trigger keep_entry;

create or replace function private.name_station() returns trigger
language plpgsql volatile set search_path = ''
as $$
begin
  new.station_id := case when new.kind in ('charge', 'refund', 'waiver') then (select s.station_id from public.charging_sessions as s where s.id = new.session_id) end;
  return new;
end $$;
comment on function private.name_station is 'Trigger: charges, refunds and waivers name the station of their session, whose operator reads them.';
create or replace trigger name_station before insert on public.ledger_entries for each row execute function private.name_station();

create or replace function private.keep_entry() returns trigger
language plpgsql volatile set search_path = ''
as $$
begin
  -- The exceptions are the foreign keys': a session that never began may be deleted, its hold and release stay; a station may be renamed.
  if tg_op = 'UPDATE' and pg_trigger_depth() > 1 then
    if (new.session_id is null or new.session_id = old.session_id)
        and to_jsonb(new) - '{session_id,station_id}'::text[] = to_jsonb(old) - '{session_id,station_id}'::text[]
        and (new.station_id is null) = (old.station_id is null) then
      return new;
    end if;
  end if;
  perform private.fail(403, 'OCLED', 'entries of the ledger are never changed nor deleted', 'Book another: correct_balance(), refund_session().');
  return null;
end $$;
comment on function private.keep_entry is 'Trigger: the ledger is only ever appended to, whoever asks.';

-- Indexes ------------------------------------------------------------------------------------------
create index charging_sessions_created_at_idx on public.charging_sessions (created_at desc, id desc);
create index charging_sessions_newest_idx on public.charging_sessions (start_time desc);
-- Of what is under way the planner knows not how little it is (equality of enums is not leakproof): an index for each order that is asked for.
create index charging_sessions_open_created_at_idx on public.charging_sessions (created_at desc, id desc) where status in ('pending', 'started');
create index charging_sessions_open_start_time_idx on public.charging_sessions (start_time desc) where status in ('pending', 'started');
create index charging_sessions_open_transaction_id_idx on public.charging_sessions (transaction_id desc) where status in ('pending', 'started');
drop index public.commands_created_at_idx;
create index commands_created_at_idx on public.commands (created_at desc, id desc);
create index ledger_entries_created_at_idx on public.ledger_entries (created_at desc, id desc);
create index ledger_entries_station_id_idx on public.ledger_entries (station_id, created_at desc);
create index meter_values_reported_at_idx on public.meter_values (reported_at desc);
create index ocpp_messages_received_at_idx on public.ocpp_messages (received_at desc);

-- Policies: each arm finds its rows by one index, and is false for whom it is not meant -----------------
-- 1. Admins all. 2. What is one's own. 3. Operators what is at their stations. 4. Nothing, ever: it tells the planner the share.
alter policy "Drivers read their own sessions, operators their stations'" on public.charging_sessions
  using (created_at >= (select private.admin_since()) and created_at <= (select 'infinity'::timestamptz)
         and id >= (select private.admin_from()) and id <= (select 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)
         or user_id = (select private.active_user_id())
         or station_id = any ((select private.operated_station_ids())::text[])
            and station_id >= (select (private.operated_station_range())[1]) and station_id <= (select (private.operated_station_range())[2])
         or id < (select '00000000-0000-0000-0000-000000000000'::uuid) and id < private.readable_share());
alter policy "Users read their own commands, operators their stations'" on public.commands
  using (created_at >= (select private.admin_since()) and created_at <= (select 'infinity'::timestamptz)
         and id >= (select private.admin_from()) and id <= (select 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)
         or created_by = (select private.active_user_id())
         or station_id = any ((select private.operated_station_ids())::text[])
            and station_id >= (select (private.operated_station_range())[1]) and station_id <= (select (private.operated_station_range())[2])
         or id < (select '00000000-0000-0000-0000-000000000000'::uuid) and id < private.readable_share());
drop policy "Account holders read their entries, operators charges at their " on public.ledger_entries;
create policy "Account holders read their entries, operators charges" on public.ledger_entries for select to authenticated
  using (created_at >= (select private.admin_since()) and created_at <= (select 'infinity'::timestamptz)
         and id >= (select private.admin_from()) and id <= (select 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)
         or client_id = (select private.own_client_id())
         or station_id = any ((select private.operated_station_ids())::text[])
            and station_id >= (select (private.operated_station_range())[1]) and station_id <= (select (private.operated_station_range())[2])
         or id < (select '00000000-0000-0000-0000-000000000000'::uuid) and id < private.readable_share());
alter policy "Drivers read their own tags, operators their company's" on public.id_tags
  using (id >= (select private.admin_from()) and id <= (select 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)
         or user_id = (select private.active_user_id())
         or client_id = (select private.operated_client_id()));

-- The share is the caller's, so is the plan: PostgREST must not keep one for everybody. Functions that are called often say otherwise for themselves.
do $$
begin
  alter role authenticated set plan_cache_mode = force_custom_plan;
exception when insufficient_privilege then
  raise warning 'plan_cache_mode of role authenticated could not be set: lists may become slow, set it by hand';
end $$;
notify pgrst, 'reload config';
