-- OCPI: tariffs of other systems come in and go out, and charging periods are priced, by the same plans, rules and price_periods()
-- as everything else. OCPI 2.2.1 and 2.3.0, modules Tariffs and CDRs. docs/tariffs.md says what becomes what.

create or replace function private.ocpi_number(p_object jsonb, p_key text, p_path text, p_least numeric, p_most numeric, p_decimals integer) returns numeric
language plpgsql immutable set search_path = ''
as $$
declare
  v_value jsonb := p_object -> p_key;
  v_number numeric;
begin
  if coalesce(jsonb_typeof(v_value), 'null') = 'null' then
    return null;
  end if;
  if jsonb_typeof(v_value) = 'number' then
    v_number := (v_value #>> '{}')::numeric;
    if v_number between p_least and p_most and min_scale(v_number) <= p_decimals then
      return v_number;
    end if;
  end if;
  perform private.fail(400, 'OCOCP', format('%s.%s must be a number from %s to %s', p_path, p_key, p_least, p_most),
    case p_decimals when 0 then 'A whole number.' else format('A JSON number, not a string, with at most %s decimals.', p_decimals) end);
end $$;
comment on function private.ocpi_number is 'The number in a field of an OCPI object; null when it is not there. 400 OCOCP when it is anything else, out of range or too fine.';

create or replace function private.ocpi_text(p_object jsonb, p_key text, p_path text, p_pattern text, p_hint text, p_required boolean) returns text
language plpgsql immutable set search_path = ''
as $$
begin
  if coalesce(jsonb_typeof(p_object -> p_key), 'null') = 'null' and not p_required then
    return null;
  end if;
  if jsonb_typeof(p_object -> p_key) is distinct from 'string' or p_object ->> p_key !~ p_pattern then
    perform private.fail(400, 'OCOCP', format('%s.%s is missing or cannot be', p_path, p_key), p_hint);
  end if;
  return p_object ->> p_key;
end $$;
comment on function private.ocpi_text is 'The text in a field of an OCPI object, of p_pattern; null when it is not there and need not be. 400 OCOCP otherwise.';

create or replace function private.ocpi_date_time(p_object jsonb, p_key text, p_path text, p_required boolean) returns timestamptz
language plpgsql stable set search_path = ''
as $$
declare
  v_text text := private.ocpi_text(p_object, p_key, p_path, '^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)?$',
                                   'A DateTime of OCPI in UTC, for example 2026-05-06T12:00:00Z.', p_required);
  v_time timestamptz;
begin
  if v_text is null then
    return null;
  end if;
  if v_text !~ '(Z|[+-]\d\d:\d\d)$' then
    v_text := v_text || 'Z';  -- OCPI: a DateTime without a zone is UTC
  end if;
  if pg_catalog.pg_input_is_valid(v_text, 'timestamptz') then
    v_time := v_text::timestamptz;
  end if;
  if v_time is null or not v_time between '1970-01-01Z' and '2200-01-01Z' then
    perform private.fail(400, 'OCOCP', format('%s.%s is no time between 1970 and 2200', p_path, p_key), 'For example 2026-05-06T12:00:00Z.');
  end if;
  return v_time;
end $$;
comment on function private.ocpi_date_time is 'The time in a field of an OCPI object, UTC where it names no zone; null when it is not there and need not be. 400 OCOCP otherwise.';

create or replace function private.ocpi_rules(p_elements jsonb) returns jsonb
language plpgsql stable set search_path = ''
as $$
declare
  v_days text[] := array['MONDAY', 'TUESDAY', 'WEDNESDAY', 'THURSDAY', 'FRIDAY', 'SATURDAY', 'SUNDAY'];
  v_elements jsonb[];
  v_rules jsonb[];  -- appended to in place; a jsonb list would be copied each time
  v_element jsonb;
  v_restrictions jsonb;
  v_component jsonb;
  v_path text;
  v_at text;
  v_type text;
  v_types text[];
  v_reservation text;
  v_common jsonb;
  v_pair text;
  v_least numeric;
  v_most numeric;
  v_day_numbers integer[];
  v_unknown text;
begin
  if jsonb_typeof(p_elements) is distinct from 'array' or not jsonb_array_length(p_elements) between 1 and 500 then
    perform private.fail(400, 'OCOCP', 'tariff.elements must be a list of 1 to 500 TariffElements', 'OCPI 2.2.1 §11.3.1.');
  end if;
  v_elements := array(select x from jsonb_array_elements(p_elements) as x);
  for e in 0 .. cardinality(v_elements) - 1 loop
    v_element := v_elements[e + 1];
    v_path := format('tariff.elements[%s]', e);
    v_restrictions := coalesce(nullif(v_element -> 'restrictions', 'null'), '{}');
    if jsonb_typeof(v_element) is distinct from 'object' or jsonb_typeof(v_restrictions) <> 'object'
       or jsonb_typeof(v_element -> 'price_components') is distinct from 'array' or not jsonb_array_length(v_element -> 'price_components') between 1 and 4 then
      perform private.fail(400, 'OCOCP', format('%s must have price_components, one to four, and may have restrictions', v_path), 'OCPI 2.2.1 §11.4.4.');
    end if;

    v_at := v_path || '.restrictions';
    v_unknown := (
      select r.key from jsonb_each(v_restrictions) as r
       where r.value <> 'null' and r.key <> all ('{start_time,end_time,start_date,end_date,min_kwh,max_kwh,min_current,max_current,min_power,max_power,min_duration,max_duration,day_of_week,reservation}')
       order by r.key limit 1);
    if v_unknown is not null then
      perform private.fail(400, 'OCOCP', format('%s.%s is no restriction of OCPI 2.2.1 or 2.3.0', v_at, left(v_unknown, 64)), 'Left aside, its prices would hold when they should not. Take it out, or the element.');
    end if;
    v_common := '{}';
    foreach v_pair in array array['kwh', 'current', 'power', 'duration'] loop
      v_least := private.ocpi_number(v_restrictions, 'min_' || v_pair, v_at, 0, 10000000, case v_pair when 'duration' then 0 else 4 end);
      v_most := private.ocpi_number(v_restrictions, 'max_' || v_pair, v_at, 0, 10000000, case v_pair when 'duration' then 0 else 4 end);
      if v_most <= coalesce(v_least, 0) then
        perform private.fail(400, 'OCOCP', format('%s.max_%s must be more than min_%s and more than 0', v_at, v_pair, v_pair), 'An element that never holds says nothing.');
      end if;
      v_common := v_common || case v_pair
        when 'duration' then jsonb_build_object('min_duration_minutes', v_least / 60, 'max_duration_minutes', v_most / 60)
        else jsonb_build_object('min_' || v_pair, v_least, 'max_' || v_pair, v_most) end;
    end loop;
    v_common := v_common || jsonb_build_object(
      'time_start', coalesce(private.ocpi_text(v_restrictions, 'start_time', v_at, '^([01]\d|2[0-3]):[0-5]\d$', 'Local time as HH:MM, 00:00 to 23:59.', false), '00:00'),
      'time_end', coalesce(nullif(private.ocpi_text(v_restrictions, 'end_time', v_at, '^([01]\d|2[0-3]):[0-5]\d$', 'Local time as HH:MM; 00:00 is the end of the day.', false), '00:00'), '24:00'),
      'date_from', private.ocpi_text(v_restrictions, 'start_date', v_at, '^[12]\d{3}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$', 'A local day as YYYY-MM-DD.', false),
      'date_until', private.ocpi_text(v_restrictions, 'end_date', v_at, '^[12]\d{3}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$', 'A local day as YYYY-MM-DD, exclusive.', false),
      'reservation', private.ocpi_text(v_restrictions, 'reservation', v_at, '^RESERVATION(_EXPIRES)?$', 'RESERVATION or RESERVATION_EXPIRES.', false));
    if not pg_catalog.pg_input_is_valid(coalesce(v_common ->> 'date_from', '2000-01-01'), 'date')
       or not pg_catalog.pg_input_is_valid(coalesce(v_common ->> 'date_until', '2000-01-01'), 'date')
       or v_common ->> 'date_until' <= v_common ->> 'date_from' then
      perform private.fail(400, 'OCOCP', format('%s.start_date and end_date must be days, the end behind the start', v_at), 'For example 2026-12-24 and 2026-12-27: three days.');
    end if;
    if jsonb_typeof(coalesce(nullif(v_restrictions -> 'day_of_week', 'null'), '[]')) <> 'array' then
      perform private.fail(400, 'OCOCP', format('%s.day_of_week must be a list', v_at), 'For example ["SATURDAY", "SUNDAY"].');
    end if;
    select array_agg(distinct array_position(v_days, d #>> '{}') order by array_position(v_days, d #>> '{}')) into v_day_numbers
      from jsonb_array_elements(nullif(v_restrictions -> 'day_of_week', 'null')) as d;
    if array_position(v_day_numbers, null) > 0 then
      perform private.fail(400, 'OCOCP', format('%s.day_of_week names a day that is none', v_at), 'MONDAY to SUNDAY, in capitals.');
    end if;
    v_common := v_common || jsonb_build_object('days_of_week', to_jsonb(v_day_numbers));

    v_types := '{}';
    v_reservation := v_common ->> 'reservation';
    for c in 0 .. jsonb_array_length(v_element -> 'price_components') - 1 loop
      v_component := v_element -> 'price_components' -> c;
      v_at := format('%s.price_components[%s]', v_path, c);
      v_type := private.ocpi_text(v_component, 'type', v_at, '^(ENERGY|FLAT|PARKING_TIME|TIME)$', 'ENERGY, FLAT, PARKING_TIME or TIME.', true);
      if v_type = any (v_types) then
        perform private.fail(400, 'OCOCP', format('%s.type: %s is priced twice in one element', v_at, v_type), 'Put it into an element of its own; the first that holds wins.');
      elsif v_reservation is not null and v_type not in ('FLAT', 'TIME') then
        perform private.fail(400, 'OCOCP', format('%s.type: a reservation has no %s', v_at, v_type), 'Elements with restriction reservation price FLAT and TIME only.');
      end if;
      v_types := v_types || v_type;
      if coalesce(jsonb_typeof(v_component -> 'price'), 'null') = 'null' or coalesce(jsonb_typeof(v_component -> 'step_size'), 'null') = 'null' then
        perform private.fail(400, 'OCOCP', format('%s must have price and step_size', v_at), 'OCPI 2.2.1 §11.4.2.');
      end if;
      v_rules := array_append(v_rules, v_common || jsonb_build_object(
        'name', case v_type when 'ENERGY' then 'Energy' when 'PARKING_TIME' then 'Parking'
                  when 'TIME' then case v_reservation when 'RESERVATION' then 'Reservation' when 'RESERVATION_EXPIRES' then 'Reservation expired' else 'Charging time' end
                  else case v_reservation when 'RESERVATION' then 'Reservation fee' when 'RESERVATION_EXPIRES' then 'Reservation expired' else 'Start fee' end end,
        'tariff_type', case v_type when 'ENERGY' then 'per_kwh' when 'TIME' then 'per_minute' when 'PARKING_TIME' then 'parking_fee' else 'session_fee' end,
        'per_hour', v_type in ('TIME', 'PARKING_TIME'),
        'price', private.ocpi_number(v_component, 'price', v_at, 0, 1000000000, 4),
        'vat', private.ocpi_number(v_component, 'vat', v_at, 0, 100, 4),
        'step_size', private.ocpi_number(v_component, 'step_size', v_at, case v_type when 'FLAT' then 0 else 1 end, 2000000000, 0),
        -- the first element wins: it has the highest priority
        'priority', cardinality(v_elements) - e));
    end loop;
  end loop;
  return to_jsonb(v_rules);
end $$;
comment on function private.ocpi_rules is 'TariffElements of OCPI as rows for tariff_rules, in a list. 400 OCOCP where they are no TariffElements, or nothing could be priced by them.';

create or replace function private.managed_plan(p_plan_id uuid) returns public.tariff_plans
language plpgsql stable set search_path = ''
as $$
declare
  v_plan public.tariff_plans;
begin
  select * into v_plan from public.tariff_plans as p
   where p.id = p_plan_id
     and (private.sees_all() or private.is_admin()
          or private.operated_client_id() is not null and (p.client_id = private.operated_client_id() or p.client_id is null and p.is_active));
  if not found then
    perform private.fail(404, 'OCPLN', 'no such tariff plan', 'Operators price by plans of their company and of the whole service: GET /rest/v1/tariff_plans.');
  end if;
  return v_plan;
end $$;
comment on function private.managed_plan is 'A plan that the caller may price by: operators one of their company or of the whole service, admins any. 404 OCPLN otherwise.';

create or replace function public.import_ocpi_tariff(tariff jsonb, client_id uuid default null) returns public.tariff_plans
language plpgsql volatile set search_path = ''
security definer  -- replaces all rules of the plan at once; who may is asked first
as $$
#variable_conflict use_column
declare
  v_client_id uuid := import_ocpi_tariff.client_id;
  v_plan public.tariff_plans;
  v_rules jsonb;
  v_limits jsonb;
  v_least jsonb;
  v_taxes text;
  v_currency text;
  v_from timestamptz;
  v_until timestamptz;
begin
  if not (private.sees_all() or private.is_admin()) then
    if private.operated_client_id() is null or v_client_id <> private.operated_client_id() then
      perform private.fail(403, 'OCPRM', 'only operators, for their own company, and admins may import tariffs',
      'Ask an operator of the company.');
    end if;
    v_client_id := private.operated_client_id();
  elsif v_client_id is not null and not exists (select from public.clients as c where c.id = v_client_id and c.kind = 'operator') then
    perform private.fail(400, 'OCARG', 'client_id names no company', 'Leave it out for a plan of the whole service.');
  end if;

  if jsonb_typeof(tariff) is distinct from 'object' then
    perform private.fail(400, 'OCOCP', 'tariff must be an OCPI Tariff object', 'OCPI 2.2.1 or 2.3.0, module Tariffs.');
  end if;
  perform private.ocpi_text(tariff, 'country_code', 'tariff', '^[A-Za-z]{2}$', 'Two letters, ISO 3166-1, for example KG.', true),
          private.ocpi_text(tariff, 'party_id', 'tariff', '^[A-Za-z0-9]{3}$', 'Three letters or digits.', true),
          private.ocpi_text(tariff, 'id', 'tariff', '^[ -~]{1,36}$', 'One to 36 characters.', true),
          private.ocpi_text(tariff, 'type', 'tariff', '^(AD_HOC_PAYMENT|PROFILE_CHEAP|PROFILE_FAST|PROFILE_GREEN|REGULAR)$', 'A TariffType of OCPI.', false),
          private.ocpi_date_time(tariff, 'last_updated', 'tariff', false);
  v_currency := private.ocpi_text(tariff, 'currency', 'tariff', '^[A-Z]{3}$', 'ISO 4217, three capitals, for example KGS.', true);
  v_taxes := private.ocpi_text(tariff, 'tax_included', 'tariff', '^(YES|NO|N/A)$', 'YES, NO or N/A; not there in OCPI 2.2.1.', false);
  v_from := private.ocpi_date_time(tariff, 'start_date_time', 'tariff', false);
  v_until := private.ocpi_date_time(tariff, 'end_date_time', 'tariff', false);
  if v_until <= v_from then
    perform private.fail(400, 'OCOCP', 'tariff.end_date_time must be behind start_date_time', 'Else no session could begin with it.');
  end if;
  select jsonb_object_agg(name || side, private.ocpi_number(coalesce(nullif(tariff -> name, 'null'), '{}'), field, 'tariff.' || name, 0, 1000000000, 4))
    into v_limits
    from unnest(array['min_price', 'max_price']) as name
   cross join (values ('', 'excl_vat', false), ('_incl_vat', 'incl_vat', false), ('', 'before_taxes', true), ('_incl_vat', 'after_taxes', true)) as f (side, field, later)
   where later = (v_taxes is not null);
  foreach v_least in array array[tariff -> 'min_price', tariff -> 'max_price'] loop
    if coalesce(jsonb_typeof(v_least), 'null') <> 'null'
       and (jsonb_typeof(v_least) <> 'object' or coalesce(jsonb_typeof(v_least -> case when v_taxes is null then 'excl_vat' else 'before_taxes' end), 'null') = 'null') then
      perform private.fail(400, 'OCOCP', 'tariff.min_price and max_price must be prices', case when v_taxes is null
        then 'OCPI 2.2.1: {"excl_vat": 0.5, "incl_vat": 0.55}, the second optional.' else 'OCPI 2.3.0: {"before_taxes": 0.5, "after_taxes": 0.55}, the second optional.' end);
    end if;
  end loop;
  if (v_limits ->> 'max_price')::numeric < (v_limits ->> 'min_price')::numeric
     or (v_limits ->> 'max_price_incl_vat')::numeric < (v_limits ->> 'min_price_incl_vat')::numeric then
    perform private.fail(400, 'OCOCP', 'tariff.max_price must not be less than min_price', 'Before as after VAT.');
  end if;
  v_rules := private.ocpi_rules(tariff -> 'elements');

  insert into public.tariff_plans as p (client_id, name, valid_from, valid_until, tax_included, min_price, min_price_incl_vat, max_price, max_price_incl_vat,
      ocpi_country_code, ocpi_party_id, ocpi_id, ocpi, imported_at)
  values (v_client_id, format('%s-%s %s', upper(tariff ->> 'country_code'), upper(tariff ->> 'party_id'), tariff ->> 'id'), v_from, v_until, v_taxes,
      (v_limits ->> 'min_price')::numeric, (v_limits ->> 'min_price_incl_vat')::numeric, (v_limits ->> 'max_price')::numeric, (v_limits ->> 'max_price_incl_vat')::numeric,
      tariff ->> 'country_code', tariff ->> 'party_id', tariff ->> 'id',
      jsonb_strip_nulls(tariff - '{country_code,party_id,id,currency,start_date_time,end_date_time,tax_included}'::text[]), now())
  on conflict (client_id, upper(ocpi_country_code), upper(ocpi_party_id), lower(ocpi_id)) where ocpi_id is not null do update
     set valid_from = excluded.valid_from, valid_until = excluded.valid_until, tax_included = excluded.tax_included, min_price = excluded.min_price,
         min_price_incl_vat = excluded.min_price_incl_vat, max_price = excluded.max_price, max_price_incl_vat = excluded.max_price_incl_vat,
         ocpi_country_code = excluded.ocpi_country_code, ocpi_party_id = excluded.ocpi_party_id, ocpi_id = excluded.ocpi_id,
         ocpi = excluded.ocpi, imported_at = excluded.imported_at
   -- a push that was overtaken by a newer one changes nothing
   where coalesce(private.ocpi_date_time(excluded.ocpi, 'last_updated', 'tariff', false) >= private.ocpi_date_time(p.ocpi, 'last_updated', 'stored tariff', false), true)
  returning * into v_plan;
  if not found then
    select p.* into v_plan from public.tariff_plans as p
     where p.client_id is not distinct from v_client_id and upper(p.ocpi_country_code) = upper(tariff ->> 'country_code')
       and upper(p.ocpi_party_id) = upper(tariff ->> 'party_id') and lower(p.ocpi_id) = lower(tariff ->> 'id');
    return v_plan;
  end if;
  delete from public.tariff_rules where tariff_plan_id = v_plan.id;
  insert into public.tariff_rules (tariff_plan_id, name, tariff_type, price, currency, per_hour, vat, step_size, time_start, time_end, date_from, date_until,
      days_of_week, min_duration_minutes, max_duration_minutes, min_kwh, max_kwh, min_current, max_current, min_power, max_power, reservation, priority)
  select v_plan.id, r.name, r.tariff_type, r.price, v_currency, r.per_hour, r.vat, r.step_size, r.time_start, r.time_end, r.date_from, r.date_until,
         r.days_of_week, r.min_duration_minutes, r.max_duration_minutes, r.min_kwh, r.max_kwh, r.min_current, r.max_current, r.min_power, r.max_power,
         r.reservation, r.priority
    from jsonb_populate_recordset(null::public.tariff_rules, v_rules) as r;
  return v_plan;
end $$;
comment on function public.import_ocpi_tariff is 'For operators and admins: makes a plan with its rules from a Tariff of OCPI 2.2.1 or 2.3.0; a repeat with the same country_code, party_id and id '
  'replaces it, unless its last_updated is older: then the plan stays as it is and is returned. Of an operator it is the company''s; of an admin that of client_id, null: of the whole service. 403 OCPRM, 400 OCARG, OCOCP.';

create or replace function public.export_ocpi_tariff(plan_id uuid, connector_type text default null, power_kw numeric default null) returns jsonb
language plpgsql stable set search_path = ''
security definer  -- reads the plan whole, also what a policy hides; managed_plan() asks who may
as $$
declare
  v_plan public.tariff_plans := private.managed_plan(plan_id);
  v_rule public.tariff_rules;
  v_former public.tariff_rules;
  v_elements jsonb[];
  v_components jsonb := '[]';
  v_restrictions jsonb;
  v_former_restrictions jsonb;
  v_type text;
  v_changed timestamptz := v_plan.updated_at;
  v_sides constant text[] := '{excl_vat,incl_vat,before_taxes,after_taxes}';  -- of a limit; the rest are fields of others
begin
  for v_rule in
    select r.* from public.tariff_rules as r
     where r.tariff_plan_id = v_plan.id and r.is_active and (r.valid_until is null or r.valid_until > now())
       and (lower(r.connector_type) = 'all' or export_ocpi_tariff.connector_type is null or lower(r.connector_type) = lower(export_ocpi_tariff.connector_type))
       and (power_kw is null or power_kw >= r.power_range_min and (r.power_range_max >= 1000 or power_kw <= r.power_range_max))
       and (not r.is_weekend or r.days_of_week is null or r.days_of_week && '{6,7}')
     order by r.priority desc, r.created_at desc, r.id
  loop
    if lower(v_rule.connector_type) <> 'all' and export_ocpi_tariff.connector_type is null or (v_rule.power_range_min > 0 or v_rule.power_range_max < 1000) and power_kw is null then
      perform private.fail(409, 'OCOCP', format('rule "%s" is for some connectors only, which an OCPI Tariff cannot say', v_rule.name),
        'Export the tariff of one connector: give connector_type and power_kw.');
    elsif extract(second from v_rule.time_start) > 0 or extract(second from v_rule.time_end) > 0 or v_rule.valid_until is not null or v_rule.valid_from > now()
       or round(v_rule.min_duration_minutes * 60, 6) % 1 <> 0 or round(v_rule.max_duration_minutes * 60, 6) % 1 <> 0 then
      perform private.fail(409, 'OCOCP', format('rule "%s" has a bound that an OCPI Tariff cannot say', v_rule.name),
        'OCPI knows whole minutes of the day, whole days (date_from, date_until instead of valid_from, valid_until) and whole seconds of duration.');
    end if;
    v_restrictions := jsonb_strip_nulls(jsonb_build_object(
      'start_time', case when v_rule.time_start <> '00:00' then to_char(v_rule.time_start, 'HH24:MI') end,
      'end_time', case when v_rule.time_end not in ('24:00', '00:00') then to_char(v_rule.time_end, 'HH24:MI') end,
      'start_date', v_rule.date_from, 'end_date', v_rule.date_until,
      'min_kwh', trim_scale(v_rule.min_kwh), 'max_kwh', trim_scale(v_rule.max_kwh), 'min_current', trim_scale(v_rule.min_current), 'max_current', trim_scale(v_rule.max_current),
      'min_power', trim_scale(v_rule.min_power), 'max_power', trim_scale(v_rule.max_power),
      'min_duration', round(v_rule.min_duration_minutes * 60), 'max_duration', round(v_rule.max_duration_minutes * 60),
      'day_of_week', (select jsonb_agg(d.name order by d.number)
                        from unnest(array['MONDAY', 'TUESDAY', 'WEDNESDAY', 'THURSDAY', 'FRIDAY', 'SATURDAY', 'SUNDAY']) with ordinality as d (name, number)
                       where d.number = any (coalesce(v_rule.days_of_week, case when v_rule.is_weekend then '{6,7}'::smallint[] end))
                         and (not v_rule.is_weekend or d.number >= 6)),
      'reservation', v_rule.reservation));
    v_type := case v_rule.tariff_type when 'per_kwh' then 'ENERGY' when 'per_minute' then 'TIME' when 'parking_fee' then 'PARKING_TIME' else 'FLAT' end;
    -- Rules one after the other with the same restrictions are one element again.
    if jsonb_array_length(v_components) > 0
       and ((v_rule.priority, v_rule.created_at, v_restrictions) is distinct from (v_former.priority, v_former.created_at, v_former_restrictions)
            or v_components @> jsonb_build_array(jsonb_build_object('type', v_type))) then
      v_elements := array_append(v_elements, private.ocpi_element(v_components, v_former_restrictions));
      v_components := '[]';
    end if;
    v_components := v_components || jsonb_strip_nulls(jsonb_build_object('type', v_type, 'vat', trim_scale(v_rule.vat), 'step_size', coalesce(v_rule.step_size, 1),
      'price', trim_scale(v_rule.price * case when v_type in ('TIME', 'PARKING_TIME') and not v_rule.per_hour then 60 else 1 end)));
    v_former := v_rule;
    v_former_restrictions := v_restrictions;
    v_changed := greatest(v_changed, v_rule.updated_at);
  end loop;
  if v_former.id is null then
    perform private.fail(409, 'OCOCP', 'the tariff plan has no rule in force, which an OCPI Tariff must have', 'A free tariff has a session_fee of 0.');
  end if;

  return jsonb_strip_nulls(coalesce(v_plan.ocpi, '{}') || jsonb_build_object(
    'country_code', coalesce(v_plan.ocpi_country_code, (select min(l.country) from public.locations as l where l.client_id = v_plan.client_id and l.country ~ '^[A-Z]{2}$'), 'KG'),
    'party_id', coalesce(v_plan.ocpi_party_id, 'EVP'), 'id', coalesce(v_plan.ocpi_id, v_plan.id::text), 'currency', v_former.currency,
    'min_price', coalesce(v_plan.ocpi -> 'min_price', '{}') - v_sides || private.ocpi_price(v_plan.min_price, v_plan.min_price_incl_vat, 0, v_plan.tax_included is not null),
    'max_price', coalesce(v_plan.ocpi -> 'max_price', '{}') - v_sides || private.ocpi_price(v_plan.max_price, v_plan.max_price_incl_vat, v_plan.max_price_incl_vat, v_plan.tax_included is not null),
    'elements', coalesce(private.imported_elements(v_plan), to_jsonb(array_append(v_elements, private.ocpi_element(v_components, v_former_restrictions)))), 'tax_included', v_plan.tax_included,
    'start_date_time', private.ocpi_time(v_plan.valid_from), 'end_date_time', private.ocpi_time(v_plan.valid_until),
    'last_updated', case when v_changed <= v_plan.imported_at and v_plan.ocpi ? 'last_updated' then v_plan.ocpi -> 'last_updated' else to_jsonb(private.ocpi_time(v_changed)) end));
end $$;
comment on function public.export_ocpi_tariff is 'For operators and admins: a plan as a Tariff of OCPI: 2.3.0 where tariff_plans.tax_included is set, else 2.2.1. connector_type and power_kw (kW): for a plan '
  'with rules for some connectors only. What import_ocpi_tariff() took comes out the same. 404 OCPLN; 409 OCOCP what OCPI cannot say.';

create or replace function private.ocpi_element(p_components jsonb, p_restrictions jsonb) returns jsonb
language sql immutable set search_path = ''
as $$
  select jsonb_build_object('price_components', (select jsonb_agg(c order by c ->> 'type') from jsonb_array_elements(p_components) as c))
    || case when p_restrictions = '{}' then '{}' else jsonb_build_object('restrictions', p_restrictions) end
$$;
comment on function private.ocpi_element is 'A TariffElement of OCPI, its components by type.';

create or replace function private.imported_elements(p_plan public.tariff_plans) returns jsonb
language plpgsql stable set search_path = ''
as $$
begin
  if not coalesce(p_plan.ocpi ? 'elements', false) then
    return null;
  end if;
  return (
    with imported as (
      select r.tariff_type, r.price, r.per_hour, r.vat, r.step_size, r.time_start, r.time_end, r.date_from, r.date_until, r.days_of_week,
             r.min_duration_minutes, r.max_duration_minutes, r.min_kwh, r.max_kwh, r.min_current, r.max_current, r.min_power, r.max_power, r.reservation, r.priority,
             true as is_active, 'ALL' as connector_type, 0::numeric as power_range_min, 1000::numeric as power_range_max, false as is_weekend,
             null::timestamptz as valid_from, null::timestamptz as valid_until
        from jsonb_populate_recordset(null::public.tariff_rules, private.ocpi_rules(p_plan.ocpi -> 'elements')) as r
    ), present as (
      select r.tariff_type, r.price, r.per_hour, r.vat, r.step_size, r.time_start, r.time_end, r.date_from, r.date_until, r.days_of_week,
             r.min_duration_minutes, r.max_duration_minutes, r.min_kwh, r.max_kwh, r.min_current, r.max_current, r.min_power, r.max_power, r.reservation, r.priority,
             r.is_active, r.connector_type, r.power_range_min, r.power_range_max, r.is_weekend, r.valid_from, r.valid_until
        from public.tariff_rules as r
       where r.tariff_plan_id = p_plan.id
    )
    select p_plan.ocpi -> 'elements'
     where not exists (select * from imported except all select * from present)
       and not exists (select * from present except all select * from imported));
end $$;
comment on function private.imported_elements is 'The TariffElements of a plan as import_ocpi_tariff() took them, with what only others understand; null for a plan made here, or when its rules have been changed since.';

create or replace function private.ocpi_price(p_before numeric, p_after numeric, p_other numeric, p_later boolean) returns jsonb
language sql immutable set search_path = ''
as $$
  select case when coalesce(p_before, p_after) is not null then jsonb_strip_nulls(jsonb_build_object(
    case when p_later then 'before_taxes' else 'excl_vat' end, trim_scale(coalesce(p_before, p_other)), case when p_later then 'after_taxes' else 'incl_vat' end, trim_scale(p_after))) end
$$;
comment on function private.ocpi_price is 'A Price of OCPI 2.2.1, or a PriceLimit of 2.3.0 (p_later). OCPI wants the price before VAT: p_other where only the other is known.';

create or replace function private.ocpi_time(p_at timestamptz) returns text
language sql stable set search_path = ''
as $$
  select to_char(p_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS') || coalesce('.' || nullif(rtrim(to_char(p_at at time zone 'UTC', 'US'), '0'), ''), '') || 'Z'
$$;
comment on function private.ocpi_time is 'A DateTime of OCPI, UTC.';

create or replace function private.ocpi_periods(p_periods jsonb, p_end timestamptz) returns jsonb
language plpgsql stable set search_path = ''
as $$
declare
  v_types text := '^(CURRENT|ENERGY|ENERGY_EXPORT|ENERGY_IMPORT|MAX_CURRENT|MIN_CURRENT|MAX_POWER|MIN_POWER|PARKING_TIME|POWER|RESERVATION_TIME|STATE_OF_CHARGE|TIME)$';
  v_periods jsonb[];
  v_result jsonb[];  -- appended to in place; a jsonb list would be copied each time
  v_path text;
  v_period jsonb;
  v_dimensions jsonb;
  v_dimension jsonb;
  v_type text;
  v_sum jsonb;
  v_start timestamptz;
  v_next timestamptz;
  v_named_end timestamptz;
  v_clock numeric;
  v_hours numeric;
  v_reserved numeric;
  v_charging numeric;
  v_parking numeric;
  v_energy numeric;
  v_measures jsonb;
  v_shares numeric[];  -- hours: reserved, charging, parking, neither
  v_rest numeric;
  v_last integer;
  v_from timestamptz;
  v_charges boolean := false;
  v_began timestamptz;
begin
  if jsonb_typeof(p_periods) is distinct from 'array' or not jsonb_array_length(p_periods) between 1 and 10000 then
    perform private.fail(400, 'OCOCP', 'periods must be a list of 1 to 10000 ChargingPeriods, or a CDR', 'OCPI 2.2.1 §10.4.6.');
  end if;
  v_periods := array(select x from jsonb_array_elements(p_periods) as x);
  v_next := private.ocpi_date_time(v_periods[1], 'start_date_time', 'periods[0]', true);
  v_began := v_next;
  for i in 0 .. cardinality(v_periods) - 1 loop
    v_path := format('periods[%s]', i);
    v_period := v_periods[i + 1];
    v_dimensions := v_period -> 'dimensions';
    v_start := v_next;
    if jsonb_typeof(v_dimensions) is distinct from 'array' or jsonb_array_length(v_dimensions) > 100 then
      perform private.fail(400, 'OCOCP', format('%s.dimensions must be a list', v_path), 'For example [{"type": "ENERGY", "volume": 20}].');
    end if;
    v_sum := '{}';
    for d in 0 .. jsonb_array_length(v_dimensions) - 1 loop
      v_dimension := v_dimensions -> d;
      v_type := private.ocpi_text(v_dimension, 'type', format('%s.dimensions[%s]', v_path, d), v_types, 'A CdrDimensionType of OCPI, for example ENERGY, TIME, PARKING_TIME, RESERVATION_TIME.', true);
      if coalesce(jsonb_typeof(v_dimension -> 'volume'), 'null') = 'null' or v_sum ? v_type then
        perform private.fail(400, 'OCOCP', format('%s.dimensions[%s]: %s must stand there once, with a volume', v_path, d, v_type), 'kWh, hours, kW or A.');
      end if;
      v_sum := v_sum || jsonb_build_object(v_type, private.ocpi_number(v_dimension, 'volume', format('%s.dimensions[%s]', v_path, d),
        case when v_type ~ '(CURRENT|POWER)$' then -1000000 else 0 end, 1000000, 30));  -- negative: from the car to the grid
    end loop;

    v_reserved := (v_sum ->> 'RESERVATION_TIME')::numeric;
    v_charging := (v_sum ->> 'TIME')::numeric;
    v_parking := (v_sum ->> 'PARKING_TIME')::numeric;
    v_energy := coalesce((v_sum ->> 'ENERGY')::numeric, (v_sum ->> 'ENERGY_IMPORT')::numeric, 0);
    v_hours := coalesce(v_reserved, 0) + coalesce(v_charging, 0) + coalesce(v_parking, 0);
    v_named_end := private.ocpi_date_time(v_period, 'end_date_time', v_path, false);
    v_next := case when i < cardinality(v_periods) - 1
                   then private.ocpi_date_time(v_periods[i + 2], 'start_date_time', format('periods[%s]', i + 1), true)
                   else coalesce(v_named_end, p_end, v_start + private.ocpi_hours(v_hours)) end;
    if v_next < v_start or v_named_end <> v_next then
      perform private.fail(400, 'OCOCP', format('%s must end when the next begins, and not before it began', v_path), 'A period ends when the next starts (OCPI 2.2.1 §10.4.6); put them in order.');
    elsif v_next > v_began + interval '400 days' then
      perform private.fail(400, 'OCOCP', format('%s ends more than 400 days after the session began', v_path), 'Check the times.');
    end if;
    v_clock := extract(epoch from v_next - v_start);
    -- Volumes of hours are rounded to four decimals, 0.36 s each.
    if v_hours * 3600 > v_clock + 2 then
      perform private.fail(400, 'OCOCP', format('%s: its times add up to %s h, more than it lasts', v_path, trim_scale(v_hours)), 'TIME, PARKING_TIME and RESERVATION_TIME are hours.');
    end if;
    v_charges := v_charges or coalesce(v_reserved, 0) = 0 or v_energy + coalesce(v_charging, 0) + coalesce(v_parking, 0) > 0;
    v_measures := jsonb_strip_nulls(jsonb_build_object('power_kw', coalesce(v_sum -> 'POWER', v_sum -> 'MAX_POWER', v_sum -> 'MIN_POWER'),
                                                       'current_a', coalesce(v_sum -> 'CURRENT', v_sum -> 'MAX_CURRENT', v_sum -> 'MIN_CURRENT')));
    if coalesce(v_reserved, v_charging, v_parking) is null then
      v_charging := v_clock / 3600;
    elsif v_energy > 0 and coalesce(v_charging, 0) = 0 and coalesce(v_parking, 0) = 0 then
      v_charging := 0;
    end if;
    -- One after the other: reserved, charging, parking, and the rest neither. What rounding left goes to the last.
    v_rest := v_clock - v_hours * 3600;
    v_shares := array[v_reserved, v_charging, v_parking, case when coalesce(v_reserved, v_charging, v_parking) is not null and v_rest > 2 and v_hours > 0 then v_rest / 3600 end];
    v_last := (select max(k) from generate_subscripts(v_shares, 1) as k where v_shares[k] is not null);
    v_hours := 0;
    for k in 1 .. v_last loop
      if v_shares[k] is not null then
        v_from := v_start + private.ocpi_hours(v_hours);
        v_hours := v_hours + v_shares[k];
        v_result := array_append(v_result, v_measures || jsonb_build_object(
          'start_at', v_from, 'end_at', case when v_rest > 2 or k < v_last then v_start + private.ocpi_hours(v_hours) else v_next end,
          'energy_kwh', case when k = case when v_charging is null then 3 else 2 end then v_energy else 0 end,
          'parking', k = 3, 'idle', k = 4, 'reserved', case when k = 1 then 1 end));
      end if;
    end loop;
  end loop;
  if not v_charges then  -- nothing followed the reservation
    v_result := array(select p || case when p -> 'reserved' = '1' then '{"reserved": 2}'::jsonb else '{}' end from unnest(v_result) with ordinality as x (p, o) order by o);
  end if;
  return to_jsonb(v_result);
end $$;
comment on function private.ocpi_periods is 'ChargingPeriods of OCPI as periods for price_periods(). The last ends with the session: at its end_date_time, at p_end, or after its hours. Times within a '
  'period come one after the other: RESERVATION_TIME, TIME, PARKING_TIME, and a rest that is neither. Without any of them a period charges. 400 OCOCP.';

create or replace function private.ocpi_hours(p_hours numeric) returns interval
language sql immutable set search_path = ''
as $$
  select make_interval(secs => round(p_hours * 3600, 6)::double precision)
$$;
comment on function private.ocpi_hours is 'A volume of hours, to the microsecond.';

create or replace function public.cost_of_periods(plan_id uuid, periods jsonb, time_zone text) returns jsonb
language plpgsql stable set search_path = ''
security definer  -- as export_ocpi_tariff
as $$
declare
  v_plan public.tariff_plans := private.managed_plan(plan_id);
  v_periods jsonb;
  v_tariff jsonb;
  v_result jsonb;
  v_net numeric;
  v_tax numeric;
  v_hidden boolean;
  v_work numeric;
begin
  if not private.is_time_zone(time_zone) then
    perform private.fail(400, 'OCNUM', 'time_zone is not known', 'A name of the IANA data base, for example Asia/Bishkek; an offset such as +06:00 is none.');
  end if;
  v_periods := case jsonb_typeof(periods)
    when 'object' then private.ocpi_periods(periods -> 'charging_periods', private.ocpi_date_time(periods, 'end_date_time', 'periods', false))
    else private.ocpi_periods(periods, null) end;
  v_tariff := private.plan_tariff(v_plan, null, null, null, time_zone, 0, (v_periods -> 0 ->> 'start_at')::timestamptz);
  -- What takes long is to try each rule wherever prices may change: at the edges of windows each day, and with each period where measures matter.
  v_work := jsonb_array_length(v_tariff -> 'rules') * (
    case when v_tariff ? 'measured' then jsonb_array_length(v_periods) else 0 end
    + extract(epoch from (v_periods -> -1 ->> 'end_at')::timestamptz - (v_periods -> 0 ->> 'start_at')::timestamptz) / 86400
      * (select count(distinct t) from jsonb_array_elements(v_tariff -> 'rules') as r cross join unnest(array[r ->> 'time_start', r ->> 'time_end']) as t));
  if v_work > 4000000 then
    perform private.fail(400, 'OCOCP', 'periods and tariff are too much to be priced in one request', 'Fewer or shorter periods, or a tariff of fewer elements.');
  end if;
  v_result := private.price_periods(v_tariff, v_periods);

  -- OCPI's amounts have four decimals.
  select coalesce(sum(x.amount), 0), sum(x.amount * x.vat / 100)
    into v_net, v_tax
    from (select (l -> 'quantity')::numeric * (l -> 'price')::numeric as amount, (l -> 'vat')::numeric as vat from jsonb_array_elements(v_result -> 'lines') as l
           where l ->> 'tariff_type' <> 'vat') as x;
  if v_tariff ->> 'vat' = 'included' or v_tariff ?| '{min_price,min_price_incl_vat,max_price,max_price_incl_vat}'
       and (v_result -> 'lines' @? '$[*] ? (@.tariff_type == "min_price" || @.tariff_type == "max_price")'
            or round(v_tax, private.currency_digits(v_result ->> 'currency')) <> (v_result -> 'vat')::numeric) then
    v_net := coalesce((v_result ->> 'cost_before_vat')::numeric, (v_result ->> 'cost')::numeric);
    v_tax := (v_result ->> 'vat')::numeric;
  end if;
  -- Taxes at rates that nobody tells: of prices that contain them the total before is not known, of others the total after.
  v_hidden := coalesce(v_plan.tax_included = 'YES', false) and not v_tariff ? 'vat';
  if v_hidden or v_plan.tax_included = 'N/A' then
    v_tax := 0;
  end if;
  return v_result || jsonb_build_object(
    'cost_before_vat', case when not v_hidden then coalesce(v_result -> 'cost_before_vat', v_result -> 'cost') end,
    'vat', case when v_plan.tax_included = 'N/A' then to_jsonb(0) else v_result -> 'vat' end, 'vat_lines', coalesce(v_result -> 'vat_lines', '[]'),
    'energy_kwh', (select trim_scale(sum((p ->> 'energy_kwh')::numeric)) from jsonb_array_elements(v_periods) as p),
    'total_cost', jsonb_strip_nulls(jsonb_build_object('excl_vat', case when not v_hidden then trim_scale(round(v_net, 4)) end, 'incl_vat', trim_scale(round(v_net + v_tax, 4)))));
end $$;
comment on function public.cost_of_periods is 'For operators and admins: what ChargingPeriods of OCPI 2.2.1 or 2.3.0 (a list, or a whole CDR) cost by a plan at a place in time_zone. As calculate_cost, and '
  'cost_before_vat (null: prices contain VAT at a rate that is not known), vat (null: no rate is known), vat_lines: [{rate, base, vat}], energy_kwh, total_cost: {excl_vat, incl_vat}, as far as known and '
  'not rounded to the minor unit. Rules for some '
  'connectors only do not apply; validity of the plan does not count. 404 OCPLN, 400 OCOCP, OCNUM.';

revoke execute on function public.import_ocpi_tariff, public.export_ocpi_tariff, public.cost_of_periods from public, anon;
grant execute on function public.import_ocpi_tariff, public.export_ocpi_tariff, public.cost_of_periods to authenticated, service_role;
