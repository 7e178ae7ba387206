# ruff: noqa: E501  (statements read better unbroken)
"""Rows of both companies and both drivers in every table, and who is who."""

from __future__ import annotations

from uuid import UUID

from tests.sql.world import (
    ACCOUNT,
    ADMIN,
    BRIDGE,
    COMPANY,
    DRIVER,
    LOCATION,
    OPERATOR,
    OTHER_ACCOUNT,
    OTHER_COMPANY,
    OTHER_DRIVER,
    OTHER_LOCATION,
    OTHER_OPERATOR,
    OTHER_PLAN,
    OTHER_STATION,
    PLAN,
    STATION,
    SUPERADMIN,
    World,
)

ACTORS: dict[str, str | UUID] = {
    "anon": "anon",
    "driver": DRIVER,
    "other_driver": OTHER_DRIVER,
    "operator": OPERATOR,
    "other_operator": OTHER_OPERATOR,
    "admin": ADMIN,
    "superadmin": SUPERADMIN,
    "bridge": BRIDGE,
    "service_role": "service_role",
    "inactive": UUID("a0000000-0000-4000-8000-0000000000fe"),  # once an operator of the first company
    "stranger": UUID("a0000000-0000-4000-8000-0000000000ff"),  # a token whose user is gone
}
ROLE_OF = {"other_driver": "driver", "other_operator": "operator", "stranger": "inactive"}  # in spec.py
FIRST = {"driver", "operator"}  # whose the rows of the first company are; the others have those of the second
COMPANIES = {
    "own": {"company": COMPANY, "location": LOCATION, "plan": PLAN, "station": STATION, "account": ACCOUNT},
    "other": {
        "company": OTHER_COMPANY,
        "location": OTHER_LOCATION,
        "plan": OTHER_PLAN,
        "station": OTHER_STATION,
        "account": OTHER_ACCOUNT,
    },
}
SPARE = {"own": UUID("5a000000-0000-4000-8000-000000000001"), "other": UUID("5a000000-0000-4000-8000-000000000002")}


def role_of(actor: str) -> str:
    return ROLE_OF.get(actor, actor)


def fill(world: World) -> None:
    world.sql("insert into auth.users (id, email) values (%s, 'inactive@example.org')", ACTORS["inactive"])
    world.sql(
        "update users set role = 'operator', client_id = %s, is_active = false where id = %s",
        COMPANY,
        ACTORS["inactive"],
    )
    world.sql("insert into id_tags (id_tag, user_id) values ('OTHERS-CARD', %s)", OTHER_DRIVER)
    for which, company in COMPANIES.items():
        spare, station = SPARE[which], company["station"]
        world.sql("insert into locations (id, client_id, name) values (%s, %s, 'Spare')", spare, company["company"])
        world.sql(
            "insert into stations (id, location_id, status) values (%s, %s, 'inactive')",
            f"SPARE-{which}",
            company["location"],
        )
        world.sql("insert into connectors (id, station_id, number) values (%s, %s, 9)", spare, station)
        world.sql("insert into connectors (station_id, number) values (%s, 1)", f"SPARE-{which}")
        world.sql(
            "insert into tariff_plans (id, client_id, name, is_active) values (%s, %s, 'Spare', false)",
            spare,
            company["company"],
        )
        world.sql(
            "insert into tariff_rules (id, tariff_plan_id, name, tariff_type, price, is_active)"
            " values (%s, %s, 'Spare', 'per_minute', 1, false)",
            spare,
            company["plan"],
        )
        world.sql(
            "insert into id_tags (id, id_tag, client_id) values (%s, %s, %s)",
            spare,
            f"SPARE-{which}",
            company["company"],
        )
        world.sql("insert into maintenance (id, station_id, description) values (%s, %s, 'Spare')", spare, station)
        world.sql("insert into clients (id, name) values (%s, 'Spare')", spare)
        world.sql(
            "insert into client_tariffs (id, client_id, company_id, discount_percent, valid_until) values (%s, %s, %s, 5, '2020-01-01')",
            spare,
            company["account"],
            company["company"],
        )
        world.sql("insert into station_inbox (id, station_id) values (%s, %s)", spare, f"KNOCKING-{which}")
        card = "04A1B2C3D4E5F6" if which == "own" else "OTHERS-CARD"
        transaction = world.begin(at=-50, tag=card, station=str(station))
        world.meter(-40, 2000, transaction=transaction, station=str(station))
        world.stop(-1, 1, at=-55, received=-30, station=str(station))  # an orphan
        world.sql("insert into station_configuration (station_id, key, value) values (%s, 'Key', '1')", station)
        world.sql(
            "insert into ledger_entries (client_id, kind, amount, session_id) values (%s, 'charge', -2, %s)",
            company["account"],
            world.session(transaction)["id"],
        )
        world.sql(
            "insert into ledger_entries (client_id, kind, amount, session_id) values (%s, 'waiver', 1, %s)",
            company["account"],
            world.session(transaction)["id"],
        )
        person = DRIVER if which == "own" else OTHER_DRIVER
        world.rpc(person, "stop_charge", session_id=world.session(transaction)["id"])  # a command
    # in the totals as if they were settled
    world.sql(
        'select private.count_session(jsonb_populate_record(s, \'{"stop_time": "2026-01-31T12:00:00Z"}\'), 1) from charging_sessions as s'
    )
