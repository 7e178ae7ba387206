-- Accounts: the ledger, what is held back for a session that runs, and what it is charged. docs/accounts.md says it with examples.
-- An account is a row of clients of kind account. Its row is the lock: who books on several accounts in one transaction takes
-- lock_accounts() first, behind lock_stations().

-- The ledger -------------------------------------------------------------------------------------
create or replace function private.book_entry() returns trigger
language plpgsql volatile set search_path = ''
security definer  -- nobody else moves clients.balance
as $$
begin
  update public.clients
     set balance = balance + new.amount, held = held - case when new.kind in ('hold', 'release') then new.amount else 0 end
   where id = new.client_id
  returning currency into new.currency;
  return new;
end $$;
comment on function private.book_entry is 'Trigger: an entry moves the balance of its account, and what is on hold, in the same statement.';
create or replace trigger book_entry before insert on public.ledger_entries for each row execute function private.book_entry();

create or replace function private.name_station() returns trigger
language plpgsql volatile set search_path = ''
as $$
begin
  new.station_id := case when new.kind in ('charge', 'refund', 'waiver') then (select s.station_id from public.charging_sessions as s where s.id = new.session_id) end;
  return new;
end $$;
comment on function private.name_station is 'Trigger: charges, refunds and waivers name the station of their session, whose operator reads them.';
create or replace trigger name_station before insert on public.ledger_entries for each row execute function private.name_station();

create or replace function private.keep_entry() returns trigger
language plpgsql volatile set search_path = ''
as $$
begin
  -- The exceptions are the foreign keys': a session that never began may be deleted, its hold and release stay; a station may be renamed.
  if tg_op = 'UPDATE' and pg_trigger_depth() > 1 then
    if (new.session_id is null or new.session_id = old.session_id)
        and to_jsonb(new) - '{session_id,station_id}'::text[] = to_jsonb(old) - '{session_id,station_id}'::text[]
        and (new.station_id is null) = (old.station_id is null) then
      return new;
    end if;
  end if;
  perform private.fail(403, 'OCLED', 'entries of the ledger are never changed nor deleted', 'Book another: correct_balance(), refund_session().');
  return null;
end $$;
comment on function private.keep_entry is 'Trigger: the ledger is only ever appended to, whoever asks.';
create or replace trigger keep_entry before update or delete on public.ledger_entries for each row execute function private.keep_entry();
create or replace trigger keep_entries before truncate on public.ledger_entries for each statement execute function private.keep_entry();

create or replace function private.guard_balance() returns trigger
language plpgsql volatile set search_path = ''
security definer  -- looks at entries that the caller may not read
as $$
begin
  if tg_op = 'INSERT' then
    if (new.balance, new.held) <> (0, 0) then
      perform private.fail(403, 'OCLED', 'an account begins at 0', 'Leave balance and held out, then call top_up_account() or correct_balance().');
    end if;
    return new;
  end if;
  if (new.balance, new.held) is distinct from (old.balance, old.held) and pg_trigger_depth() = 1 then
    perform private.fail(403, 'OCLED', 'balance and held are the sums of ledger_entries and change with them only',
      'Call top_up_account(), refund_session() or correct_balance().');
  end if;
  if (new.currency, new.kind) is distinct from (old.currency, old.kind) and exists (select from public.ledger_entries where client_id = new.id) then
    perform private.fail(409, 'OCLED', 'an account with entries in its ledger keeps its currency and kind', 'Open another account.');
  end if;
  return new;
end $$;
comment on function private.guard_balance is 'Trigger: clients.balance and clients.held change through the ledger only, and an account keeps its currency.';
create or replace trigger guard_balance before insert or update on public.clients for each row execute function private.guard_balance();

create or replace function private.lock_accounts(p_client_ids uuid[]) returns void
language plpgsql volatile set search_path = '' set plan_cache_mode = force_generic_plan
as $$
begin
  perform from public.clients where id = any (p_client_ids) and kind = 'account' order by id for no key update;
end $$;
comment on function private.lock_accounts is 'Waits until nobody else books on these accounts, until the end of the transaction; in one order, so that no two wait for each other.';

create or replace function private.try_lock_account(p_client_id uuid) returns boolean
language plpgsql volatile set search_path = ''
as $$
begin
  return not private.is_account(p_client_id)
    or exists (select from (select id from public.clients where id = p_client_id for no key update skip locked) as locked);
end $$;
comment on function private.try_lock_account is 'For the housekeeping, which waits for nobody: whether it may book on this account now. True for a client that has none.';

create or replace function private.lock_accounts_of(p_events jsonb) returns void
language plpgsql volatile set search_path = '' set plan_cache_mode = force_generic_plan
set enable_seqscan = off  -- as store_meter_values
as $$
declare
  v_stations text[];
  v_tags text[];
begin
  select array_agg(distinct e ->> 'station_id'),
         array_agg(distinct lower(private.clean_tag(e #> '{payload,idTag}'))) filter (where e ->> 'action' = 'StartTransaction')
    into v_stations, v_tags
    from jsonb_array_elements(p_events) as e;
  perform private.lock_accounts(array(
    select s.client_id from public.charging_sessions as s where s.station_id = any (v_stations) and s.status in ('pending', 'started')
    union
    select s.client_id from public.charging_sessions as s
     where s.station_id = any (v_stations) and s.stop_time is not null and s.settled_at is null
    union
    select s.client_id from public.charging_sessions as s
     where s.station_id = any (v_stations) and s.start_time is null and lower(s.id_tag) = any (v_tags)
    union
    select coalesce(t.client_id, u.client_id) from public.id_tags as t left join public.users as u on u.id = t.user_id
     where lower(t.id_tag) = any (v_tags)));
end $$;
comment on function private.lock_accounts_of is 'lock_accounts() for all accounts that these events of stations may touch: those of sessions that wait, run or '
  'are not settled at the stations, and those of the tags that start.';

create or replace function private.is_account(p_client_id uuid) returns boolean
language plpgsql stable set search_path = '' set plan_cache_mode = force_generic_plan
as $$
begin
  return exists (select from public.clients where id = p_client_id and kind = 'account');
end $$;
comment on function private.is_account is 'Whether this client pays from a balance.';

-- Holds ------------------------------------------------------------------------------------------
create or replace function private.quote(p_tariff jsonb, p_energy_kwh numeric, p_at timestamptz) returns numeric
language plpgsql stable set search_path = ''
as $$
declare
  v_hours numeric := case when p_energy_kwh > 0 and (p_tariff ->> 'power_kw')::numeric > 0 then least(p_energy_kwh / (p_tariff ->> 'power_kw')::numeric, 744) else 0 end;
begin
  return (private.price_periods(p_tariff, jsonb_build_array(jsonb_build_object('start_at', p_at, 'end_at', p_at + make_interval(secs => v_hours * 3600),
    'energy_kwh', p_energy_kwh, 'parking', false))) ->> 'cost')::numeric;
end $$;
comment on function private.quote is 'What p_energy_kwh would cost from p_at on, drawn at the full power of the connector; at most a month long.';

create or replace function private.check_funds(p_client_id uuid, p_limit_energy_kwh numeric, p_limit_amount numeric, p_tariff jsonb, p_at timestamptz,
  p_partly boolean, out problem text, out wanted numeric, out available numeric, out unpaid numeric, out currency text)
language plpgsql stable set search_path = ''
as $$
declare
  v_account public.clients;
  v_settings private.settings;
begin
  select * into v_settings from private.settings;
  select * into v_account from public.clients as c where c.id = p_client_id;
  if v_account.kind is distinct from 'account' then
    problem := case when p_client_id is null and v_settings.require_account then 'no_account' end;
    return;
  end if;
  currency := v_account.currency;
  if currency is distinct from p_tariff ->> 'currency' then
    problem := 'wrong_currency';
    return;
  end if;
  available := greatest(v_account.balance + v_account.credit_limit, 0);
  unpaid := (select coalesce(sum(s.unpaid_amount), 0) from public.charging_sessions as s where s.client_id = p_client_id and s.unpaid_amount > 0);
  if unpaid > available then
    problem := 'unpaid_before';
    return;
  end if;
  available := available - unpaid;
  wanted := case when p_limit_energy_kwh is null and p_limit_amount is not null then p_limit_amount
                 else least(p_limit_amount, private.quote(p_tariff, coalesce(p_limit_energy_kwh, v_settings.open_hold_energy_kwh), p_at)) end;
  if available < (case when p_partly then least(wanted, private.quote(p_tariff, 0, p_at)) else wanted end) or available = 0 and wanted > 0 then
    problem := 'no_funds';
  end if;
end $$;
comment on function private.check_funds is 'What an account has to hold for a charge: wanted is limit_amount, or the quote for limit_energy_kwh, the smaller one where '
  'both are given, else the quote for private.settings.open_hold_energy_kwh. problem: no_funds, unpaid_before, wrong_currency, no_account, or null. p_partly: '
  'less than wanted will do, but for the fee of the first moment. A company (kind operator) pays later and needs nothing.';

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

create or replace function private.release_holds(p_session_id uuid) returns void
language sql volatile set search_path = ''
as $$
  insert into public.ledger_entries (client_id, kind, amount, session_id, hold_id, note)
  select h.client_id, 'release', -h.amount, h.session_id, h.id, h.note
    from public.ledger_entries as h
   where h.session_id = p_session_id and h.kind = 'hold' and not exists (select from public.ledger_entries as r where r.hold_id = h.id)
   order by h.created_at, h.id
$$;
comment on function private.release_holds is 'Gives back what is held for a session; each hold once.';

-- The bill ---------------------------------------------------------------------------------------
create or replace function private.charge_account() returns trigger
language plpgsql volatile set search_path = ''
as $$
declare
  v_account public.clients;
  v_charge numeric;
begin
  perform private.release_holds(new.id);
  new.held_amount := 0;
  select * into v_account from public.clients where id = new.client_id and kind = 'account' for no key update;
  if not found or new.settled_at is null or new.amount <= 0 then  -- it pays later, the session never began, or was for nothing
    perform private.collect_unpaid(new.client_id);
    return new;
  end if;
  if v_account.currency <> new.currency then
    new.flags := array_append(array_remove(new.flags, 'wrong_currency'), 'wrong_currency');
    return new;
  end if;
  -- What was held back is there whatever happened to the balance meanwhile.
  v_charge := least(new.amount, greatest(old.held_amount, v_account.balance + v_account.credit_limit, 0));
  if v_charge > 0 then
    insert into public.ledger_entries (client_id, kind, amount, session_id, note)
    values (new.client_id, 'charge', -v_charge, new.id, format('%s, %s kWh', new.station_id, trim_scale(new.energy)));
  end if;
  new.unpaid_amount := new.amount - v_charge;
  if new.unpaid_amount > 0 then
    new.flags := array_append(array_remove(new.flags, 'unpaid'), 'unpaid');
  end if;
  perform private.collect_unpaid(new.client_id);  -- of earlier sessions: the hold may have been more than the bill
  return new;
end $$;
comment on function private.charge_account is 'Trigger: when a session is settled, its hold is released and the account charged, never below -credit_limit; what is missing '
  'stands in unpaid_amount. When a pending session comes to nothing, its hold is released.';
-- Its name comes before publish_session, which tells what this has written.
create or replace trigger charge_account before update on public.charging_sessions for each row
  when (old.settled_at is null and new.settled_at is not null
        or new.held_amount > 0 and old.status = 'pending' and new.status in ('stopped', 'error') and new.start_time is null)
  execute function private.charge_account();

create or replace function private.keep_session() returns trigger
language plpgsql volatile set search_path = ''
security definer  -- looks at entries that the caller may not read
as $$
begin
  if tg_op = 'DELETE' then
    if old.start_time is not null or old.settled_at is not null or old.energy <> 0 or old.amount <> 0
       or exists (select from public.ledger_entries where session_id = old.id and kind not in ('hold', 'release')) then
      perform private.fail(409, 'OCDEL', 'a session that has begun is never deleted', 'Its record stays; refund_session() and correct_balance() give money back.');
    elsif old.held_amount <> 0 then
      perform private.fail(409, 'OCDEL', 'money is on hold for this session', 'delete_session() releases it and deletes the session.');
    end if;
    return old;
  end if;
  if (new.status, new.amount, new.currency, new.receipt, new.tariff, new.energy, new.energy_wh, new.client_id, new.held_amount, new.settled_at, new.transaction_id,
      new.start_time, new.stop_time, new.meter_start_wh, new.meter_stop_wh)
     is distinct from (old.status, old.amount, old.currency, old.receipt, old.tariff, old.energy, old.energy_wh, old.client_id, old.held_amount, old.settled_at,
      old.transaction_id, old.start_time, old.stop_time, old.meter_start_wh, old.meter_stop_wh)
     or new.station_id <> old.station_id and pg_trigger_depth() = 1  -- deeper it is the foreign key's: the station has another id now
     -- what is unpaid is what the ledger says, whoever writes it
     or new.unpaid_amount <> old.unpaid_amount and new.unpaid_amount <> new.amount + (
          select coalesce(sum(e.amount), 0) from public.ledger_entries as e where e.session_id = new.id and e.kind = 'charge') then
    perform private.fail(409, 'OCSET', 'a settled session and its bill are not changed', 'Give money back with refund_session(); book another with correct_balance().');
  end if;
  return new;
end $$;
comment on function private.keep_session is 'Trigger: a session that has begun is not deleted, and one that is settled keeps its bill, whoever asks. unpaid_amount changes only to what the charges in the ledger leave.';
create or replace trigger keep_session before update on public.charging_sessions for each row
  when (old.settled_at is not null) execute function private.keep_session();
create or replace trigger keep_session_row before delete on public.charging_sessions for each row execute function private.keep_session();

create or replace function private.collect_unpaid(p_client_id uuid) returns void
language plpgsql volatile set search_path = '' set plan_cache_mode = force_generic_plan
as $$
declare
  v_session public.charging_sessions;
  v_payment numeric;
begin
  for v_session in
    -- One that somebody else looks at just now is left for the next time: the housekeeping must not wait.
    select * from public.charging_sessions where client_id = p_client_id and unpaid_amount > 0 order by settled_at, id for update skip locked
  loop
    select least(v_session.unpaid_amount, c.balance + c.credit_limit) into v_payment from public.clients as c where c.id = p_client_id;
    exit when v_payment <= 0;
    insert into public.ledger_entries (client_id, kind, amount, session_id, reference, note)
    values (p_client_id, 'charge', -v_payment, v_session.id, 'unpaid ' || v_session.unpaid_amount, 'What was missing for the bill');
    update public.charging_sessions
       set unpaid_amount = unpaid_amount - v_payment, flags = case when unpaid_amount = v_payment then array_remove(flags, 'unpaid') else flags end
     where id = v_session.id;
  end loop;
end $$;
comment on function private.collect_unpaid is 'Charges an account what was missing for earlier bills, the oldest first, as far as its money goes.';

-- For people -------------------------------------------------------------------------------------
create or replace function private.assert_treasurer() returns void
language plpgsql stable set search_path = ''
as $$
begin
  if not (private.sees_all() or private.is_admin()) then
    perform private.fail(403, 'OCPRM', 'only an admin may move money', 'Sign in as an admin; a payment service uses the service key.');
  end if;
end $$;
comment on function private.assert_treasurer is 'Ends the request with 403 OCPRM unless an admin, the service role or the dashboard calls.';

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

create or replace function public.delete_session(session_id uuid) returns void
language plpgsql volatile set search_path = ''
security definer  -- as start_charge
as $$
declare
  v_session public.charging_sessions;
begin
  perform private.assert_person();
  perform private.lock_stations(array(select s.station_id from public.charging_sessions as s where s.id = delete_session.session_id));
  select * into v_session from public.charging_sessions as s
   where s.id = delete_session.session_id and (s.user_id = auth.uid() or private.operates_station(s.station_id)) for update;
  if not found then
    perform private.fail(404, 'OCSES', 'no such session', 'Drivers delete their own sessions, operators those at their stations.');
  end if;
  if v_session.start_time is not null or v_session.energy <> 0 or v_session.amount <> 0
     or exists (select from public.ledger_entries as e where e.session_id = v_session.id and e.kind not in ('hold', 'release')) then
    perform private.fail(409, 'OCDEL', 'a session that has begun is never deleted', 'Stop it with stop_charge(); its record stays.');
  end if;
  if exists (select from public.commands as c where c.session_id = v_session.id and c.action = 'RemoteStartTransaction'
                and c.status in ('sent', 'accepted', 'timed_out') and c.created_at > now() - interval '1 day') then
    perform private.fail(409, 'OCDEL', 'the station was told to start: its StartTransaction may still come', 'Call it off with stop_charge(); after a day it can be deleted.');
  end if;
  update public.commands as c set status = 'cancelled', error = 'the charge was called off' where c.session_id = v_session.id and c.status = 'queued';
  update public.charging_sessions set status = 'stopped' where id = v_session.id and status = 'pending';  -- releases its hold
  delete from public.charging_sessions where id = v_session.id;
end $$;
comment on function public.delete_session is 'Deletes a session that came to nothing: no start, no energy, no money. Its hold is released. 404 OCSES, 409 OCDEL, 403 OCPRM.';

grant execute on function public.top_up_account, public.correct_balance, public.refund_session, public.waive_unpaid, public.delete_session to authenticated, service_role;
