"""supabase/seed.sql: what it holds, and that it may run again."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest

from local_supabase import LocalSupabase
from tests.support import acting_as

SEED = (Path(__file__).resolve().parents[2] / "supabase" / "seed.sql").read_text()
TABLES = ["users", "clients", "locations", "stations", "connectors", "tariff_plans", "tariff_rules", "id_tags"]


@pytest.fixture(scope="module")
def seed(cluster: LocalSupabase, seeded_template: str) -> Iterator[psycopg.Connection]:
    """A seeded database for tests that change nothing."""
    with cluster.fresh_database(seeded_template) as url, psycopg.connect(url, autocommit=True) as connection:
        yield connection


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
def test_the_counts_are_those_of_the_old_service(seed: psycopg.Connection, table: str, count: int) -> None:
    assert seed.execute(f"select count(*) from {table}").fetchone() == (count,)


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


def test_test_001_costs_15_kgs_a_kwh_and_nothing_else(seed: psycopg.Connection) -> None:
    with acting_as(seed, "anon"):
        row = seed.execute(
            "select calculate_cost('TEST-001', 25.5, 600, at => '2026-05-09T20:00Z', parking_minutes => 60) ->> 'cost',"
            " type, power from connectors where station_id = 'TEST-001' and number = 1"
        ).fetchone()
    assert row == ("382.5", "Type2", Decimal(22))


def test_each_user_has_the_role_and_client_of_the_name(seed: psycopg.Connection) -> None:
    rows = seed.execute(
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


def test_nobody_has_a_password_and_auth_can_read_the_rows(seed: psycopg.Connection) -> None:
    columns = (
        "confirmation_token, recovery_token, email_change_token_new, email_change, email_change_token_current,"
        " phone_change, phone_change_token, reauthentication_token, encrypted_password"
    )
    rows = seed.execute(f"select {columns} from auth.users").fetchall()
    assert rows == [("",) * 9] * 5
    assert seed.execute("select count(*) from auth.users where email_confirmed_at is null").fetchone() == (0,)
    identities = "select count(*) from auth.identities where provider = 'email' and provider_id = user_id::text"
    assert seed.execute(identities).fetchone() == (5,)


def test_every_station_has_connectors_a_place_in_kyrgyzstan_and_a_price(seed: psycopg.Connection) -> None:
    rows = seed.execute(
        "select s.id from stations as s join locations as l on l.id = s.location_id"
        " where l.latitude between 39.2 and 43.3 and l.longitude between 69.2 and 80.3 and l.time_zone = 'Asia/Bishkek'"
        "   and exists (select from connectors as c where c.station_id = s.id and c.type = any (s.connector_types))"
        "   and (calculate_cost(s.id, 10, at => '2026-05-06T06:00Z') ->> 'cost')::numeric between 100 and 250"
    ).fetchall()
    assert len(rows) == 22


def test_every_rule_of_the_seed_wins_somewhere(seed: psycopg.Connection) -> None:
    """A rule that can never win would be a mistake in the demonstration."""
    rows = seed.execute(
        "select distinct r ->> 'rule_id' from stations as s cross join connectors as c"
        " cross join unnest('{2026-12-01,2027-07-01}'::timestamptz[]) as at"
        " cross join jsonb_array_elements(private.tariff_snapshot(s.id, c.number, at) -> 'rules') as r"
        " where c.station_id = s.id"
    ).fetchall()
    assert len([row for row in rows if row[0]]) == 18


def test_each_company_has_its_stations(seed: psycopg.Connection) -> None:
    rows = seed.execute(
        "select c.name, count(distinct l.id), count(distinct s.id) from clients as c"
        " join locations as l on l.client_id = c.id join stations as s on s.location_id = l.id"
        " group by c.name order by 1"
    ).fetchall()
    assert rows == [("EvPower Kyrgyzstan", 14, 19), ("Osh Elektro", 3, 3)]


@pytest.mark.parametrize(
    ("call", "cost", "names"),
    [
        # Wednesday, 17:30 in Bishkek
        (
            "'KG-BSK-006', 40, 60, at => '2026-05-06T11:30Z', parking_minutes => 10",
            920,
            ["Ultra-fast charging", "Evening peak", "Start of charging", "Blocking the charger"],
        ),
        ("'KG-BSK-001', 12, 240, at => '2026-05-06T15:00Z'", 144, ["Day", "Night"]),
        ("'KG-KRK-001', 0, 180, at => '2026-05-06T17:00Z', parking_minutes => 120", 90, ["Long stay"]),
    ],
)
def test_the_examples_of_the_documentation_are_right(
    seed: psycopg.Connection, call: str, cost: int, names: list[str]
) -> None:
    row = seed.execute(
        f"select r -> 'cost', jsonb_path_query_array(r, '$.lines[*].rule_name') from calculate_cost({call}) as r"
    )
    assert row.fetchone() == (cost, names)
