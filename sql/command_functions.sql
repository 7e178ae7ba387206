-- Commands to stations, and the charge that a person starts and stops.

create or replace function private.operates_station(p_station_id text) returns boolean
language sql stable set search_path = ''
as $$
  select private.sees_all() or private.is_admin() or exists (
    select from public.stations as s join public.locations as l on l.id = s.location_id
     where s.id = p_station_id and l.client_id = private.operated_client_id())
$$;
comment on function private.operates_station is 'Whether the caller runs the station.';

create or replace function private.station_by_id(p_station_id text) returns public.stations
language plpgsql stable set search_path = ''
as $$
declare
  v_station public.stations;
begin
  select * into v_station from public.stations where lower(id) = lower(p_station_id);
  if not found or v_station.status = 'inactive' and not private.operates_station(v_station.id) then
    perform private.fail(404, 'OCSTA', format('station "%s" is not known', left(p_station_id, 64)), 'GET /rest/v1/stations lists the stations.');
  end if;
  return v_station;
end $$;
comment on function private.station_by_id is 'The station, found without regard to case. 404 OCSTA when there is none, or none that the caller may know of.';

create or replace function private.is_online(p_station_id text) returns boolean
language sql stable set search_path = ''
as $$
  select exists (select from private.open_connections where station_id = p_station_id)
$$;
comment on function private.is_online is 'Whether a living bridge holds a connection of the station.';

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

-- Secrets ------------------------------------------------------------------------------------------
create or replace function private.hide_command_secret() returns trigger
language plpgsql volatile set search_path = ''
security definer  -- private.command_secrets is nobody's
as $$
begin
  if private.redact(new.action, new.payload) <> new.payload then
    insert into private.command_secrets (command_id, payload) values (new.id, new.payload);
    new.payload := private.redact(new.action, new.payload);
  end if;
  return new;
end $$;
comment on function private.hide_command_secret is 'Trigger: a secret in a command''s payload is kept where only claim_commands() finds it.';
create or replace trigger hide_secret before insert on public.commands for each row
  when (new.action = 'ChangeConfiguration') execute function private.hide_command_secret();

create or replace function private.key_hash(p_salt bytea, p_key text) returns bytea
language sql immutable set search_path = ''
as $$
  select sha256(p_salt || private.key_bytes(convert_to(p_key, 'UTF8')))
$$;
comment on function private.key_hash is 'What is kept of a station''s password.';

create or replace function private.forget_command_secret() returns trigger
language plpgsql volatile set search_path = ''
security definer  -- as hide_command_secret
as $$
begin
  if new.status = 'timed_out' and lower(new.payload ->> 'key') = 'authorizationkey' then
    -- The answer may still come, and then it must be known what the station took: a hash will do for that.
    update private.command_secrets as x
       set payload = jsonb_build_object('key_hash', encode(private.key_hash(k.salt, x.payload ->> 'value'), 'hex'))
      from private.station_keys as k
     where x.command_id = new.id and k.station_id = new.station_id and x.payload ? 'value';
    if found then
      return null;
    end if;
  end if;
  delete from private.command_secrets where command_id = new.id;
  return null;
end $$;
comment on function private.forget_command_secret is 'Trigger: a command that will not be sent any more needs its secret no more. Of a key whose answer may still come its hash is '
  'left, which private.keep_house() forgets after a day.';
create or replace trigger forget_secret after update of status on public.commands for each row
  when (new.action = 'ChangeConfiguration' and new.status not in ('queued', 'sent')) execute function private.forget_command_secret();

create or replace function public.send_command(station_id text, action text, payload jsonb default '{}', expires_in interval default '60 s')
returns public.commands
language plpgsql volatile set search_path = ''
security definer  -- nobody writes commands but through here; the rights are checked below
as $$
declare
  v_station public.stations;
  v_command public.commands;
begin
  perform private.assert_person();
  v_station := private.station_by_id(send_command.station_id);
  if not private.operates_station(v_station.id) then
    perform private.fail(403, 'OCPRM', format('station "%s" is not yours to command', v_station.id),
      'Operators command the stations of their own company; drivers use start_charge and stop_charge.');
  end if;
  perform private.check_command(send_command.action, send_command.payload);
  if coalesce(expires_in not between interval '1 second' and interval '7 days', true) then
    perform private.fail(400, 'OCARG', 'expires_in must be between 1 second and 7 days', 'For example 60 s, 15 min or 2 days.');
  end if;
  perform private.assert_registered(v_station, send_command.action);
  insert into public.commands (station_id, action, payload, expires_at)
  values (v_station.id, send_command.action, send_command.payload, now() + expires_in)
  returning * into v_command;
  return v_command;
end $$;
comment on function public.send_command is 'Sends an OCPP 1.6 command to a station; payload as on the wire. Returns the command, queued: watch its row or the '
  'private Realtime topic command:{id}. Not sent after expires_in. 404 OCSTA, 403 OCPRM, 400 OCACT, OCPAY, OCARG, 409 OCPND.';

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

create or replace function private.assert_registered(p_station public.stations, p_action text) returns void
language plpgsql stable set search_path = ''
as $$
begin
  if p_station.registration_status = 'Rejected'
     or p_station.registration_status = 'Pending' and p_action in ('RemoteStartTransaction', 'RemoteStopTransaction') then
    perform private.fail(409, 'OCPND', format('station "%s" is not accepted yet (registration %s)', p_station.id, p_station.registration_status),
      'Set stations.registration_status to Accepted.');
  end if;
end $$;
comment on function private.assert_registered is 'OCPP 1.6 §4.2: nothing is sent to a rejected station, no remote start or stop to a pending one. 409 OCPND.';

create or replace function private.is_abandoned(p_session public.charging_sessions, p_connector public.connectors) returns boolean
language sql immutable set search_path = ''
as $$
  select p_session.status = 'started' and p_connector.status in ('Available', 'Preparing') and p_connector.updated_at > p_session.updated_at
$$;
comment on function private.is_abandoned is 'Whether the connector has been reported free since the session was last heard of: its StopTransaction is late or lost.';

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

create or replace function public.start_charge(station_id text, connector_id int default null, limit_energy_kwh numeric default null,
  limit_amount numeric default null) returns public.charging_sessions
language plpgsql volatile set search_path = ''
security definer  -- nobody writes sessions but through functions; the rights are checked below
as $$
begin
  perform private.assert_person();
  return private.begin_charge(auth.uid(), private.station_by_id(start_charge.station_id), start_charge.connector_id, start_charge.limit_energy_kwh,
    start_charge.limit_amount);
end $$;
comment on function public.start_charge is 'Starts a charge for the signed-in user: a pending session, bound to the StartTransaction that follows by a generated id_tag. '
  'Without connector_id the one with a car plugged in, else the first free one. Limits: kWh, and money in the station''s currency. A second call while it is pending returns the same session. '
  'A prepaid account holds back limit_amount, or what limit_energy_kwh will cost, the smaller one; without a limit what it has, up to a whole charge. '
  '402 OCBAL, OCDUE, OCACC, 404 OCSTA, OCCON, 409 OCOFF, OCBSY, OCUNA, OCINA, OCPND, OCCUR, 400 OCARG, 403 OCPRM, OCBLK.';

create or replace function public.start_charge_for(user_id uuid, station_id text, connector_id int default null, limit_energy_kwh numeric default null,
  limit_amount numeric default null) returns public.charging_sessions
language plpgsql volatile set search_path = ''
security definer  -- as start_charge
as $$
declare
  v_station public.stations;
begin
  perform private.assert_person();
  v_station := private.station_by_id(start_charge_for.station_id);
  if not private.operates_station(v_station.id) then
    perform private.fail(403, 'OCPRM', format('station "%s" is not yours', v_station.id), 'Operators start charges at the stations of their own company; drivers use start_charge.');
  end if;
  if not exists (select from public.users as u where u.id = start_charge_for.user_id and u.is_active) then
    perform private.fail(404, 'OCUSR', 'no such user, or one that is not active', 'user_id is the id of a row of users.');
  end if;
  return private.begin_charge(start_charge_for.user_id, v_station, start_charge_for.connector_id, start_charge_for.limit_energy_kwh,
    start_charge_for.limit_amount);
end $$;
comment on function public.start_charge_for is 'For operators, at their stations, and admins: start_charge for another user, whose account pays. '
  '404 OCUSR and the codes of start_charge: 402 OCBAL, OCDUE, OCACC, 404 OCSTA, OCCON, 409 OCOFF, OCBSY, OCUNA, OCINA, OCPND, OCCUR, 400 OCARG, 403 OCPRM, OCBLK.';

create or replace function private.queue_remote_stop(p_session public.charging_sessions) returns void
language sql volatile set search_path = ''
as $$
  insert into public.commands (station_id, action, payload, session_id, expires_at)
  select p_session.station_id, 'RemoteStopTransaction', jsonb_build_object('transactionId', p_session.transaction_id), p_session.id,
         now() + interval '15 minutes'  -- a station that is away for a moment is to stop when it comes back
   where not exists (select from public.commands as c
                      where c.session_id = p_session.id and c.action = 'RemoteStopTransaction' and c.status in ('queued', 'sent'))
$$;
comment on function private.queue_remote_stop is 'Queues a RemoteStopTransaction unless one is on its way.';

create or replace function public.stop_charge(session_id uuid) returns public.charging_sessions
language plpgsql volatile set search_path = ''
security definer  -- as start_charge
as $$
declare
  v_session public.charging_sessions;
begin
  perform private.assert_person();
  perform private.lock_stations(array(select s.station_id from public.charging_sessions as s where s.id = stop_charge.session_id));
  select * into v_session from public.charging_sessions as s
   where s.id = stop_charge.session_id and (s.user_id = auth.uid() or private.operates_station(s.station_id)) for update;
  if not found then
    perform private.fail(404, 'OCSES', 'no such session', 'Sessions of others cannot be stopped.');
  end if;
  if v_session.status = 'pending' then
    update public.commands as c set status = 'cancelled', error = 'the charge was called off'
     where c.session_id = v_session.id and c.status = 'queued';
    if v_session.expires_at <= now()
       or not exists (select from public.commands as c where c.session_id = v_session.id and c.status in ('sent', 'accepted', 'timed_out')) then
      update public.charging_sessions as s set status = 'stopped', stop_reason = 'Remote', stop_requested_at = now(), expires_at = null
       where s.id = v_session.id returning * into v_session;
    else
      -- the station knows already: its StartTransaction, if it still comes, is answered with a stop
      update public.charging_sessions as s set stop_requested_at = coalesce(s.stop_requested_at, now())
       where s.id = v_session.id returning * into v_session;
    end if;
  elsif v_session.status = 'started' then
    update public.charging_sessions as s set stop_requested_at = coalesce(s.stop_requested_at, now())
     where s.id = v_session.id returning * into v_session;
    perform private.queue_remote_stop(v_session);
  end if;
  return v_session;
end $$;
comment on function public.stop_charge is 'Stops a session of the signed-in user (operators: of their stations). Returns the session at once; it is stopped when the station says so. '
  'A repeat does no harm. 404 OCSES, 403 OCPRM.';

create or replace function public.release_session(session_id uuid) returns public.charging_sessions
language plpgsql volatile set search_path = ''
security definer  -- as start_charge
as $$
declare
  v_session public.charging_sessions;
begin
  perform private.assert_person();
  select * into v_session from public.charging_sessions as s
   where s.id = release_session.session_id and private.operates_station(s.station_id);
  if not found then
    perform private.fail(404, 'OCSES', 'no such session', 'Operators release the sessions of their own stations.');
  end if;
  perform private.lock_stations(array[v_session.station_id]);
  if v_session.settled_at is null and not 'held' = any (v_session.flags) then
    perform private.fail(409, 'OCHLD', 'the session is not held for review', 'It is billed when it ends.');
  end if;
  return private.settle_session(v_session.id);
end $$;
comment on function public.release_session is 'For operators: bills a session that was held for review (stations.hold_implausible). A repeat changes nothing. '
  '404 OCSES, 409 OCHLD, 403 OCPRM.';

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

-- For the bridge -----------------------------------------------------------------------------------
create or replace function public.claim_commands(bridge_id text, max_commands int default 100, holding uuid[] default null) returns jsonb
language plpgsql volatile set search_path = '' set plan_cache_mode = force_generic_plan
security definer  -- the bridge holds no grant on the tables
as $$
declare
  v_claimed jsonb;
begin
  perform private.assert_bridge();
  -- Handed out to this bridge, which does not know of them: the answer to that claim was lost, so nothing was sent.
  update public.commands as c
     set status = case when private.has_stopped(c) then 'cancelled' else 'queued' end::public.command_status, connection_id = null,
         error = case when private.has_stopped(c) then 'the session has ended' end
    from private.station_connections as n
   where holding is not null and n.bridge_id = claim_commands.bridge_id and n.disconnected_at is null
     and c.station_id = n.station_id and c.connection_id = n.connection_id and c.status = 'sent' and not c.id = any (holding);
  with next as (
    select distinct on (c.station_id) c.id, n.connection_id
      from private.station_connections as n
      join public.commands as c on c.station_id = n.station_id and c.status = 'queued' and c.expires_at > now()
     where n.bridge_id = claim_commands.bridge_id and n.disconnected_at is null
       -- some stations break when spoken to before their BootNotification; others never send one after a reconnect
       and (n.booted_at is not null or n.connected_at < now() - interval '10 s')
       and not exists (select from public.commands as o where o.station_id = n.station_id and o.status = 'sent' and o.connection_id = n.connection_id)
       and not private.has_stopped(c)
     order by c.station_id, c.created_at, c.id
     limit greatest(coalesce(max_commands, 100), 0)
  ), mine as (
    select c.id, next.connection_id from public.commands as c join next using (id)
     where c.status = 'queued' order by c.station_id for update of c skip locked
  ), sent as (
    update public.commands as c set status = 'sent', sent_at = clock_timestamp(), connection_id = mine.connection_id, attempts = c.attempts + 1
      from mine where c.id = mine.id
    returning c.*
  )
  select coalesce(jsonb_agg(jsonb_build_object('command_id', s.id, 'station_id', s.station_id, 'connection_id', s.connection_id, 'action', s.action,
           'payload', coalesce((select k.payload from private.command_secrets as k where k.command_id = s.id), s.payload), 'timeout_s', s.timeout_s, 'expires_at', s.expires_at)), '[]') into v_claimed from sent as s;
  return v_claimed;
end $$;
comment on function public.claim_commands is 'For bridges: the next command of each station that the bridge holds and that has none unanswered; marked sent in the same transaction. '
  'holding: the claimed commands whose answers are not stored yet; others that this bridge was given are queued again.';

create or replace function private.may_repeat(p_action text) returns boolean
language sql immutable set search_path = ''
as $$
  select p_action not in ('Reset', 'DataTransfer')
$$;
comment on function private.may_repeat is 'Whether a command may be sent again when the connection broke before the answer: twice must be as good as once. '
  'A remote start is: its tag and connector are the same both times.';

create or replace function private.has_stopped(p_command public.commands) returns boolean
language plpgsql stable set search_path = '' set plan_cache_mode = force_generic_plan
as $$
begin
  return p_command.action = 'RemoteStopTransaction' and (p_command.effect_at is not null
    -- what a person sends by send_command() goes out once, whatever is known of the session
    or (p_command.session_id is not null or p_command.attempts > 0) and exists (
         select from public.charging_sessions as s
          where s.transaction_id = private.to_integer(p_command.payload -> 'transactionId') and s.station_id = p_command.station_id
            and s.status in ('stopped', 'error')));
end $$;
comment on function private.has_stopped is 'Whether a command is a remote stop that has nothing left to stop: its session has ended.';

create or replace function private.release_commands(p_station_id text, p_connection_id uuid) returns void
language sql volatile set search_path = ''
as $$
  update public.commands
     set status = case when private.has_stopped(commands) then 'accepted'
                       when private.may_repeat(action) and expires_at > now() then 'queued' else 'timed_out' end::public.command_status,
         connection_id = null,
         error = case when private.has_stopped(commands) then 'the connection was lost before the station answered; the session has ended'
                      when private.may_repeat(action) and expires_at > now() then null
                      else 'the connection was lost before the station answered; whether it acted is not known' end
   where station_id = p_station_id and status = 'sent' and connection_id is distinct from p_connection_id
$$;
comment on function private.release_commands is 'Commands that wait for an answer on a connection other than p_connection_id: queued again where that is harmless, else timed out; a remote stop whose session has ended is done.';

create or replace function private.take_new_key(p_command public.commands) returns void
language sql volatile set search_path = ''
as $$
  update private.station_keys as k
     set key_hash = coalesce(decode(x.payload ->> 'key_hash', 'hex'), private.key_hash(k.salt, x.payload ->> 'value')), created_at = now()
    from private.command_secrets as x
   where x.command_id = p_command.id and k.station_id = p_command.station_id
     and (x.payload ? 'value' or k.created_at <= p_command.created_at)  -- the hash is of the salt that was
$$;
comment on function private.take_new_key is 'The station has taken another AuthorizationKey: from its next connection on it must show that, and the old one counts '
  'no more (OCPP-J 1.6 §6.2.2). A station that needs no password goes on needing none.';

create or replace function private.take_answer(p_event jsonb) returns jsonb
language plpgsql volatile set search_path = '' set plan_cache_mode = force_generic_plan
as $$
declare
  v_command public.commands;
  v_outcome text := p_event ->> 'outcome';
  v_received_at timestamptz := (p_event ->> 'received_at')::timestamptz;
  v_status public.command_status;
  v_error text;
begin
  select * into v_command from public.commands where id = (p_event ->> 'command_id')::uuid for update;
  if not found or v_command.answered_at is not null then
    return jsonb_build_object('ok', true, 'more', false);
  end if;
  if v_outcome in ('timeout', 'failed') and v_command.status <> 'sent' then
    return jsonb_build_object('ok', true, 'more', false);  -- its connection broke first: release_commands() has decided
  end if;

  v_error := nullif(concat_ws(': ', p_event #>> '{error,code}', nullif(p_event #>> '{error,description}', '')), '');
  v_status := case v_outcome
    when 'result' then case when coalesce(p_event #>> '{payload,status}', 'Accepted') in ('Accepted', 'Scheduled', 'RebootRequired', 'Unlocked')
                            then 'accepted' else 'rejected' end
    when 'timeout' then 'timed_out' else 'failed' end::public.command_status;
  if v_status = 'accepted' and v_command.action = 'ChangeConfiguration' and lower(v_command.payload ->> 'key') = 'authorizationkey' then
    perform private.take_new_key(v_command);  -- before the update, which forgets the secret
  end if;
  update public.commands
     set status = v_status, result = case when v_outcome = 'result' then private.redact(action, p_event -> 'payload') end,
         error = case v_outcome when 'result' then null when 'timeout' then format('no answer within %s s', timeout_s) else coalesce(v_error, 'failed') end,
         late = v_outcome <> 'timeout' and status = 'timed_out',
         answered_at = case when v_outcome in ('result', 'error') then v_received_at end
   where id = v_command.id;
  if v_outcome = 'result' then
    perform private.after_answer(v_command, v_status, p_event -> 'payload', v_received_at);
  elsif v_command.action = 'RemoteStartTransaction' and v_outcome <> 'timeout' then
    perform private.fail_session(v_command.session_id, 'the station could not start: ' || coalesce(v_error, 'no reason given'));
  end if;
  return jsonb_build_object('ok', true, 'more', exists (
    select from public.commands where station_id = v_command.station_id and status = 'queued' and expires_at > now()));
end $$;
comment on function private.take_answer is 'Writes the answer to a command, or that none came. A late answer still counts, marked late.';

create or replace function private.after_answer(p_command public.commands, p_status public.command_status, p_payload jsonb, p_received_at timestamptz)
returns void
language plpgsql volatile set search_path = ''
as $$
begin
  if p_command.action = 'RemoteStartTransaction' then
    if p_status = 'accepted' then
      update public.charging_sessions set expires_at = p_received_at + (select start_timeout from private.settings)
       where id = p_command.session_id and status = 'pending';
    else
      perform private.fail_session(p_command.session_id, 'the station refused to start');
    end if;
  elsif p_command.action = 'RemoteStopTransaction' and p_status = 'rejected' then
    update public.charging_sessions set flags = flags || 'stop_refused'::text
     where id = p_command.session_id and not 'stop_refused' = any (flags);
  elsif p_command.action = 'GetConfiguration' and jsonb_typeof(p_payload -> 'configurationKey') = 'array' then
    insert into public.station_configuration (station_id, key, value, readonly, reported_at)
    select distinct on (k ->> 'key') p_command.station_id, k ->> 'key', k ->> 'value', coalesce(k -> 'readonly' = 'true', false), p_received_at
      from jsonb_array_elements(p_payload -> 'configurationKey') as k
     where k ->> 'key' <> '' and not private.is_secret_key(k ->> 'key')
    on conflict (station_id, key) do update set value = excluded.value, readonly = excluded.readonly, reported_at = excluded.reported_at;
  elsif p_command.action = 'ChangeConfiguration' and p_status = 'accepted' and not private.is_secret_key(p_command.payload ->> 'key') then
    insert into public.station_configuration (station_id, key, value, reported_at)
    values (p_command.station_id, p_command.payload ->> 'key', p_command.payload ->> 'value', p_received_at)
    on conflict (station_id, key) do update set value = excluded.value, reported_at = excluded.reported_at;
  end if;
end $$;
comment on function private.after_answer is 'What an answer means beyond its command: the waiting session, the known configuration.';

create or replace function private.fail_session(p_session_id uuid, p_error text) returns void
language sql volatile set search_path = ''
as $$
  update public.charging_sessions
     set status = case when stop_requested_at is null then 'error' else 'stopped' end::public.session_status,
         error = case when stop_requested_at is null then p_error end,
         stop_reason = case when stop_requested_at is not null then 'Remote' end, expires_at = null
   where id = p_session_id and status = 'pending'
$$;
comment on function private.fail_session is 'Gives a pending session up; one that was called off ends as asked. A StartTransaction that comes all the same still finds it.';

create or replace function private.expire_waiting() returns void
language plpgsql volatile set search_path = ''
as $$
begin
  -- What somebody else works on at this moment is left for the next time: nobody waits for the housekeeping, nor it for them.
  update public.commands
     set status = case attempts when 0 then 'expired' else 'timed_out' end::public.command_status,
         error = case attempts when 0 then 'it could not be sent in time: the station was away or busy'
                 else 'the connection was lost before the station answered; whether it acted is not known' end
   where id in (select id from public.commands where status = 'queued' and expires_at <= now() for update skip locked);
  update public.commands set status = 'timed_out', error = format('no answer within %s s', timeout_s)
   where id in (select id from public.commands
                 where status = 'sent' and sent_at < now() - make_interval(secs => timeout_s + 30)  -- the bridge says it sooner, if it lives
                   for update skip locked);
  perform private.expire_starts();
end $$;
comment on function private.expire_waiting is 'Ends what waited too long: commands and pending sessions.';

create or replace function private.waited_too_long(p_session public.charging_sessions) returns text
language plpgsql stable set search_path = '' set plan_cache_mode = force_generic_plan
as $$
declare
  v_command public.commands;
begin
  select * into v_command from public.commands as c
   where c.session_id = p_session.id and c.action = 'RemoteStartTransaction' order by c.created_at desc limit 1;
  if p_session.status = 'pending' and (p_session.expires_at <= now() or v_command.status = 'expired'
       or v_command.status = 'queued' and v_command.attempts = 0 and v_command.expires_at <= now()) then
    return case when v_command.status = 'accepted' then 'the station accepted, but no charge began' else 'the station could not be reached' end;
  end if;
  return null;
end $$;
comment on function private.waited_too_long is 'Why a pending session comes to nothing: its time, or that of the command that was to start it, is up. Else null.';

create or replace function private.expire_starts(p_client_id uuid default null, p_station_id text default null) returns void
language plpgsql volatile set search_path = ''
as $$
begin
  -- As expire_waiting(): nobody is waited for.
  perform private.fail_session(w.id, w.error)
    from (select s.id, s.client_id, e.error
            from public.charging_sessions as s
           cross join lateral (select private.waited_too_long(s) as error offset 0) as e
           where s.status = 'pending' and (p_client_id is null or s.client_id = p_client_id) and (p_station_id is null or s.station_id = p_station_id)
             and e.error is not null
             for update of s skip locked) as w
   where private.try_lock_account(w.client_id);
end $$;
comment on function private.expire_starts is 'Ends pending sessions that waited too long, of one payer or at one station or all, and so releases their holds. For the housekeeping, and for '
  'those who need money or a connector now, while it may be that no bridge runs.';

grant execute on function public.send_command, public.start_charge, public.start_charge_for, public.stop_charge, public.release_session, public.close_session,
  public.cancel_command, public.claim_commands to authenticated, service_role;
