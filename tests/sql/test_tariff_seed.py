"""supabase/seed.sql: what it holds, and that it may run again."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import psycopg
import pytest

from tests.support import acting_as

SEED = (Path(__file__).resolve().parents[2] / "supabase" / "seed.sql").read_text()
TABLES = ["users", "clients", "locations", "stations", "connectors", "tariff_plans", "tariff_rules", "id_tags"]


@pytest.mark.parametrize(
    ("table", "count"),
    [
        ("users", 5),
        ("clients", 4),
        ("locations", 17),
        ("stations", 22),
        ("tariff_plans", 6),
        ("tariff_rules", 18),
        ("id_tags", 4),
    ],
)
def test_the_counts_are_those_of_the_old_service(seeded_db: psycopg.Connection, table: str, count: int) -> None:
    assert seeded_db.execute(f"select count(*) from {table}").fetchone() == (count,)


def test_the_seed_may_run_again_and_leaves_changes_alone(seeded_db: psycopg.Connection) -> None:
    seeded_db.execute(
        "update users set full_name = 'Somebody else', role = 'driver' where email = 'operator@evpower.example'"
    )
    seeded_db.execute("update stations set power_capacity = 7 where id = 'TEST-001'")
    seeded_db.execute("update auth.users set encrypted_password = 'set' where email = 'driver@evpower.example'")

    def everything() -> list[object]:
        return [
            seeded_db.execute(f"select t::text from {t} as t order by id").fetchall() for t in [*TABLES, "auth.users"]
        ]

    before = everything()
    seeded_db.execute(SEED)
    assert everything() == before


def test_test_001_costs_15_kgs_a_kwh_and_nothing_else(seeded_db: psycopg.Connection) -> None:
    with acting_as(seeded_db, "anon"):
        row = seeded_db.execute(
            "select calculate_cost('TEST-001', 25.5, 600, at => '2026-05-09T20:00Z', parking_minutes => 60) ->> 'cost',"
            " type, power from connectors where station_id = 'TEST-001' and number = 1"
        ).fetchone()
    assert row == ("382.5", "Type2", Decimal(22))


def test_each_user_has_the_role_and_client_of_the_name(seeded_db: psycopg.Connection) -> None:
    rows = seeded_db.execute(
        "select u.email, u.role::text, c.kind::text, c.balance"
        " from users as u left join clients as c on c.id = u.client_id order by u.id"
    ).fetchall()
    assert rows == [
        ("driver@evpower.example", "driver", "account", 5000),
        ("driver2@evpower.example", "driver", "account", 3000),
        ("operator@evpower.example", "operator", "operator", 0),
        ("admin@evpower.example", "admin", None, None),
        ("bridge@evpower.example", "bridge", None, None),
    ]


def test_nobody_has_a_password_and_auth_can_read_the_rows(seeded_db: psycopg.Connection) -> None:
    columns = (
        "confirmation_token, recovery_token, email_change_token_new, email_change, email_change_token_current,"
        " phone_change, phone_change_token, reauthentication_token, encrypted_password"
    )
    rows = seeded_db.execute(f"select {columns} from auth.users").fetchall()
    assert rows == [("",) * 9] * 5
    assert seeded_db.execute("select count(*) from auth.users where email_confirmed_at is null").fetchone() == (0,)
    identities = "select count(*) from auth.identities where provider = 'email' and provider_id = user_id::text"
    assert seeded_db.execute(identities).fetchone() == (5,)


def test_every_station_has_connectors_a_place_in_kyrgyzstan_and_a_price(seeded_db: psycopg.Connection) -> None:
    rows = seeded_db.execute(
        "select s.id from stations as s join locations as l on l.id = s.location_id"
        " where l.latitude between 39.2 and 43.3 and l.longitude between 69.2 and 80.3 and l.time_zone = 'Asia/Bishkek'"
        "   and exists (select from connectors as c where c.station_id = s.id and c.type = any (s.connector_types))"
        "   and (calculate_cost(s.id, 10, at => '2026-05-06T06:00Z') ->> 'cost')::numeric between 100 and 250"
    ).fetchall()
    assert len(rows) == 22


def test_every_rule_of_the_seed_wins_somewhere(seeded_db: psycopg.Connection) -> None:
    """A rule that can never win would be a mistake in the demonstration."""
    rows = seeded_db.execute(
        "select distinct r ->> 'rule_id' from stations as s cross join connectors as c"
        " cross join unnest('{2026-12-01,2027-07-01}'::timestamptz[]) as at"
        " cross join jsonb_array_elements(private.tariff_snapshot(s.id, c.number, at) -> 'rules') as r"
        " where c.station_id = s.id"
    ).fetchall()
    assert len([row for row in rows if row[0]]) == 18


def test_each_company_has_its_stations(seeded_db: psycopg.Connection) -> None:
    rows = seeded_db.execute(
        "select c.name, count(distinct l.id), count(distinct s.id) from clients as c"
        " join locations as l on l.client_id = c.id join stations as s on s.location_id = l.id"
        " group by c.name order by 1"
    ).fetchall()
    assert rows == [("EvPower Kyrgyzstan", 14, 19), ("Osh Elektro", 3, 3)]
