-- Accounts: refunds and corrections that may be repeated, what stays unpaid waived, holds released without a bridge.
-- Live topics: a budget, so that Realtime drops no wake-up of a bridge.

alter type public.ledger_kind add value 'waiver' after 'refund';
comment on column public.ledger_entries.kind is 'hold and release: put aside for a session, and given back when it is settled. charge: the bill, or what was missing for it earlier. '
  'waiver: what the operator gave up of an unpaid bill; a charge of the same amount closes it.';
comment on column public.ledger_entries.reference is 'Of a top-up: the payment, each booked once; of a correction, or a refund of a session, likewise, if one was given. '
  'Of a charge: null is the bill, else what was paid or waived of it later.';
-- As text, because a new word of an enum cannot be used before the migration is committed.
alter table public.ledger_entries add constraint ledger_entries_waiver_check check (kind::text <> 'waiver' or session_id is not null and amount > 0);
create unique index ledger_entries_refund_key on public.ledger_entries (session_id, reference) where kind = 'refund' and reference is not null;
create unique index ledger_entries_correction_key on public.ledger_entries (reference) where kind = 'correction' and reference is not null;
drop policy "Account holders read their entries, operators charges at their stations, admins all" on public.ledger_entries;
create policy "Account holders read their entries, operators charges at their stations, admins all" on public.ledger_entries for select to authenticated
  using (client_id = (select u.client_id from public.users as u where u.id = (select auth.uid()) and u.is_active)
         or (select private.is_admin())
         or kind::text in ('charge', 'refund', 'waiver') and exists (
              select from public.charging_sessions as s
               where s.id = session_id and s.station_id = any ((select private.operated_station_ids())::text[])));

create index charging_sessions_pending_idx on public.charging_sessions (client_id) where status = 'pending';

-- They have one argument more.
drop function public.correct_balance(uuid, numeric, text);
drop function public.refund_session(uuid, numeric, text);

-- Live topics --------------------------------------------------------------------------------------
alter table private.settings add column live_budget_per_s integer not null default 60 check (live_budget_per_s between 1 and 100000000);
comment on column private.settings.live_budget_per_s is 'Messages a second that the database sends to topics, averaged over some seconds; those that wake bridges, counted twice, go first and always. '
  'The rest of what a project may send (about 100 a second) is for deliveries to listeners.';
create sequence private.live_messages;
alter table private.live_pace
  add column counted_until bigint not null default 0,
  add column counted_at timestamptz not null default now();
comment on column private.live_pace.counted_until is 'Up to this value of the sequence private.live_messages there was room in the budget at counted_at; since then it moves on with private.settings.live_budget_per_s.';
comment on column private.live_pace.counted_at is 'When the housekeeping counted last.';

-- Accounts

create or replace function private.take_hold(p_session public.charging_sessions, p_tariff jsonb, p_at timestamptz, p_partly boolean,
  out problem text, out wanted numeric, out available numeric, out unpaid numeric, out currency text, out taken numeric)
language plpgsql volatile set search_path = ''
as $$
begin
  perform private.lock_accounts(array[p_session.client_id]);
  if private.is_account(p_session.client_id) then  -- else nothing is on hold, and no lock of an account puts those who do this in order
    perform private.expire_starts(p_client_id => p_session.client_id);
  end if;
  perform private.collect_unpaid(p_session.client_id);
  select f.*, 0 into problem, wanted, available, unpaid, currency, taken
    from private.check_funds(p_session.client_id, p_session.limit_energy_kwh, p_session.limit_amount, p_tariff, p_at, p_partly) as f;
  if problem is null and least(wanted, available) > 0 then
    taken := least(wanted, available);
    insert into public.ledger_entries (client_id, kind, amount, session_id, note)
    values (p_session.client_id, 'hold', -taken, p_session.id, format('%s, connector %s', p_session.station_id, p_session.connector_id));
  end if;
end $$;
comment on function private.take_hold is 'check_funds(), and the hold is booked. The caller adds taken to charging_sessions.held_amount.';

create or replace function private.check_text(p_text text, p_name text) returns void
language plpgsql immutable set search_path = ''
as $$
begin
  if coalesce(btrim(p_text), '') = '' or char_length(p_text) > 500 then
    perform private.fail(400, 'OCARG', p_name || ' must be a text of 1 to 500 characters', 'It stands in the ledger and says what the entry is for.');
  end if;
end $$;
comment on function private.check_text is 'Ends the request with 400 OCARG unless the text, an argument of this name, can stand in the ledger.';

create or replace function private.check_repeat(p_entry public.ledger_entries, p_client_id uuid, p_amount numeric) returns void
language plpgsql immutable set search_path = ''
as $$
begin
  if (p_entry.client_id, p_entry.amount) is distinct from (p_client_id, p_amount) then
    perform private.fail(409, 'OCPMT', format('reference "%s" is that of another booking', p_entry.reference), 'A reference names one booking: its account and amount do not change.');
  end if;
end $$;
comment on function private.check_repeat is 'Ends the request with 409 OCPMT unless the entry that has the reference is the booking that is asked for again.';

create or replace function private.account_for_booking(p_client_id uuid, p_amount numeric, p_text text, p_name text) returns public.clients
language plpgsql volatile set search_path = ''
as $$
declare
  v_account public.clients;
begin
  perform private.check_text(p_text, p_name);
  perform private.lock_accounts(array[p_client_id]);
  select * into v_account from public.clients where id = p_client_id and kind = 'account';
  if not found then
    perform private.fail(404, 'OCCLI', 'no such account', 'client_id is the id of a row of clients of kind account.');
  end if;
  -- NaN and infinity are greater than every number
  if not coalesce(abs(p_amount) between 0.0001 and 1e9, false) or p_amount <> round(p_amount, private.currency_digits(v_account.currency)) then
    perform private.fail(400, 'OCARG', 'amount must be money: not 0, at most 1000000000, in whole minor units',
      format('%s has %s decimals.', v_account.currency, private.currency_digits(v_account.currency)));
  end if;
  perform private.expire_starts(p_client_id => p_client_id);
  return v_account;
end $$;
comment on function private.account_for_booking is 'The account, locked, when amount and text can be booked; holds whose time is up are released first. 404 OCCLI, 400 OCARG.';

create or replace function public.top_up_account(client_id uuid, amount numeric, reference text, note text default null) returns public.ledger_entries
language plpgsql volatile set search_path = ''
security definer  -- nobody writes the ledger but through functions; the rights are checked below
as $$
declare
  v_account public.clients;
  v_entry public.ledger_entries;
begin
  perform private.assert_treasurer();
  if top_up_account.amount < 0 then
    perform private.fail(400, 'OCARG', 'a top-up must be more than 0', 'Money goes out by correct_balance().');
  end if;
  -- Two accounts, one reference: the second waits here and then finds the first, rather than failing at the index.
  perform pg_advisory_xact_lock(hashtextextended('top-up ' || top_up_account.reference, 0));
  v_account := private.account_for_booking(top_up_account.client_id, top_up_account.amount, top_up_account.reference, 'reference');
  select * into v_entry from public.ledger_entries as e where e.kind = 'top_up' and e.reference = top_up_account.reference;
  if found then
    perform private.check_repeat(v_entry, top_up_account.client_id, top_up_account.amount);
    return v_entry;
  end if;
  insert into public.ledger_entries (client_id, kind, amount, reference, note, created_by)
  values (v_account.id, 'top_up', top_up_account.amount, top_up_account.reference, top_up_account.note, auth.uid())
  returning * into v_entry;
  perform private.collect_unpaid(v_account.id);
  return v_entry;
end $$;
comment on function public.top_up_account is 'For admins and payment services: adds money to an account. reference names the payment: the same one again gives the first entry back. '
  'What the account owes is charged at once. 404 OCCLI, 400 OCARG, 409 OCPMT, 403 OCPRM.';

create or replace function public.correct_balance(client_id uuid, amount numeric, reason text, reference text default null) returns public.ledger_entries
language plpgsql volatile set search_path = ''
security definer  -- as top_up_account
as $$
declare
  v_account public.clients;
  v_entry public.ledger_entries;
begin
  perform private.assert_treasurer();
  if correct_balance.reference is not null then
    perform private.check_text(correct_balance.reference, 'reference');
    perform pg_advisory_xact_lock(hashtextextended('correction ' || correct_balance.reference, 0));  -- as top_up_account
  end if;
  v_account := private.account_for_booking(correct_balance.client_id, correct_balance.amount, correct_balance.reason, 'reason');
  select * into v_entry from public.ledger_entries as e where e.kind = 'correction' and e.reference = correct_balance.reference;
  if found then
    perform private.check_repeat(v_entry, correct_balance.client_id, correct_balance.amount);
    return v_entry;
  end if;
  insert into public.ledger_entries (client_id, kind, amount, reference, note, created_by)
  values (v_account.id, 'correction', correct_balance.amount, correct_balance.reference, correct_balance.reason, auth.uid())
  returning * into v_entry;
  perform private.collect_unpaid(v_account.id);
  return v_entry;
end $$;
comment on function public.correct_balance is 'For admins: adds amount to a balance, or takes it away where it is negative, below zero too (a payment that was called back). '
  'With a reference once: the same one again gives the first entry back. Without one each call books. 404 OCCLI, 400 OCARG, 409 OCPMT, 403 OCPRM.';

create or replace function private.session_payer(p_session_id uuid, p_hint text) returns uuid
language plpgsql stable set search_path = ''
as $$
declare
  v_session public.charging_sessions;
begin
  select * into v_session from public.charging_sessions as s where s.id = p_session_id and private.operates_station(s.station_id);
  if not found then
    perform private.fail(404, 'OCSES', 'no such session', p_hint);
  end if;
  return v_session.client_id;
end $$;
comment on function private.session_payer is 'Who pays for a session; null: nobody. 404 OCSES, unless the caller runs its station.';

create or replace function public.refund_session(session_id uuid, amount numeric, reason text, reference text default null) returns public.ledger_entries
language plpgsql volatile set search_path = ''
security definer  -- as top_up_account
as $$
declare
  v_client_id uuid;
  v_charged numeric;
  v_entry public.ledger_entries;
begin
  perform private.assert_person();
  v_client_id := private.session_payer(refund_session.session_id, 'Operators refund the sessions of their own stations.');
  if refund_session.amount < 0 then
    perform private.fail(400, 'OCARG', 'a refund must be more than 0', 'Give the amount that the driver gets back.');
  end if;
  if refund_session.reference is not null then
    perform private.check_text(refund_session.reference, 'reference');
  end if;
  if not exists (select from public.ledger_entries as e where e.session_id = refund_session.session_id and e.kind = 'charge') then
    perform private.fail(409, 'OCRFD', 'no account was charged for this session', 'Only what was charged can be given back.');
  end if;
  perform private.account_for_booking(v_client_id, refund_session.amount, refund_session.reason, 'reason');
  select * into v_entry from public.ledger_entries as e
   where e.session_id = refund_session.session_id and e.kind = 'refund' and e.reference = refund_session.reference;
  if found then
    perform private.check_repeat(v_entry, v_client_id, refund_session.amount);
    return v_entry;
  end if;
  select -sum(e.amount) into v_charged from public.ledger_entries as e
   where e.session_id = refund_session.session_id and e.kind in ('charge', 'waiver', 'refund');
  if refund_session.amount > v_charged then
    perform private.fail(409, 'OCRFD', format('at most %s can be given back', v_charged), 'All refunds of a session together are at most what was charged and not waived.');
  end if;
  insert into public.ledger_entries (client_id, kind, amount, session_id, reference, note, created_by)
  values (v_client_id, 'refund', refund_session.amount, refund_session.session_id, refund_session.reference, refund_session.reason, auth.uid())
  returning * into v_entry;
  perform private.collect_unpaid(v_client_id);
  return v_entry;
end $$;
comment on function public.refund_session is 'For operators, at their stations, and admins: gives money of a session back to the account that paid, in total at most what was charged. '
  'What the account owes is charged from it. With a reference once for a session: the same one again gives the first entry back. Without one each call books. '
  '404 OCSES, OCCLI, 400 OCARG, 409 OCRFD, OCPMT, 403 OCPRM.';

create or replace function public.waive_unpaid(session_id uuid, reason text) returns public.ledger_entries
language plpgsql volatile set search_path = ''
security definer  -- as top_up_account
as $$
declare
  v_client_id uuid;
  v_unpaid numeric;
  v_entry public.ledger_entries;
begin
  perform private.assert_person();
  v_client_id := private.session_payer(waive_unpaid.session_id, 'Operators waive what is unpaid of the sessions of their own stations.');
  perform private.check_text(waive_unpaid.reason, 'reason');
  perform private.lock_accounts(array[v_client_id]);
  select * into v_entry from public.ledger_entries as e where e.session_id = waive_unpaid.session_id and e.kind = 'waiver';
  if found then
    return v_entry;  -- asked for twice
  end if;
  -- One of which nothing is unpaid is not waited for: who locked it may wait for the account.
  select s.unpaid_amount into v_unpaid from public.charging_sessions as s where s.id = waive_unpaid.session_id and s.unpaid_amount > 0 for update;
  if not found then
    perform private.fail(409, 'OCPAI', 'nothing of this session is unpaid', 'What was charged is given back with refund_session().');
  end if;
  -- Charged like a payment, and given by the operator of the station: the bill is closed, and the balance is what it was.
  insert into public.ledger_entries (client_id, kind, amount, session_id, note, created_by)
  values (v_client_id, 'waiver', v_unpaid, waive_unpaid.session_id, waive_unpaid.reason, auth.uid())
  returning * into v_entry;
  insert into public.ledger_entries (client_id, kind, amount, session_id, reference, note, created_by)
  values (v_client_id, 'charge', -v_unpaid, waive_unpaid.session_id, 'waived ' || v_unpaid, 'What was missing for the bill, waived', auth.uid());
  update public.charging_sessions as s
     set unpaid_amount = 0, flags = array_append(array_remove(s.flags, 'unpaid'), 'waived')
   where s.id = waive_unpaid.session_id;
  return v_entry;
end $$;
comment on function public.waive_unpaid is 'For operators, at their stations, and admins: asks no more for what is unpaid of a session. The ledger gets a waiver and a charge of the same amount, so the '
  'balance stays what it is; the account may start again. A repeat gives the first waiver back. 404 OCSES, 400 OCARG, 409 OCPAI, 403 OCPRM.';

-- Commands and charges

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

-- What comes in

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

-- Live topics

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

-- Sessions whose stop is lost

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

grant execute on function public.correct_balance, public.refund_session, public.waive_unpaid to authenticated, service_role;
