-- Prepaid accounts: a ledger that is only appended to, holds for sessions that run, limits.

-- Accounts ---------------------------------------------------------------------------------------
alter table public.clients alter column balance type numeric;
alter table public.clients
  add column held numeric not null default 0 check (held >= 0),
  add column credit_limit numeric not null default 0 check (credit_limit >= 0 and credit_limit <= 1e9);
comment on column public.clients.balance is 'Money of the account holder, in currency: the sum of its ledger_entries. What is on hold is not in it any more.';
comment on column public.clients.held is 'On hold for sessions that wait or run, in currency: taken from balance already.';
comment on column public.clients.credit_limit is 'How far below zero balance may go through holds and charges, in currency. Set by admins.';

create type public.ledger_kind as enum ('top_up', 'hold', 'release', 'charge', 'refund', 'correction');
comment on type public.ledger_kind is 'What an entry of an account is: see ledger_entries.kind.';
create table public.ledger_entries (
  id uuid primary key default gen_random_uuid(),
  client_id uuid not null references public.clients (id) on delete restrict,
  kind public.ledger_kind not null,
  amount numeric not null,
  currency text not null check (currency ~ '^[A-Z]{3}$'),
  session_id uuid references public.charging_sessions (id) on delete set null,
  hold_id uuid unique references public.ledger_entries (id) on delete restrict,
  reference text,
  note text,
  created_by uuid,
  created_at timestamptz not null default clock_timestamp(),
  check (case when kind in ('top_up', 'release', 'refund') then amount > 0 when kind in ('hold', 'charge') then amount < 0 else amount <> 0 end),
  check (amount between -1e12 and 1e12),
  check (session_id is not null or kind not in ('charge', 'refund')),
  check ((hold_id is not null) = (kind = 'release')),
  check (reference is not null or kind <> 'top_up')
);
comment on table public.ledger_entries is 'What happened to the money of accounts; clients.balance is the sum. Written by functions only, never changed nor deleted.';
comment on column public.ledger_entries.client_id is 'The account.';
comment on column public.ledger_entries.kind is 'hold and release: put aside for a session, and given back when it is settled. charge: the bill, or what was missing for it earlier.';
comment on column public.ledger_entries.amount is 'What it adds to the balance, in currency: negative for holds and charges.';
comment on column public.ledger_entries.currency is 'ISO 4217: that of the account.';
comment on column public.ledger_entries.session_id is 'The session it is for; null: none, or one that never began and was deleted.';
comment on column public.ledger_entries.hold_id is 'Of a release: the hold that it gives back. Each is given back once.';
comment on column public.ledger_entries.reference is 'Of a top-up: the payment, each booked once. Of a charge: null is the bill, else what was paid of it later.';
comment on column public.ledger_entries.note is 'For people.';
comment on column public.ledger_entries.created_by is 'users.id of who booked it; null: the service by itself, or a payment service.';
create index ledger_entries_client_id_idx on public.ledger_entries (client_id, created_at desc);
create index ledger_entries_session_id_idx on public.ledger_entries (session_id);
create unique index ledger_entries_top_up_key on public.ledger_entries (reference) where kind = 'top_up';
create unique index ledger_entries_charge_key on public.ledger_entries (session_id, coalesce(reference, '')) where kind = 'charge';

-- What accounts had before there was a ledger.
insert into public.ledger_entries (client_id, kind, amount, currency, note)
select id, 'correction', balance, currency, 'Opening balance' from public.clients where balance <> 0;

alter table public.ledger_entries enable row level security;
create policy "Account holders read their entries, operators charges at their stations, admins all" on public.ledger_entries for select to authenticated
  using (client_id = (select u.client_id from public.users as u where u.id = (select auth.uid()) and u.is_active)
         or (select private.is_admin())
         or kind in ('charge', 'refund') and exists (
              select from public.charging_sessions as s
               where s.id = session_id and s.station_id = any ((select private.operated_station_ids())::text[])));
grant select on public.ledger_entries to authenticated, service_role;

-- Sessions ---------------------------------------------------------------------------------------
alter table public.charging_sessions
  add column held_amount numeric not null default 0 check (held_amount >= 0),
  add column unpaid_amount numeric not null default 0 check (unpaid_amount >= 0),
  add column limit_warned_at timestamptz,
  add column limit_reached_at timestamptz,
  add column meter_base_wh numeric;
comment on column public.charging_sessions.held_amount is 'On hold for it in the ledger of the account that pays, in currency.';
comment on column public.charging_sessions.unpaid_amount is 'What the account could not pay of the bill, in currency. Charged when it is topped up; no new start before that.';
comment on column public.charging_sessions.limit_warned_at is 'When 80 % of a limit, or of the money, were used up: the topic session:{id} was told then.';
comment on column public.charging_sessions.limit_reached_at is 'When the next meter value would have passed a limit, or the money: the station was told to stop then.';
comment on column public.charging_sessions.meter_base_wh is 'First register of samples that run on another register than start and stop do, Wh: the running energy counts from it, the bill does not.';
comment on column public.charging_sessions.flags is 'What wants a look: implausible_energy, unpaid, no_funds, clock_wrong, meter_restarted, id_tag_refused, …: docs/architecture.md, docs/accounts.md.';
create index charging_sessions_unpaid_idx on public.charging_sessions (client_id) where unpaid_amount > 0;
create index charging_sessions_unstarted_idx on public.charging_sessions (station_id, lower(id_tag)) where start_time is null;

alter table private.settings
  add column require_account boolean not null default false,
  add column open_hold_energy_kwh numeric not null default 100 check (open_hold_energy_kwh > 0 and open_hold_energy_kwh <= 100000);
comment on column private.settings.require_account is 'Whether only those charge for whom a client pays. False: sessions of users and tags without one are billed to nobody.';
comment on column private.settings.open_hold_energy_kwh is 'What is put aside for a session without a limit: the price of this energy, kWh, or what the account has.';

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

create or replace function private.keep_entry() returns trigger
language plpgsql volatile set search_path = ''
as $$
begin
  -- The one exception is the foreign key's: a session that never began may be deleted, its hold and release stay.
  if tg_op = 'UPDATE' and pg_trigger_depth() > 1 then
    if new.session_id is null and to_jsonb(new) - 'session_id' = to_jsonb(old) - 'session_id' then
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
  if not (coalesce(auth.role() = 'service_role', false) or private.is_admin()) then
    perform private.fail(403, 'OCPRM', 'only an admin may move money', 'Sign in as an admin; a payment service uses the service key.');
  end if;
end $$;
comment on function private.assert_treasurer is 'Ends the request with 403 OCPRM unless an admin or the service role calls.';

create or replace function private.account_for_booking(p_client_id uuid, p_amount numeric, p_text text, p_name text) returns public.clients
language plpgsql volatile set search_path = ''
as $$
declare
  v_account public.clients;
begin
  if coalesce(btrim(p_text), '') = '' or char_length(p_text) > 500 then
    perform private.fail(400, 'OCARG', p_name || ' must be a text of 1 to 500 characters', 'It stands in the ledger and says what the entry is for.');
  end if;
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
  return v_account;
end $$;
comment on function private.account_for_booking is 'The account, locked, when amount and text can be booked. 404 OCCLI, 400 OCARG.';

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
    if (v_entry.client_id, v_entry.amount) is distinct from (top_up_account.client_id, top_up_account.amount) then
      perform private.fail(409, 'OCPMT', format('reference "%s" is that of another top-up', top_up_account.reference), 'A reference names one payment: its account and amount do not change.');
    end if;
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

create or replace function public.correct_balance(client_id uuid, amount numeric, reason text) returns public.ledger_entries
language plpgsql volatile set search_path = ''
security definer  -- as top_up_account
as $$
declare
  v_account public.clients;
  v_entry public.ledger_entries;
begin
  perform private.assert_treasurer();
  v_account := private.account_for_booking(correct_balance.client_id, correct_balance.amount, correct_balance.reason, 'reason');
  insert into public.ledger_entries (client_id, kind, amount, note, created_by)
  values (v_account.id, 'correction', correct_balance.amount, correct_balance.reason, auth.uid())
  returning * into v_entry;
  perform private.collect_unpaid(v_account.id);
  return v_entry;
end $$;
comment on function public.correct_balance is 'For admins: adds amount to a balance, or takes it away where it is negative, below zero too (a payment that was called back). '
  'Each call books. 404 OCCLI, 400 OCARG, 403 OCPRM.';

create or replace function public.refund_session(session_id uuid, amount numeric, reason text) returns public.ledger_entries
language plpgsql volatile set search_path = ''
security definer  -- as top_up_account
as $$
declare
  v_client_id uuid;
  v_charged numeric;
  v_entry public.ledger_entries;
begin
  perform private.assert_person();
  select e.client_id into v_client_id
    from public.charging_sessions as s left join public.ledger_entries as e on e.session_id = s.id and e.kind = 'charge'
   where s.id = refund_session.session_id and private.operates_station(s.station_id) limit 1;
  if not found then
    perform private.fail(404, 'OCSES', 'no such session', 'Operators refund the sessions of their own stations.');
  end if;
  if refund_session.amount < 0 then
    perform private.fail(400, 'OCARG', 'a refund must be more than 0', 'Give the amount that the driver gets back.');
  end if;
  if v_client_id is null then
    perform private.fail(409, 'OCRFD', 'no account was charged for this session', 'Only what was charged can be given back.');
  end if;
  perform private.account_for_booking(v_client_id, refund_session.amount, refund_session.reason, 'reason');
  select -sum(e.amount) into v_charged from public.ledger_entries as e where e.session_id = refund_session.session_id and e.kind in ('charge', 'refund');
  if refund_session.amount > v_charged then
    perform private.fail(409, 'OCRFD', format('at most %s can be given back', v_charged), 'All refunds of a session together are at most what was charged.');
  end if;
  insert into public.ledger_entries (client_id, kind, amount, session_id, note, created_by)
  values (v_client_id, 'refund', refund_session.amount, refund_session.session_id, refund_session.reason, auth.uid())
  returning * into v_entry;
  perform private.collect_unpaid(v_client_id);
  return v_entry;
end $$;
comment on function public.refund_session is 'For operators, at their stations, and admins: gives money of a session back to the account that paid, in total at most what was charged. '
  'What the account owes is charged from it. Each call books. 404 OCSES, OCCLI, 400 OCARG, 409 OCRFD, 403 OCPRM.';

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

grant execute on function public.top_up_account, public.correct_balance, public.refund_session, public.delete_session to authenticated, service_role;

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

create or replace function private.prices_time(p_tariff jsonb, p_parking boolean) returns boolean
language plpgsql immutable set search_path = ''
as $$
begin
  return coalesce(p_tariff @? '$.rules[*] ? (@.tariff_type == "per_minute")' or p_tariff ? 'late_fee'
                  or p_parking and p_tariff @? '$.rules[*] ? (@.tariff_type == "parking_fee")', false);
end $$;
comment on function private.prices_time is 'Whether the cost of a session under a tariff_snapshot() may grow by time alone; p_parking: while the car parks.';
grant execute on function private.prices_time to authenticated, service_role;  -- an index asks it for whoever writes sessions
create index charging_sessions_timed_idx on public.charging_sessions (start_time) where status = 'started' and private.prices_time(tariff, true);

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

drop function private.reprice_sessions(uuid[]);
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
        start_key, meter_start_wh, meter_max_wh, flags, clock_offset, reservation_id, tariff, amount, currency, priced_energy_wh)
    values (p_station.id, v_connector, v_owner.user_id, v_client_id, v_tag, 'started', v_start, p_payload ->> 'timestamp', v_key, v_meter, v_meter, v_flags,
        private.clock_offset(v_reported, p_received_at),
        private.to_integer(p_payload -> 'reservationId'), v_tariff, (v_price ->> 'cost')::numeric, v_price ->> 'currency', 0)
    returning * into v_session;
  end if;

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

  -- A connector carries one transaction: an older one that never stopped has lost its StopTransaction.
  perform private.end_provisionally(s.id, v_start) from public.charging_sessions as s
   where s.station_id = p_station.id and s.connector_id = v_session.connector_id and s.status = 'started' and s.id <> v_session.id
     and s.start_time < v_start;

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
begin
  select * into v_session from public.charging_sessions where id = p_session_id and status = 'started' for update;
  if not found then
    return;
  end if;
  v_session.status := 'stopped';
  v_session.stop_time := greatest(v_session.start_time, least(p_until, v_session.meter_last_at + v_session.clock_offset));
  v_price := private.price_so_far(v_session);
  update public.charging_sessions
     set status = v_session.status, stop_time = v_session.stop_time, stop_reason = 'Other', power_w = 0, provisional_at = now(),
         flags = array_append(array_remove(flags, 'stop_missing'), 'stop_missing'), amount = (v_price ->> 'cost')::numeric,
         currency = v_price ->> 'currency', priced_at = clock_timestamp(), priced_energy_wh = energy_wh
   where id = p_session_id;
end $$;
comment on function private.end_provisionally is 'Ends a session whose StopTransaction was lost at its last register, at p_until at the latest. It is not settled: '
  'for a day a StopTransaction that still comes wins.';

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

create or replace function private.operates_station(p_station_id text) returns boolean
language sql stable set search_path = ''
as $$
  select coalesce(auth.role() = 'service_role', false) or private.is_admin() or exists (
    select from public.stations as s join public.locations as l on l.id = s.location_id
     where s.id = p_station_id and l.client_id = private.operated_client_id())
$$;
comment on function private.operates_station is 'Whether the caller runs the station.';

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
    perform private.fail(402, 'OCBAL', format('the account does not cover this charge: %s %s are available', v_hold.available, v_hold.currency)
      || case when v_session.limit_type <> 'none' then format(', %s needed', v_hold.wanted) else '' end, 'Top the account up, or set a lower limit.');
  elsif v_hold.problem = 'unpaid_before' then
    perform private.fail(402, 'OCDUE', format('%s %s are unpaid from earlier sessions', v_hold.unpaid, v_hold.currency), 'Top the account up: what it owes is charged at once.');
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
  perform private.fail_session(w.id, w.error)
    from (select s.id, s.client_id, case when c.status = 'accepted' then 'the station accepted, but no charge began'
                            else 'the station could not be reached' end as error
            from public.charging_sessions as s
            left join lateral (select c.status from public.commands as c where c.session_id = s.id and c.action = 'RemoteStartTransaction'
                                order by c.created_at desc limit 1) as c on true
           where s.status = 'pending' and (s.expires_at <= now() or c.status = 'expired')
             for update of s skip locked) as w
   where private.try_lock_account(w.client_id);
end $$;
comment on function private.expire_waiting is 'Ends what waited too long: commands and pending sessions.';

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
    exception when others then
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

create or replace function private.end_lost_sessions() returns void
language plpgsql volatile set search_path = ''
as $$
begin
  -- The connector is free although nobody told us that the session ended, and no meter value came since: the StopTransaction
  -- is lost, or waits in the station. Ten minutes, because the status may overtake the queue of the station (OCPP 1.6 §3.7).
  perform private.end_provisionally(w.id, w.status_at)
    from (select s.id, c.status_at
            from public.charging_sessions as s
            join public.connectors as c on c.station_id = s.station_id and c.number = s.connector_id
           where s.status = 'started' and c.status in ('Available', 'Preparing') and c.status_at < now() - interval '10 minutes'
             and c.status_at > greatest(s.start_time, s.meter_last_at + s.clock_offset) and s.updated_at < now() - interval '10 minutes'
             and private.is_online(s.station_id)
             for update of s skip locked) as w;
  -- A day for the station's queue, then they are billed at the last register.
  perform private.settle_session(w.id)
    from (select id, client_id from public.charging_sessions
           where stop_time is not null and settled_at is null and provisional_at < now() - interval '1 day' and meter_stop_wh is null
           limit 100 for update skip locked) as w
   where private.try_lock_account(w.client_id);
end $$;
comment on function private.end_lost_sessions is 'Ends sessions whose StopTransaction never came: provisionally at first, and a day later for good.';

grant execute on function public.send_command, public.start_charge, public.start_charge_for, public.stop_charge, public.release_session, public.claim_commands to authenticated, service_role;

create or replace function private.to_register(p_value jsonb) returns numeric
language plpgsql immutable set search_path = ''
as $$
declare
  v_number numeric := private.to_number(p_value);
begin
  return case when v_number between -1e12 and 1e12 then v_number end;
end $$;
comment on function private.to_register is 'A register of a meter, Wh: as to_number; null also for what no meter shows, beyond 10^12 Wh.';

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

create or replace function private.energy_so_far(p_start_wh numeric, p_last_wh numeric, p_max_wh numeric, p_steps_wh numeric, p_restarted boolean)
returns numeric
language plpgsql immutable set search_path = ''
as $$
begin
  return least(case when p_last_wh >= p_max_wh and not p_restarted then greatest(p_last_wh - coalesce(p_start_wh, p_last_wh), 0) else p_steps_wh end, 1e12);
end $$;
comment on function private.energy_so_far is 'Wh since the start: the register''s difference; the sum of its positive steps when the meter restarted. 10^12 at most.';

create or replace function private.to_number(p_value jsonb) returns numeric
language plpgsql immutable set search_path = ''  -- its plan is kept between calls, which that of a language sql function is not
as $$
declare
  v_text text := p_value #>> '{}';
begin
  -- Plain decimals, which is what stations send, without the regular expression: it costs 20 times as much.
  if length(v_text) <= 20 and translate(v_text, '0123456789', '') in ('', '.', '-') and pg_catalog.pg_input_is_valid(v_text, 'numeric') then
    return v_text::numeric;
  elsif v_text ~ '^\s*[+-]?[0-9]{1,20}(\.[0-9]{0,20})?([eE][+-]?[0-9])?\s*$' and pg_catalog.pg_input_is_valid(v_text, 'numeric') then
    return v_text::numeric;
  end if;
  return null;
end $$;
comment on function private.to_number is 'A JSON number, or a number in a string; null for anything else and for numbers beyond 10^29.';

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
