-- The one way in: what stations say, many messages in one call. docs/architecture.md has the shapes of events and replies.

-- Connections --------------------------------------------------------------------------------------
create or replace function private.key_bytes(p_key bytea) returns bytea
language sql immutable set search_path = ''
as $$
  select case when encode(p_key, 'escape') ~ '^([0-9A-Fa-f]{2})+$' then decode(encode(p_key, 'escape'), 'hex') else p_key end
$$;
comment on function private.key_bytes is 'A Basic-auth password as it is hashed: the bytes that hex digits stand for, else as it is. Configured as 40 hex digits over OCPP, in '
  'whatever case, it is sent as 20 bytes or as the digits (field notes 7).';

create or replace function private.shows_key(p_salt bytea, p_hash bytea, p_key bytea) returns boolean
language sql immutable set search_path = ''
as $$
  select sha256(p_salt || private.key_bytes(p_key)) = p_hash
      -- hashed as it was configured, by an earlier release
      or p_hash in (sha256(p_salt || p_key), sha256(p_salt || convert_to(encode(p_key, 'hex'), 'UTF8')), sha256(p_salt || convert_to(upper(encode(p_key, 'hex')), 'UTF8')))
$$;
comment on function private.shows_key is 'Whether a Basic-auth password is the one with this salted hash.';

create or replace function private.key_matches(p_station_id text, p_user text, p_key bytea) returns boolean
language sql stable set search_path = ''
as $$
  select coalesce(lower(p_user) = lower(p_station_id) and private.shows_key(k.salt, k.key_hash, p_key), false)
    from private.station_keys as k where k.station_id = p_station_id
$$;
comment on function private.key_matches is 'Whether Basic-auth credentials are those of the station (OCPP-J 1.6 §6.2); null when it has no key.';

create or replace function private.shows_new_key(p_station_id text, p_user text, p_key bytea) returns boolean
language plpgsql volatile set search_path = ''
as $$
declare
  v_command public.commands;
begin
  select c.* into v_command
    from private.station_keys as k
    join public.commands as c on c.station_id = k.station_id
    join private.command_secrets as x on x.command_id = c.id
   where k.station_id = p_station_id and lower(p_user) = lower(p_station_id)
     and c.action = 'ChangeConfiguration' and lower(c.payload ->> 'key') = 'authorizationkey' and c.attempts > 0 and k.created_at <= c.created_at
     and private.shows_key(k.salt, coalesce(decode(x.payload ->> 'key_hash', 'hex'), private.key_hash(k.salt, x.payload ->> 'value')), p_key)
   order by c.created_at desc limit 1;
  if not found then
    return false;
  end if;
  perform private.take_new_key(v_command);
  update public.commands set status = 'accepted', error = null, late = status = 'timed_out', effect_at = now() where id = v_command.id;
  return true;
end $$;
comment on function private.shows_new_key is 'Whether the station shows the AuthorizationKey of a ChangeConfiguration whose answer was lost. Then it has taken it, and from now on only that one counts.';

create or replace function private.note_unknown_station(p_event jsonb) returns void
language sql volatile set search_path = ''
as $$
  insert into public.station_inbox as i (station_id, remote_address, user_agent, protocols, first_seen_at, last_seen_at)
  select left(p_event ->> 'station_id', 255), p_event ->> 'remote_address', left(p_event ->> 'user_agent', 255),
         array(select left(o, 50) from jsonb_array_elements_text(case jsonb_typeof(p_event -> 'offered') when 'array' then p_event -> 'offered' else '[]' end) as o limit 10),
         (p_event ->> 'received_at')::timestamptz, (p_event ->> 'received_at')::timestamptz
   where (select count(*) from public.station_inbox) < 1000  -- somebody else's stations must not fill the table
      or exists (select from public.station_inbox where lower(station_id) = lower(left(p_event ->> 'station_id', 255)))
  on conflict (lower(station_id)) do update set attempts = i.attempts + 1, last_seen_at = excluded.last_seen_at,
    remote_address = excluded.remote_address, user_agent = excluded.user_agent, protocols = excluded.protocols
$$;
comment on function private.note_unknown_station is 'Puts a station that is not registered into station_inbox, which holds 1,000 at most.';

create or replace function private.connect_station(p_event jsonb) returns jsonb
language plpgsql volatile set search_path = '' set plan_cache_mode = force_generic_plan
as $$
declare
  v_station public.stations;
  v_id text := p_event ->> 'station_id';
  v_bridge private.bridges;
  v_former private.station_connections;
  v_reply jsonb;
begin
  select * into v_station from public.stations where lower(id) = lower(v_id);
  select * into v_bridge from private.bridges where id = p_event ->> 'bridge_id';
  if v_station.id is null and v_bridge.settings ->> 'unknown_stations' = 'accept' then
    insert into public.stations (id) select btrim(v_id) where btrim(v_id) ~ '^[^[:space:]/[:cntrl:]][^/[:cntrl:]]{0,254}$'
    on conflict do nothing;
    select * into v_station from public.stations where lower(id) = lower(btrim(v_id));
  end if;
  if v_station.id is null then
    if coalesce(v_bridge.settings ->> 'unknown_stations', 'inbox') = 'inbox' then
      perform private.note_unknown_station(p_event);
    end if;
    return '{"connect": "unknown"}';
  end if;
  if not private.key_matches(v_station.id, p_event ->> 'basic_user', decode(coalesce(p_event ->> 'basic_key_hex', ''), 'hex'))
     and not private.shows_new_key(v_station.id, p_event ->> 'basic_user', decode(coalesce(p_event ->> 'basic_key_hex', ''), 'hex')) then
    return '{"connect": "unauthorized"}';
  end if;

  v_reply := jsonb_build_object('connect', 'accepted', 'station_id', v_station.id, 'station', jsonb_build_object(
    'strict', v_station."strict",  -- quoted, because strict is a word of PL/pgSQL
    'ping_interval_s', v_station.ping_interval_s, 'ping_timeout_s', v_station.ping_timeout_s,
    'allow_no_subprotocol', v_station.allow_no_subprotocol));
  if p_event ->> 'protocol' is null and not v_station.allow_no_subprotocol then
    return v_reply;  -- the bridge ends this handshake with a close; a connection that stands is left alone
  end if;

  select * into v_former from private.station_connections where station_id = v_station.id for update;
  insert into private.station_connections as c (station_id, connection_id, bridge_id, protocol, remote_address, user_agent, connected_at, last_message_at)
  values (v_station.id, (p_event ->> 'connection_id')::uuid, p_event ->> 'bridge_id', p_event ->> 'protocol', p_event ->> 'remote_address',
          left(p_event ->> 'user_agent', 255), (p_event ->> 'received_at')::timestamptz, (p_event ->> 'received_at')::timestamptz)
  on conflict (station_id) do update
    set connection_id = excluded.connection_id, bridge_id = excluded.bridge_id, protocol = excluded.protocol,
        remote_address = excluded.remote_address, user_agent = excluded.user_agent, connected_at = excluded.connected_at,
        booted_at = case when c.connection_id = excluded.connection_id then c.booted_at end,  -- the event may be repeated
        last_message_at = excluded.last_message_at, disconnected_at = null, disconnect_code = null;
  if v_former.disconnected_at is null and v_former.bridge_id <> p_event ->> 'bridge_id' then
    perform realtime.send(jsonb_build_object('connection_id', v_former.connection_id, 'station_id', v_station.id), 'disconnect',
                          'bridge:' || v_former.bridge_id, true);
  end if;
  perform private.release_commands(v_station.id, (p_event ->> 'connection_id')::uuid);
  delete from public.station_inbox where lower(station_id) = lower(v_station.id);
  return v_reply;
end $$;
comment on function private.connect_station is 'A handshake: whether the station may connect, and under which spelling of its id. The newest connection takes the place of the former.';

create or replace function private.disconnect_station(p_event jsonb) returns jsonb
language plpgsql volatile set search_path = '' set plan_cache_mode = force_generic_plan
as $$
begin
  update private.station_connections
     set disconnected_at = (p_event ->> 'received_at')::timestamptz, disconnect_code = coalesce(private.to_integer(p_event -> 'code'), 1006)
   where station_id = p_event ->> 'station_id' and connection_id = (p_event ->> 'connection_id')::uuid and disconnected_at is null;
  if found then
    perform private.release_commands(p_event ->> 'station_id', null);
  end if;
  return '{"ok": true}';
end $$;
comment on function private.disconnect_station is 'The end of a connection; one that was replaced meanwhile is left alone.';

-- Messages -----------------------------------------------------------------------------------------
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

create or replace function private.status_notification(p_station public.stations, p_event jsonb) returns jsonb
language plpgsql volatile set search_path = '' set plan_cache_mode = force_generic_plan
as $$
declare
  v_payload jsonb := p_event -> 'payload';
  v_number integer := private.to_integer(v_payload -> 'connectorId');
  v_received_at timestamptz := (p_event ->> 'received_at')::timestamptz;
  v_reported timestamptz := private.to_time(v_payload ->> 'timestamp', p_station.clock_time_zone);
  v_at timestamptz := case when private.is_plausible(v_reported, v_received_at) then v_reported else v_received_at end;
  v_status public.connector_status := case when v_payload ->> 'status' = any (enum_range(null::public.connector_status)::text[])
                                           then (v_payload ->> 'status')::public.connector_status end;
begin
  if v_number = 0 then
    update public.stations set ocpp_status = coalesce(v_status, ocpp_status), ocpp_error_code = v_payload ->> 'errorCode' where id = p_station.id;
  elsif private.ensure_connector(p_station.id, v_number) is not null then
    update public.connectors
       set status = coalesce(v_status, status), error_code = v_payload ->> 'errorCode', info = v_payload ->> 'info',
           vendor_error_code = v_payload ->> 'vendorErrorCode', status_at = v_at
     where station_id = p_station.id and number = v_number and (status_at is null or status_at <= v_at);
    if not found then
      v_number := null;  -- a newer status is known
    end if;
    -- From here on the car parks; it may begin to draw again.
    update public.charging_sessions as s
       set parking_start_time = case when v_status = 'Charging' then null else coalesce(s.parking_start_time, greatest(v_at, s.start_time)) end
     where s.station_id = p_station.id and s.connector_id = v_number and s.status = 'started' and v_at >= s.start_time
       and (v_status in ('SuspendedEV', 'Finishing') and s.parking_start_time is null or v_status = 'Charging' and s.parking_start_time is not null);
  end if;
  update public.commands set effect_at = v_received_at
   where station_id = p_station.id and action = 'ChangeAvailability' and effect_at is null and status in ('sent', 'accepted', 'timed_out')
     and sent_at > v_received_at - interval '1 day' and payload -> 'connectorId' = v_payload -> 'connectorId'
     and (v_status = 'Unavailable') = (payload ->> 'type' = 'Inoperative');
  return jsonb_build_object('result', '{}'::jsonb, 'log', jsonb_build_object('level', case when v_status = 'Faulted' then 'WARNING' else 'INFO' end,
    'message', format('StatusNotification: connector=%s, status=%s, error=%s', v_payload ->> 'connectorId', v_payload ->> 'status', v_payload ->> 'errorCode')));
end $$;
comment on function private.status_notification is 'OCPP 1.6 §4.9. Connector 0 is the station. A status older than the one known changes nothing.';

create or replace function private.take_call(p_station public.stations, p_event jsonb, out reply jsonb, out grown uuid[])
language plpgsql volatile set search_path = '' set plan_cache_mode = force_generic_plan
as $$
declare
  v_payload jsonb := p_event -> 'payload';
  v_received_at timestamptz := (p_event ->> 'received_at')::timestamptz;
  v_session public.charging_sessions;
  v_stop record;
  v_result jsonb;
begin
  case p_event ->> 'action'
    when 'Heartbeat' then
      reply := jsonb_build_object('result', jsonb_build_object('currentTime', private.ocpp_time(v_received_at)));
    when 'MeterValues' then
      grown := private.store_meter_values(jsonb_build_array(private.meter_values_item(p_station, p_event)));
      reply := '{"result": {}}';
    when 'StatusNotification' then
      reply := private.status_notification(p_station, p_event);
    when 'BootNotification' then
      reply := private.boot_notification(p_station, p_event);
    when 'Authorize' then
      v_result := jsonb_build_object('idTagInfo', private.authorize(p_station.id, private.clean_tag(v_payload -> 'idTag')));
      reply := jsonb_build_object('result', v_result, 'log', jsonb_build_object('level', 'INFO', 'message',
        format('Authorize: status=%s', v_result #>> '{idTagInfo,status}')));
    when 'StartTransaction' then
      v_result := private.start_transaction(p_station, v_payload, v_received_at);
      reply := jsonb_build_object('result', v_result, 'log', jsonb_build_object('level', 'INFO', 'message',
        format('StartTransaction: transaction=%s, connector=%s, meter=%sWh, status=%s', v_result ->> 'transactionId', v_payload ->> 'connectorId',
               v_payload ->> 'meterStart', v_result #>> '{idTagInfo,status}'),
        'extra', jsonb_build_object('transaction_id', v_result -> 'transactionId')));
    when 'StopTransaction' then
      select * into v_stop from private.stop_transaction(p_station, v_payload, v_received_at);
      v_session := v_stop.session;
      reply := jsonb_build_object('result', v_stop.reply, 'log', case when v_session.id is null then
          jsonb_build_object('level', 'WARNING', 'message', format('StopTransaction: transaction=%s fits no session; kept in transaction_orphans', v_payload ->> 'transactionId'))
        else jsonb_build_object('level', 'INFO', 'message',
          format('StopTransaction: energy=%skWh, amount=%s %s', trim_scale(v_session.energy), trim_scale(v_session.amount), v_session.currency),
          'extra', jsonb_build_object('transaction_id', v_session.transaction_id, 'session_id', v_session.id, 'reason', v_session.stop_reason,
            'energy', v_session.energy, 'amount', v_session.amount, 'currency', v_session.currency, 'flags', v_session.flags)) end);
    when 'DataTransfer' then
      reply := '{"result": {"status": "UnknownVendorId"}}';  -- §4.3: no vendor's extension is known here
    when 'DiagnosticsStatusNotification', 'FirmwareStatusNotification', 'SecurityEventNotification', 'LogStatusNotification',
         'SignedFirmwareStatusNotification' then
      reply := jsonb_build_object('result', '{}'::jsonb, 'log', jsonb_build_object('level', 'INFO', 'message',
        concat_ws(': ', p_event ->> 'action', coalesce(v_payload ->> 'status', v_payload ->> 'type'))));
    else
      reply := jsonb_build_object('error', jsonb_build_object('code', 'NotImplemented', 'description',
        format('"%s" is not known here', left(p_event ->> 'action', 50)), 'details', '{}'::jsonb));
  end case;
end $$;
comment on function private.take_call is 'One CALL of a station: its reply, and the sessions that grew.';

create or replace function private.meter_values_item(p_station public.stations, p_event jsonb) returns jsonb
language plpgsql stable set search_path = ''
as $$
begin
  return jsonb_build_object('station_id', p_station.id, 'clock_time_zone', p_station.clock_time_zone, 'connector_id', p_event #> '{payload,connectorId}',
    'transaction_id', p_event #> '{payload,transactionId}', 'received_at', p_event -> 'received_at', 'meter_value', p_event #> '{payload,meterValue}');
end $$;
comment on function private.meter_values_item is 'A MeterValues event as store_meter_values takes it.';

create or replace function private.store_messages(p_events jsonb, p_replies jsonb[]) returns void
language plpgsql volatile set search_path = '' set plan_cache_mode = force_generic_plan
as $$
begin
  insert into public.ocpp_messages (station_id, connection_id, direction, message_id, action, payload, reply, reply_error, violations, received_at)
  select e ->> 'station_id', (e ->> 'connection_id')::uuid, case e ->> 'kind' when 'answer' then 'to_station' else 'from_station' end::public.message_direction,
         case e ->> 'kind' when 'answer' then e ->> 'command_id' else e ->> 'message_id' end,
         case e ->> 'kind' when 'answer' then c.action else e ->> 'action' end,
         case e ->> 'kind' when 'answer' then c.payload when 'anomaly' then jsonb_build_object('frame', e -> 'frame') else e -> 'payload' end,
         case e ->> 'kind' when 'answer' then private.redact(c.action, coalesce(e -> 'payload', e -> 'error')) when 'call' then coalesce(r.reply -> 'result', r.reply -> 'error') end,
         case e ->> 'kind' when 'answer' then coalesce(e #>> '{error,code}', case when e ->> 'outcome' <> 'result' then e ->> 'outcome' end)
              when 'anomaly' then e ->> 'code' else r.reply #>> '{error,code}' end,
         case when e ->> 'kind' = 'anomaly' then jsonb_build_array(jsonb_build_object('code', e -> 'code', 'message', e -> 'description'))
              when e -> 'violations' <> '[]' then e -> 'violations' end,
         (e ->> 'received_at')::timestamptz
    from jsonb_array_elements(p_events) with ordinality as a (e, n)
    join unnest(p_replies) with ordinality as r (reply, n) using (n)
    left join public.commands as c on e ->> 'kind' = 'answer' and c.id = (e ->> 'command_id')::uuid
   where e ->> 'kind' in ('call', 'answer', 'anomaly');
end $$;
comment on function private.store_messages is 'Keeps messages with their answers in ocpp_messages.';

create or replace function private.ingest_together(p_events jsonb) returns jsonb
language plpgsql volatile set search_path = '' set plan_cache_mode = force_generic_plan
set enable_seqscan = off  -- as store_meter_values
as $$
declare
  v_replies jsonb[] := array_fill('{"ok": true}'::jsonb, array[jsonb_array_length(p_events)]);
  v_together integer[];
  v_items jsonb;
  v_grown uuid[] := '{}';
  v_station public.stations;
  v_row record;
  v_call record;
  v_limited uuid[];
  v_stopping text[];
begin
  -- MeterValues are most of the traffic: those of stations with nothing else in this batch are stored in one statement.
  select array_agg(e.n), jsonb_agg(private.meter_values_item(s, e.event)) into v_together, v_items
    from (select event, n::integer, count(*) over (partition by event ->> 'station_id') as of_station
            from jsonb_array_elements(p_events) with ordinality as a (event, n)) as e
    join public.stations as s on s.id = e.event ->> 'station_id'
   where e.of_station = 1 and e.event ->> 'kind' = 'call' and e.event ->> 'action' = 'MeterValues';
  if v_together is not null then
    v_grown := private.store_meter_values(v_items);
    for v_row in select unnest(v_together) as n loop
      v_replies[v_row.n] := '{"result": {}}';
    end loop;
  end if;

  for v_row in
    select event, n::integer from jsonb_array_elements(p_events) with ordinality as a (event, n)
     where not n = any (coalesce(v_together, '{}')) order by lower(event ->> 'station_id'), n  -- a fixed order of locks
  loop
    case v_row.event ->> 'kind'
      when 'connect' then
        v_replies[v_row.n] := private.connect_station(v_row.event);
      when 'disconnect' then
        v_replies[v_row.n] := private.disconnect_station(v_row.event);
      when 'answer' then
        v_replies[v_row.n] := private.take_answer(v_row.event);
      when 'call' then
        select * into v_station from public.stations where id = v_row.event ->> 'station_id';
        if not found then
          v_replies[v_row.n] := '{"error": {"code": "InternalError", "description": "this station is not registered any more", "details": {}}}';
        else
          select * into v_call from private.take_call(v_station, v_row.event);
          v_replies[v_row.n] := v_call.reply;
          v_grown := v_grown || coalesce(v_call.grown, '{}');
        end if;
      when 'anomaly' then
        null;  -- it is only kept
      else
        raise exception 'there are no events of kind "%"', v_row.event ->> 'kind';
    end case;
  end loop;

  perform private.store_messages(p_events, v_replies);
  perform private.note_signs_of_life(p_events);
  if v_grown <> '{}' then
    v_limited := array(select s.id from public.charging_sessions as s where s.id = any (v_grown) and s.status = 'started' and private.is_limited(s));
    -- Few sessions: all at once. Many: a price a second each will do, and the heartbeat brings up what is left behind.
    perform private.reprice_sessions(v_limited || array(
      select s.id from public.charging_sessions as s, private.settings as c
       where s.id = any (v_grown) and not s.id = any (v_limited)
         and (cardinality(v_grown) <= c.reprice_per_batch or s.priced_at is null or s.priced_at < now() - interval '1 second')
       order by s.priced_at nulls first limit (select reprice_per_batch from private.settings)));
    if v_limited <> '{}' then
      v_stopping := private.check_limits(v_limited);
      if v_stopping <> '{}' then
        for v_row in
          select n::integer from jsonb_array_elements(p_events) with ordinality as a (event, n)
           where event ->> 'station_id' = any (v_stopping) and event ->> 'kind' = 'call'
        loop
          v_replies[v_row.n] := v_replies[v_row.n] || '{"more": true}';
        end loop;
      end if;
    end if;
  end if;
  return to_jsonb(v_replies);
end $$;
comment on function private.ingest_together is 'Stores events and returns their replies, aligned; raises when one of them is bad.';

create or replace function private.note_signs_of_life(p_events jsonb) returns void
language plpgsql volatile set search_path = '' set plan_cache_mode = force_generic_plan
as $$
begin
  with sign as (
    select e ->> 'station_id' as station_id, (e ->> 'connection_id')::uuid as connection_id, max((e ->> 'received_at')::timestamptz) as received_at
      from jsonb_array_elements(p_events) as e where e ->> 'kind' in ('call', 'answer', 'anomaly') group by 1, 2
  ), seen as (
    select c.station_id, sign.received_at from private.station_connections as c
      join sign using (station_id, connection_id)
     where c.last_message_at < sign.received_at - interval '1 second'  -- a row a second and station is enough
       for update of c skip locked
  )
  update private.station_connections as c set last_message_at = seen.received_at from seen where c.station_id = seen.station_id;
end $$;
comment on function private.note_signs_of_life is 'Moves last_message_at of connections forward, at most once a second each.';

create or replace function public.ocpp_ingest(events jsonb) returns jsonb
language plpgsql volatile set search_path = '' set plan_cache_mode = force_generic_plan
security definer  -- the bridge holds no grant on the tables
as $$
declare
  v_replies jsonb[] := '{}';
  v_row record;
  v_error text;
  v_books boolean;
begin
  perform private.assert_bridge();
  if jsonb_typeof(events) is distinct from 'array' then
    perform private.fail(400, 'OCARG', 'events must be a JSON array', 'docs/architecture.md describes the events.');
  end if;
  if jsonb_array_length(events) = 0 then
    return '[]';
  end if;
  perform private.lock_stations(array(select event ->> 'station_id' from jsonb_array_elements(events) as event));
  -- Whatever may move money: MeterValues alone take their accounts at the end, in order.
  v_books := exists (select from jsonb_array_elements(events) as e
                      where e ->> 'kind' = 'answer' or e ->> 'action' in ('StartTransaction', 'StopTransaction'));
  begin
    if v_books then
      perform private.lock_accounts_of(events);
    end if;
    return private.ingest_together(events);
  exception when others then
    if jsonb_array_length(events) > 60 then  -- more exception blocks than that slow every other backend
      perform private.fail(400, 'OCARG', 'at most 60 events where one of them fails: ' || sqlerrm, 'Send them again in smaller requests.');
    end if;
  end;
  -- One of them is bad: each by itself, so that it touches no other.
  perform private.lock_accounts_of(events);
  for v_row in select event from jsonb_array_elements(events) with ordinality as a (event, n) order by n loop
    begin
      v_replies := v_replies || (private.ingest_together(jsonb_build_array(v_row.event)) -> 0);
    exception when deadlock_detected or serialization_failure then
      raise;  -- of all nothing is kept, and the bridge sends all again
    when others then
      get stacked diagnostics v_error = message_text;
      raise warning 'event % of station % was not stored: % (%)', coalesce(v_row.event ->> 'action', v_row.event ->> 'kind'),
        v_row.event ->> 'station_id', v_error, sqlstate;
      v_replies := v_replies || jsonb_build_object('error', jsonb_build_object('code', 'InternalError',
        'description', 'not stored, send it again', 'details', '{}'::jsonb),
        'log', jsonb_build_object('level', 'ERROR', 'message', format('%s was not stored: %s (%s)',
          coalesce(v_row.event ->> 'action', v_row.event ->> 'kind'), v_error, sqlstate)));
    end;
  end loop;
  return to_jsonb(v_replies);
end $$;
comment on function public.ocpp_ingest is 'For bridges: events of stations in, replies out, aligned with them. Safe to repeat. '
  'An event that fails gets an InternalError of its own and touches no other.';
grant execute on function public.ocpp_ingest to authenticated, service_role;
