-- Live updates: triggers write to private Realtime topics. Payload shapes, and what they cost: docs/realtime.md.
-- realtime.send() never fails its caller; whoever must not miss a thing reads the tables.

-- The budget: how many messages Realtime takes before it drops them, the bridges' wake-ups too ------------
create or replace function private.live_room() returns numeric
language plpgsql volatile set search_path = '' set plan_cache_mode = force_generic_plan
as $$
begin
  return (select least(1, (p.counted_until - n.last_value + c.live_budget_per_s * extract(epoch from clock_timestamp() - p.counted_at)) / (2 * c.live_budget_per_s))
            from private.settings as c, private.live_pace as p, private.live_messages as n);
end $$;
comment on function private.live_room is 'What is left of the budget of messages, as a share of what may be sent in 2 s: 1 after a quiet moment, 0 used up, less than 0 overdrawn. '
  'Without a lock: a sequence counts.';

create or replace function private.publish(p_kind text, p_id text, p_event text, p_payload jsonb) returns void
language plpgsql volatile set search_path = '' set plan_cache_mode = force_generic_plan
as $$
begin
  -- Who waits for an own session or command is told when boards and maps are not told any more.
  if p_id is not null and p_kind = any ((select live_topics from private.settings)::text[])
     and private.live_room() > (case when p_kind in ('session', 'command') then -0.5 else 0 end) then
    perform nextval('private.live_messages');
    perform realtime.send(p_payload, p_event, p_kind || ':' || p_id, true);
  end if;
end $$;
comment on function private.publish is 'Sends an event to the private topic kind:id, unless private.settings.live_topics leaves that kind out or the budget is used up. Without id nothing: a station at no location has no company.';

create or replace function private.company_of(p_station_id text) returns text
language plpgsql stable set search_path = '' set plan_cache_mode = force_generic_plan
as $$
begin
  return (select l.client_id from public.stations as s join public.locations as l on l.id = s.location_id where s.id = p_station_id);
end $$;
comment on function private.company_of is 'Id of the company that runs the station; null for one at no location.';

-- Sessions -----------------------------------------------------------------------------------------
create or replace function private.session_message(p_session public.charging_sessions) returns jsonb
language plpgsql stable set search_path = ''
as $$
begin
  return jsonb_build_object(
    'session_id', p_session.id, 'status', p_session.status, 'station_id', p_session.station_id, 'connector_id', p_session.connector_id,
    'transaction_id', p_session.transaction_id, 'start_time', p_session.start_time, 'stop_time', p_session.stop_time, 'energy', p_session.energy,
    'amount', p_session.amount, 'currency', p_session.currency, 'power_w', p_session.power_w, 'soc_percent', p_session.soc_percent,
    'limit_energy_kwh', p_session.limit_energy_kwh, 'limit_amount', p_session.limit_amount, 'held_amount', p_session.held_amount,
    'unpaid_amount', p_session.unpaid_amount, 'limit_warned_at', p_session.limit_warned_at, 'limit_reached_at', p_session.limit_reached_at,
    'stop_reason', p_session.stop_reason, 'error', p_session.error, 'receipt', p_session.receipt);
end $$;
comment on function private.session_message is 'A session as its topic and that of its company carry it.';

create or replace function private.publish_session() returns trigger
language plpgsql volatile set search_path = '' set plan_cache_mode = force_generic_plan
security definer  -- whoever causes the change may not write to realtime.messages
as $$
declare
  v_step boolean := tg_op = 'INSERT'
    or (old.status, old.settled_at, old.limit_reached_at) is distinct from (new.status, new.settled_at, new.limit_reached_at);
  v_message jsonb;
begin
  if not v_step then
    if new.live_at > clock_timestamp() - (select greatest(c.live_update_interval, p.session_interval) from private.settings as c, private.live_pace as p)
       or private.live_room() < 0.5 then
      return new;  -- too soon after the last; private.catch_up_topics() sends what no meter value follows
    end if;
    new.live_at := clock_timestamp();
  end if;
  v_message := private.session_message(new);
  if tg_op = 'UPDATE' then  -- of a new one nobody has the id yet
    perform private.publish('session', new.id::text, 'session', v_message);
  end if;
  if v_step then
    perform private.publish('client', private.company_of(new.station_id), 'session', v_message);
  end if;
  return new;
end $$;
comment on function private.publish_session is 'Trigger: sends a session to its topic, at once when its status changes or its limit is reached, else at most once in private.settings.live_update_interval, '
  'less often still when many charge or half of the budget is used up. Its company hears of those steps only.';
create or replace trigger publish_new_session after insert on public.charging_sessions for each row execute function private.publish_session();
create or replace trigger publish_session before update on public.charging_sessions for each row
  when ((old.status, old.priced_at, old.limit_reached_at) is distinct from (new.status, new.priced_at, new.limit_reached_at))
  execute function private.publish_session();

-- Commands -----------------------------------------------------------------------------------------
create or replace function private.command_message(p_command public.commands) returns jsonb
language plpgsql stable set search_path = ''
as $$
begin
  return jsonb_build_object('command_id', p_command.id, 'station_id', p_command.station_id, 'action', p_command.action, 'status', p_command.status,
    'result', p_command.result, 'error', p_command.error, 'late', p_command.late, 'session_id', p_command.session_id, 'created_at', p_command.created_at,
    'sent_at', p_command.sent_at, 'answered_at', p_command.answered_at, 'effect_at', p_command.effect_at);
end $$;
comment on function private.command_message is 'A command as its topic and that of its station''s company carry it.';

create or replace function private.publish_command() returns trigger
language plpgsql volatile set search_path = '' set plan_cache_mode = force_generic_plan
security definer  -- as publish_session
as $$
declare
  v_message jsonb := private.command_message(new);
begin
  if tg_op = 'UPDATE' then  -- as publish_session
    perform private.publish('command', new.id::text, 'command', v_message);
  end if;
  -- Sent at once: a company with many commands hears it with the answer, which has sent_at. Where that takes long, private.catch_up_topics() tells.
  if tg_op = 'INSERT' or new.status <> 'sent' or new.sent_at > new.created_at + interval '1 second' then
    perform private.publish('client', private.company_of(new.station_id), 'command', v_message);
  end if;
  return null;
end $$;
comment on function private.publish_command is 'Trigger: sends each step of a command''s life to its topic, and to that of its station''s company; to the latter that it was sent only where it had '
  'to wait for that, or waits for its answer.';
create or replace trigger publish_new_command after insert on public.commands for each row execute function private.publish_command();
create or replace trigger publish_command after update on public.commands for each row
  when ((old.status, old.effect_at, old.late) is distinct from (new.status, new.effect_at, new.late))
  execute function private.publish_command();

create or replace function private.wake_bridge() returns trigger
language plpgsql volatile set search_path = ''
security definer  -- as publish_session
as $$
begin
  -- Whatever the budget says: what it keeps back is kept back for these. Realtime counts the delivery, too.
  perform nextval('private.live_messages'), nextval('private.live_messages'),
          realtime.send(jsonb_build_object('command_id', new.id, 'station_id', new.station_id), 'command', 'bridge:' || n.bridge_id, true)
    from private.station_connections as n
   where n.station_id = new.station_id and n.disconnected_at is null;
  return null;
end $$;
comment on function private.wake_bridge is 'Trigger: tells the bridge that holds the station to claim. Only a hint: the bridge also looks by itself.';
create or replace trigger wake_bridge_for_new after insert on public.commands for each row
  when (new.status = 'queued') execute function private.wake_bridge();
create or replace trigger wake_bridge_again after update on public.commands for each row
  when (new.status = 'queued' and old.status <> 'queued') execute function private.wake_bridge();

-- Stations and their connectors ----------------------------------------------------------------------
create or replace function private.publish_connector() returns trigger
language plpgsql volatile set search_path = '' set plan_cache_mode = force_generic_plan
security definer  -- as publish_session
as $$
declare
  v_row public.connectors := case tg_op when 'DELETE' then old else new end;
  v_message jsonb;
begin
  if tg_op = 'INSERT' and new.status is not null
     or tg_op = 'UPDATE' and (old.status, old.error_code) is distinct from (new.status, new.error_code) then
    v_message := jsonb_build_object('station_id', new.station_id, 'number', new.number, 'status', new.status,
      'error_code', new.error_code, 'status_at', new.status_at);
    perform private.publish('station', new.station_id, 'connector', v_message);
    perform private.publish('client', private.company_of(new.station_id), 'connector', v_message);
  end if;
  perform private.publish_location((select s.location_id from public.stations as s where s.id = v_row.station_id));
  return null;
end $$;
comment on function private.publish_connector is 'Trigger: sends a connector''s new status to the topics of its station and company, and the roll-up of its location.';
create or replace trigger publish_new_connector after insert or delete on public.connectors for each row execute function private.publish_connector();
create or replace trigger publish_connector after update on public.connectors for each row
  when ((old.status, old.error_code, old.type, old.power) is distinct from (new.status, new.error_code, new.type, new.power))
  execute function private.publish_connector();

create or replace function private.publish_station() returns trigger
language plpgsql volatile set search_path = '' set plan_cache_mode = force_generic_plan
security definer  -- as publish_session
as $$
declare
  v_message jsonb;
begin
  if tg_op = 'UPDATE' then
    v_message := jsonb_build_object('station_id', new.id, 'status', new.status, 'registration_status', new.registration_status,
      'ocpp_status', new.ocpp_status, 'ocpp_error_code', new.ocpp_error_code);
    perform private.publish('station', new.id, 'station', v_message);
    perform private.publish('client', private.company_of(new.id), 'station', v_message);
  end if;
  if tg_op <> 'INSERT' then
    perform private.publish_location(old.location_id);
  end if;
  if tg_op = 'INSERT' or tg_op = 'UPDATE' and new.location_id is distinct from old.location_id then
    perform private.publish_location(new.location_id);
  end if;
  return null;
end $$;
comment on function private.publish_station is 'Trigger: sends what changed about a station as a whole to its topic and its company''s, and the roll-up of its location, or of both when it moved.';
create or replace trigger publish_new_station after insert or delete on public.stations for each row execute function private.publish_station();
create or replace trigger publish_station after update on public.stations for each row
  when ((old.status, old.location_id, old.registration_status, old.ocpp_status, old.ocpp_error_code)
        is distinct from (new.status, new.location_id, new.registration_status, new.ocpp_status, new.ocpp_error_code))
  execute function private.publish_station();

-- Locations ----------------------------------------------------------------------------------------
create or replace function private.location_message(p_location_id uuid) returns jsonb
language sql stable set search_path = ''
as $$
  with connector as (
    select s.id as station_id, c.number, c.type, coalesce(c.power, s.power_capacity) as power, c.status,
           private.availability(s.status, p.online, s.ocpp_status, c.status) as availability
      from public.stations as s
      join public.connectors as c on c.station_id = s.id
      left join private.station_presence as p on p.station_id = s.id
     where s.location_id = p_location_id and s.status <> 'inactive'  -- that is not on the map
  )
  select jsonb_build_object('location_id', p_location_id,
           'stations_count', (select count(*) from public.stations as s where s.location_id = p_location_id and s.status <> 'inactive'),
           'connectors_count', count(*), 'connectors_free', count(*) filter (where availability = 'free'),
           'connectors_in_use', count(*) filter (where availability = 'in_use'), 'connectors_faulted', count(*) filter (where availability = 'faulted'),
           'connectors_unavailable', count(*) filter (where availability = 'unavailable'),
           'connectors_offline', count(*) filter (where availability = 'offline'),
           'connectors', coalesce(jsonb_agg(jsonb_build_object('station_id', station_id, 'number', number, 'type', type, 'power', power,
             'status', status, 'availability', availability) order by station_id, number), '[]'))
    from connector
$$;
comment on function private.location_message is 'The roll-up of a location as its topic carries it, in the words of location_overview. Online is what the topics told last.';

create or replace function private.publish_location(p_location_id uuid) returns void
language plpgsql volatile set search_path = '' set plan_cache_mode = force_generic_plan
as $$
begin
  if p_location_id is null then
    return;
  end if;
  -- Nobody waits for a location here: events of its other stations are being stored at this moment, locked in another order.
  if private.live_room() > 0 and pg_try_advisory_xact_lock(hashtextextended('location ' || p_location_id, 0)) then
    insert into private.live_locations as l (location_id, told_at)
    select id, clock_timestamp() from public.locations where id = p_location_id
    on conflict (location_id) do update set told_at = excluded.told_at
     where l.told_at < clock_timestamp() - (select live_location_interval from private.settings);
    if found then
      perform private.publish('location', p_location_id::text, 'location', private.location_message(p_location_id));
      return;
    end if;
  end if;
  insert into private.live_waiting (location_id) select id from public.locations where id = p_location_id;
end $$;
comment on function private.publish_location is 'Sends the roll-up of a location to its topic; one that changed a moment ago, or changes in another transaction as well, or for which the budget has no room, waits for the next catch_up_topics().';

-- Presence -----------------------------------------------------------------------------------------
create or replace function private.note_arrival() returns trigger
language plpgsql volatile set search_path = '' set plan_cache_mode = force_generic_plan
as $$
declare
  v_room boolean := private.live_room() > 0;
begin
  insert into private.station_presence as p (station_id, online, told_at) values (new.station_id, v_room, clock_timestamp())
  on conflict (station_id) do update set online = true, told_at = excluded.told_at where not p.online and v_room;
  return null;
end $$;
comment on function private.note_arrival is 'Trigger: a station that came is online at once, or, while the budget of messages is used up, when private.catch_up_topics() says so. One that went gets private.settings.live_offline_after to come back before private.catch_up_topics() says so.';
create or replace trigger note_first_arrival after insert on private.station_connections for each row
  when (new.disconnected_at is null) execute function private.note_arrival();
create or replace trigger note_arrival after update on private.station_connections for each row
  when (new.disconnected_at is null and (old.disconnected_at, old.connection_id, old.bridge_id) is distinct from (new.disconnected_at, new.connection_id, new.bridge_id))
  execute function private.note_arrival();

create or replace function private.publish_presence() returns trigger
language plpgsql volatile set search_path = '' set plan_cache_mode = force_generic_plan
security definer  -- as publish_session
as $$
begin
  perform private.publish('station', n.station_id, 'presence', jsonb_build_object('station_id', n.station_id, 'online', n.online, 'at', n.told_at))
    from news as n;
  -- However many of a company's stations came or went with their bridge: one message.
  perform private.publish('client', w.client_id::text, 'presence', jsonb_build_object('online', w.online, 'station_ids', w.station_ids, 'at', w.at))
    from (select l.client_id, n.online, jsonb_agg(n.station_id order by n.station_id) as station_ids, max(n.told_at) as at
            from news as n join public.stations as s on s.id = n.station_id join public.locations as l on l.id = s.location_id
           group by l.client_id, n.online) as w;
  perform private.publish_location(w.location_id)
    from (select distinct s.location_id from news as n join public.stations as s on s.id = n.station_id order by s.location_id) as w;
  return null;
end $$;
comment on function private.publish_presence is 'Trigger: tells the topics of stations, their companies and locations that they came or went.';
create or replace trigger publish_first_presence after insert on private.station_presence referencing new table as news
  for each statement execute function private.publish_presence();
create or replace trigger publish_presence after update on private.station_presence referencing new table as news
  for each statement execute function private.publish_presence();

create or replace function private.is_away(p_connection private.station_connections) returns boolean
language sql stable set search_path = ''
as $$
  select p_connection.disconnected_at < now() - (select live_offline_after from private.settings)
      or not exists (select from private.bridges as b where b.id = p_connection.bridge_id and b.lease_expires_at > now())
$$;
comment on function private.is_away is 'Whether a station has been gone for longer than a reconnect takes, or its bridge is.';

-- What no event follows ------------------------------------------------------------------------------
create or replace function private.catch_up_topics() returns void
language plpgsql volatile set search_path = ''
as $$
declare
  v_settings private.settings;
  v_interval interval;
  v_location_id uuid;
  v_room numeric := private.live_room();
  v_bucket integer;  -- messages in 2 s
  v_former timestamptz;
  v_now timestamptz := clock_timestamp();
begin
  select * into v_settings from private.settings;
  v_bucket := 2 * v_settings.live_budget_per_s;
  v_interval := make_interval(secs => (select count(*) from public.charging_sessions where status = 'started')::double precision / v_settings.live_messages_per_s);
  select counted_at into v_former from private.live_pace;
  update private.live_pace
     set session_interval = v_interval, counted_at = v_now,
         counted_until = (select last_value from private.live_messages) + (greatest(v_room, -0.5) * v_bucket)::bigint;

  -- Commands that went out at once and have no answer yet.
  perform private.publish('client', private.company_of(c.station_id), 'command', private.command_message(c)) from public.commands as c
   where c.status = 'sent' and c.sent_at >= v_former - interval '3 s' and c.sent_at < v_now - interval '3 s'
     and c.sent_at <= c.created_at + interval '1 second';

  -- The last meter value before a pause came too soon after another to be sent to the session's topic.
  update public.charging_sessions set priced_at = clock_timestamp()
   where id in (select id from public.charging_sessions
                 where status = 'started' and priced_at > live_at and live_at < now() - greatest(v_settings.live_update_interval, v_interval)
                 order by live_at limit greatest((v_room - 0.5) * v_bucket, 0)::integer for update skip locked);

  -- Stations that went and did not come back, whose bridge died, or that an outage made look so. After the end of a
  -- big bridge not all in one second: that alone would be more than a project may send. Half of the room, because companies are told, too.
  with changed as (
    select p.station_id, o.station_id is not null as online
      from private.station_presence as p
      join private.station_connections as c on c.station_id = p.station_id
      left join private.open_connections as o on o.station_id = p.station_id
     where p.online <> (o.station_id is not null) and (not p.online or private.is_away(c))
     order by p.told_at
     limit greatest(v_room * v_bucket / 2, 0)::integer
       for update of p skip locked
  )
  update private.station_presence as p set online = changed.online, told_at = clock_timestamp() from changed where p.station_id = changed.station_id;

  for v_location_id in select distinct w.location_id from private.live_waiting as w left join private.live_locations as l using (location_id)
                        where l.told_at is null or l.told_at < clock_timestamp() - v_settings.live_location_interval loop
    exit when private.live_room() <= 0;
    if pg_try_advisory_xact_lock(hashtextextended('location ' || v_location_id, 0)) then
      delete from private.live_waiting where location_id = v_location_id;
      perform private.publish_location(v_location_id);
    end if;
  end loop;
end $$;
comment on function private.catch_up_topics is 'Part of the housekeeping: sends to the topics what waited for its turn, and what happened without an event: a bridge that died.';

-- Closing a connection -------------------------------------------------------------------------------
create or replace function public.disconnect_station(station_id text) returns void
language plpgsql volatile set search_path = ''
security definer  -- connections are private; the rights are checked below
as $$
declare
  v_station public.stations;
  v_connection private.station_connections;
begin
  perform private.assert_person();
  v_station := private.station_by_id(disconnect_station.station_id);
  if not private.operates_station(v_station.id) then
    perform private.fail(403, 'OCPRM', format('station "%s" is not yours', v_station.id), 'Operators disconnect the stations of their own company.');
  end if;
  if not private.is_online(v_station.id) then
    perform private.fail(409, 'OCOFF', format('station "%s" is offline', v_station.id), 'There is no connection to close.');
  end if;
  update private.station_connections as c set closing_id = c.connection_id where c.station_id = v_station.id returning * into v_connection;
  perform realtime.send(jsonb_build_object('connection_id', v_connection.connection_id, 'station_id', v_station.id), 'disconnect',
                        'bridge:' || v_connection.bridge_id, true);
end $$;
comment on function public.disconnect_station is 'For operators: has the bridge close the station''s connection, at once or, when Realtime is away, with its next heartbeat. The station may come back. '
  '403 OCPRM, 404 OCSTA, 409 OCOFF.';
grant execute on function public.disconnect_station to authenticated, service_role;
