-- Sessions: who may charge, how one begins, grows, ends and is billed. Registers in Wh as OCPP has them.

create or replace function private.station_lock(p_station_id text) returns bigint
language plpgsql immutable set search_path = ''
as $$
begin
  return hashtextextended('station ' || lower(p_station_id), 0);
end $$;
comment on function private.station_lock is 'Key of the advisory lock that stands for a station.';

create or replace function private.lock_stations(p_station_ids text[]) returns void
language plpgsql volatile set search_path = ''
as $$
begin
  perform pg_advisory_xact_lock(o.key)
     from (select distinct private.station_lock(i) as key from unnest(p_station_ids) as i where i is not null order by 1) as o;
end $$;
comment on function private.lock_stations is 'Waits until nobody else works on these stations, until the end of the transaction. Whoever locks rows of '
  'several of a station''s tables takes this first, so that no two wait for each other.';

create or replace function private.id_tag_info(p_station_id text, p_id_tag text) returns jsonb
language plpgsql stable set search_path = '' set plan_cache_mode = force_generic_plan
as $$
declare
  v_tag public.id_tags;
  v_status text;
begin
  select * into v_tag from public.id_tags where lower(id_tag) = lower(p_id_tag);
  if not found then
    -- A tag made up by start_charge() may charge while its session waits or runs (OCPP 1.6 §5.11: the station may ask first).
    if exists (select from public.charging_sessions
                where lower(id_tag) = lower(p_id_tag) and status in ('pending', 'started') and station_id = p_station_id
                  and not 'id_tag_refused' = any (flags)) then
      return '{"status": "Accepted"}';
    end if;
    return jsonb_build_object('status', case when private.bridge_setting(p_station_id, 'unknown_id_tags') = 'accept'
                                             then 'Accepted' else 'Invalid' end);
  end if;
  v_status := case
    when v_tag.status <> 'Accepted' then v_tag.status::text
    when v_tag.expiry_date <= now() then 'Expired'
    when exists (select from public.users where id = v_tag.user_id and not is_active) then 'Blocked'
    when exists (select from public.clients as c
                  where c.id = coalesce(v_tag.client_id, (select u.client_id from public.users as u where u.id = v_tag.user_id))
                    and c.status <> 'active') then 'Blocked'
    else 'Accepted' end;
  return jsonb_strip_nulls(jsonb_build_object('status', v_status, 'parentIdTag', v_tag.parent_id_tag,
                                              'expiryDate', private.ocpp_time(v_tag.expiry_date)));
end $$;
comment on function private.id_tag_info is 'IdTagInfo of OCPP 1.6 §7.27 for a tag at a station. A tag nobody knows is Invalid, unless the station''s bridge accepts such tags.';

create or replace function private.authorize(p_station_id text, p_id_tag text) returns jsonb
language plpgsql stable set search_path = ''
as $$
declare
  v_info jsonb := private.id_tag_info(p_station_id, p_id_tag);
  v_client_id uuid;
begin
  if v_info ->> 'status' = 'Accepted'
     and not exists (select from public.charging_sessions where lower(id_tag) = lower(p_id_tag) and station_id = p_station_id and status in ('pending', 'started')) then
    select coalesce(t.client_id, u.client_id) into v_client_id
      from public.id_tags as t left join public.users as u on u.id = t.user_id where lower(t.id_tag) = lower(p_id_tag);
    if (private.check_funds(v_client_id, null, null, private.tariff_snapshot(p_station_id, null, now(), v_client_id), now(), true)).problem is not null then
      return v_info || '{"status": "Blocked"}';
    end if;
  end if;
  return v_info;
end $$;
comment on function private.authorize is 'IdTagInfo for an Authorize: id_tag_info(), and Blocked for a tag whose account could not pay for a start. A tag that '
  'charges here already may always be shown again, to stop.';

create or replace function private.bridge_setting(p_station_id text, p_name text) returns text
language sql stable set search_path = ''
as $$
  select b.settings ->> p_name
    from private.station_connections as c join private.bridges as b on b.id = c.bridge_id
   where c.station_id = p_station_id
$$;
comment on function private.bridge_setting is 'A setting of the bridge that holds the station; null when none does.';

create or replace function private.ensure_connector(p_station_id text, p_number integer) returns integer
language plpgsql volatile set search_path = '' set plan_cache_mode = force_generic_plan
as $$
begin
  if p_number is null or p_number not between 1 and 1000 then
    return null;
  end if;
  insert into public.connectors (station_id, number)
  select p_station_id, p_number
   where not exists (select from public.connectors where station_id = p_station_id and number = p_number)
  on conflict (station_id, number) do nothing;
  return p_number;
end $$;
comment on function private.ensure_connector is 'The connector''s number, its row made when it is new; null for one that cannot be (below 1, above 1000).';

-- Prices -----------------------------------------------------------------------------------------
create or replace function private.prices_time(p_tariff jsonb, p_parking boolean) returns boolean
language plpgsql immutable set search_path = ''
as $$
begin
  return coalesce(p_tariff @? '$.rules[*] ? (@.tariff_type == "per_minute")' or p_tariff ? 'late_fee'
                  or p_parking and p_tariff @? '$.rules[*] ? (@.tariff_type == "parking_fee")', false);
end $$;
comment on function private.prices_time is 'Whether the cost of a session under a tariff_snapshot() may grow by time alone; p_parking: while the car parks.';
grant execute on function private.prices_time to authenticated, service_role;  -- an index asks it for whoever writes sessions

create or replace function private.priced_until(p_session public.charging_sessions) returns timestamptz
language plpgsql stable set search_path = ''
as $$
begin
  if p_session.status <> 'started' or not private.prices_time(p_session.tariff, p_session.parking_start_time is not null) then
    return null;
  end if;
  return (select greatest(now(), p_session.meter_last_at + p_session.clock_offset) from private.open_connections as c
           where c.station_id = p_session.station_id and c.connected_at < now() - interval '1 minute'
             and not exists (select from public.connectors as n
                              where n.station_id = p_session.station_id and n.number = p_session.connector_id and n.status in ('Available', 'Preparing')
                                and n.status_at > greatest(p_session.start_time, p_session.meter_last_at + p_session.clock_offset)));
end $$;
comment on function private.priced_until is 'Now, for a session that goes on and whose tariff prices time. Else null, and its last meter value is as far as its cost is known: also while '
  'the station is away, in the first minute after that, when it sends what it has kept, and when the connector is free, because the StopTransaction is lost.';

create or replace function private.price_so_far(p_session public.charging_sessions, p_until timestamptz default null) returns jsonb
language plpgsql stable set search_path = ''
as $$
begin
  p_session.meter_start_wh := coalesce(p_session.meter_base_wh, p_session.meter_start_wh);
  return private.price_session(p_session, p_until);
end $$;
comment on function private.price_so_far is 'price_session() of a session that has no stop yet: by the register on which its samples run.';

create or replace function private.reprice_sessions(p_session_ids uuid[], p_until_now boolean default false) returns void
language plpgsql volatile set search_path = '' set plan_cache_mode = force_generic_plan
set enable_seqscan = off  -- as store_meter_values
as $$
begin
  update public.charging_sessions as s
     set amount = (p.price ->> 'cost')::numeric, currency = p.price ->> 'currency', priced_at = clock_timestamp(), priced_energy_wh = s.energy_wh
    from (select o.id, private.price_so_far(o, case when p_until_now then private.priced_until(o) end) as price
            from public.charging_sessions as o
           where o.id = any (p_session_ids) and o.status = 'started' and o.tariff is not null
           order by o.id) as p
   where s.id = p.id and s.id = any (p_session_ids);
end $$;
comment on function private.reprice_sessions is 'Brings the running cost of sessions up to their last meter value; with p_until_now to priced_until().';

create or replace function private.settle_session(p_session_id uuid) returns public.charging_sessions
language plpgsql volatile set search_path = ''
as $$
declare
  v_session public.charging_sessions;
  v_receipt jsonb;
begin
  select * into v_session from public.charging_sessions where id = p_session_id for update;
  if v_session.settled_at is not null or v_session.stop_time is null then
    return v_session;
  end if;
  v_receipt := private.price_so_far(v_session);
  update public.charging_sessions
     set amount = (v_receipt ->> 'cost')::numeric, currency = v_receipt ->> 'currency', receipt = v_receipt, priced_at = clock_timestamp(),
         priced_energy_wh = energy_wh,
         settled_at = now(), flags = array_remove(flags, 'held')
   where id = p_session_id
  returning * into v_session;
  return v_session;
end $$;
comment on function private.settle_session is 'Makes the bill of an ended session that was not billed at its stop: its StopTransaction never came, or it was held for review. A repeat changes nothing.';

-- Begin ------------------------------------------------------------------------------------------
create or replace function private.start_transaction(p_station public.stations, p_payload jsonb, p_received_at timestamptz) returns jsonb
language plpgsql volatile set search_path = '' set plan_cache_mode = force_generic_plan
as $$
declare
  v_tag text := private.clean_tag(p_payload -> 'idTag');
  v_number integer := private.to_integer(p_payload -> 'connectorId');
  v_connector integer;
  v_meter numeric := private.to_register(p_payload -> 'meterStart');
  v_reported timestamptz := private.to_time(p_payload ->> 'timestamp', p_station.clock_time_zone);
  v_plausible boolean := private.is_plausible(v_reported, p_received_at);
  v_start timestamptz := case when v_plausible then v_reported else p_received_at end;
  v_key uuid := md5(jsonb_build_array(v_number, lower(v_tag), p_payload ->> 'timestamp', trim_scale(v_meter))::text)::uuid;
  v_info jsonb;
  v_known boolean;
  v_session public.charging_sessions;
  v_former public.charging_sessions;
  v_flags text[] := '{}';
  v_owner public.id_tags;
  v_orphan public.transaction_orphans;
  v_tariff jsonb;
  v_price jsonb;
  v_client_id uuid;
  v_hold record;
begin
  loop
    select * into v_session from public.charging_sessions where station_id = p_station.id and start_key = v_key for update;
    exit when not found;
    if v_plausible or v_session.meter_stop_wh is null or p_received_at <= v_session.stop_time then
      return v_session.start_reply;  -- the repeat of §3.7.1: the first answer, verbatim
    end if;
    -- A clock that always says the same: that session has ended, so this is another one.
    v_key := md5(v_key::text || v_session.id::text)::uuid;
  end loop;
  -- A tag that start_charge() made up, in capitals, begins one charge: the same again, at the same register, is a repeat whose time was made anew.
  select s.* into v_former from public.charging_sessions as s
   where s.station_id = p_station.id and lower(s.id_tag) = lower(v_tag) and s.status = 'started'
   order by s.start_time desc limit 1;
  if found and not exists (select from public.charging_sessions as s join public.commands as c on c.session_id = s.id and c.action = 'RemoteStartTransaction'
                            where s.id_tag = upper(v_tag) and s.station_id = p_station.id) then  -- of one that has gone on already the first was asked for
    v_former := null;
  end if;
  if v_former.connector_id = v_number and v_former.meter_start_wh = v_meter
     -- But one that has named its transaction had the answer: its register begins anew with each.
     and not exists (select from public.meter_values as m
                      where m.session_id = v_former.id and m.transaction_id = v_former.transaction_id and m.energy_wh > v_meter) then
    return v_former.start_reply;
  end if;

  v_info := private.id_tag_info(p_station.id, v_tag);
  v_known := exists (select from public.id_tags where lower(id_tag) = lower(v_tag));
  v_connector := private.ensure_connector(p_station.id, v_number);
  if v_connector is null then v_flags := v_flags || 'connector_impossible'::text; end if;
  if not v_plausible then v_flags := v_flags || 'clock_wrong'::text; end if;
  if v_meter is null then
    v_flags := v_flags || 'meter_start_missing'::text;
    if private.to_number(p_payload -> 'meterStart') is not null then v_flags := v_flags || 'implausible_energy'::text; end if;
  end if;

  -- The session that a person asked for, by its generated tag, also when it was given up or called off (status stopped) meanwhile.
  select * into v_session from public.charging_sessions as s
   where s.station_id = p_station.id and lower(s.id_tag) = lower(v_tag) and s.start_time is null and s.status <> 'started'
   order by s.created_at desc limit 1 for update;
  if found then
    if v_session.status = 'error' then
      v_info := '{"status": "Accepted"}';  -- late, but it was asked for
    end if;
  elsif not v_known then
    -- Readers mangle tags: the session that waits at the connector. Where any tag may charge, a likeness must say that it is this one.
    select s.* into v_session from public.charging_sessions as s
     where s.station_id = p_station.id and s.connector_id = v_connector and s.status = 'pending'
       and exists (select from public.commands as c where c.session_id = s.id and c.action = 'RemoteStartTransaction'
                      and c.status in ('sent', 'accepted', 'timed_out'))
       and (v_info ->> 'status' <> 'Accepted' or strpos(lower(v_tag), lower(s.id_tag)) > 0
            or length(v_tag) >= 6 and strpos(lower(s.id_tag), lower(v_tag)) > 0)
     order by s.created_at desc limit 1 for update;
    if found then
      v_flags := v_flags || 'id_tag_mangled'::text;
      v_info := '{"status": "Accepted"}';
    end if;
  end if;
  if v_info ->> 'status' <> 'Accepted' then v_flags := v_flags || 'id_tag_refused'::text; end if;

  select * into v_owner from public.id_tags where lower(id_tag) = lower(v_tag);
  if v_session.id is null and not v_known then
    v_owner.user_id := v_former.user_id;  -- it goes on in a new transaction: after a power cut, say
    v_owner.client_id := v_former.client_id;
  end if;
  v_client_id := case when v_session.id is not null then v_session.client_id
                      else coalesce(v_owner.client_id, (select u.client_id from public.users as u where u.id = v_owner.user_id)) end;
  v_tariff := private.tariff_snapshot(p_station.id, v_connector, v_start, v_client_id);
  v_price := private.price_periods(v_tariff, jsonb_build_array(  -- a session fee is due from the first moment
    jsonb_build_object('start_at', v_start, 'end_at', v_start, 'energy_kwh', 0, 'parking', false)));
  if v_session.id is not null then
    update public.charging_sessions
       set status = 'started', connector_id = coalesce(v_connector, connector_id), stop_reason = null, start_time = v_start, reported_start = p_payload ->> 'timestamp',
           start_key = v_key, meter_start_wh = v_meter, meter_max_wh = v_meter, error = null, expires_at = null,
           flags = flags || v_flags, clock_offset = private.clock_offset(v_reported, p_received_at),
           reservation_id = private.to_integer(p_payload -> 'reservationId'), tariff = v_tariff,
           amount = (v_price ->> 'cost')::numeric, currency = v_price ->> 'currency', priced_energy_wh = 0
     where id = v_session.id
    returning * into v_session;
    -- One that waits to be sent again, because the connection broke before the answer, has done its work.
    update public.commands set effect_at = p_received_at, status = case when status = 'queued' and attempts > 0 then 'accepted' else status end
     where session_id = v_session.id and action = 'RemoteStartTransaction' and effect_at is null;
  else
    insert into public.charging_sessions (station_id, connector_id, user_id, client_id, id_tag, status, start_time, reported_start,
        start_key, meter_start_wh, meter_max_wh, flags, clock_offset, reservation_id, tariff, amount, currency, priced_energy_wh,
        limit_energy_kwh, limit_amount, stop_requested_at)
    values (p_station.id, v_connector, v_owner.user_id, v_client_id, v_tag, 'started', v_start, p_payload ->> 'timestamp', v_key, v_meter, v_meter, v_flags,
        private.clock_offset(v_reported, p_received_at),
        private.to_integer(p_payload -> 'reservationId'), v_tariff, (v_price ->> 'cost')::numeric, v_price ->> 'currency', 0,
        case when v_former.limit_energy_kwh is not null then greatest(v_former.limit_energy_kwh - v_former.energy, 0.001) end,
        case when v_former.limit_amount is not null then greatest(v_former.limit_amount - v_former.amount, 0.01) end, v_former.stop_requested_at)
    returning * into v_session;
  end if;

  -- A connector carries one transaction: an older one that never stopped has lost its StopTransaction.
  perform private.end_provisionally(s.id, v_start) from public.charging_sessions as s
   where s.station_id = p_station.id and s.connector_id = v_session.connector_id and s.status = 'started' and s.id <> v_session.id
     and s.start_time < v_start;

  if v_session.held_amount = 0 and v_info ->> 'status' = 'Accepted' then
    select * into v_hold from private.take_hold(v_session, v_tariff, v_start, true);
    if v_hold.problem is not null then
      v_info := v_info || '{"status": "Blocked"}';
    end if;
    update public.charging_sessions
       set held_amount = held_amount + v_hold.taken,
           flags = flags || case when v_hold.problem is not null then array['id_tag_refused', v_hold.problem] else '{}' end
     where id = v_session.id;
  end if;

  update public.charging_sessions
     set start_reply = jsonb_build_object('transactionId', v_session.transaction_id, 'idTagInfo', v_info)
   where id = v_session.id;
  if v_session.stop_requested_at is not null then
    perform private.queue_remote_stop(v_session);
  end if;

  -- A StopTransaction that came before its start, from a station that had no id to name.
  select * into v_orphan from public.transaction_orphans as o
   where o.station_id = p_station.id and o.resolved_at is null and o.action = 'StopTransaction'
     and coalesce(o.reported_transaction_id, 0) <= 0
     and private.to_register(o.payload -> 'meterStop') >= coalesce(v_meter, 0)
     and coalesce(lower(private.clean_tag(o.payload -> 'idTag')) = lower(v_tag), true)
     -- by the station's clock, right or wrong
     and private.to_time(o.payload ->> 'timestamp', p_station.clock_time_zone) >= v_reported
   order by o.received_at limit 1 for update;
  if found then
    perform private.end_session(p_station, v_session.id, v_orphan.payload, v_orphan.received_at);
    update public.transaction_orphans set session_id = v_session.id, resolved_at = now() where id = v_orphan.id;
  end if;
  return jsonb_build_object('transactionId', v_session.transaction_id, 'idTagInfo', v_info);
end $$;
comment on function private.start_transaction is 'OCPP 1.6 §4.8: the payload of the answer. Registers in Wh. Recorded whatever the tag''s status. '
  'Idempotent on station, connector, tag, reported time and register: a repeat gets the stored answer.';

create or replace function private.end_provisionally(p_session_id uuid, p_until timestamptz) returns void
language plpgsql volatile set search_path = ''
as $$
declare
  v_session public.charging_sessions;
  v_price jsonb;
  v_cost numeric;
begin
  select * into v_session from public.charging_sessions where id = p_session_id and status = 'started' for update;
  if not found then
    return;
  end if;
  v_session.status := 'stopped';
  v_session.stop_time := greatest(v_session.start_time, least(p_until, v_session.meter_last_at + v_session.clock_offset));
  v_price := private.price_so_far(v_session);
  v_cost := (v_price ->> 'cost')::numeric;
  -- What it has cost stays on hold until it is settled; the rest is not kept from the driver for a day.
  if v_session.held_amount > v_cost and exists (select from public.clients where id = v_session.client_id and currency = v_price ->> 'currency') then
    perform private.lock_accounts(array[v_session.client_id]);
    perform private.release_holds(p_session_id);
    if v_cost > 0 then
      insert into public.ledger_entries (client_id, kind, amount, session_id, note)
      values (v_session.client_id, 'hold', -v_cost, p_session_id, format('%s, connector %s: its stop is missing', v_session.station_id, v_session.connector_id));
    end if;
    v_session.held_amount := v_cost;
    perform private.collect_unpaid(v_session.client_id);
  end if;
  update public.charging_sessions
     set status = v_session.status, stop_time = v_session.stop_time, stop_reason = 'Other', power_w = 0, provisional_at = now(), held_amount = v_session.held_amount,
         flags = array_append(array_remove(flags, 'stop_missing'), 'stop_missing'), amount = v_cost,
         currency = v_price ->> 'currency', priced_at = clock_timestamp(), priced_energy_wh = energy_wh
   where id = p_session_id;
end $$;
comment on function private.end_provisionally is 'Ends a session whose StopTransaction was lost at its last register, at p_until at the latest. It is not settled: '
  'for a day a StopTransaction that still comes wins, and as much as it has cost stays on hold.';

-- Meter values -----------------------------------------------------------------------------------
create or replace function private.store_meter_values(p_items jsonb) returns uuid[]
language plpgsql volatile set search_path = '' set plan_cache_mode = force_generic_plan
-- Plans are kept from when the tables were small: they must not read them whole when they have grown.
set enable_seqscan = off
as $$
declare
  v_grown uuid[];
begin
  -- p_items: [{station_id, clock_time_zone, connector_id, transaction_id, session_id, received_at, meter_value: MeterValue or a list}]
  with item as materialized (
    select row_number() over () as n, i ->> 'station_id' as station_id, private.to_integer(i -> 'connector_id') as connector_id,
           private.to_number(i -> 'transaction_id') as transaction_id, private.to_integer(i -> 'transaction_id') as our_id, (i ->> 'session_id')::uuid as session_id,
           (i ->> 'received_at')::timestamptz as received_at,
           coalesce(private.to_time(m.value ->> 'timestamp', i ->> 'clock_time_zone'), (i ->> 'received_at')::timestamptz) as reported_at,
           case jsonb_typeof(m.value -> 'sampledValue') when 'array' then m.value -> 'sampledValue'
                when 'object' then jsonb_build_array(m.value -> 'sampledValue') else '[]' end as samples
      from jsonb_array_elements(p_items) as i
     cross join jsonb_array_elements(case jsonb_typeof(i -> 'meter_value') when 'array' then i -> 'meter_value'
                                          when 'object' then jsonb_build_array(i -> 'meter_value') else '[]' end) as m
  ), sample as (
    -- Defaults of §7.43; of several contexts in one MeterValue the last in time counts (field: Begin and End together).
    select n, measurand, phase, rank, context, max(rank) over (partition by n) as top_rank,
           number * case lower(unit) when 'kwh' then 1000 when 'kw' then 1000 else 1 end as number, unit
      from (select item.n, x ->> 'measurand' as measurand, x ->> 'phase' as phase, coalesce(x ->> 'unit', '') as unit,
                   coalesce(x ->> 'context', 'Sample.Periodic') as context,
                   case x ->> 'context' when 'Transaction.Begin' then 0 when 'Sample.Clock' then 1 when 'Transaction.End' then 3 else 2 end as rank,
                   private.to_number(x -> 'value') as number
              from item
             cross join jsonb_array_elements(item.samples) as x
             where jsonb_typeof(x) = 'object' and coalesce(x ->> 'format', 'Raw') <> 'SignedData'
               and (coalesce(x ->> 'location', 'Outlet') in ('Outlet', 'Inlet', 'Body') or x ->> 'measurand' = 'SoC')) as raw
  ), fact as (
    select n, max(context) filter (where rank = top_rank) as context,
           -- the total where there is one, else the sum of the phases
           coalesce(max(number) filter (where coalesce(measurand, 'Energy.Active.Import.Register') = 'Energy.Active.Import.Register' and phase is null and rank = top_rank),
                    sum(number) filter (where coalesce(measurand, 'Energy.Active.Import.Register') = 'Energy.Active.Import.Register' and phase ~ '^L[123]' and rank = top_rank)) as energy_wh,
           coalesce(max(number) filter (where measurand = 'Power.Active.Import' and phase is null and rank = top_rank),
                    sum(number) filter (where measurand = 'Power.Active.Import' and phase ~ '^L[123](-N)?$' and rank = top_rank)) as power_w,
           coalesce(max(number) filter (where measurand = 'Current.Import' and phase is null and rank = top_rank),
                    avg(number) filter (where measurand = 'Current.Import' and phase ~ '^L[123]$' and rank = top_rank)) as current_a,
           coalesce(max(number) filter (where measurand = 'Voltage' and phase is null and rank = top_rank),
                    avg(number) filter (where measurand = 'Voltage' and phase ~ '^L[123](-N)?$' and rank = top_rank)) as voltage_v,
           max(case lower(unit) when 'fahrenheit' then (number - 32) * 5 / 9 when 'k' then number - 273.15 else number end)
             filter (where measurand = 'Temperature' and rank = top_rank) as temperature_c,
           max(number) filter (where measurand = 'SoC' and rank = top_rank) as soc_percent
      from sample group by n
  ), resolved as (
    select item.*, f.context, case when f.energy_wh between -1e12 and 1e12 then f.energy_wh end as energy_wh, f.power_w, f.current_a, f.voltage_v, f.temperature_c, f.soc_percent,
           coalesce(item.session_id, named.id, running.id, former.id) as found_id
      from item
      left join fact as f using (n)
      left join lateral (
        select s.id from public.charging_sessions as s
         where s.transaction_id = item.our_id and s.station_id = item.station_id and s.start_time is not null
           -- values of a finished transaction go on at some stations
           and (s.stop_time is null or s.meter_stop_wh is null
                or private.occurred_at(item.reported_at, item.received_at, s.start_time, s.clock_offset) <= s.stop_time)
         limit 1  -- keeps the planner, who expects 10,000 rows, from reading the whole table
      ) as named on true
      left join lateral (
        select item.connector_id > 0 and item.session_id is null and named.id is null
               -- an id of ours that is another session's says that it is not this one
               and not exists (select from public.charging_sessions as o where o.transaction_id = item.our_id) as wanted
      ) as by_connector on true
      left join lateral (
        select s.id from public.charging_sessions as s
         where by_connector.wanted and s.station_id = item.station_id and s.connector_id = item.connector_id and s.status = 'started'
           and s.start_time <= private.occurred_at(item.reported_at, item.received_at, s.start_time, s.clock_offset)
         order by s.start_time desc limit 1
      ) as running on true
      left join lateral (
        select last.id
          from (select s.id, s.stop_time from public.charging_sessions as s
                 where by_connector.wanted and running.id is null and s.station_id = item.station_id and s.connector_id = item.connector_id
                   and s.start_time <= item.reported_at
                 order by s.start_time desc limit 1) as last
         where last.stop_time >= item.reported_at
      ) as former on true
  ), stored as (
    insert into public.meter_values as v (station_id, connector_id, session_id, transaction_id, reported_at, received_at, context,
        energy_wh, power_w, current_a, voltage_v, temperature_c, soc_percent, samples, digest)
    select station_id, coalesce(connector_id, 0), found_id, transaction_id, reported_at, received_at, coalesce(context, 'Sample.Periodic'),
           energy_wh, power_w, round(current_a, 3), round(voltage_v, 3), round(temperature_c, 2), soc_percent, samples, md5(samples::text)::uuid
      from resolved
     order by station_id, connector_id, reported_at  -- two batches lock in the same order
    on conflict do nothing
    returning v.session_id, v.reported_at, v.received_at, v.context, v.energy_wh, v.power_w, v.soc_percent
  ), fresh as (
    select st.*, s.occurred_at, s.meter_last_wh, s.meter_start_wh, s.meter_max_wh, s.tariff -> 'power_kw' as power_kw, lag(st.energy_wh) over w as beside_wh,
           -- after one low reading, a hiccup, the register goes on where it was
           greatest(s.meter_last_wh, lag(st.energy_wh) over w, case when not s.meter_restarted and s.meter_last_wh is not null then s.meter_max_wh end) as before_wh,
           s.occurred_at - coalesce(lag(s.occurred_at) over w, s.meter_last_at + s.clock_offset) as since,
           lead(st.energy_wh) over w as after_wh, lead(s.occurred_at) over w - s.occurred_at as until_after
      from stored as st
     cross join lateral (
       select c.*, private.occurred_at(st.reported_at, st.received_at, c.start_time, c.clock_offset) as occurred_at
         from public.charging_sessions as c where c.id = st.session_id limit 1) as s
     -- one that was ended for want of a StopTransaction goes on growing until it is settled
     where (s.status = 'started' or s.provisional_at is not null and s.meter_stop_wh is null and s.settled_at is null)
       and (s.meter_last_at is null or s.occurred_at >= s.meter_last_at + s.clock_offset)
       and not (st.context = 'Transaction.Begin' and s.meter_last_at is not null)
    window w as (partition by st.session_id order by (st.energy_wh is null), s.occurred_at, st.energy_wh)
  ), news as (
    select session_id, occurred_at, power_w, soc_percent, meter_last_wh, meter_start_wh, meter_max_wh, energy_wh,
           lag(energy_wh) over (partition by session_id order by (energy_wh is null), occurred_at, energy_wh) as former_wh
      from (select session_id, occurred_at, power_w, soc_percent, meter_last_wh, meter_start_wh, meter_max_wh,
                   case when energy_wh - before_wh <= 300 or before_wh is null then energy_wh  -- three times the least that most_energy_wh() gives
                        when energy_wh - before_wh <= 3 * private.most_energy_wh(coalesce(power_kw::numeric, 500), since) then energy_wh
                        when not private.is_spike(session_id, reported_at, energy_wh, before_wh, coalesce(power_kw::numeric, 500), beside_wh is not null,
                                                  after_wh, until_after) then energy_wh end as energy_wh
              from fresh) as judged
  ), growth as (
    select session_id, max(occurred_at) as last_at, min(occurred_at) as first_at, min(energy_wh) as least_wh,
           (array_agg(energy_wh order by occurred_at desc, energy_wh desc) filter (where energy_wh is not null))[1] as last_wh,
           max(energy_wh) as max_wh,
           coalesce(sum(greatest(energy_wh - coalesce(former_wh, meter_last_wh, meter_start_wh), 0)), 0) as steps_wh,
           count(*) filter (where energy_wh < greatest(coalesce(former_wh, 0), meter_max_wh)) as below,
           (array_agg(power_w order by occurred_at desc) filter (where power_w is not null))[1] as power_w,
           (array_agg(soc_percent order by occurred_at desc) filter (where soc_percent is not null))[1] as soc_percent
      from news group by session_id order by session_id
  ), locked as (
    select s.id, case when s.meter_last_wh is null and g.least_wh > s.meter_start_wh then private.other_register(s, g.least_wh, g.first_at)
                      else s.meter_base_wh end as base_wh
      from (select session_id, least_wh, first_at from growth order by session_id offset 0) as g
     cross join lateral (select c.* from public.charging_sessions as c where c.id = g.session_id limit 1 for update) as s
  ), grown as (
    update public.charging_sessions as s
       set meter_start_wh = coalesce(s.meter_start_wh, g.last_wh),
           meter_last_wh = coalesce(g.last_wh, s.meter_last_wh), meter_last_at = g.last_at - s.clock_offset,
           stop_time = case when s.stop_time is not null then greatest(s.stop_time, g.last_at) end,
           meter_max_wh = greatest(s.meter_max_wh, g.max_wh),
           meter_steps_wh = s.meter_steps_wh + g.steps_wh,
           -- one low reading is a hiccup, a second in a row a meter that began anew
           meter_restarted = s.meter_restarted or coalesce(g.last_wh < s.meter_max_wh and (g.below > 1 or s.meter_last_wh < s.meter_max_wh), false),
           meter_base_wh = l.base_wh,
           energy_wh = private.energy_so_far(coalesce(l.base_wh, s.meter_start_wh), coalesce(g.last_wh, s.meter_last_wh), greatest(s.meter_max_wh, g.max_wh),
                                             s.meter_steps_wh + g.steps_wh - coalesce(l.base_wh - s.meter_start_wh, 0), s.meter_restarted),
           energy = round(private.energy_so_far(coalesce(l.base_wh, s.meter_start_wh), coalesce(g.last_wh, s.meter_last_wh), greatest(s.meter_max_wh, g.max_wh),
                                                s.meter_steps_wh + g.steps_wh - coalesce(l.base_wh - s.meter_start_wh, 0), s.meter_restarted) / 1000, 3),
           power_w = case when s.status = 'started' then coalesce(g.power_w, s.power_w) else 0 end, soc_percent = coalesce(g.soc_percent, s.soc_percent)
      from growth as g join locked as l on l.id = g.session_id
     where s.id = g.session_id and s.id = any (array(select id from locked))
    returning s.id
  )
  select coalesce(array_agg(id), '{}') into v_grown from grown;
  return v_grown;
end $$;
comment on function private.store_meter_values is 'Stores MeterValues of many stations at once, each once, and moves the sessions they belong to forward. '
  'Returns the sessions that grew. OCPP 1.6 §4.7.';

create or replace function private.is_spike(
  p_session_id uuid, p_reported_at timestamptz, p_wh numeric, p_before_wh numeric, p_power_kw numeric, p_beside boolean, p_after_wh numeric, p_until_after interval
) returns boolean
language plpgsql stable set search_path = '' set plan_cache_mode = force_generic_plan
as $$
declare
  v_former record;
begin
  if p_after_wh >= p_wh and p_after_wh - p_wh <= greatest(3 * private.most_energy_wh(p_power_kw, p_until_after), p_wh - p_before_wh) then
    return false;
  elsif p_beside then
    return true;
  end if;
  -- The last that counted: there may have been meter values without a register since.
  select m.reported_at into v_former from public.meter_values as m
   where m.session_id = p_session_id and m.energy_wh <= p_before_wh and m.reported_at < p_reported_at order by m.reported_at desc limit 1;
  if p_wh - p_before_wh <= 3 * private.most_energy_wh(p_power_kw, p_reported_at - v_former.reported_at) then
    return false;
  end if;
  -- The last, which did not count if it is above: is this one near it?
  select m.reported_at, m.energy_wh into v_former from public.meter_values as m
   where m.session_id = p_session_id and m.energy_wh is not null and m.reported_at < p_reported_at order by m.reported_at desc, m.energy_wh desc limit 1;
  return not coalesce(v_former.energy_wh > p_before_wh and p_wh >= v_former.energy_wh
    and p_wh - v_former.energy_wh <= greatest(3 * private.most_energy_wh(p_power_kw, p_reported_at - v_former.reported_at), v_former.energy_wh - p_before_wh), false);
end $$;
comment on function private.is_spike is 'Whether a register, Wh, that is much further than p_power_kw could bring it from the one before is a glitch: the next one, in the same message '
  '(p_after_wh) or later, does not go on from it. p_beside: the one before came in the same message.';

create or replace function private.connector_power(p_station_id text, p_connector_id integer) returns numeric
language plpgsql stable set search_path = '' set plan_cache_mode = force_generic_plan
as $$
begin
  return (select nullif(coalesce(c.power, s.power_capacity), 0) from public.stations as s
            left join public.connectors as c on c.station_id = s.id and c.number = p_connector_id
           where s.id = p_station_id);
end $$;
comment on function private.connector_power is 'Rated power of a connector, else of its station, kW; null where neither is known.';

create or replace function private.other_register(p_session public.charging_sessions, p_first_wh numeric, p_first_at timestamptz) returns numeric
language plpgsql stable set search_path = '' set plan_cache_mode = force_generic_plan
as $$
begin
  return case when p_first_wh - p_session.meter_start_wh > 3 * private.most_energy_wh(
      coalesce(private.connector_power(p_session.station_id, p_session.connector_id), 500), greatest(p_first_at - p_session.start_time, '0')) then p_first_wh end;
end $$;
comment on function private.other_register is 'The first register of the samples, Wh, if it is much further from that of the StartTransaction than the connector could give in the time, '
  'three times: the samples run on another register. Else null.';

create or replace function private.energy_so_far(p_start_wh numeric, p_last_wh numeric, p_max_wh numeric, p_steps_wh numeric, p_restarted boolean)
returns numeric
language plpgsql immutable set search_path = ''
as $$
begin
  return least(case when p_last_wh >= p_max_wh and not p_restarted then greatest(p_last_wh - coalesce(p_start_wh, p_last_wh), 0) else p_steps_wh end, 1e12);
end $$;
comment on function private.energy_so_far is 'Wh since the start: the register''s difference; the sum of its positive steps when the meter restarted. 10^12 at most.';

-- Limits -----------------------------------------------------------------------------------------
create or replace function private.is_limited(p_session public.charging_sessions) returns boolean
language plpgsql stable set search_path = ''
as $$
begin
  return p_session.limit_type <> 'none' or p_session.client_id is not null and private.is_account(p_session.client_id);
end $$;
comment on function private.is_limited is 'Whether the session must stop at some point: a limit was set, or its account holds only so much.';

create or replace function private.check_limits(p_session_ids uuid[], p_by timestamptz default null) returns text[]
language plpgsql volatile set search_path = '' set plan_cache_mode = force_generic_plan
set enable_seqscan = off  -- as store_meter_values
as $$
declare
  v_session public.charging_sessions;
  v_next public.charging_sessions;
  v_account public.clients;
  v_times timestamptz[];
  v_registers numeric[];
  v_before interval;
  v_power numeric;
  v_ahead interval;
  v_limit_wh numeric;
  v_cost numeric;
  v_left numeric;
  v_more numeric;
  v_ceiling numeric;
  v_energy_share numeric;
  v_money_share numeric;
  v_limit text;
  v_reached boolean;
  v_warned boolean;
  v_stations text[] := '{}';
begin
  -- By account, in the order of lock_accounts().
  for v_session in
    select s.* from public.charging_sessions as s where s.id = any (p_session_ids) and s.status = 'started' order by s.client_id, s.id
  loop
    -- What it will be at the next sample: the longer of the last two intervals again, at the last power, which may be a glitch.
    select array_agg(v.reported_at), array_agg(v.energy_wh) into v_times, v_registers
      from (select m.reported_at, m.energy_wh from public.meter_values as m
             where m.session_id = v_session.id and m.energy_wh is not null and m.reported_at < v_session.meter_last_at
             order by m.reported_at desc limit 2) as v;
    v_ahead := greatest(v_session.meter_last_at - coalesce(v_times[1], v_session.start_time - v_session.clock_offset), '0');
    v_before := coalesce(v_times[1] - v_times[2],  -- of the first sample there is none, and least() passes over null
      case when v_times[1] is not null then least(v_times[1] - (v_session.start_time - v_session.clock_offset), interval '1 minute') end);
    v_power := coalesce(v_session.power_w, case when v_before > v_ahead and cardinality(v_times) = 2
      then (v_session.meter_last_wh - v_registers[2]) * 3600 / nullif(extract(epoch from v_session.meter_last_at - v_times[2]), 0)
      else (v_session.meter_last_wh - v_registers[1]) * 3600 / nullif(extract(epoch from v_ahead), 0) end);
    v_power := least(v_power, coalesce(private.connector_power(v_session.station_id, v_session.connector_id) * 1100, 1000000));
    if v_session.parking_start_time >= v_session.meter_last_at + v_session.clock_offset then
      v_power := 0;
    end if;
    v_ahead := greatest(v_ahead, v_before);
    -- Beyond a minute the housekeeping looks again; else a quarter of an hour between samples would end a charge at its first.
    v_ahead := least(v_ahead, coalesce(p_by - (v_session.meter_last_at + v_session.clock_offset), interval '1 minute'));
    v_limit_wh := v_session.limit_energy_kwh * 1000;
    v_next := v_session;
    v_next.energy_wh := v_session.energy_wh + round(greatest(v_power, 0) * extract(epoch from v_ahead) / 3600);
    v_energy_share := v_session.energy_wh / v_limit_wh;
    v_reached := coalesce(v_session.energy_wh >= v_limit_wh or v_next.energy_wh > v_limit_wh, false);
    v_limit := 'energy';
    v_money_share := null;

    select * into v_account from public.clients where id = v_session.client_id and kind = 'account';
    if v_session.limit_amount is not null or v_account.id is not null then
      v_ceiling := v_session.limit_amount;
      v_cost := v_session.amount;
      -- Less than half is used up, and the next sample adds less than a quarter: that is not priced ahead.
      if v_cost * 2 >= least(v_ceiling, case when v_account.id is not null then v_session.held_amount end)
         or (v_next.energy_wh - v_session.energy_wh) * 4 >= v_session.energy_wh or p_by is not null then
        v_next.energy_wh := greatest(least(v_next.energy_wh, v_limit_wh), v_session.energy_wh);  -- there it stops by energy
        v_next.meter_last_wh := v_session.meter_last_wh + v_next.energy_wh - v_session.energy_wh;
        v_next.meter_last_at := v_session.meter_last_at + v_ahead;
        v_cost := (private.price_so_far(v_next, case when p_by is not null and private.priced_until(v_session) is not null
                                                     then greatest(p_by, v_next.meter_last_at + v_next.clock_offset) end) ->> 'cost')::numeric;
      end if;
      if v_account.id is not null then
        v_left := case when v_account.currency = v_session.currency then greatest(v_account.balance + v_account.credit_limit, 0) else 0 end;
        if v_cost > v_session.held_amount and v_left > 0 and v_session.held_amount < coalesce(v_session.limit_amount, 'Infinity') then
          perform private.lock_accounts(array[v_account.id]);
          select greatest(balance + credit_limit, 0) into v_left from public.clients where id = v_account.id;
          -- Without a limit as much again, so that it is not asked for at every sample.
          v_more := least(v_left, v_session.limit_amount - v_session.held_amount,
                          greatest(v_cost - v_session.held_amount, case v_session.limit_type when 'none' then v_session.held_amount end));
          if v_more > 0 then
            insert into public.ledger_entries (client_id, kind, amount, session_id, note)
            values (v_account.id, 'hold', -v_more, v_session.id, format('%s, connector %s: more', v_session.station_id, v_session.connector_id));
            update public.charging_sessions set held_amount = held_amount + v_more where id = v_session.id;
            v_session.held_amount := v_session.held_amount + v_more;
            v_left := v_left - v_more;
          end if;
        end if;
        v_ceiling := least(v_ceiling, v_session.held_amount + v_left);
        if v_cost > 0 and (v_cost > v_session.held_amount or v_session.amount >= v_session.held_amount) and v_session.held_amount < coalesce(v_session.limit_amount, 'Infinity') then
          v_reached := true;
          v_ceiling := v_session.held_amount;
        end if;
      end if;
      v_money_share := case when v_cost > 0 then coalesce(v_session.amount / nullif(v_ceiling, 0), 1) end;
      v_reached := v_reached or coalesce(v_cost > 0 and (v_session.amount >= v_ceiling or v_cost > v_ceiling), false);
      if v_money_share > coalesce(v_energy_share, 0) then
        v_limit := case when v_ceiling = v_session.limit_amount then 'amount' else 'balance' end;
      end if;
    end if;

    v_warned := v_session.limit_warned_at is null and (v_reached or greatest(v_energy_share, v_money_share) >= 0.8);
    if v_warned or v_reached and v_session.limit_reached_at is null then
      update public.charging_sessions
         set limit_warned_at = coalesce(limit_warned_at, now()), limit_reached_at = case when v_reached then coalesce(limit_reached_at, now()) end
       where id = v_session.id;
    end if;
    if v_warned then
      perform private.publish('session', v_session.id::text, 'limit_warning', jsonb_build_object('session_id', v_session.id, 'limit', v_limit,
        'share', round(greatest(v_energy_share, v_money_share), 3), 'energy', v_session.energy, 'amount', v_session.amount,
        'currency', v_session.currency, 'limit_energy_kwh', v_session.limit_energy_kwh, 'limit_amount', v_session.limit_amount));
    end if;
    -- Asked once, and again when that came to nothing or the station went on for a minute all the same.
    if v_reached and not exists (select from public.commands as c
         where c.session_id = v_session.id and c.action = 'RemoteStopTransaction'
           and (c.status in ('queued', 'sent') or c.status in ('accepted', 'rejected') and c.answered_at > now() - interval '1 minute')) then
      perform private.queue_remote_stop(v_session);
      v_stations := v_stations || v_session.station_id;
    end if;
  end loop;
  return v_stations;
end $$;
comment on function private.check_limits is 'Looks at sessions that have just been priced: holds more money where the next sample will need it; at 80 % of a limit, or of the money, '
  'tells the topic of the session, once; when the next sample would pass it, queues a RemoteStopTransaction. Returns the stations that are to stop. '
  'The next sample is as far ahead as the longer of the last two intervals, a minute at most (until p_by at most, if given), at the power now, or what the connector can give. '
  'Time that the tariff prices counts until p_by.';

create or replace function private.watch_limits() returns void
language plpgsql volatile set search_path = '' set plan_cache_mode = force_generic_plan
as $$
declare
  v_timed uuid[];
begin
  -- Where time costs, also without samples. Those that must stop at some point first; a flat price for energy has nothing to do here.
  v_timed := array(
    select w.id
      from (select s.id, s.client_id from public.charging_sessions as s
             where s.status = 'started' and private.prices_time(s.tariff, true) and coalesce(s.priced_at < now() - interval '20 s', true)
               and private.priced_until(s) is not null
             order by s.limit_type = 'none' and s.client_id is null, s.priced_at limit 300 for update of s skip locked) as w
     where private.try_lock_account(w.client_id));
  if v_timed <> '{}' then
    perform private.reprice_sessions(v_timed, true);
    perform private.check_limits(array(select s.id from public.charging_sessions as s where s.id = any (v_timed) and private.is_limited(s)),
                                 now() + interval '30 s');  -- the next look, and a margin
  end if;
  -- Close to a limit by what they draw since the last sample. By the time of the next look, 5 s and a margin from now.
  perform private.check_limits(array(
    select w.id
      from (select s.id, s.client_id from public.charging_sessions as s
             where s.status = 'started' and s.limit_reached_at is null and s.power_w > 0 and s.energy_wh > 0
               and s.meter_last_at + s.clock_offset < now() - interval '45 s'
               and (1 + s.power_w * extract(epoch from now() - (s.meter_last_at + s.clock_offset) + interval '10 s') / 3600 / s.energy_wh) * 1.1
                   > least(s.limit_energy_kwh * 1000 / s.energy_wh, coalesce(s.limit_amount, nullif(s.held_amount, 0)) / nullif(s.amount, 0))
               for update of s skip locked) as w
     where private.try_lock_account(w.client_id)), now() + interval '10 s');
end $$;
comment on function private.watch_limits is 'Between two samples: brings up the cost of sessions for which time is charged, and stops those that pass a limit before the next one comes. For the housekeeping.';

-- End --------------------------------------------------------------------------------------------
create or replace function private.most_energy_wh(p_power_kw numeric, p_time interval) returns numeric
language plpgsql immutable set search_path = ''
as $$
begin
  return p_power_kw * 1000 * 1.1 * (extract(epoch from p_time) + 60) / 3600 + 100;
end $$;
comment on function private.most_energy_wh is 'What p_power_kw can give in p_time, Wh, and a tenth; a minute and 100 Wh more for clocks and registers in whole units.';

create or replace function private.end_session(p_station public.stations, p_session_id uuid, p_payload jsonb, p_received_at timestamptz)
returns public.charging_sessions
language plpgsql volatile set search_path = '' set plan_cache_mode = force_generic_plan
as $$
declare
  v_session public.charging_sessions;
  v_meter numeric := private.to_register(p_payload -> 'meterStop');
  v_implausible boolean := v_meter is null and private.to_number(p_payload -> 'meterStop') is not null;
  v_reported timestamptz := private.to_time(p_payload ->> 'timestamp', p_station.clock_time_zone);
  v_stop timestamptz;
  v_steps numeric;
  v_difference numeric;
  v_energy numeric;
  v_power numeric;
  v_most numeric;
  v_first record;
  v_flags text[] := '{}';
begin
  if jsonb_typeof(p_payload -> 'transactionData') in ('array', 'object') then
    perform private.store_meter_values(jsonb_build_array(jsonb_build_object(
      'station_id', p_station.id, 'clock_time_zone', p_station.clock_time_zone,
      'connector_id', (select coalesce(s.connector_id, 0) from public.charging_sessions as s where s.id = p_session_id),
      'transaction_id', p_payload -> 'transactionId', 'session_id', p_session_id, 'received_at', p_received_at,
      'meter_value', p_payload -> 'transactionData')));
  end if;
  select * into v_session from public.charging_sessions where id = p_session_id for update;
  if v_session.meter_stop_wh is not null or v_session.settled_at is not null then
    if v_meter is not null and v_meter is distinct from v_session.meter_stop_wh then
      update public.charging_sessions set flags = flags || 'stop_differs'::text where id = p_session_id and not 'stop_differs' = any (flags);
    end if;
    return v_session;  -- settled once, whatever comes later
  end if;

  v_stop := greatest(v_session.start_time,
                     private.occurred_at(v_reported, p_received_at, v_session.start_time, v_session.clock_offset));
  if v_meter is null then
    v_flags := v_flags || 'meter_stop_missing'::text;
    v_meter := coalesce(v_session.meter_last_wh, v_session.meter_start_wh, 0);
  end if;

  v_steps := v_session.meter_steps_wh
    + greatest(v_meter - coalesce(v_session.meter_last_wh, v_session.meter_start_wh, v_meter), 0);
  v_difference := v_meter - coalesce(v_session.meter_start_wh, v_meter);
  if v_meter < v_session.meter_last_wh and v_session.meter_last_wh = v_session.meter_max_wh and v_meter > v_session.meter_max_wh - 100
     and v_difference >= 0 then
    -- Samples in kWh or with decimals, a stop in whole Wh (§6.49): it says it finer, and no meter has restarted.
    v_session.meter_max_wh := v_meter;
    v_steps := v_steps - (v_session.meter_last_wh - v_meter);
  end if;
  v_energy := private.energy_so_far(v_session.meter_start_wh, v_meter, greatest(v_session.meter_max_wh, v_meter), v_steps, v_session.meter_restarted);
  v_power := (select coalesce(c.power, p_station.power_capacity) from (select) as one
                left join public.connectors as c on c.station_id = p_station.id and c.number = v_session.connector_id);
  v_most := private.most_energy_wh(v_power, v_stop - v_session.start_time);
  if v_energy <> v_difference and v_difference between 0 and coalesce(v_most, v_difference) then
    -- Did the meter restart, or do the samples run on another register than start and stop do? Then there is a jump between them.
    select m.energy_wh, m.reported_at into v_first from public.meter_values as m
     where m.session_id = p_session_id and m.energy_wh is not null order by m.reported_at, m.energy_wh limit 1;
    if v_energy > v_most
       or v_first.energy_wh - v_session.meter_start_wh > private.most_energy_wh(coalesce(v_power, 500),
            greatest(v_first.reported_at + v_session.clock_offset - v_session.start_time, '0'))
       or v_meter - v_session.meter_last_wh > private.most_energy_wh(coalesce(v_power, 500),
            greatest(v_stop - (v_session.meter_last_at + v_session.clock_offset), '0')) then
      v_energy := v_difference;
    end if;
  end if;
  if v_energy > v_most or v_implausible or 'implausible_energy' = any (v_session.flags) then
    v_flags := v_flags || 'implausible_energy'::text;
    if p_station.hold_implausible then v_flags := v_flags || 'held'::text; end if;
  end if;
  if v_meter < coalesce(v_session.meter_max_wh, v_meter) or v_session.meter_restarted then v_flags := v_flags || 'meter_restarted'::text; end if;

  v_session.status := 'stopped';
  v_session.stop_time := v_stop;
  v_session.meter_stop_wh := v_meter;
  v_session.energy_wh := v_energy;
  v_session.parking_start_time := case when v_session.parking_start_time < v_stop
                                       then greatest(v_session.parking_start_time, v_session.start_time) end;
  v_session.flags := array_remove(array_remove(v_session.flags, 'stop_missing'), 'implausible_energy') || v_flags;
  v_session.receipt := private.price_session(v_session);
  -- one update: nobody ever sees an ended session without its bill
  update public.charging_sessions
     set status = v_session.status, stop_key = md5(p_payload::text)::uuid, stop_time = v_stop, meter_stop_wh = v_meter, meter_steps_wh = v_steps, energy_wh = v_energy,
         energy = round(v_energy / 1000, 3), power_w = 0, stop_reason = coalesce(p_payload ->> 'reason', 'Local'),
         stop_id_tag = private.clean_tag(p_payload -> 'idTag'), flags = v_session.flags, parking_start_time = v_session.parking_start_time,
         amount = (v_session.receipt ->> 'cost')::numeric, currency = v_session.receipt ->> 'currency', receipt = v_session.receipt,
         priced_at = clock_timestamp(), priced_energy_wh = v_energy,
         settled_at = case when 'held' = any (v_session.flags) then null else now() end
   where id = p_session_id
  returning * into v_session;
  update public.commands set effect_at = p_received_at
   where session_id = p_session_id and action = 'RemoteStopTransaction' and effect_at is null;
  update public.commands set status = 'cancelled', error = 'the session has ended'
   where session_id = p_session_id and status = 'queued';
  return v_session;
end $$;
comment on function private.end_session is 'Ends and bills a session with the payload of a StopTransaction, once: a repeat returns it as it is.';

create or replace function private.find_stopping_session(p_station public.stations, p_payload jsonb, p_received_at timestamptz) returns uuid
language plpgsql stable set search_path = '' set plan_cache_mode = force_generic_plan
as $$
declare
  v_transaction numeric := private.to_number(p_payload -> 'transactionId');
  v_meter numeric := private.to_register(p_payload -> 'meterStop');
  v_tag text := private.clean_tag(p_payload -> 'idTag');
  v_reported timestamptz := private.to_time(p_payload ->> 'timestamp', p_station.clock_time_zone);
  v_id uuid;
  v_ids uuid[];
  v_station_id text;
begin
  select id, station_id into v_id, v_station_id from public.charging_sessions
   where transaction_id = private.to_integer(p_payload -> 'transactionId') and start_time is not null;
  if found then
    return case when v_station_id = p_station.id then v_id end;
  end if;
  -- A repeat of a stop that had no id of ours either.
  select id into v_id from public.charging_sessions
   where station_id = p_station.id and stop_key = md5(p_payload::text)::uuid order by stop_time desc limit 1;
  if found then
    return v_id;
  end if;
  -- The station never got an id (0, -1; errata E3.18) or names a strange one: the single session without a stop that fits.
  with fitting as (
    select s.id, coalesce(lower(s.id_tag) = lower(v_tag), false) as same_tag
      from public.charging_sessions as s
     cross join lateral private.occurred_at(v_reported, p_received_at, s.start_time, s.clock_offset) as stopped (at)
     where s.station_id = p_station.id
       and (s.status = 'started'
            or s.stop_time is not null and s.settled_at is null and s.meter_stop_wh is null
               and not exists (select from public.charging_sessions as n  -- of the next session on the connector it is not
                                where n.station_id = s.station_id and n.connector_id = s.connector_id
                                  and n.start_time > s.start_time and n.start_time < stopped.at))
       and coalesce(s.meter_start_wh, 0) <= coalesce(v_meter, s.meter_start_wh, 0)
       and s.start_time <= stopped.at + interval '1 minute'
       and (coalesce(v_transaction, 0) <= 0 or v_tag is null or lower(s.id_tag) = lower(v_tag))
  )
  select array_agg(f.id) into v_ids from fitting as f
   where f.same_tag or not exists (select from fitting as o where o.same_tag);
  return case when cardinality(v_ids) = 1 then v_ids[1] end;
end $$;
comment on function private.find_stopping_session is 'The session that a StopTransaction means; null when none or several fit.';

create or replace function private.stop_transaction(p_station public.stations, p_payload jsonb, p_received_at timestamptz, out reply jsonb, out session public.charging_sessions)
language plpgsql volatile set search_path = '' set plan_cache_mode = force_generic_plan
as $$
declare
  v_id uuid := private.find_stopping_session(p_station, p_payload, p_received_at);
  v_tag text := private.clean_tag(p_payload -> 'idTag');
begin
  if v_id is null then
    insert into public.transaction_orphans (station_id, action, reported_transaction_id, payload, payload_digest, received_at)
    values (p_station.id, 'StopTransaction', private.to_number(p_payload -> 'transactionId'), p_payload, md5(p_payload::text)::uuid, p_received_at)
    on conflict (station_id, action, payload_digest) do nothing;
  else
    session := private.end_session(p_station, v_id, p_payload, p_received_at);
  end if;
  reply := '{}';
  if v_tag is not null then
    -- About that tag alone; a stop is never refused (§4.10).
    reply := jsonb_build_object('idTagInfo', case
      when lower(v_tag) = lower(session.id_tag) and not 'id_tag_refused' = any (session.flags)
           and not exists (select from public.id_tags where lower(id_tag) = lower(v_tag)) then '{"status": "Accepted"}'::jsonb
      else private.id_tag_info(p_station.id, v_tag) end);
  end if;
end $$;
comment on function private.stop_transaction is 'OCPP 1.6 §4.10: always confirmed. What fits no session is kept in transaction_orphans.';
