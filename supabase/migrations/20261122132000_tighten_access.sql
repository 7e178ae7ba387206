-- Who may do what, looked at again: a user who is not active has nothing any more, policies stay fast for drivers with very many
-- sessions and companies with very many stations, and nobody inherits the messages of a station that had the same name.


create or replace function private.active_user_id() returns uuid
language sql stable set search_path = ''
security definer  -- as user_role
as $$
  select id from public.users where id = auth.uid() and is_active
$$;
comment on function private.active_user_id is 'The signed-in user; null for anon, and for users that are gone or not active: nothing is theirs.';

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

create or replace function private.guard_users() returns trigger
language plpgsql volatile set search_path = ''
as $$
begin
  if current_user <> 'authenticated' then
    return new;  -- not through the API with a user's token
  end if;
  if not private.is_admin() and (new.id, new.email, new.role, new.client_id, new.admin_id, new.is_active)
      is distinct from (old.id, old.email, old.role, old.client_id, old.admin_id, old.is_active) then
    perform private.fail(403, 'OCPRM', 'only an admin may change role, client, admin, e-mail or is_active of a user',
      'You may change full_name and phone.');
  end if;
  if 'superadmin' in (new.role, old.role) and private.user_role() <> 'superadmin' then
    perform private.fail(403, 'OCPRM', 'only a superadmin may make, change or unmake a superadmin', 'Ask a superadmin.');
  end if;
  return new;
end $$;
comment on function private.guard_users is 'Trigger: the columns of users that give rights are for admins.';

create or replace function private.visible_sessions() returns table (station_id text, connector_id integer, session_id uuid)
language sql stable set search_path = ''
security definer  -- anon reads station_status too, and has no right on charging_sessions
as $$
  select distinct on (s.station_id, s.connector_id) s.station_id, s.connector_id, s.id
    from public.charging_sessions as s
   where s.status = 'started'
     and ((select private.sees_all()) or s.user_id = (select private.active_user_id()) or s.station_id = any ((select private.operated_station_ids())::text[]))
   order by s.station_id, s.connector_id, s.start_time desc
$$;
comment on function private.visible_sessions is 'Sessions under way that the caller may see, the newest of each connector.';

-- Every refusal has a hint.
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
  if p_action = 'GetConfiguration' and p_payload ? 'key' and jsonb_typeof(p_payload -> 'key') <> 'array' then
    perform private.fail(400, 'OCPAY', 'GetConfiguration: "key" must be a list of texts', 'Leave it out to ask for all keys.');
  end if;
end $$;
comment on function private.check_command is 'Refuses what no station could take: 400 OCACT for the action, 400 OCPAY for its payload.';

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

create or replace function public.adopt_station(station_id text, location_id uuid default null) returns public.stations
language plpgsql volatile set search_path = ''
security definer  -- takes from the inbox, which only admins read
as $$
declare
  v_station public.stations;
begin
  if not (private.is_admin() or auth.role() = 'service_role') then
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
  insert into private.station_keys (station_id, salt, key_hash) values (v_station.id, v_salt, sha256(v_salt || convert_to(password, 'UTF8')))
  on conflict on constraint station_keys_pkey do update set salt = excluded.salt, key_hash = excluded.key_hash, created_at = now();
end $$;
comment on function public.set_station_password is 'Sets the HTTP Basic password that a station must show from its next connection on (security profile 1); null: none. '
  'Only a salted hash is kept. 403 OCPRM, 404 OCSTA, 400 OCARG.';

create or replace function private.normalise_tariff_rule() returns trigger
language plpgsql volatile set search_path = ''
as $$
begin
  -- The old service had no 24:00 and wrote 23:59:59 for the end of the day; taken literally each day would have a free second.
  if new.time_end >= '23:59:59' then
    new.time_end := '24:00';
  end if;
  if new.price = 'NaN' or new.power_range_max = 'NaN' or greatest(new.min_duration_minutes, new.max_duration_minutes) > 1000000 then
    raise exception 'price, power range and duration of tariff rule "%" must be numbers, the duration at most 1000000 minutes', new.name
      using errcode = 'OCTRF', hint = 'NaN is no price; leave a duration empty for no bound.';
  end if;
  if not (isfinite(coalesce(new.valid_from, now())) and isfinite(coalesce(new.valid_until, now()))
          and isfinite(coalesce(new.date_from, current_date)) and isfinite(coalesce(new.date_until, current_date))) then
    raise exception 'valid_from, valid_until, date_from and date_until of tariff rule "%" must be times and days, not infinite ones', new.name
      using errcode = 'OCTRF', hint = 'Leave a bound empty for none.';
  end if;
  return new;
end $$;
comment on function private.normalise_tariff_rule is 'Trigger: a rule that ends at 23:59:59, the end of the day in the old service, ends at 24:00. Refuses NaN and infinity.';

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

grant execute on function private.active_user_id, private.operated_stations, private.may_use_group to anon, authenticated, service_role;

-- What is somebody's own is theirs while they are active.
alter policy "Drivers read their own sessions, operators their stations'" on public.charging_sessions
  using (user_id = (select private.active_user_id()) or station_id = any ((select private.operated_station_ids())::text[]));
alter policy "Users read their own commands, operators their stations'" on public.commands
  using (created_by = (select private.active_user_id()) or station_id = any ((select private.operated_station_ids())::text[]));
alter policy "Drivers read their own tags, operators their company's" on public.id_tags
  using (user_id = (select private.active_user_id()) or client_id = (select private.operated_client_id()) or (select private.is_admin()));
alter policy "Users read the client they belong to, admins all" on public.clients
  using (id = (select private.own_client_id()) or (select private.is_admin()));

-- Meter values and messages are asked for by session, or by station and time; that finds the rows, and these conditions check them.
alter policy "Drivers read their own meter values, operators their stations'" on public.meter_values
  using ((select private.is_admin())
         or exists (select from public.charging_sessions as s where s.id = session_id and s.user_id = (select private.active_user_id()))
         or station_id in (select private.operated_stations()));
drop function private.own_session_ids;
-- Messages outlive their station, and its id may be given again, perhaps by another company.
alter policy "Operators read messages of their stations, admins all" on public.ocpp_messages
  using ((select private.is_admin())
         or station_id in (select private.operated_stations())
            and received_at >= (select s.created_at from public.stations as s where s.id = station_id));
alter policy "Everyone reads connectors of stations they see" on public.connectors
  using (exists (select from public.stations as s where s.id = station_id));
alter policy "Anon reads active rules on show" on public.tariff_rules
  using (is_active and exists (select from public.tariff_plans as p where p.id = tariff_plan_id));
alter policy "Users read active rules on show, operators all of theirs" on public.tariff_rules
  using (exists (select from public.tariff_plans as p
                  where p.id = tariff_plan_id
                    and (tariff_rules.is_active or (select private.is_admin()) or p.client_id = (select private.operated_client_id()))));

-- Any tag of a group may stop what another of it started, so a group is one company's.
alter policy "Operators add tags of their company" on public.id_tags
  with check ((select private.is_admin()) or client_id = (select private.operated_client_id()) and private.may_use_group(parent_id_tag)
              and (user_id is null or user_id in (select u.id from public.users as u where u.client_id = (select private.operated_client_id()))));
alter policy "Operators change tags of their company" on public.id_tags
  with check ((select private.is_admin()) or client_id = (select private.operated_client_id()) and private.may_use_group(parent_id_tag)
              and (user_id is null or user_id in (select u.id from public.users as u where u.client_id = (select private.operated_client_id()))));

-- A balance comes from what was paid, not from a form.
revoke insert, update on public.clients from authenticated;
grant insert (id, kind, name, email, phone, address, contract_number, contract_start_date, contract_end_date, currency, credit_limit, status),
  update (kind, name, email, phone, address, contract_number, contract_start_date, contract_end_date, currency, credit_limit, status)
  on public.clients to authenticated;

-- What is wrong with a row is told by the name of the constraint that it violates: people read it.
alter table public.stations rename constraint stations_id_check to "id has 1 to 255 characters, none of them / or a control";
alter table public.stations rename constraint stations_currency_check to "currency is three capital letters";
alter table public.stations rename constraint stations_ping_interval_s_check to "ping_interval_s is more than 0";
alter table public.stations rename constraint stations_ping_timeout_s_check to "ping_timeout_s is more than 0";
alter table public.stations rename constraint stations_power_capacity_check to "power_capacity is not negative";
alter table public.stations rename constraint stations_price_per_kwh_check to "price_per_kwh is not negative";
alter table public.stations rename constraint stations_session_fee_check to "session_fee is not negative";
alter table public.locations rename constraint locations_latitude_check to "latitude is from -90 to 90";
alter table public.locations rename constraint locations_longitude_check to "longitude is from -180 to 180";
alter table public.locations rename constraint locations_name_check to "name is not empty";
alter table public.connectors rename constraint connectors_number_check to "number is from 1 to 1000";
alter table public.connectors rename constraint connectors_power_check to "power is not negative";
alter table public.id_tags rename constraint id_tags_id_tag_check to "id_tag has 1 to 20 characters";
alter table public.id_tags rename constraint id_tags_parent_id_tag_check to "parent_id_tag has 1 to 20 characters";
alter table public.clients rename constraint clients_check to "contract_end_date is not before contract_start_date";
alter table public.clients rename constraint clients_credit_limit_check to "credit_limit is from 0 to 1000000000";
alter table public.clients rename constraint clients_currency_check to "currency is three capital letters";
alter table public.clients rename constraint clients_held_check to "held is not negative";
alter table public.clients rename constraint clients_name_check to "name is not empty";
alter table public.client_tariffs rename constraint client_tariffs_check to "valid_until is after valid_from";
alter table public.client_tariffs rename constraint client_tariffs_check1 to "a tariff plan or a discount is given";
alter table public.client_tariffs rename constraint client_tariffs_discount_percent_check to "discount_percent is from 0 to 100";
alter table public.tariff_plans rename constraint tariff_plans_check to "valid_until is after valid_from";
alter table public.tariff_plans rename constraint tariff_plans_check1 to "the three OCPI ids are given together";
alter table public.tariff_plans rename constraint tariff_plans_check2 to "max_price is not below min_price";
alter table public.tariff_plans rename constraint tariff_plans_check3 to "max_price_incl_vat is not below min_price_incl_vat";
alter table public.tariff_plans rename constraint tariff_plans_max_price_check to "max_price is not negative";
alter table public.tariff_plans rename constraint tariff_plans_max_price_incl_vat_check to "max_price_incl_vat is not negative";
alter table public.tariff_plans rename constraint tariff_plans_min_price_check to "min_price is not negative";
alter table public.tariff_plans rename constraint tariff_plans_min_price_incl_vat_check to "min_price_incl_vat is not negative";
alter table public.tariff_plans rename constraint tariff_plans_name_check to "name is not empty";
alter table public.tariff_plans rename constraint tariff_plans_ocpi_country_code_check to "ocpi_country_code is two letters";
alter table public.tariff_plans rename constraint tariff_plans_ocpi_id_check to "ocpi_id has 1 to 36 characters";
alter table public.tariff_plans rename constraint tariff_plans_ocpi_party_id_check to "ocpi_party_id is three letters or digits";
alter table public.tariff_plans rename constraint tariff_plans_tax_included_check to "tax_included is YES, NO or N/A";
alter table public.tariff_rules rename constraint tariff_rules_check to "power_range_max is not below power_range_min";
alter table public.tariff_rules rename constraint tariff_rules_check1 to "valid_until is after valid_from";
alter table public.tariff_rules rename constraint tariff_rules_check2 to "max_duration_minutes is more than min_duration_minutes";
alter table public.tariff_rules rename constraint tariff_rules_check3 to "date_until is after date_from";
alter table public.tariff_rules rename constraint tariff_rules_check4 to "max_kwh is more than min_kwh";
alter table public.tariff_rules rename constraint tariff_rules_check5 to "max_current is more than min_current";
alter table public.tariff_rules rename constraint tariff_rules_check6 to "max_power is more than min_power";
alter table public.tariff_rules rename constraint tariff_rules_check7 to "per_hour is for prices of time";
alter table public.tariff_rules rename constraint tariff_rules_check8 to "step_size is more than 0";
alter table public.tariff_rules rename constraint tariff_rules_check9 to "a reservation is priced per minute or session";
alter table public.tariff_rules rename constraint tariff_rules_connector_type_check to "connector_type is not empty";
alter table public.tariff_rules rename constraint tariff_rules_currency_check to "currency is three capital letters";
alter table public.tariff_rules rename constraint tariff_rules_days_of_week_check to "days_of_week are days from 1 to 7";
alter table public.tariff_rules rename constraint tariff_rules_min_current_check to "min_current is not negative";
alter table public.tariff_rules rename constraint tariff_rules_min_duration_minutes_check to "min_duration_minutes is not negative";
alter table public.tariff_rules rename constraint tariff_rules_min_kwh_check to "min_kwh is not negative";
alter table public.tariff_rules rename constraint tariff_rules_min_power_check to "min_power is not negative";
alter table public.tariff_rules rename constraint tariff_rules_name_check to "name is not empty";
alter table public.tariff_rules rename constraint tariff_rules_power_range_min_check to "power_range_min is not negative";
alter table public.tariff_rules rename constraint tariff_rules_price_check to "price is not negative";
alter table public.tariff_rules rename constraint tariff_rules_step_size_check to "step_size is not negative";
alter table public.tariff_rules rename constraint tariff_rules_vat_check to "vat is from 0 to 100";
