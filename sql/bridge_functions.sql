-- Bridges: their leases, and the housekeeping that rides on their heartbeat.

create or replace function public.bridge_heartbeat(bridge_id text, settings jsonb default '{}', seen jsonb default '[]') returns jsonb
language plpgsql volatile set search_path = ''
security definer  -- the bridge holds no grant on the tables
as $$
declare
  v_lease timestamptz := now() + interval '15 s';
  v_close jsonb;
begin
  perform private.assert_bridge();
  if coalesce(bridge_heartbeat.bridge_id, '') = '' then
    perform private.fail(400, 'OCARG', 'bridge_id must not be empty', 'Each bridge has a name of its own.');
  end if;
  insert into private.bridges as b (id, settings, lease_expires_at) values (bridge_heartbeat.bridge_id, coalesce(bridge_heartbeat.settings, '{}'), v_lease)
  on conflict (id) do update set settings = excluded.settings, lease_expires_at = excluded.lease_expires_at;

  perform private.keep_house();

  with mine as materialized (
    select e ->> 'station_id' as station_id, (e ->> 'connection_id')::uuid as connection_id, (e ->> 'last_message_at')::timestamptz as last_message_at
      from jsonb_array_elements(bridge_heartbeat.seen) as e
  ), target as (
    -- Ours still, or ours again: the row says disconnected or belongs to a bridge that is gone, yet the socket is open here.
    -- A row that a message of the station is changing just now is left for the next time.
    select c.station_id, mine.connection_id, mine.last_message_at
      from private.station_connections as c join mine using (station_id)
     where c.connection_id = mine.connection_id
             and (c.last_message_at < mine.last_message_at or c.disconnected_at is not null or c.bridge_id <> bridge_heartbeat.bridge_id)
           or c.connection_id <> mine.connection_id
             and not exists (select from private.open_connections as o where o.station_id = c.station_id)
       for update of c skip locked
  )
  update private.station_connections as c
     set last_message_at = greatest(c.last_message_at, target.last_message_at), disconnected_at = null, disconnect_code = null,
         bridge_id = bridge_heartbeat.bridge_id, connection_id = target.connection_id,
         booted_at = case when c.connection_id = target.connection_id then c.booted_at end,
         connected_at = case when c.connection_id = target.connection_id then c.connected_at else now() end
    from target
   where c.station_id = target.station_id;

  select coalesce(jsonb_agg(e -> 'connection_id'), '[]') into v_close
    from jsonb_array_elements(bridge_heartbeat.seen) as e
   where exists (select from private.open_connections as c
                  where c.station_id = e ->> 'station_id' and (c.connection_id <> (e ->> 'connection_id')::uuid or c.closing_id = c.connection_id))
      -- deleted or renamed: under this id nothing can be stored any more, and only a new handshake says so
      or not exists (select from public.stations as s where s.id = e ->> 'station_id');

  -- Rows that say connected here although the bridge has no such socket: it was closed while we could not be told.
  perform private.disconnect_station(jsonb_build_object('station_id', c.station_id, 'connection_id', c.connection_id, 'received_at', now()))
    from private.station_connections as c
   where c.bridge_id = bridge_heartbeat.bridge_id and c.disconnected_at is null and c.connected_at < now() - interval '30 s'
     and not exists (select from jsonb_array_elements(bridge_heartbeat.seen) as e where (e ->> 'connection_id')::uuid = c.connection_id)
     and pg_try_advisory_xact_lock(private.station_lock(c.station_id));
  return jsonb_build_object('lease_expires_at', v_lease, 'close', v_close);
end $$;
comment on function public.bridge_heartbeat is 'For bridges, every few seconds: renews the lease (15 s) and names the connections to close: no longer their station''s newest, of a station that is gone, or told to by disconnect_station(). '
  'seen: the open sockets as [{station_id, connection_id, last_message_at}].';

create or replace function private.end_lost_sessions() returns void
language plpgsql volatile set search_path = ''
as $$
begin
  -- The connector is free although nobody told us that the session ended, and no meter value came since: the StopTransaction
  -- is lost, or waits in the station. Ten minutes, because the status may overtake the queue of the station (OCPP 1.6 §3.7).
  perform private.end_provisionally(w.id, w.status_at)
    from (select s.id, s.client_id, c.status_at
            from public.charging_sessions as s
            join public.connectors as c on c.station_id = s.station_id and c.number = s.connector_id
           where s.status = 'started' and c.status in ('Available', 'Preparing') and c.status_at < now() - interval '10 minutes'
             and c.status_at > greatest(s.start_time, s.meter_last_at + s.clock_offset) and s.updated_at < now() - interval '10 minutes'
             and private.is_online(s.station_id)
             for update of s skip locked) as w
   where private.try_lock_account(w.client_id);
  -- A day for the station's queue, then they are billed at the last register.
  perform private.settle_session(w.id)
    from (select id, client_id from public.charging_sessions
           where stop_time is not null and settled_at is null and provisional_at < now() - interval '1 day' and meter_stop_wh is null
           limit 100 for update skip locked) as w
   where private.try_lock_account(w.client_id);
end $$;
comment on function private.end_lost_sessions is 'Ends sessions whose StopTransaction never came: provisionally at first, and a day later for good.';

create or replace function private.keep_house() returns void
language plpgsql volatile set search_path = ''
as $$
declare
  v_step text;
begin
  if not pg_try_advisory_xact_lock(hashtext('private.keep_house')) then
    return;  -- another bridge does it
  end if;
  -- Partitions first, while no lock is held that others wait for; topics last: they hold rows that an arriving station waits for.
  foreach v_step in array array['partitions', 'waiting', 'lost sessions', 'costs', 'limits', 'totals', 'leftovers', 'topics'] loop
    begin
      case v_step
        when 'partitions' then
          perform private.ensure_partitions(now());
        when 'waiting' then
          perform private.expire_waiting();
        when 'lost sessions' then
          perform private.end_lost_sessions();
        when 'costs' then
          perform private.reprice_sessions(array(
            select id from public.charging_sessions where status = 'started' and priced_energy_wh is distinct from energy_wh
             order by priced_at limit 500 for update skip locked));
        when 'limits' then
          perform private.watch_limits();
        when 'totals' then
          -- Not with each settlement: one statement may bring in years of sessions.
          if (select count(*) from (select from public.station_totals where not is_sum limit 200) as fresh) = 200 then
            perform private.sum_totals();
          end if;
        when 'leftovers' then
          delete from private.bridges where lease_expires_at < now() - interval '1 day';
          delete from private.command_secrets as x using public.commands as c
           where c.id = x.command_id and c.status = 'timed_out' and c.created_at < now() - interval '1 day';
        when 'topics' then
          perform private.catch_up_topics();
      end case;
    exception when others then
      -- The other steps and the lease of the bridge matter more.
      raise warning 'housekeeping failed at %: % (%)', v_step, sqlerrm, sqlstate;
    end;
  end loop;
end $$;
comment on function private.keep_house is 'What has to happen by itself: expiry, running costs, limits between samples, lost stops, topics, partitions. Run by one bridge at a time. A step that fails undoes itself only, and warns.';

grant execute on function public.bridge_heartbeat to authenticated, service_role;
