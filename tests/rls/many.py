# ruff: noqa: E501  (statements read better unbroken)
"""A service grown up: 100,000 sessions, made in sets, for plans that must not depend on the size of the tables."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import psycopg

SESSIONS = 100_000
STATIONS = 2_000  # of 20 companies
DRIVERS = 5_000
METER_VALUES_PER_SESSION = 3
HEAVY_DRIVER_SHARE = 10  # every tenth session is of one driver: a fleet's card

BIG_COMPANY = UUID("c0000000-0000-4000-8000-00000000ff01")


def grow(db: psycopg.Connection[Any]) -> None:
    """Fill a migrated database that has the rows of populate()."""
    for statement in STATEMENTS:
        db.execute(statement)  # type: ignore[arg-type]
    db.execute("vacuum analyze")


STATEMENTS = [
    f"insert into clients (id, kind, name) values ('{BIG_COMPANY}', 'operator', 'Big')",
    "insert into clients (kind, name) select 'operator', 'Company ' || i from generate_series(1, 19) as i",
    "insert into auth.users (id, email) select gen_random_uuid(), 'd' || i || '@example.com'"
    f" from generate_series(1, {DRIVERS}) as i",
    # half of the stations belong to the big company
    "insert into locations (client_id, name) select case when i % 2 = 0 then '" + str(BIG_COMPANY) + "'::uuid else"
    " (select id from clients where name = 'Company ' || 1 + i % 19) end, 'L' || i from generate_series(1, 400) as i",
    "insert into stations (id, location_id, power_capacity) select 'S-' || i, l.id, 22"
    " from (select id, row_number() over (order by name) as n from locations where name like 'L%') as l"
    f" join generate_series(1, {STATIONS}) as i on 1 + i % 400 = l.n",
    "insert into connectors (station_id, number) select s.id, n from stations as s, generate_series(1, 2) as n"
    " where s.id like 'S-%'",
    "insert into charging_sessions (id, station_id, connector_id, user_id, status, start_time, stop_time, energy, amount, created_at,"
    " settled_at, receipt)"
    " select md5('s' || i)::uuid, 'S-' || 1 + i % " + str(STATIONS) + ", 1 + i % 2,"
    " case when i % "
    + str(HEAVY_DRIVER_SHARE)
    + " = 0 then 'a0000000-0000-4000-8000-000000000001'::uuid else d.id end,"
    " 'stopped', t.at, t.at + interval '30 min', 20, 300, t.at, t.at, '{}'"
    f" from generate_series(1, {SESSIONS}) as i"
    " join (select id, row_number() over (order by email) as n from users where email like 'd%@example.com') as d"
    f" on d.n = 1 + (i * 7919) % {DRIVERS}"
    " cross join lateral (select now() - interval '1 hour' - i * interval '5 min' as at) as t",
    "insert into meter_values (station_id, connector_id, session_id, reported_at, received_at, energy_wh, samples, digest)"
    " select s.station_id, s.connector_id, s.id, s.start_time + n * interval '10 min', s.start_time, n * 1000, '[]', gen_random_uuid()"
    f" from charging_sessions as s, generate_series(1, {METER_VALUES_PER_SESSION}) as n",
    "insert into commands (station_id, action, status, session_id, created_by, created_at)"
    " select station_id, 'RemoteStartTransaction', 'accepted', id, user_id, start_time from charging_sessions",
    "insert into ocpp_messages (station_id, direction, action, received_at)"
    " select station_id, 'from_station', 'MeterValues', reported_at from meter_values",
]
