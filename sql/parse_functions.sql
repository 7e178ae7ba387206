-- Reading what stations send: never an error, null for what cannot be used. (pg_input_is_valid needs no exception block.)

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

create or replace function private.to_register(p_value jsonb) returns numeric
language plpgsql immutable set search_path = ''
as $$
declare
  v_number numeric := private.to_number(p_value);
begin
  return case when v_number between -1e12 and 1e12 then v_number end;
end $$;
comment on function private.to_register is 'A register of a meter, Wh: as to_number; null also for what no meter shows, beyond 10^12 Wh.';

create or replace function private.to_integer(p_value jsonb) returns integer
language plpgsql immutable set search_path = ''
as $$
declare
  v_number numeric := private.to_number(p_value);
begin
  if v_number = trunc(v_number) and v_number between -2147483648 and 2147483647 then
    return v_number::integer;
  end if;
  return null;
end $$;
comment on function private.to_integer is 'As to_number; null also for fractions and what an integer cannot hold.';

create or replace function private.to_time(p_value text, p_time_zone text) returns timestamptz
language plpgsql stable set search_path = ''
as $$
begin
  -- The usual form without the regular expressions: they cost several times as much.
  if length(p_value) between 20 and 30 and translate(p_value, '0123456789', '') in ('--T::Z', '--T::.Z') and substr(p_value, 5, 1) = '-'
     and pg_catalog.pg_input_is_valid(p_value, 'timestamptz') then
    return p_value::timestamptz;
  end if;
  return case
    when p_value !~ '^\s*\d{4}-\d{1,2}-\d{1,2}[Tt ]\d{1,2}:\d{2}(:\d{2}([.,]\d{1,12})?)?\s*([Zz]|[+-]\d{2}(:?\d{2})?)?\s*$' then null
    when p_value ~ '([Zz]|:\d{2}([.,]\d+)?\s*[+-]\d{2}(:?\d{2})?)\s*$' then
      case when pg_catalog.pg_input_is_valid(replace(p_value, ',', '.'), 'timestamptz') then replace(p_value, ',', '.')::timestamptz end
    when pg_catalog.pg_input_is_valid(replace(p_value, ',', '.'), 'timestamp') then
      replace(p_value, ',', '.')::timestamp at time zone p_time_zone
  end;
end $$;
comment on function private.to_time is 'An ISO 8601 time; without an offset it is read in p_time_zone. Null for anything else.';

create or replace function private.ocpp_time(p_at timestamptz) returns text
language sql stable set search_path = ''
as $$
  select to_char(p_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
$$;
comment on function private.ocpp_time is 'A time as stations read it: seconds, and Z rather than an offset.';

create or replace function private.is_plausible(p_reported_at timestamptz, p_received_at timestamptz) returns boolean
language plpgsql immutable set search_path = ''
as $$
begin
  -- Messages may be queued for long (OCPP 1.6 §3.7), but none comes from the future or from before the product.
  return coalesce(p_reported_at between '2020-01-01T00:00:00Z'::timestamptz and p_received_at + interval '5 minutes', false);
end $$;
comment on function private.is_plausible is 'Whether a station''s clock can be believed.';

create or replace function private.clock_offset(p_reported_at timestamptz, p_received_at timestamptz) returns interval
language plpgsql immutable set search_path = ''
as $$
begin
  return case when not private.is_plausible(p_reported_at, p_received_at) and p_reported_at between '1900-01-01T00:00:00Z' and '2200-01-01T00:00:00Z'
              then p_received_at - p_reported_at else '0' end;
end $$;
comment on function private.clock_offset is 'What to add to the times of a station whose clock is wrong; 0 for one that can be believed, and for one that talks of other ages.';

create or replace function private.occurred_at(p_reported_at timestamptz, p_received_at timestamptz, p_start_time timestamptz, p_clock_offset interval)
returns timestamptz
language plpgsql immutable set search_path = ''
as $$
begin
  -- Where the clock was wrong at the start it may be wrong still by as much, or have been set right meanwhile, or stand still.
  if p_clock_offset <> '0' then
    if p_reported_at + p_clock_offset > p_start_time and p_reported_at + p_clock_offset <= p_received_at + interval '5 minutes' then
      return p_reported_at + p_clock_offset;
    elsif p_reported_at < p_start_time then
      return p_received_at;
    end if;
  end if;
  if private.is_plausible(p_reported_at, p_received_at) then
    return p_reported_at;
  end if;
  return p_received_at;
end $$;
comment on function private.occurred_at is 'When that happened which a station reports about a session: by its clock, corrected where it was wrong when the session began, '
  'else when we heard of it.';

create or replace function private.clean_tag(p_value jsonb) returns text
language sql immutable set search_path = ''
as $$
  select nullif(left(btrim(regexp_replace(p_value #>> '{}', '[[:cntrl:]]', '', 'g')), 255), '')
$$;
comment on function private.clean_tag is 'An idTag without the control bytes and blanks that some readers add; longer than 20 characters is kept.';

create or replace function private.is_secret_key(p_key text) returns boolean
language sql immutable set search_path = ''
as $$
  select coalesce(p_key ~* '(authorizationkey|password|secret|passphrase|private_?key)', false)
$$;
comment on function private.is_secret_key is 'Whether a configuration key holds a secret.';

create or replace function private.redact(p_action text, p_payload jsonb) returns jsonb
language sql immutable set search_path = ''
as $$
  select case
    when p_action = 'ChangeConfiguration' and private.is_secret_key(p_payload ->> 'key') then p_payload || '{"value": "(redacted)"}'
    when p_action = 'GetConfiguration' and jsonb_typeof(p_payload -> 'configurationKey') = 'array' then
      jsonb_set(p_payload, '{configurationKey}', (
        select coalesce(jsonb_agg(case when private.is_secret_key(k ->> 'key') and jsonb_typeof(k) = 'object'
                                       then k || '{"value": "(redacted)"}' else k end order by n), '[]')
          from jsonb_array_elements(p_payload -> 'configurationKey') with ordinality as a (k, n)))
    else p_payload
  end
$$;
comment on function private.redact is 'A payload without the secrets it may carry (security whitepaper A01.FR.06 to 09).';
