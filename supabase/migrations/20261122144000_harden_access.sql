-- What a fresh look at rights and at mistakes of people found.

alter table public.stations rename constraint "id has 1 to 255 characters, none of them / or a control" to "id has 1 to 255 characters, no / nor control, no outer blanks";

-- A station may be given the name of one that is gone: the messages stored under that name before are not its own.
alter table public.stations add column named_at timestamptz;
comment on column public.stations.named_at is 'Since when the station has its id; null: since it was registered. Its messages are those since then.';
alter policy "Operators read messages of their stations, admins all" on public.ocpp_messages
  using ((select private.is_staff())  -- asked first, once
         and (received_at >= (select private.admin_since())
              or station_id = any ((select private.operated_station_ids())::text[])
                 and received_at >= (select coalesce(s.named_at, s.created_at) from public.stations as s where s.id = station_id)));

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

-- By what stands in the row: one that is being added or renamed is not among operated_station_ids() yet, so an operator could
-- not add a station that is not to be on the map and read it back, nor rename one.
alter policy "Users read stations on the map, operators also their others" on public.stations
  using (status <> 'inactive' or (select private.is_admin())
         or location_id in (select l.id from public.locations as l where l.client_id = (select private.operated_client_id())));

-- Who leaves the company out means their own, as with locations and tariff plans.
alter table public.client_tariffs alter column company_id set default private.operated_client_id();
alter table public.id_tags alter column client_id set default private.operated_client_id();
comment on column public.client_tariffs.company_id is 'At whose stations: the company that grants it. Null: everywhere; only admins write that. Of the company goes before everywhere, of several the newest. Left out by an operator: their own.';
comment on column public.id_tags.client_id is 'Who pays; null: the client of the user. Left out by an operator: their company.';

create or replace function private.check_owner() returns trigger
language plpgsql volatile set search_path = ''
security definer  -- reads what kind of client it is, whoever writes
as $$
begin
  if exists (select from public.clients where id = new.client_id and kind <> 'operator') then
    perform private.fail(400, 'OCARG', format('client_id of %s must be a company: kind operator', case tg_table_name when 'users' then 'an operator' else tg_table_name end),
      'An account pays; companies own locations and tariff plans, and employ operators.');
  end if;
  return null;
end $$;
comment on function private.check_owner is 'Trigger: locations, tariff plans and operators belong to companies. Behind the write, so that policies are asked first.';

create or replace trigger check_owner after insert or update of role, client_id on public.users
  for each row when (new.role = 'operator' and new.client_id is not null) execute function private.check_owner();

create or replace function private.check_company() returns trigger
language plpgsql volatile set search_path = ''
security definer  -- as check_owner
as $$
begin
  if exists (select from public.locations where client_id = new.id) or exists (select from public.tariff_plans where client_id = new.id)
     or exists (select from public.users where client_id = new.id and role = 'operator') then
    perform private.fail(409, 'OCARG', format('"%s" has locations, tariff plans or operators: it stays a company', new.name), 'Open another client, of kind account.');
  end if;
  return null;
end $$;
comment on function private.check_company is 'Trigger: what check_owner() asked of a client stays so. 409 OCARG.';
create or replace trigger check_company after update of kind on public.clients
  for each row when (old.kind = 'operator' and new.kind <> 'operator') execute function private.check_company();

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
-- Blanks in tags that are there already; one that would then be another's stays as it is.
update public.id_tags as t set id_tag = t.id_tag
 where t.id_tag <> btrim(t.id_tag) and not exists (select from public.id_tags as o where o.id <> t.id and lower(btrim(o.id_tag)) = lower(btrim(t.id_tag)));

-- The refusal told an operator what the account of anybody has.
create or replace function private.begin_charge(p_user_id uuid, p_station public.stations, p_connector_id integer, p_limit_energy_kwh numeric,
  p_limit_amount numeric) returns public.charging_sessions
language plpgsql volatile set search_path = ''
as $$
declare
  v_connector public.connectors;
  v_session public.charging_sessions;
  v_client_id uuid;
  v_tariff jsonb;
  v_hold record;
  -- An operator who starts for somebody is not told how much money that is.
  v_tell boolean := p_user_id is not distinct from auth.uid() or private.is_admin() or private.sees_all();
begin
  -- as they are stored; NaN and infinity are greater than every number
  if not coalesce(round(p_limit_energy_kwh, 3) between 0.001 and 1e9, true) or not coalesce(round(p_limit_amount, 2) between 0.01 and 1e9, true) then
    perform private.fail(400, 'OCARG', 'a limit must be more than 0 and at most 1000000000', 'Leave a limit out to charge without it.');
  end if;
  select client_id into v_client_id from public.users where id = p_user_id;
  if exists (select from public.clients where id = v_client_id and status <> 'active') then
    perform private.fail(403, 'OCBLK', 'the account is not active', 'Ask the operator of the service.');
  end if;
  if p_station.status <> 'active' then
    perform private.fail(409, 'OCINA', format('station "%s" is out of service (%s)', p_station.id, p_station.status), 'Choose another station.');
  end if;
  perform private.assert_registered(p_station, 'RemoteStartTransaction');
  if not private.is_online(p_station.id) then
    perform private.fail(409, 'OCOFF', format('station "%s" is offline', p_station.id), 'Try again when station_status says online.');
  end if;

  perform private.lock_stations(array[p_station.id]);  -- of two who press at the same time one is second
  -- A start that came to nothing a moment ago is in nobody's way.
  perform private.lock_accounts(array(select s.client_id from public.charging_sessions as s where s.station_id = p_station.id and s.status = 'pending') || v_client_id);
  perform private.expire_starts(p_station_id => p_station.id);
  if p_connector_id is null then
    -- Pressed twice: the connector chosen then. Else where the car is plugged in, else the first that is free.
    select c.* into v_connector from public.connectors as c
      left join public.charging_sessions as s on s.station_id = c.station_id and s.connector_id = c.number and s.status in ('pending', 'started')
       and not private.is_abandoned(s, c)
     where c.station_id = p_station.id
       and (s.id is null and coalesce(c.status, 'Available') in ('Preparing', 'Available', 'Finishing')
            or s.status = 'pending' and s.user_id is not distinct from p_user_id)
     order by s.id is null, c.status is distinct from 'Preparing', coalesce(c.status, 'Available') <> 'Available', c.number
     limit 1;
    if not found then
      if exists (select from public.connectors as c where c.station_id = p_station.id) then
        perform private.fail(409, 'OCBSY', format('station "%s" has no free connector', p_station.id), 'Try again later.');
      end if;
      perform private.ensure_connector(p_station.id, 1);
      select c.* into v_connector from public.connectors as c where c.station_id = p_station.id;
    end if;
  else
    select c.* into v_connector from public.connectors as c
     where c.station_id = p_station.id and c.number = p_connector_id;
    if not found then
      perform private.fail(404, 'OCCON', format('station "%s" has no connector %s', p_station.id, p_connector_id),
        'station_status lists the connectors.');
    end if;
    if v_connector.status in ('Faulted', 'Unavailable', 'Reserved') then
      perform private.fail(409, 'OCUNA', format('connector %s is %s', v_connector.number, v_connector.status), 'Choose another connector.');
    end if;
  end if;

  select * into v_session from public.charging_sessions as s
   where s.station_id = p_station.id and s.connector_id = v_connector.number and s.status in ('pending', 'started')
     and not private.is_abandoned(s, v_connector)
   order by s.created_at desc limit 1;
  if found then
    if v_session.status = 'pending' and v_session.user_id is not distinct from p_user_id
       and (v_session.limit_energy_kwh, v_session.limit_amount) is not distinct from (p_limit_energy_kwh::numeric(14, 3), p_limit_amount::numeric(14, 2)) then
      return v_session;  -- pressed twice
    end if;
    perform private.fail(409, 'OCBSY', format('connector %s is in use', v_connector.number), 'Stop that session first, or choose another connector.');
  end if;

  v_tariff := private.tariff_snapshot(p_station.id, v_connector.number, now(), v_client_id);
  if p_limit_amount is not null and private.quote(v_tariff, 0, now()) >= p_limit_amount then  -- it would be stopped, and paid for, as soon as it began
    perform private.fail(400, 'OCARG', format('a limit of %s %s leaves nothing to charge with: the start alone costs %s', round(p_limit_amount, 2), v_tariff ->> 'currency',
        round(private.quote(v_tariff, 0, now()), 2)), 'Set a higher limit, or none.');
  end if;
  insert into public.charging_sessions as s (station_id, connector_id, user_id, client_id, id_tag, limit_energy_kwh, limit_amount, currency,
      expires_at)
  values (p_station.id, v_connector.number, (select u.id from public.users as u where u.id = p_user_id),
      v_client_id,
      -- 14 hex digits: what every reader's and station's idea of a tag admits
      upper(left(replace(gen_random_uuid()::text, '-', ''), 14)),
      p_limit_energy_kwh, p_limit_amount,
      coalesce(v_tariff ->> 'currency', p_station.currency),
      now() + interval '2 minutes')
  returning * into v_session;
  select * into v_hold from private.take_hold(v_session, v_tariff, now(), v_session.limit_type = 'none');
  if v_hold.problem = 'no_funds' then
    perform private.fail(402, 'OCBAL', concat('the account does not cover this charge',
        case when v_tell then format(': %s %s are available', v_hold.available, v_hold.currency) end,
        case when v_tell and v_session.limit_type <> 'none' then format(', %s needed', v_hold.wanted) end), 'Top the account up, or set a lower limit.');
  elsif v_hold.problem = 'unpaid_before' then
    perform private.fail(402, 'OCDUE', concat(case when v_tell then format('%s %s', v_hold.unpaid, v_hold.currency) else 'bills' end,
        case when v_tell then ' are unpaid from earlier sessions' else ' of earlier sessions are unpaid' end), 'Top the account up: what it owes is charged at once.');
  elsif v_hold.problem = 'wrong_currency' then
    perform private.fail(409, 'OCCUR', format('the account is in %s, the station''s prices are in %s', v_hold.currency, v_session.currency), 'Use an account in the station''s currency.');
  elsif v_hold.problem = 'no_account' then
    perform private.fail(402, 'OCACC', 'no account pays for this user', 'An admin sets users.client_id.');
  end if;
  if v_hold.taken > 0 then
    update public.charging_sessions as s set held_amount = v_hold.taken where s.id = v_session.id returning * into v_session;
  end if;
  insert into public.commands (station_id, action, payload, session_id)
  values (p_station.id, 'RemoteStartTransaction',
      jsonb_build_object('connectorId', v_session.connector_id, 'idTag', v_session.id_tag), v_session.id);
  return v_session;
end $$;
comment on function private.begin_charge is 'A pending session for this user, its hold and its RemoteStartTransaction.';

-- A location in +06:00 had its night at noon.
create or replace function private.is_time_zone(p_name text) returns boolean
language plpgsql stable set search_path = ''
as $$
begin
  -- PostgreSQL also takes zones as POSIX writes them: there +06:00 lies west of Greenwich.
  if p_name ~ '[0-9]' and not exists (select from pg_catalog.pg_timezone_names as z where lower(z.name) = lower(p_name)) then
    return false;
  end if;
  return now() at time zone p_name is not null;
exception when invalid_parameter_value then
  return false;
end $$;
comment on function private.is_time_zone is 'Whether this is the name of a time zone, as the IANA data base has them. An offset is none.';

create or replace function private.check_time_zone() returns trigger
language plpgsql volatile set search_path = ''
as $$
begin
  if not private.is_time_zone(to_jsonb(new) ->> tg_argv[0]) then
    raise exception '% "%" is not known', tg_argv[0], to_jsonb(new) ->> tg_argv[0]
      using errcode = '22023', hint = 'Use a name of the IANA data base, such as Asia/Bishkek; an offset such as +06:00 is none.';
  end if;
  return new;
end $$;
comment on function private.check_time_zone is 'Trigger: refuses what is no time zone, in the column that its argument names.';
grant execute on function private.is_time_zone to authenticated, service_role;

-- Who may not delete a row because it is in use is told what to do.
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

-- What waits for a station that is away: a command sent by mistake, a session that it will never end.
create or replace function public.cancel_command(command_id uuid) returns public.commands
language plpgsql volatile set search_path = ''
security definer  -- as send_command
as $$
declare
  v_command public.commands;
begin
  perform private.assert_person();
  perform private.lock_stations(array(select c.station_id from public.commands as c where c.id = cancel_command.command_id));
  select * into v_command from public.commands as c where c.id = cancel_command.command_id and private.operates_station(c.station_id) for update;
  if not found then
    perform private.fail(404, 'OCCMD', 'no such command', 'Operators call off the commands to their own stations.');
  elsif v_command.session_id is not null then
    perform private.fail(409, 'OCSNT', 'the command belongs to a charge', 'stop_charge() calls off a charge that has not begun.');
  elsif v_command.status = 'queued' then
    -- sent once already, and waiting to be sent again: as private.expire_waiting() says it
    update public.commands as c
       set status = case c.attempts when 0 then 'cancelled' else 'timed_out' end::public.command_status,
           error = case c.attempts when 0 then 'called off' else 'called off; the connection was lost before the station answered; whether it acted is not known' end
     where c.id = v_command.id returning * into v_command;
  elsif v_command.status <> 'cancelled' then
    perform private.fail(409, 'OCSNT', format('the command is %s', v_command.status), 'Only what waits to be sent can be called off.');
  end if;
  return v_command;
end $$;
comment on function public.cancel_command is 'For operators: calls off a command that waits to be sent. A repeat changes nothing. 404 OCCMD, 409 OCSNT, 403 OCPRM.';

create or replace function public.close_session(session_id uuid) returns public.charging_sessions
language plpgsql volatile set search_path = ''
security definer  -- as start_charge
as $$
declare
  v_session public.charging_sessions;
begin
  perform private.assert_person();
  perform private.lock_stations(array(select s.station_id from public.charging_sessions as s where s.id = close_session.session_id));
  select * into v_session from public.charging_sessions as s
   where s.id = close_session.session_id and private.operates_station(s.station_id) for update;
  if not found then
    perform private.fail(404, 'OCSES', 'no such session', 'Operators close the sessions of their own stations.');
  elsif v_session.status = 'pending' or v_session.status = 'started' and private.is_online(v_session.station_id) then
    perform private.fail(409, 'OCCLO', case v_session.status when 'pending' then 'the session has not begun' else format('station "%s" is online', v_session.station_id) end,
      'stop_charge() stops the session, or calls it off.');
  end if;
  -- where no meter value came, until the station was last heard of: time may cost
  perform private.end_provisionally(v_session.id, coalesce(
    (select n.last_message_at from private.station_connections as n where n.station_id = v_session.station_id), v_session.start_time));
  select * into v_session from public.charging_sessions as s where s.id = v_session.id;
  return v_session;
end $$;
comment on function public.close_session is 'For operators: ends a session at its last register whose station is offline and does not come back. It is settled a day later; until then a '
  'StopTransaction that comes after all wins. A repeat changes nothing. 404 OCSES, 409 OCCLO, 403 OCPRM.';

grant execute on function public.cancel_command, public.close_session to authenticated, service_role;

-- The hints of errors send people in the dashboard to functions that knew nobody without a token.
create or replace function private.sees_all() returns boolean
language sql stable set search_path = ''
as $$
  -- current_user is no use here: in a security definer function it is the owner
  select case when auth.role() is null then session_user <> 'authenticator' and current_setting('role') not in ('anon', 'authenticated')
              else auth.role() = 'service_role' end
$$;
comment on function private.sees_all is 'The service role, and whoever talks to the database itself, without a token: the dashboard. They may do what an admin may.';

create or replace function private.assert_treasurer() returns void
language plpgsql stable set search_path = ''
as $$
begin
  if not (private.sees_all() or private.is_admin()) then
    perform private.fail(403, 'OCPRM', 'only an admin may move money', 'Sign in as an admin; a payment service uses the service key.');
  end if;
end $$;
comment on function private.assert_treasurer is 'Ends the request with 403 OCPRM unless an admin, the service role or the dashboard calls.';

create or replace function private.operates_station(p_station_id text) returns boolean
language sql stable set search_path = ''
as $$
  select private.sees_all() or private.is_admin() or exists (
    select from public.stations as s join public.locations as l on l.id = s.location_id
     where s.id = p_station_id and l.client_id = private.operated_client_id())
$$;
comment on function private.operates_station is 'Whether the caller runs the station.';

create or replace function private.assert_person() returns void
language plpgsql stable set search_path = ''
as $$
begin
  if private.sees_all() then
    return;
  end if;
  if private.user_role() is null then
    perform private.fail(403, 'OCPRM', 'this user may not act', 'Sign in as an active user.');
  elsif private.user_role() = 'bridge' then
    perform private.fail(403, 'OCPRM', 'a bridge may not command stations', 'Sign in as a person.');
  end if;
end $$;
comment on function private.assert_person is 'Ends the request with 403 OCPRM unless an active person, the service role or the dashboard calls.';

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

create or replace function private.managed_plan(p_plan_id uuid) returns public.tariff_plans
language plpgsql stable set search_path = ''
as $$
declare
  v_plan public.tariff_plans;
begin
  select * into v_plan from public.tariff_plans as p
   where p.id = p_plan_id
     and (private.sees_all() or private.is_admin()
          or private.operated_client_id() is not null and (p.client_id = private.operated_client_id() or p.client_id is null and p.is_active));
  if not found then
    perform private.fail(404, 'OCPLN', 'no such tariff plan', 'Operators price by plans of their company and of the whole service: GET /rest/v1/tariff_plans.');
  end if;
  return v_plan;
end $$;
comment on function private.managed_plan is 'A plan that the caller may price by: operators one of their company or of the whole service, admins any. 404 OCPLN otherwise.';

create or replace function public.receipt(session_id uuid) returns jsonb
language plpgsql stable set search_path = ''
security definer  -- company and location of a bill are for those who may see it, whatever the policies of clients say
as $$
declare
  v_session public.charging_sessions;
  v_station public.stations;
  v_location public.locations;
  v_company public.clients;
  v_bill jsonb;
  v_parking timestamptz;
  v_end timestamptz;
begin
  select s.* into v_session from public.charging_sessions as s
   where s.id = receipt.session_id
     and (private.sees_all() or s.station_id = any (private.operated_station_ids())
          or private.user_role() is not null and (s.user_id = auth.uid()
             or s.client_id = (select u.client_id from public.users as u where u.id = auth.uid())));
  if not found then
    perform private.fail(404, 'OCSES', 'no such session', 'Drivers see their own sessions, an account those that it pays, operators those at their stations.');
  end if;
  select * into v_station from public.stations where id = v_session.station_id;
  select * into v_location from public.locations where id = v_station.location_id;
  select * into v_company from public.clients where id = v_location.client_id;

  v_bill := case when v_session.settled_at is not null then v_session.receipt
                 when v_session.start_time is not null and v_session.tariff is not null then private.price_so_far(v_session, private.priced_until(v_session)) end;
  v_end := coalesce(v_session.stop_time, private.priced_until(v_session), v_session.meter_last_at + coalesce(v_session.clock_offset, '0'), v_session.start_time);
  v_parking := least(v_session.parking_start_time, v_end);
  return jsonb_build_object(
      'session_id', v_session.id, 'transaction_id', v_session.transaction_id, 'status', v_session.status, 'final', v_session.settled_at is not null,
      'company', jsonb_strip_nulls(jsonb_build_object('name', v_company.name, 'address', v_company.address, 'phone', v_company.phone, 'email', v_company.email)),
      'location', jsonb_strip_nulls(jsonb_build_object('name', v_location.name, 'address', v_location.address, 'city', v_location.city, 'country', v_location.country)),
      'station_id', v_session.station_id, 'connector_id', v_session.connector_id, 'connector_type', v_session.tariff -> 'connector_type', 'plan_name', v_session.tariff -> 'plan_name',
      'discount_percent', v_session.tariff -> 'discount_percent',
      'start_time', v_session.start_time, 'stop_time', v_session.stop_time, 'time_zone', coalesce(v_session.tariff ->> 'time_zone', v_location.time_zone),
      'settled_at', v_session.settled_at, 'energy_kwh', trim_scale(round(v_session.energy_wh / 1000, 3)),
      'charging_minutes', trim_scale(round(extract(epoch from coalesce(v_parking, v_end) - v_session.start_time) / 60, 2)),
      'parking_minutes', trim_scale(round(coalesce(extract(epoch from v_end - v_parking) / 60, 0), 2)))
    || coalesce(v_bill, jsonb_build_object('cost', 0, 'currency', v_session.currency, 'lines', '[]'::jsonb));
end $$;
comment on function public.receipt is 'The itemised bill of a session for its driver, the people of the account that pays and the station''s operator: company, location, station, times, energy_kwh, '
  'charging_minutes, parking_minutes, lines, cost, currency, and cost_before_vat, vat, vat_lines where VAT is known. final: false while it runs or is held: the cost so far. 404 OCSES.';

-- An e-mail changed here alone is not the one to sign in with.
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
comment on column public.users.email is 'To sign in with, as Supabase Auth has it: changed there.';

-- A list of numbers is no list of keys.
create or replace function private.check_command(p_action text, p_payload jsonb) returns void
language plpgsql immutable set search_path = ''
as $$
declare
  -- What OCPP 1.6 §6 requires, as key -> values it may have ("integer", "string", or a list of words).
  v_required jsonb := '{
    "RemoteStartTransaction": {"idTag": "string"},
    "RemoteStopTransaction": {"transactionId": "integer"},
    "Reset": {"type": ["Hard", "Soft"]},
    "TriggerMessage": {"requestedMessage": ["BootNotification", "DiagnosticsStatusNotification", "FirmwareStatusNotification", "Heartbeat",
                                            "MeterValues", "StatusNotification"]},
    "UnlockConnector": {"connectorId": "integer"},
    "ChangeAvailability": {"connectorId": "integer", "type": ["Inoperative", "Operative"]},
    "ChangeConfiguration": {"key": "string", "value": "string"},
    "GetConfiguration": {}, "ClearCache": {}, "DataTransfer": {"vendorId": "string"}
  }';
  v_key text;
  v_kind jsonb;
begin
  if p_action is null or not v_required ? p_action then
    perform private.fail(400, 'OCACT', format('"%s" is not a command', p_action),
      'Commands: ' || (select string_agg(k, ', ' order by k) from jsonb_object_keys(v_required) as k) || '.');
  end if;
  if jsonb_typeof(p_payload) is distinct from 'object' then
    perform private.fail(400, 'OCPAY', 'the payload must be a JSON object', 'Without parameters send {}.');
  end if;
  for v_key, v_kind in select * from jsonb_each(v_required -> p_action) loop
    if not p_payload ? v_key then
      perform private.fail(400, 'OCPAY', format('%s needs "%s"', p_action, v_key), 'OCPP 1.6 §6 lists the fields of each command.');
    end if;
    if (case when jsonb_typeof(v_kind) = 'array' then jsonb_typeof(p_payload -> v_key) <> 'string' or not v_kind ? (p_payload ->> v_key)
            when v_kind = '"integer"' then jsonb_typeof(p_payload -> v_key) <> 'number' or private.to_integer(p_payload -> v_key) is null
                                           or (v_key = 'connectorId' and private.to_integer(p_payload -> v_key) < 0)
            else jsonb_typeof(p_payload -> v_key) <> 'string' or p_payload ->> v_key = '' and v_key <> 'value' end) then
      perform private.fail(400, 'OCPAY', format('%s: "%s" cannot be %s', p_action, v_key, p_payload -> v_key),
        case when jsonb_typeof(v_kind) = 'array' then 'One of: ' || (select string_agg(w, ', ') from jsonb_array_elements_text(v_kind) as w) || '.'
             else format('It must be %s.', case v_kind #>> '{}' when 'integer' then 'a whole number, not negative for a connector' else 'a text that is not empty' end) end);
    end if;
  end loop;
  if p_action = 'RemoteStartTransaction' and (char_length(p_payload ->> 'idTag') > 20 or (p_payload ? 'connectorId' and coalesce(private.to_integer(p_payload -> 'connectorId'), 0) < 1)) then
    perform private.fail(400, 'OCPAY', 'RemoteStartTransaction: idTag has at most 20 characters and connectorId begins at 1',
      'start_charge chooses both for you.');
  end if;
  if p_action = 'UnlockConnector' and private.to_integer(p_payload -> 'connectorId') < 1 then
    perform private.fail(400, 'OCPAY', 'UnlockConnector: connectorId begins at 1', 'station_status lists the connectors.');
  end if;
  if p_action = 'GetConfiguration' and p_payload ? 'key'
     and (jsonb_typeof(p_payload -> 'key') <> 'array' or p_payload @? 'strict $.key[*] ? (@.type() != "string")') then
    perform private.fail(400, 'OCPAY', 'GetConfiguration: "key" must be a list of texts', 'Leave it out to ask for all keys.');
  end if;
end $$;
comment on function private.check_command is 'Refuses what no station could take: 400 OCACT for the action, 400 OCPAY for its payload.';
