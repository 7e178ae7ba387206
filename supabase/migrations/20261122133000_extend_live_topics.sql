-- Live topics for maps and operators, told in a way that stays within what a project may send, and disconnect_station().

alter table private.settings
  add column live_topics text[] not null default '{session,station,location,command,client}'
    check (live_topics <@ '{session,station,location,command,client}'::text[]),
  add column live_messages_per_s integer not null default 50 check (live_messages_per_s > 0),
  add column live_location_interval interval not null default '1 s',
  add column live_offline_after interval not null default '10 s';
comment on column private.settings.live_update_interval is 'A session''s Realtime topic gets at most one meter update in this time; fewer when more sessions charge than live_messages_per_s allows for.';
comment on column private.settings.live_topics is 'The kinds of Realtime topics that are written. Take out what no app of yours listens to.';
comment on column private.settings.live_messages_per_s is 'Meter updates of all sessions together, messages a second. A project may send about 100, deliveries included.';
comment on column private.settings.live_location_interval is 'A location''s Realtime topic gets at most one roll-up in this time.';
comment on column private.settings.live_offline_after is 'How long a station may be away before its topics say so: a reconnect is no news.';

create table private.live_pace (
  only_row boolean primary key default true check (only_row),
  session_interval interval not null default '0'
);
comment on table private.live_pace is 'What the housekeeping found out about the traffic of topics; one row.';
comment on column private.live_pace.session_interval is 'Sessions under way, divided by private.settings.live_messages_per_s.';
insert into private.live_pace default values;

create table private.live_locations (
  location_id uuid primary key references public.locations (id) on delete cascade,
  told_at timestamptz not null
);
comment on table private.live_locations is 'When the topic of a location got its last roll-up.';

create table private.live_waiting (
  id bigint generated always as identity primary key,
  location_id uuid not null
);
comment on table private.live_waiting is 'Locations that changed too soon after their last roll-up; a row for each change, because a row of their own would have to be waited for.';

create table private.station_presence (
  station_id text primary key references public.stations (id) on delete cascade on update cascade,
  online boolean not null,
  told_at timestamptz not null
);
comment on table private.station_presence is 'What the topics were told last about a station: here, or away. Follows private.open_connections, less the short absences.';
insert into private.station_presence (station_id, online, told_at)
select c.station_id, exists (select from private.open_connections as o where o.station_id = c.station_id), now() from private.station_connections as c;

alter table private.station_connections add column closing_id uuid;
comment on column private.station_connections.closing_id is 'The connection that disconnect_station() wants closed.';
create or replace view private.open_connections with (security_invoker = on) as  -- the new column
select c.* from private.station_connections as c join private.bridges as b on b.id = c.bridge_id
 where c.disconnected_at is null and b.lease_expires_at > now();

alter table private.live_pace enable row level security;
alter table private.live_locations enable row level security;
alter table private.live_waiting enable row level security;
alter table private.station_presence enable row level security;

drop trigger publish_arrival on private.station_connections;
drop trigger publish_presence on private.station_connections;

-- Functions ----------------------------------------------------------------------------------------
create or replace function private.availability(p_station_status public.station_operation, p_online boolean, p_ocpp_status public.connector_status,
  p_status public.connector_status) returns text
language plpgsql immutable set search_path = ''  -- called for each connector of a map: an SQL function takes four times as long
as $$
begin
  return case when p_station_status <> 'active' then 'unavailable'
              when p_online is not true then 'offline'
              when 'Faulted' in (p_status, p_ocpp_status) then 'faulted'
              when 'Unavailable' in (p_status, p_ocpp_status) then 'unavailable'
              when p_status is null or p_status = 'Available' then 'free'
              else 'in_use' end;
end $$;
comment on function private.availability is 'What a driver finds at a connector: a word of public.availability. p_ocpp_status: of the station as a whole.';

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

create or replace function private.key_bytes(p_key bytea) returns bytea
language sql immutable set search_path = ''
as $$
  select case when encode(p_key, 'escape') ~ '^([0-9A-Fa-f]{2})+$' then decode(encode(p_key, 'escape'), 'hex') else p_key end
$$;
comment on function private.key_bytes is 'A Basic-auth password as it is hashed: the bytes that hex digits stand for, else as it is. Configured as 40 hex digits over OCPP, in '
  'whatever case, it is sent as 20 bytes or as the digits (field notes 7).';

create or replace function private.key_hash(p_salt bytea, p_key text) returns bytea
language sql immutable set search_path = ''
as $$
  select sha256(p_salt || private.key_bytes(convert_to(p_key, 'UTF8')))
$$;
comment on function private.key_hash is 'What is kept of a station''s password.';

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

create or replace function public.set_station_password(station_id text, password text) returns void
language plpgsql volatile set search_path = ''
security definer  -- the keys are private
as $$
declare
  v_station public.stations;
  v_salt bytea := decode(replace(gen_random_uuid()::text, '-', ''), 'hex');
begin
  perform private.assert_person();
  v_station := private.station_by_id(set_station_password.station_id);
  if not private.operates_station(v_station.id) then
    perform private.fail(403, 'OCPRM', format('station "%s" is not yours', v_station.id),
      'Operators set the passwords of the stations of their own company.');
  end if;
  if password is null then
    delete from private.station_keys as k where k.station_id = v_station.id;
    return;
  end if;
  if octet_length(password) not between 16 and 40 then
    perform private.fail(400, 'OCARG', 'the password must have 16 to 40 bytes', 'Make a random one; 40 hex digits stand for 20 bytes (OCPP-J 1.6 §6.2).');
  end if;
  insert into private.station_keys (station_id, salt, key_hash) values (v_station.id, v_salt, private.key_hash(v_salt, password))
  on conflict on constraint station_keys_pkey do update set salt = excluded.salt, key_hash = excluded.key_hash, created_at = now();
end $$;
comment on function public.set_station_password is 'Sets the HTTP Basic password that a station must show from its next connection on (security profile 1); null: none. '
  'Only a salted hash is kept. 403 OCPRM, 404 OCSTA, 400 OCARG.';

create or replace function private.publish(p_kind text, p_id text, p_event text, p_payload jsonb) returns void
language plpgsql volatile set search_path = '' set plan_cache_mode = force_generic_plan
as $$
begin
  if p_id is not null and p_kind = any ((select live_topics from private.settings)::text[]) then
    perform realtime.send(p_payload, p_event, p_kind || ':' || p_id, true);
  end if;
end $$;
comment on function private.publish is 'Sends an event to the private topic kind:id, unless private.settings.live_topics leaves that kind out. Without id nothing: a station at no location has no company.';

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
    if new.live_at > clock_timestamp() - (select greatest(c.live_update_interval, p.session_interval) from private.settings as c, private.live_pace as p) then
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
  'less often still when many charge. Its company hears of those steps only.';
create or replace trigger publish_new_session after insert on public.charging_sessions for each row execute function private.publish_session();
create or replace trigger publish_session before update on public.charging_sessions for each row
  when ((old.status, old.priced_at, old.limit_reached_at) is distinct from (new.status, new.priced_at, new.limit_reached_at))
  execute function private.publish_session();

-- Commands -----------------------------------------------------------------------------------------
create or replace function private.publish_command() returns trigger
language plpgsql volatile set search_path = ''
security definer  -- as publish_session
as $$
declare
  v_message jsonb := jsonb_build_object('command_id', new.id, 'station_id', new.station_id, 'action', new.action, 'status', new.status,
    'result', new.result, 'error', new.error, 'late', new.late, 'session_id', new.session_id, 'sent_at', new.sent_at,
    'answered_at', new.answered_at, 'effect_at', new.effect_at);
begin
  if tg_op = 'UPDATE' then  -- as publish_session
    perform private.publish('command', new.id::text, 'command', v_message);
  end if;
  perform private.publish('client', private.company_of(new.station_id), 'command', v_message);
  return null;
end $$;
comment on function private.publish_command is 'Trigger: sends a command to its topic and to that of its station''s company, at each step of its life.';
create or replace trigger publish_new_command after insert on public.commands for each row execute function private.publish_command();
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
  if pg_try_advisory_xact_lock(hashtextextended('location ' || p_location_id, 0)) then
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
comment on function private.publish_location is 'Sends the roll-up of a location to its topic; one that changed a moment ago, or changes in another transaction as well, waits for the next catch_up_topics().';

-- Presence -----------------------------------------------------------------------------------------
create or replace function private.note_arrival() returns trigger
language plpgsql volatile set search_path = '' set plan_cache_mode = force_generic_plan
as $$
begin
  insert into private.station_presence as p (station_id, online, told_at) values (new.station_id, true, clock_timestamp())
  on conflict (station_id) do update set online = true, told_at = excluded.told_at where not p.online;
  return null;
end $$;
comment on function private.note_arrival is 'Trigger: a station that came is online at once. One that went gets private.settings.live_offline_after to come back before private.catch_up_topics() says so.';
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
begin
  select * into v_settings from private.settings;
  v_interval := make_interval(secs => (select count(*) from public.charging_sessions where status = 'started')::double precision / v_settings.live_messages_per_s);
  update private.live_pace set session_interval = v_interval where session_interval <> v_interval;

  -- The last meter value before a pause came too soon after another to be sent to the session's topic.
  update public.charging_sessions set priced_at = clock_timestamp()
   where id in (select id from public.charging_sessions
                 where status = 'started' and priced_at > live_at and live_at < now() - greatest(v_settings.live_update_interval, v_interval)
                   for update skip locked);

  -- Stations that went and did not come back, whose bridge died, or that an outage made look so. After the end of a
  -- big bridge not all in one second: that alone would be more than a project may send.
  with changed as (
    select p.station_id, o.station_id is not null as online
      from private.station_presence as p
      join private.station_connections as c on c.station_id = p.station_id
      left join private.open_connections as o on o.station_id = p.station_id
     where p.online <> (o.station_id is not null) and (not p.online or private.is_away(c))
     order by p.told_at
     limit greatest(5 * v_settings.live_messages_per_s / greatest((select count(*) from private.bridges where lease_expires_at > now()), 1), 1)
       for update of p skip locked
  )
  update private.station_presence as p set online = changed.online, told_at = clock_timestamp() from changed where p.station_id = changed.station_id;

  for v_location_id in select distinct w.location_id from private.live_waiting as w left join private.live_locations as l using (location_id)
                        where l.told_at is null or l.told_at < clock_timestamp() - v_settings.live_location_interval loop
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

grant execute on function private.availability to anon, authenticated, service_role;

create policy "Anon listens to the topics of the map" on realtime.messages for select to anon
  using (extension = 'broadcast' and (select private.may_join((select realtime.topic()))));
