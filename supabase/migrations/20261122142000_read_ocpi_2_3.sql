-- OCPI 2.3.0 to the letter: what import_ocpi_tariff() does not understand comes out again or is refused, and totals before and after
-- taxes are told as far as they are known.

comment on column public.tariff_plans.ocpi is 'What of the OCPI Tariff has no column: type, texts, energy mix, preauthorize_amount, last_updated, fields of others, and the elements as they came. Kept for export_ocpi_tariff().';

create or replace function private.plan_tariff(
  p_plan public.tariff_plans, p_station public.stations, p_type text, p_power numeric, p_time_zone text, p_discount numeric, p_at timestamptz
) returns jsonb
language plpgsql stable set search_path = '' set plan_cache_mode = force_generic_plan
as $$
declare
  v_currency text;
  v_rules jsonb;
  v_left_out jsonb;
  v_measures jsonb;
  v_untold text;  -- tax_included, where taxes at rates that nobody tells are within the prices (YES) or on top of them (NO)
begin
  v_currency := coalesce(
    case when p_station.price_per_kwh is not null or p_station.session_fee is not null then p_station.currency end,
    (select r.currency from public.tariff_rules as r
      where r.tariff_plan_id = p_plan.id and r.is_active order by r.priority desc, r.created_at desc, r.id limit 1),
    p_station.currency);

  with fitting as (
    select r.id, r.name, r.tariff_type, r.price, r.currency, r.priority, r.created_at,
           case when r.time_start <> r.time_end and not (r.time_start = '00:00' and r.time_end = '24:00') then r.time_start end as time_start,
           r.time_end,
           case when r.is_weekend then array(select d from unnest(coalesce(r.days_of_week, '{6,7}')) as d where d in (6, 7))
                when not r.days_of_week @> '{1,2,3,4,5,6,7}' then r.days_of_week end as days,
           -- A bound that lies a day back is settled; a day, because a station's clock may be behind ours.
           case when r.valid_from > p_at - interval '1 day' then r.valid_from end as valid_from, r.valid_until, r.date_from, r.date_until,
           nullif(r.min_duration_minutes, 0) as min_minutes, r.max_duration_minutes as max_minutes,
           nullif(r.min_kwh, 0) as min_kwh, r.max_kwh, nullif(r.min_power, 0) as min_power, r.max_power, nullif(r.min_current, 0) as min_current, r.max_current,
           r.reservation, r.per_hour, r.step_size, case when p_plan.tax_included is distinct from 'N/A' then r.vat end as vat
      from public.tariff_rules as r
     where r.tariff_plan_id = p_plan.id and r.is_active
       and (lower(r.connector_type) = 'all' or lower(r.connector_type) = lower(p_type))
       -- 1000 kW is the column's default and means no upper bound. Nothing known about the power: only rules that do not ask.
       and coalesce(p_power, 0) >= r.power_range_min
       and (r.power_range_max >= 1000 or p_power <= r.power_range_max)
       and (r.valid_until is null or r.valid_until > p_at - interval '1 day')
       and not (r.tariff_type = 'per_kwh' and p_station.price_per_kwh is not null)
       and not (r.tariff_type = 'session_fee' and r.reservation is null and p_station.session_fee is not null)
    union all
    select null, own.name, own.tariff_type, own.price, p_station.currency, 0, null, null, null, null, null, null, null, null, null, null,
           null, null, null, null, null, null, null, false, null, null
      from (values ('Station price', 'per_kwh'::public.tariff_type, p_station.price_per_kwh),
                   ('Station session fee', 'session_fee', p_station.session_fee)) as own (name, tariff_type, price)
     where own.price is not null
  ), ranked as (
    select fitting.*, row_number() over (order by priority desc, created_at desc, id) as rank,
           coalesce(min_kwh, max_kwh, min_power, max_power, min_current, max_current) is not null as measured,
           coalesce(min_power, max_power, min_current, max_current) is not null as sampled,
           time_start is not null or days is not null or valid_from is not null or valid_until is not null
             or date_from is not null or date_until is not null or min_minutes is not null or max_minutes is not null as timed
      from fitting
     where days is distinct from '{}' and currency = v_currency
  ), reachable as (
    select *
      from (select ranked.*,
                   min(rank) filter (where not timed and not measured) over (partition by tariff_type, reservation) as always_rank
              from ranked) as r
     where rank <= coalesce(always_rank, rank)  -- below a rule that always holds none of its type can win
  )
  select (select jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
                   'rule_id', id, 'rule_name', name, 'tariff_type', tariff_type,
                   'price', trim_scale(price * (100 - p_discount) / 100), 'list_price', case when p_discount > 0 then trim_scale(price) end,
                   'time_start', time_start, 'time_end', case when time_start is not null then time_end end,
                   'days', to_jsonb(days), 'valid_from', valid_from, 'valid_until', valid_until, 'date_from', date_from, 'date_until', date_until,
                   'min_minutes', min_minutes, 'max_minutes', max_minutes, 'min_kwh', trim_scale(min_kwh), 'max_kwh', trim_scale(max_kwh),
                   'min_power', trim_scale(min_power), 'max_power', trim_scale(max_power),
                   'min_current', trim_scale(min_current), 'max_current', trim_scale(max_current), 'reservation', reservation,
                   'per_hour', case when per_hour then true end, 'step_size', nullif(step_size, 0), 'vat', trim_scale(vat))) order by rank)
            from reachable),
         (select jsonb_agg(name order by name) from fitting where currency <> v_currency),
         (select jsonb_strip_nulls(jsonb_build_object(
             -- The session fee is that of the first instant, so its conditions split nothing; a plan from OCPI has it whenever it holds.
             'flat', not coalesce(bool_or(timed) filter (where tariff_type <> 'session_fee' or p_plan.ocpi_id is not null), false),
             'simple', nullif(not bool_or(timed or measured or reservation is not null), false),
             'steps', nullif(bool_or(step_size > 0), false),
             'late_fee', nullif(p_plan.ocpi_id is not null and bool_or(timed or measured) filter (where tariff_type = 'session_fee'), false),
             'vat', case when count(vat) > 0 then case p_plan.tax_included when 'YES' then 'included' else 'excluded' end end,
             'reserves', case when count(reservation) > 0 then true end,
             'measured', nullif(bool_or(measured) or count(reservation) > 0, false),
             'every_sample', nullif(bool_or(sampled or measured and tariff_type in ('per_minute', 'parking_fee')), false),
             'kwh', (select jsonb_agg(distinct b order by b) from reachable as r cross join unnest(array[r.min_kwh, r.max_kwh]) as b where b is not null),
             'kw', (select jsonb_agg(distinct b order by b) from reachable as r cross join unnest(array[r.min_power, r.max_power]) as b where b is not null),
             'a', (select jsonb_agg(distinct b order by b) from reachable as r cross join unnest(array[r.min_current, r.max_current]) as b where b is not null)))
            from reachable)
    into v_rules, v_left_out, v_measures;

  v_untold := case when not v_measures ? 'vat' then nullif(p_plan.tax_included, 'N/A') end;
  return jsonb_strip_nulls(jsonb_build_object(
    'connector_type', p_type, 'power_kw', trim_scale(p_power), 'plan_id', p_plan.id, 'plan_name', p_plan.name, 'currency', v_currency,
    'left_out', v_left_out, 'time_zone', p_time_zone, 'rules', coalesce(v_rules, '[]'), 'discount_percent', nullif(trim_scale(p_discount), 0),
    -- Of a limit on both sides of taxes that nobody tells, only the side of the prices can be kept.
    'min_price', case when v_untold = 'YES' and p_plan.min_price_incl_vat is not null then null else trim_scale(p_plan.min_price) end,
    'min_price_incl_vat', case when v_untold = 'NO' and p_plan.min_price is not null then null else trim_scale(p_plan.min_price_incl_vat) end,
    'max_price', case when v_untold = 'YES' and p_plan.max_price_incl_vat is not null then null else trim_scale(p_plan.max_price) end,
    'max_price_incl_vat', case when v_untold = 'NO' and p_plan.max_price is not null then null else trim_scale(p_plan.max_price_incl_vat) end)) || v_measures;
end $$;
comment on function private.plan_tariff is 'What tariff_snapshot() keeps of a plan for a connector of p_type and p_power (kW), prices less p_discount percent. p_station gives '
  'prices of its own that go before the plan''s, and the currency of a plan without rules.';

create or replace function private.with_vat(p_tariff jsonb, p_result jsonb) returns jsonb
language plpgsql stable set search_path = '' set plan_cache_mode = force_generic_plan
as $$
declare
  v_digits integer := private.currency_digits(p_result ->> 'currency');
  v_included boolean := coalesce(p_tariff ->> 'vat' = 'included', false);
  v_known boolean := p_tariff ? 'vat';
  v_rates numeric[];
  v_bases numeric[];
  v_taxes numeric[];
  v_net numeric;
  v_gross numeric;
  v_vat numeric;
  v_limited_net numeric;
  v_limited_gross numeric;
  v_within numeric;
  v_lines jsonb := p_result -> 'lines';
  v_vat_lines jsonb;
  v_limit text;
begin
  -- VAT is worked out on the sum of the lines of each rate; its sum is rounded once, and shared out.
  select array_agg(rate order by rate), array_agg(amount order by rate), array_agg(coalesce(tax, 0) order by rate), coalesce(sum(amount), 0), coalesce(round(sum(tax), v_digits), 0)
    into v_rates, v_bases, v_taxes, v_net, v_vat
    from (select rate, amount, amount * rate / case when v_included then 100 + rate else 100 end as tax
            from (select (l ->> 'vat')::numeric as rate, sum((l ->> 'amount')::numeric) as amount
                    from jsonb_array_elements(v_lines) as l group by 1) as by_rate) as taxed;
  v_taxes := private.spread(v_vat, v_taxes, v_digits);
  if v_included then
    v_net := v_net - v_vat;
    v_bases := array(select b.amount - b.tax from unnest(v_bases, v_taxes) with ordinality as b (amount, tax, n) order by b.n);
  end if;
  v_gross := v_net + v_vat;
  if v_net = 0 and round(greatest((p_tariff ->> 'min_price')::numeric, (p_tariff ->> 'min_price_incl_vat')::numeric), v_digits) > 0 then
    -- A least price without anything that it could be on is at the highest rate.
    v_rates := array[(select max((r ->> 'vat')::numeric) from jsonb_array_elements(p_tariff -> 'rules') as r)];
    v_bases := array[1];
    v_taxes := array[0];
  end if;

  -- Both sides of a limit hold. What a limit moves is shared out to the rates, and the VAT of each goes with it.
  v_limited_net := round(least(greatest(v_net, (p_tariff ->> 'min_price')::numeric), (p_tariff ->> 'max_price')::numeric), v_digits);
  v_limited_gross := v_gross;
  if v_limited_net <> v_net then
    v_bases := private.spread(v_limited_net, v_bases, v_digits);
    v_limited_gross := v_limited_net + coalesce((select round(sum(b.base * b.rate) / 100, v_digits) from unnest(v_bases, v_rates) as b (base, rate)), 0);
  end if;
  v_within := round(least(greatest(v_limited_gross, (p_tariff ->> 'min_price_incl_vat')::numeric), (p_tariff ->> 'max_price_incl_vat')::numeric,
                          case when not v_known then (p_tariff ->> 'max_price')::numeric end), v_digits);
  if v_within <> v_limited_gross then
    -- The price before VAT moves along, but for one at its own limit (as in OCPI's example of a most price), and not beyond that.
    if v_limited_net = v_net then
      v_limited_net := case when v_net > 0 then v_within * v_net / v_gross else v_within * 100 / (100 + coalesce(v_rates[1], 0)) end;
      v_limited_net := round(least(greatest(v_limited_net, (p_tariff ->> 'min_price')::numeric), (p_tariff ->> 'max_price')::numeric), v_digits);
    end if;
    v_limited_gross := v_within;
    v_limited_net := case when v_known then least(v_limited_net, v_limited_gross) else v_limited_gross end;  -- no VAT: the limits are about what is paid
    v_bases := private.spread(v_limited_net, v_bases, v_digits);
  end if;

  if (v_limited_net, v_limited_gross) <> (v_net, v_gross) then
    v_taxes := private.spread(v_limited_gross - v_limited_net,
      array(select coalesce(b.base * b.rate, 0) from unnest(v_bases, v_rates) with ordinality as b (base, rate, n) order by b.n), v_digits);
    v_limit := case when v_limited_gross > v_gross or v_limited_net > v_net then 'min_price' else 'max_price' end;
    v_lines := v_lines || coalesce((
      select jsonb_build_array(jsonb_build_object('tariff_type', v_limit, 'rule_name', case v_limit when 'min_price' then 'Minimum price' else 'Maximum price' end,
               'quantity', 1, 'unit', 'session', 'price', trim_scale(d), 'amount', trim_scale(d)))
        from (select case when v_included then v_limited_gross - v_gross else v_limited_net - v_net end as d) as difference where d <> 0), '[]');
  end if;
  if v_known then
    v_vat_lines := coalesce((select jsonb_agg(jsonb_build_object('rate', b.rate, 'base', trim_scale(b.base), 'vat', trim_scale(b.tax)) order by b.rate)
                               from unnest(v_rates, v_bases, v_taxes) as b (rate, base, tax) where b.rate is not null), '[]');
    if v_limited_gross - v_limited_net <> coalesce((select sum((r -> 'vat')::numeric) from jsonb_array_elements(v_vat_lines) as r), 0) then
      -- the plan's limits leave VAT to what has none
      v_vat_lines := jsonb_build_array(jsonb_build_object('base', trim_scale(v_limited_net), 'vat', trim_scale(v_limited_gross - v_limited_net)));
    end if;
    if not v_included then
      -- VAT that a limit of the plan sets, or the rounding of the sum, is no percentage.
      v_lines := v_lines || coalesce((
        select jsonb_agg(jsonb_build_object('tariff_type', 'vat', 'rule_name', 'VAT' || coalesce(' ' || (r ->> 'rate') || ' %', ''), 'amount', r -> 'vat')
                 || case when round((r -> 'base')::numeric * (r -> 'rate')::numeric / 100, v_digits) = (r -> 'vat')::numeric
                         then jsonb_build_object('quantity', r -> 'base', 'unit', '%', 'price', r -> 'rate')
                         else jsonb_build_object('quantity', 1, 'unit', 'session', 'price', r -> 'vat') end)
          from jsonb_array_elements(v_vat_lines) as r where (r -> 'vat')::numeric <> 0), '[]');
    end if;
  end if;
  return p_result || jsonb_build_object('cost', trim_scale(v_limited_gross), 'lines', v_lines)
    || case when v_known then jsonb_build_object('cost_before_vat', trim_scale(v_limited_net), 'vat', trim_scale(v_limited_gross - v_limited_net), 'vat_lines', v_vat_lines) else '{}' end;
end $$;
comment on function private.with_vat is 'The result of price_periods() with VAT and the least and most price of the plan: cost is what is paid, still the sum of the amounts of all lines '
  '(lines min_price, max_price and, where prices are without VAT, vat are added); cost_before_vat, vat, vat_lines: [{rate (percent), base, vat}] where a rule has a VAT rate. '
  'Of a vat line quantity (the base) x price percent is amount; where a limit of the plan, or the rounding of all VAT at once, sets the VAT, it is 1 x amount. The bases, and amounts without a rate, add up to cost_before_vat.';

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

create or replace function public.simulate_tariff(plan_id uuid, "from" timestamptz, "to" timestamptz) returns jsonb
language plpgsql stable set search_path = ''
security definer  -- prices sessions by rules that may be hidden; who operates them is asked here
as $$
declare
  v_plan public.tariff_plans := private.managed_plan(plan_id);
  v_currency text := (select r.currency from public.tariff_rules as r where r.tariff_plan_id = v_plan.id and r.is_active limit 1);
  v_most constant integer := 5000;
  v_longest constant interval := '5 seconds';  -- requests of signed-in users end after 8, and then tell nothing
  v_session public.charging_sessions;
  v_connector public.connectors;
  v_station public.stations;
  v_sessions uuid[];
  v_snapshots jsonb := '{}';
  v_key text;
  v_cost jsonb;
  v_totals jsonb := '{}';
  v_entry jsonb;
begin
  if "from" is null or "to" is null or not "from" between '1970-01-01Z' and '2200-01-01Z' or not "to" between "from" and '2200-01-01Z' then
    perform private.fail(400, 'OCNUM', 'from and to must be times between 1970 and 2200, from the earlier one', 'ISO 8601 with the zone, for example 2026-01-31T18:00:00Z.');
  end if;
  v_sessions := array(
    select s.id from public.charging_sessions as s
     where s.start_time >= "from" and s.start_time < "to" and s.status = 'stopped' and s.settled_at is not null
       and (private.sees_all() or s.station_id = any (private.operated_station_ids()))
     order by s.start_time limit v_most + 1);
  if cardinality(v_sessions) > v_most then
    perform private.fail(400, 'OCNUM', format('more than %s sessions began from "from" to "to"', v_most), 'Ask for a shorter time and add up.');
  end if;

  for v_session in select s.* from public.charging_sessions as s where s.id = any (v_sessions) order by s.station_id, s.start_time loop
    if clock_timestamp() > statement_timestamp() + v_longest then
      perform private.fail(400, 'OCNUM', format('%s sessions began from "from" to "to", more than this plan can be tried on in %s s', cardinality(v_sessions), extract(epoch from v_longest)::integer),
        'Ask for a shorter time and add up.');
    end if;
    -- the plan as it is today, for the connector as it is today
    v_key := v_session.station_id || ' ' || coalesce(v_session.connector_id, 0);
    if not v_snapshots ? v_key then
      select * into v_station from public.stations where id = v_session.station_id;
      select * into v_connector from public.connectors where station_id = v_session.station_id and number = v_session.connector_id;
      v_snapshots := v_snapshots || jsonb_build_object(v_key, private.plan_tariff(v_plan, null,
        coalesce(v_connector.type, case when cardinality(v_station.connector_types) = 1 then v_station.connector_types[1] end),
        coalesce(v_connector.power, v_station.power_capacity), coalesce(v_session.tariff ->> 'time_zone', private.default_time_zone()), 0, "from"));
    end if;
    v_session.tariff := v_snapshots -> v_key;
    v_cost := private.price_session(v_session);
    v_entry := v_totals -> (v_session.station_id || ' ' || v_session.currency);
    v_totals := v_totals || jsonb_build_object(v_session.station_id || ' ' || v_session.currency, jsonb_build_object(
      'station_id', v_session.station_id, 'currency', v_session.currency, 'sessions', coalesce((v_entry -> 'sessions')::integer, 0) + 1,
      'energy_kwh', coalesce((v_entry -> 'energy_kwh')::numeric, 0) + v_session.energy, 'earned', coalesce((v_entry -> 'earned')::numeric, 0) + v_session.amount,
      'would_have_earned', coalesce((v_entry -> 'would_have_earned')::numeric, 0) + (v_cost -> 'cost')::numeric));
  end loop;

  return (
    with station as (
      select * from jsonb_each(v_totals) as e (key, value)
       cross join lateral jsonb_to_record(e.value) as t (station_id text, currency text, sessions integer, energy_kwh numeric, earned numeric, would_have_earned numeric)
    )
    select jsonb_build_object('plan_id', v_plan.id, 'plan_name', v_plan.name, 'from', "from", 'to', "to",
             'currency', v_currency,
             'not_compared', (select jsonb_build_object('sessions', coalesce(sum(sessions), 0), 'currencies', coalesce(jsonb_agg(distinct currency), '[]'))
                                from station where currency <> v_currency),
             'totals', (select coalesce(jsonb_agg(jsonb_build_object('currency', t.currency, 'sessions', t.sessions, 'energy_kwh', trim_scale(t.energy_kwh), 'earned', trim_scale(t.earned),
                                                    'would_have_earned', trim_scale(t.would_have_earned), 'difference', case when t.currency = coalesce(v_currency, t.currency) then trim_scale(t.would_have_earned - t.earned) end) order by t.currency), '[]')
                          from (select currency, sum(sessions) as sessions, sum(energy_kwh) as energy_kwh, sum(earned) as earned, sum(would_have_earned) as would_have_earned
                                  from station group by currency) as t),
             'stations', (select coalesce(jsonb_agg(jsonb_build_object('station_id', t.station_id, 'currency', t.currency, 'sessions', t.sessions, 'energy_kwh', trim_scale(t.energy_kwh),
                                                    'earned', trim_scale(t.earned), 'would_have_earned', trim_scale(t.would_have_earned),
                                                    'difference', case when t.currency = coalesce(v_currency, t.currency) then trim_scale(t.would_have_earned - t.earned) end) order by t.station_id, t.currency), '[]') from station as t)));
end $$;
comment on function public.simulate_tariff is 'For operators and admins: what the billed sessions that began from "from" (inclusive) to "to" (exclusive) at the caller''s stations would have earned by a plan, beside what they '
  'earned: {currency of the plan, totals: [{currency of the bills, sessions, energy_kwh, earned, would_have_earned, difference}], stations: [the same of each], not_compared: {sessions, currencies}: billed in another currency than the plan''s, so that would_have_earned is in the plan''s and difference is null}. By the plan alone: no own prices of '
  'stations, no discounts. Writes nothing. At most 5000 sessions, and no more than it can price in 5 s. 404 OCPLN, 400 OCNUM.';

create or replace function public.next_rate_change(station_id text, connector_id integer default null, at timestamptz default now()) returns jsonb
language plpgsql stable set search_path = ''
as $$
declare
  v_at timestamptz := coalesce(at, now());
  v_client_id uuid := private.own_client_id();
  v_tariff jsonb;
  v_before jsonb;
  v_after jsonb;
  v_changes_at timestamptz;
  v_week timestamptz;
  v_first timestamptz;
  v_until timestamptz;
  v_bounds timestamptz[];
  v_dates timestamptz[];
  v_cut timestamptz;
begin
  if not v_at between '1970-01-01Z' and '2200-01-01Z' then
    perform private.fail(400, 'OCNUM', 'at must be a time between 1970 and 2200', 'ISO 8601 with its zone, for example at=2026-01-31T18:00:00Z');
  end if;
  v_tariff := private.tariff_snapshot(station_id, connector_id, v_at, v_client_id);
  -- as calculate_cost: the caller's policies decide what there is
  if not exists (select from public.stations as s where s.id = v_tariff ->> 'station_id') then
    perform private.fail(404, 'OCSTA', format('station "%s" is not known', left(station_id, 64)), 'Stations are in table stations.');
  elsif connector_id is not null and v_tariff -> 'connector_id' is null then
    perform private.fail(400, 'OCCON', format('station "%s" has no connector %s', v_tariff ->> 'station_id', connector_id),
      'Its connectors are in table connectors; leave connector_id out for the station as a whole.');
  end if;
  v_before := private.rates(v_tariff, v_at);
  -- Another plan may come into force, or a discount; else the rules of this one decide.
  v_bounds := private.plan_changes(v_tariff ->> 'station_id', v_client_id, v_at, v_at + interval '400 days');
  v_until := coalesce(v_bounds[1], v_at + interval '400 days');
  v_week := v_at;
  -- Windows come again each week, but for one that the change of the clock skips.
  v_first := v_at + case when private.zone_changes(v_tariff ->> 'time_zone', v_at, v_at + interval '14 days') = '{}' then interval '7 days' else interval '14 days' end;
  v_dates := array(select e.at from jsonb_to_recordset(v_tariff -> 'rules') as r (valid_from timestamptz, valid_until timestamptz, date_from date, date_until date)
                    cross join unnest(array[r.valid_from, r.valid_until, r.date_from::timestamptz, r.date_until::timestamptz]) as e (at) where e.at > v_at);
  while v_changes_at is null and v_week < v_until and not (v_tariff -> 'flat')::boolean loop
    -- What did not change in the first weeks changes near a date only.
    if v_week < v_first or exists (select from unnest(v_dates) as d (at) where d.at between v_week - interval '8 days' and v_week + interval '8 days') then
      foreach v_cut in array private.tariff_cuts(v_tariff, v_week, least(v_week + interval '7 days', v_until)) loop
        v_after := private.rates(v_tariff, v_cut);
        if v_after <> v_before then
          v_changes_at := v_cut;
          exit;
        end if;
      end loop;
    end if;
    v_week := v_week + interval '7 days';
  end loop;
  if v_changes_at is null then
    v_after := null;
    select b.at, r.rates into v_changes_at, v_after
      from unnest(v_bounds) as b (at)
     cross join lateral private.rates(private.tariff_snapshot(station_id, connector_id, b.at, v_client_id), b.at) as r (rates)
     where r.rates <> v_before
     order by b.at limit 1;
  end if;
  return jsonb_build_object('at', v_changes_at, 'currency', v_tariff -> 'currency', 'time_zone', v_tariff -> 'time_zone', 'before', v_before, 'after', v_after)
    || coalesce(v_after, '{"price_per_kwh": null, "session_fee": null, "price_per_minute": null, "parking_per_minute": null}');
end $$;
comment on function public.next_rate_change is 'When a session at a station would next begin at other prices than one that begins at "at": {at (null: not within 400 days), currency, time_zone, before, after, and the prices '
  'of after once more}; prices are {price_per_kwh, session_fee, price_per_minute, parking_per_minute}, null where nothing is asked. Errors: 404 OCSTA, 400 OCCON, OCNUM.';
