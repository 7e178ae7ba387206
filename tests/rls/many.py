# ruff: noqa: E501  (statements read better unbroken)
"""A service grown up: 100,000 sessions, made in sets, for plans that must not depend on the size of the tables."""

from __future__ import annotations

from typing import Any

import psycopg

from tests.sql.world import ACCOUNT, COMPANY, DRIVER, OTHER_ACCOUNT, OTHER_DRIVER

SESSIONS = 100_000
STATIONS = 2_000  # every second one of COMPANY, the others of 19 companies
DRIVERS = 5_000
HEAVY = 10_000  # sessions of DRIVER, whose account is that of a fleet
LIGHT = 34  # sessions of OTHER_DRIVER
METER_VALUES_PER_SESSION = 3

TRIGGERED = ("id_tags", "stations", "connectors", "charging_sessions", "commands", "ledger_entries")
STATEMENTS = [
    "insert into clients (kind, name) select 'operator', 'Company ' || i from generate_series(1, 19) as i",
    "insert into clients (kind, name) select 'account', 'Account ' || i from generate_series(1, 1000) as i",
    "insert into auth.users (id, email) select gen_random_uuid(), 'd' || i || '@example.com'"
    f" from generate_series(1, {DRIVERS}) as i",
    "insert into id_tags (id_tag, user_id) select 'TAG' || row_number() over (order by email), id from users"
    " where email like 'd%@example.com'",
    "insert into locations (client_id, name)"
    f" select case when i % 2 = 0 then '{COMPANY}' else (select id from clients where name = 'Company ' || 1 + i % 19) end,"
    " 'L' || i from generate_series(1, 400) as i",
    "insert into stations (id, location_id, power_capacity, created_at)"
    " select 'S-' || i, l.id, 22, now() - interval '5 years'"
    " from (select id, row_number() over (order by name) as n, client_id from locations where name like 'L%') as l"
    f" join generate_series(1, {STATIONS}) as i on 1 + i % 400 = l.n",
    "insert into connectors (station_id, number) select id, n from stations, generate_series(1, 2) as n where id like 'S-%'",
    "insert into charging_sessions (id, station_id, connector_id, user_id, client_id, status, start_time, stop_time,"
    " energy, amount, created_at, settled_at, receipt)"
    f" select md5('s' || i)::uuid, 'S-' || 1 + i % {STATIONS}, 1 + i % 2,"
    f" case when i % {SESSIONS // HEAVY} = 0 then '{DRIVER}' when i % 3000 = 1 then '{OTHER_DRIVER}' else d.id end,"
    f" case when i % {SESSIONS // HEAVY} = 0 then '{ACCOUNT}' when i % 3000 = 1 then '{OTHER_ACCOUNT}' else a.id end,"
    " 'stopped', t.at, t.at + interval '30 min', 20, 300, t.at, t.at, '{}'"
    f" from generate_series(1, {SESSIONS}) as i"
    " join (select id, row_number() over (order by email) as n from users where email like 'd%@example.com') as d"
    f" on d.n = 1 + (i * 7919) % {DRIVERS}"
    " join (select id, row_number() over (order by name) as n from clients where name like 'Account %') as a"
    " on a.n = 1 + i % 1000"
    " cross join lateral (select now() - interval '1 hour' - i * interval '5 min' as at) as t",
    "update charging_sessions set status = 'started' where transaction_id % 9999 = 7",
    "insert into meter_values"
    " (station_id, connector_id, session_id, reported_at, received_at, energy_wh, samples, digest)"
    " select station_id, connector_id, id, start_time + n * interval '10 min', start_time, n * 1000, '[]', id"
    f" from charging_sessions, generate_series(1, {METER_VALUES_PER_SESSION}) as n",
    "insert into commands (station_id, action, status, session_id, created_by, created_at)"
    " select station_id, 'RemoteStartTransaction', 'accepted', id, user_id, start_time from charging_sessions"
    " where transaction_id % 3 <> 0",
    "insert into ocpp_messages (station_id, direction, action, received_at)"
    " select station_id, 'from_station', 'StopTransaction', stop_time from charging_sessions",
    "insert into ledger_entries (client_id, kind, amount, currency, session_id, station_id, created_at)"
    " select client_id, 'charge', -amount, currency, id, station_id, stop_time from charging_sessions",
]


def grow(db: psycopg.Connection[Any]) -> None:
    """Fill a migrated database that has the rows of populate()."""
    for table in TRIGGERED:  # which work row by row; what they keep is not looked at here
        db.execute(f"alter table {table} disable trigger user")  # type: ignore[arg-type]
    for statement in STATEMENTS:
        db.execute(statement)  # type: ignore[arg-type]
    for table in TRIGGERED:
        db.execute(f"alter table {table} enable trigger user")  # type: ignore[arg-type]
    db.execute("vacuum analyze")
