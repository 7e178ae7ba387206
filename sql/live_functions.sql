-- Live updates: triggers write to private Realtime topics. Payload shapes: docs/realtime.md.
-- realtime.send() never fails its caller; whoever must not miss a thing reads the tables.

create or replace function private.publish_session() returns trigger
language plpgsql volatile set search_path = ''
security definer  -- whoever causes the change may not write to realtime.messages
as $$
begin
  if new.status = old.status and new.settled_at is not distinct from old.settled_at then
    if new.live_at > clock_timestamp() - (select live_update_interval from private.settings) then
      return new;  -- too soon after the last; private.keep_house() sends what no meter value follows
    end if;
    new.live_at := clock_timestamp();
  end if;
  perform realtime.send(jsonb_build_object(
      'session_id', new.id, 'status', new.status, 'station_id', new.station_id, 'connector_id', new.connector_id,
      'transaction_id', new.transaction_id, 'start_time', new.start_time, 'stop_time', new.stop_time, 'energy', new.energy,
      'amount', new.amount, 'currency', new.currency, 'power_w', new.power_w, 'soc_percent', new.soc_percent,
      'stop_reason', new.stop_reason, 'error', new.error, 'receipt', new.receipt),
    'session', 'session:' || new.id, true);
  return new;
end $$;
comment on function private.publish_session is 'Trigger: sends a session to its topic, at once when its status changes, else at most once in private.settings.live_update_interval.';
create or replace trigger publish_session before update on public.charging_sessions for each row
  when (old.status is distinct from new.status or old.priced_at is distinct from new.priced_at)
  execute function private.publish_session();

create or replace function private.publish_command() returns trigger
language plpgsql volatile set search_path = ''
security definer  -- as publish_session
as $$
begin
  perform realtime.send(jsonb_build_object('command_id', new.id, 'station_id', new.station_id, 'action', new.action, 'status', new.status,
      'result', new.result, 'error', new.error, 'late', new.late, 'session_id', new.session_id, 'sent_at', new.sent_at,
      'answered_at', new.answered_at, 'effect_at', new.effect_at),
    'command', 'command:' || new.id, true);
  return null;
end $$;
comment on function private.publish_command is 'Trigger: sends a command to its topic at each step of its life.';
create or replace trigger publish_command after update on public.commands for each row
  when ((old.status, old.effect_at, old.late) is distinct from (new.status, new.effect_at, new.late))
  execute function private.publish_command();

create or replace function private.wake_bridge() returns trigger
language plpgsql volatile set search_path = ''
security definer  -- as publish_session
as $$
begin
  perform realtime.send(jsonb_build_object('command_id', new.id, 'station_id', new.station_id), 'command', 'bridge:' || n.bridge_id, true)
    from private.station_connections as n
   where n.station_id = new.station_id and n.disconnected_at is null;
  return null;
end $$;
comment on function private.wake_bridge is 'Trigger: tells the bridge that holds the station to claim. Only a hint: the bridge also looks by itself.';
create or replace trigger wake_bridge_for_new after insert on public.commands for each row
  when (new.status = 'queued') execute function private.wake_bridge();
create or replace trigger wake_bridge_again after update on public.commands for each row
  when (new.status = 'queued' and old.status <> 'queued') execute function private.wake_bridge();

create or replace function private.publish_connector() returns trigger
language plpgsql volatile set search_path = ''
security definer  -- as publish_session
as $$
begin
  perform realtime.send(jsonb_build_object('station_id', new.station_id, 'number', new.number, 'status', new.status,
      'error_code', new.error_code, 'status_at', new.status_at), 'connector', 'station:' || new.station_id, true);
  return null;
end $$;
comment on function private.publish_connector is 'Trigger: sends a connector''s new status to the topic of its station.';
create or replace trigger publish_new_connector after insert on public.connectors for each row
  when (new.status is not null) execute function private.publish_connector();
create or replace trigger publish_connector after update of status, error_code on public.connectors for each row
  when ((old.status, old.error_code) is distinct from (new.status, new.error_code)) execute function private.publish_connector();

create or replace function private.publish_presence() returns trigger
language plpgsql volatile set search_path = ''
security definer  -- as publish_session
as $$
begin
  perform realtime.send(jsonb_build_object('station_id', new.station_id, 'online', new.disconnected_at is null, 'at', now()),
    'presence', 'station:' || new.station_id, true);
  return null;
end $$;
comment on function private.publish_presence is 'Trigger: tells the topic of a station that it came or went.';
create or replace trigger publish_arrival after insert on private.station_connections for each row
  when (new.disconnected_at is null) execute function private.publish_presence();
create or replace trigger publish_presence after update on private.station_connections for each row
  when ((old.disconnected_at is null) <> (new.disconnected_at is null)) execute function private.publish_presence();
