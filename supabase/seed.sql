-- A charging service in Kyrgyzstan to try things with: 5 users, 4 clients, 17 locations, 22 stations, 6 tariff plans, 18 tariff
-- rules. May run again: what is there stays as it is. Nobody has a password: an admin sets them through the Auth API.

-- Users ------------------------------------------------------------------------------------------
insert into auth.users (instance_id, id, aud, role, email, encrypted_password, email_confirmed_at, raw_app_meta_data, raw_user_meta_data,
    created_at, updated_at, confirmation_token, recovery_token, email_change_token_new, email_change, email_change_token_current,
    phone_change, phone_change_token, reauthentication_token)  -- Auth cannot read null in the last eight
select '00000000-0000-0000-0000-000000000000', id::uuid, 'authenticated', 'authenticated', email, '', now(),
       '{"provider": "email", "providers": ["email"]}', '{}', now(), now(), '', '', '', '', '', '', '', ''
  from (values
    ('a0000000-0000-4000-8000-000000000001', 'driver@evpower.example'),
    ('a0000000-0000-4000-8000-000000000002', 'driver2@evpower.example'),
    ('a0000000-0000-4000-8000-000000000003', 'operator@evpower.example'),
    ('a0000000-0000-4000-8000-000000000004', 'admin@evpower.example'),
    ('a0000000-0000-4000-8000-000000000005', 'bridge@evpower.example')) as u (id, email)
on conflict do nothing;

insert into auth.identities (provider_id, user_id, identity_data, provider, created_at, updated_at)
select u.id::text, u.id, jsonb_build_object('sub', u.id, 'email', u.email, 'email_verified', true), 'email', now(), now()
  from auth.users as u
 where u.id::text like 'a0000000-0000-4000-8000-00000000000_'
on conflict do nothing;

-- Clients: two companies, two accounts -----------------------------------------------------------
insert into public.clients (id, kind, name, email, phone, address, contract_number, contract_start_date) values
  ('c0000000-0000-4000-8000-000000000001', 'operator', 'EvPower Kyrgyzstan', 'office@evpower.example', '+996 312 000 001', 'Chuy Avenue 127, Bishkek', 'EVP-2024-001', '2024-01-15'),
  ('c0000000-0000-4000-8000-000000000002', 'operator', 'Osh Elektro', 'office@osh-elektro.example', '+996 3222 00 002', 'Kurmanjan Datka Street 250, Osh', 'EVP-2024-002', '2024-05-01'),
  ('c0000000-0000-4000-8000-000000000003', 'account', 'Aibek Toktomamatov', 'driver@evpower.example', '+996 700 000 003', 'Bishkek', 'ACC-0001', '2025-02-01'),
  ('c0000000-0000-4000-8000-000000000004', 'account', 'Nurgul Asanova', 'driver2@evpower.example', '+996 700 000 004', 'Osh', 'ACC-0002', '2025-03-10')
on conflict do nothing;

insert into public.ledger_entries (client_id, kind, amount, reference, note)
select v.client_id::uuid, 'top_up', v.amount, v.reference, 'First payment'
  from (values
    ('c0000000-0000-4000-8000-000000000003', 5000, 'SEED-0001'),
    ('c0000000-0000-4000-8000-000000000004', 3000, 'SEED-0002')) as v (client_id, amount, reference)
 where not exists (select from public.ledger_entries as e where e.reference = v.reference);  -- a conflict would come too late: the balance has moved

-- Their rows came with the Auth users; full_name tells whether this has been here before.
update public.users as u
   set full_name = v.full_name, role = v.role::public.user_role, client_id = v.client_id::uuid
  from (values
    ('a0000000-0000-4000-8000-000000000001', 'Aibek Toktomamatov', 'driver', 'c0000000-0000-4000-8000-000000000003'),
    ('a0000000-0000-4000-8000-000000000002', 'Nurgul Asanova', 'driver', 'c0000000-0000-4000-8000-000000000004'),
    ('a0000000-0000-4000-8000-000000000003', 'Bakyt Osmonov', 'operator', 'c0000000-0000-4000-8000-000000000001'),
    ('a0000000-0000-4000-8000-000000000004', 'Service administration', 'admin', null),
    ('a0000000-0000-4000-8000-000000000005', 'OCPP bridge', 'bridge', null)) as v (id, full_name, role, client_id)
 where u.id = v.id::uuid and u.full_name is null;

insert into public.id_tags (id_tag, parent_id_tag, status, expiry_date, user_id, client_id, note) values
  ('04A1B2C3D4E501', null, 'Accepted', null, 'a0000000-0000-4000-8000-000000000001', 'c0000000-0000-4000-8000-000000000003', 'Card of Aibek'),
  ('04A1B2C3D4E502', 'FLEET0001', 'Accepted', '2035-12-31T23:59:59+06', 'a0000000-0000-4000-8000-000000000001', 'c0000000-0000-4000-8000-000000000003', 'Key fob in the van of Aibek'),
  ('04F6E5D4C3B201', null, 'Accepted', null, 'a0000000-0000-4000-8000-000000000002', 'c0000000-0000-4000-8000-000000000004', 'Card of Nurgul'),
  ('04F6E5D4C3B202', null, 'Blocked', null, 'a0000000-0000-4000-8000-000000000002', 'c0000000-0000-4000-8000-000000000004', 'Lost in May')
on conflict do nothing;

-- Tariffs: 6 plans, 18 rules ---------------------------------------------------------------------
insert into public.tariff_plans (id, client_id, name, description, is_default) values
  ('b0000000-0000-4000-8000-000000000001', null, 'Standard', 'One price at any time: 15.0 KGS/kWh', true),
  ('b0000000-0000-4000-8000-000000000002', 'c0000000-0000-4000-8000-000000000001', 'City', 'AC in town: cheap nights, parking after charging costs by day', true),
  ('b0000000-0000-4000-8000-000000000003', 'c0000000-0000-4000-8000-000000000001', 'Fast DC', 'DC by power, dearer at the evening peak', false),
  ('b0000000-0000-4000-8000-000000000004', 'c0000000-0000-4000-8000-000000000001', 'Issyk-Kul', 'Resorts: dearer at weekends and in the season', false),
  ('b0000000-0000-4000-8000-000000000005', 'c0000000-0000-4000-8000-000000000001', 'Hotel', 'By time as well as by energy; long stays pay for the place', false),
  ('b0000000-0000-4000-8000-000000000006', 'c0000000-0000-4000-8000-000000000002', 'Osh', 'Market day is cheaper', true)
on conflict do nothing;

insert into public.tariff_rules (id, tariff_plan_id, name, tariff_type, connector_type, power_range_min, power_range_max, price,
    time_start, time_end, is_weekend, days_of_week, valid_from, valid_until, min_duration_minutes, priority)
select ('e0000000-0000-4000-8000-' || lpad(v.rule, 12, '0'))::uuid, ('b0000000-0000-4000-8000-' || lpad(v.plan, 12, '0'))::uuid,
       v.name, v.tariff_type::public.tariff_type, v.connector_type, v.power_min, v.power_max, v.price, v.time_start::time, v.time_end::time,
       v.weekend, v.days::smallint[], v.valid_from::timestamptz, v.valid_until::timestamptz, v.min_duration, v.priority
  from (values
    -- rule, plan, name, type, connector, kW from, to, price, from, to, weekend, days, valid from, until, after minutes, priority
    ('01', '1', 'Energy', 'per_kwh', 'ALL', 0, 1000, 15.0, '00:00', '24:00', false, null, null, null, null::numeric, 0),
    ('02', '2', 'Day', 'per_kwh', 'ALL', 0, 1000, 14.0, '07:00', '23:00', false, null, null, null, null, 0),
    ('03', '2', 'Night', 'per_kwh', 'ALL', 0, 1000, 10.0, '23:00', '07:00', false, null, null, null, null, 0),
    ('04', '2', 'Parking by day', 'parking_fee', 'ALL', 0, 1000, 2.0, '08:00', '20:00', false, null, null, null, null, 0),
    ('05', '3', 'Fast charging', 'per_kwh', 'ALL', 0, 99, 18.0, '00:00', '24:00', false, null, null, null, null, 0),
    ('06', '3', 'Ultra-fast charging', 'per_kwh', 'ALL', 100, 1000, 20.0, '00:00', '24:00', false, null, null, null, null, 0),
    ('07', '3', 'Evening peak', 'per_kwh', 'ALL', 0, 1000, 22.5, '18:00', '22:00', false, '{1,2,3,4,5}', null, null, null, 10),
    ('08', '3', 'Start of charging', 'session_fee', 'ALL', 0, 1000, 20.0, '00:00', '24:00', false, null, null, null, null, 0),
    ('09', '3', 'Blocking the charger', 'parking_fee', 'ALL', 0, 1000, 5.0, '00:00', '24:00', false, null, null, null, null, 0),
    ('10', '4', 'Energy', 'per_kwh', 'ALL', 0, 1000, 16.0, '00:00', '24:00', false, null, null, null, null, 0),
    ('11', '4', 'Weekend', 'per_kwh', 'ALL', 0, 1000, 18.0, '00:00', '24:00', true, null, null, null, null, 10),
    ('12', '4', 'Season 2027', 'per_kwh', 'ALL', 0, 1000, 19.5, '00:00', '24:00', false, null, '2027-06-15T00:00+06', '2027-09-01T00:00+06', null, 20),
    ('13', '4', 'Start of charging', 'session_fee', 'ALL', 0, 1000, 10.0, '00:00', '24:00', false, null, null, null, null, 0),
    ('14', '5', 'Energy', 'per_kwh', 'Type2', 0, 1000, 13.0, '00:00', '24:00', false, null, null, null, null, 0),
    ('15', '5', 'Time', 'per_minute', 'ALL', 0, 1000, 0.5, '08:00', '22:00', false, null, null, null, null, 0),
    ('16', '5', 'Long stay', 'parking_fee', 'ALL', 0, 1000, 1.5, '00:00', '24:00', false, null, null, null, 240, 0),
    ('17', '6', 'Energy', 'per_kwh', 'ALL', 0, 1000, 14.5, '00:00', '24:00', false, null, null, null, null, 0),
    ('18', '6', 'Market day', 'per_kwh', 'ALL', 0, 1000, 12.5, '08:00', '18:00', false, '{7}', null, null, null, 10)
  ) as v (rule, plan, name, tariff_type, connector_type, power_min, power_max, price, time_start, time_end, weekend, days,
          valid_from, valid_until, min_duration, priority)
on conflict do nothing;

-- 17 locations -----------------------------------------------------------------------------------
insert into public.locations (id, client_id, name, address, city, country, latitude, longitude, time_zone)
select ('d0000000-0000-4000-8000-' || lpad(v.location, 12, '0'))::uuid, ('c0000000-0000-4000-8000-' || lpad(v.client, 12, '0'))::uuid,
       v.name, v.address, v.city, 'KG', v.latitude, v.longitude, 'Asia/Bishkek'
  from (values
    ('01', '1', 'EvPower test yard', 'Chuy Avenue 127', 'Bishkek', 42.8766, 74.5880),
    ('02', '1', 'Ala-Too Square', 'Chuy Avenue 114', 'Bishkek', 42.8757, 74.6037),
    ('03', '1', 'Osh Bazaar', 'Beishenalieva Street 42', 'Bishkek', 42.8754, 74.5689),
    ('04', '1', 'Dordoi Plaza', 'Ibraimov Street 115', 'Bishkek', 42.8761, 74.6190),
    ('05', '1', 'Asia Mall', 'Mira Avenue 3', 'Bishkek', 42.8560, 74.5850),
    ('06', '1', 'Vefa Center', 'Gorkogo Street 27/1', 'Bishkek', 42.8571, 74.6096),
    ('07', '1', 'Manas airport', 'Airport', 'Bishkek', 43.0537, 74.4693),
    ('08', '1', 'Tokmok bus station', 'Lenin Street 400', 'Tokmok', 42.8419, 75.2990),
    ('09', '1', 'Kara-Balta east', 'Bishkek–Osh road, km 62', 'Kara-Balta', 42.8167, 73.8500),
    ('10', '1', 'Balykchy harbour', 'Frunze Street 210', 'Balykchy', 42.4602, 76.1871),
    ('11', '1', 'Cholpon-Ata promenade', 'Sovetskaya Street 80', 'Cholpon-Ata', 42.6497, 77.0826),
    ('12', '1', 'Karakol hotel quarter', 'Toktogul Street 36', 'Karakol', 42.4907, 78.3936),
    ('13', '1', 'Naryn centre', 'Lenin Street 74', 'Naryn', 41.4287, 75.9911),
    ('14', '1', 'Talas centre', 'Berdike Baatyr Street 227', 'Talas', 42.5228, 72.2427),
    ('15', '2', 'Sulaiman-Too', 'Kurmanjan Datka Street 250', 'Osh', 40.5283, 72.7985),
    ('16', '2', 'Osh airport', 'Airport', 'Osh', 40.6090, 72.7933),
    ('17', '2', 'Jalal-Abad station', 'Lenin Street 17', 'Jalal-Abad', 40.9333, 73.0017)
  ) as v (location, client, name, address, city, latitude, longitude)
on conflict do nothing;

-- 22 stations and their connectors ---------------------------------------------------------------
-- A station without a plan has the default plan of its company: City, or Osh.
insert into public.stations (id, location_id, serial_number, model, manufacturer, firmware_version, power_capacity, connector_types,
    installation_date, status, tariff_plan_id, price_per_kwh, session_fee)
select v.id, ('d0000000-0000-4000-8000-' || lpad(v.location, 12, '0'))::uuid, 'SN-' || v.serial, v.model, v.manufacturer, '1.4.2', v.power,
       v.types::text[], v.installed::date, v.status::public.station_operation,
       ('b0000000-0000-4000-8000-' || lpad(v.plan, 12, '0'))::uuid, v.price_per_kwh, v.session_fee
  from (values
    -- id, location, serial, model, manufacturer, kW, types, installed, status, plan, own price, own session fee
    ('TEST-001', '01', '00000001', 'Simulator', 'EvPower', 22, '{Type2}', '2025-01-10', 'active', '1', null::numeric, null::numeric),
    ('KG-BSK-001', '02', '24010101', 'AC Duo 22', 'Voltline', 22, '{Type2}', '2024-02-01', 'active', null, null, null),
    ('KG-BSK-002', '02', '24010102', 'AC Duo 22', 'Voltline', 22, '{Type2}', '2024-02-01', 'active', null, null, null),
    ('KG-BSK-003', '03', '24010103', 'AC Uno 11', 'Voltline', 11, '{Type2}', '2024-02-12', 'active', null, null, null),
    ('KG-BSK-004', '04', '24020201', 'DC 60', 'Steppe Power', 60, '{CCS2,GBT}', '2024-03-20', 'active', '3', null, null),
    ('KG-BSK-005', '04', '24010104', 'AC Duo 22', 'Voltline', 22, '{Type2}', '2024-03-20', 'active', null, null, null),
    ('KG-BSK-006', '05', '24020202', 'DC 120', 'Steppe Power', 120, '{CCS2,GBT}', '2024-04-02', 'active', '3', null, null),
    ('KG-BSK-007', '05', '24010105', 'AC Duo 22', 'Voltline', 22, '{Type2}', '2024-04-02', 'maintenance', null, null, null),
    ('KG-BSK-008', '06', '24020203', 'DC 60', 'Steppe Power', 60, '{CCS2,CHAdeMO}', '2024-04-15', 'active', '3', null, null),
    ('KG-BSK-009', '07', '24020204', 'DC 160', 'Steppe Power', 160, '{CCS2,GBT}', '2024-06-01', 'active', '3', null, null),
    ('KG-BSK-010', '07', '24010106', 'AC Duo 22', 'Voltline', 22, '{Type2}', '2024-06-01', 'active', null, 17.5, 5.0),
    ('KG-TKM-001', '08', '24010107', 'AC Duo 22', 'Voltline', 22, '{Type2}', '2024-07-10', 'active', null, null, null),
    ('KG-KBL-001', '09', '24020205', 'DC 60', 'Steppe Power', 60, '{CCS2,GBT}', '2024-07-18', 'active', '3', null, null),
    ('KG-BLK-001', '10', '24020206', 'DC 60', 'Steppe Power', 60, '{CCS2,GBT}', '2024-08-05', 'active', '4', null, null),
    ('KG-CHA-001', '11', '24010108', 'AC Duo 22', 'Voltline', 22, '{Type2}', '2024-08-06', 'active', '4', null, null),
    ('KG-CHA-002', '11', '24020207', 'DC 120', 'Steppe Power', 120, '{CCS2,GBT}', '2024-08-06', 'active', '4', null, null),
    ('KG-KRK-001', '12', '24010109', 'AC Duo 22', 'Voltline', 22, '{Type2}', '2024-09-01', 'active', '5', null, null),
    ('KG-NRN-001', '13', '24010110', 'AC Uno 11', 'Voltline', 11, '{Type2}', '2024-09-12', 'active', null, null, null),
    ('KG-TLS-001', '14', '24010111', 'AC Uno 11', 'Voltline', 11, '{Type2}', '2024-10-03', 'inactive', null, null, null),
    ('KG-OSH-001', '15', '24030301', 'AC Duo 22', 'Voltline', 22, '{Type2}', '2024-05-20', 'active', null, null, null),
    ('KG-OSH-002', '16', '24030302', 'DC 60', 'Steppe Power', 60, '{CCS2,GBT}', '2024-06-11', 'active', null, null, null),
    ('KG-JAL-001', '17', '24030303', 'AC Duo 22', 'Voltline', 22, '{Type2}', '2024-11-02', 'active', null, null, null)
  ) as v (id, location, serial, model, manufacturer, power, types, installed, status, plan, price_per_kwh, session_fee)
on conflict do nothing;

insert into public.connectors (station_id, number, type, power)
select s.id, c.number, c.type, s.power_capacity
  from public.stations as s
 cross join lateral (
   select n::integer, t from unnest(s.connector_types) with ordinality as one (t, n)
   union all
   select 2, 'Type2' where s.model = 'AC Duo 22') as c (number, type)
 where s.serial_number ~ '^SN-(0{7}1|24[0-9]{6})$'
on conflict do nothing;
