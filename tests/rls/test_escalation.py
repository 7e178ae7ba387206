"""Ways to get more than one has, tried."""

from __future__ import annotations

from uuid import UUID

import psycopg
import pytest

from tests.rls.rows import ACTORS, SPARE
from tests.sql.world import (
    ACCOUNT,
    ADMIN,
    BRIDGE,
    CARD,
    COMPANY,
    DRIVER,
    LOCATION,
    OPERATOR,
    OTHER_COMPANY,
    OTHER_DRIVER,
    OTHER_LOCATION,
    OTHER_OPERATOR,
    OTHER_PLAN,
    PLAN,
    SUPERADMIN,
    World,
    refused,
)
from tests.support import acting_as


def attempt(world: World, who: UUID | str, statement: str, *args: object) -> int | str:
    """Rows changed, or why it was refused: denied, or the code."""
    try:
        with acting_as(world.db, who):
            return world.db.execute(statement, args).rowcount  # type: ignore[arg-type]
    except psycopg.errors.InsufficientPrivilege:
        return "denied"
    except psycopg.Error as error:
        return "OCPRM" if error.sqlstate == "PGRST" and '"OCPRM"' in str(error) else str(error)


@pytest.mark.parametrize("who", [DRIVER, OPERATOR])
@pytest.mark.parametrize(
    "change",
    [
        "role = 'admin'",
        "role = 'superadmin'",
        "role = 'bridge'",
        "role = 'operator'",
        f"client_id = '{OTHER_COMPANY}'",
        "is_active = false",
        "email = 'x@example.org'",
        f"admin_id = '{DRIVER}'",
    ],
)
def test_nobody_changes_their_own_rights(world: World, who: UUID, change: str) -> None:
    if who == OPERATOR and change == "role = 'operator'":
        change = "role = 'driver'"
    assert attempt(world, who, f"update users set {change} where id = %s", who) == "OCPRM"


def test_people_change_their_name_and_nobody_elses(world: World) -> None:
    assert attempt(world, DRIVER, "update users set full_name = 'Aida', phone = '+996'") == 1
    assert world.one("select full_name from users where id = %s", DRIVER) == "Aida"
    assert world.count("users", "full_name is not null") == 1


def test_bridge_and_inactive_users_change_nothing(world: World) -> None:
    assert attempt(world, BRIDGE, "update users set full_name = 'x'") == 0
    world.sql("update users set is_active = false where id = %s", DRIVER)
    assert attempt(world, DRIVER, "update users set full_name = 'x'") == 0


@pytest.mark.parametrize("column", ["id", "created_at", "updated_at"])
def test_keys_and_times_of_users_are_not_writable(world: World, column: str) -> None:
    assert attempt(world, ADMIN, f"update users set {column} = {column}") == "denied"


def test_admin_makes_admins_but_does_not_touch_superadmins(world: World) -> None:
    assert attempt(world, ADMIN, "update users set role = 'admin' where id = %s", DRIVER) == 1
    for change in ("role = 'driver'", "is_active = false", "email = 'mine@example.org'"):
        assert attempt(world, ADMIN, f"update users set {change} where id = %s", SUPERADMIN) == "OCPRM"
    for user in (ADMIN, DRIVER):
        assert attempt(world, ADMIN, "update users set role = 'superadmin' where id = %s", user) == "OCPRM"
    assert attempt(world, SUPERADMIN, "update users set role = 'superadmin' where id = %s", ADMIN) == 1


def test_new_auth_user_is_a_driver_whatever_they_say_of_themselves(world: World) -> None:
    user = UUID("a0000000-0000-4000-8000-0000000000aa")
    world.sql(
        "insert into auth.users (id, email, raw_user_meta_data, raw_app_meta_data)"
        " values (%s, 'new@example.org', %s, %s)",
        user,
        '{"role": "admin", "full_name": "New", "client_id": "x"}',
        '{"role": "admin"}',
    )
    row = world.one("select role, client_id, full_name, is_active from users where id = %s", user)
    assert row == {"role": "driver", "client_id": None, "full_name": "New", "is_active": True}


def test_changed_email_of_an_auth_user_keeps_role_and_company(world: World) -> None:
    world.sql("update auth.users set email = 'renamed@example.org' where id = %s", OPERATOR)
    row = world.one("select email, role, client_id from users where id = %s", OPERATOR)
    assert row == {"email": "renamed@example.org", "role": "operator", "client_id": COMPANY}


@pytest.mark.parametrize("who", [ADMIN, SUPERADMIN, "service_role"])
def test_email_is_changed_where_people_sign_in(world: World, who: UUID | str) -> None:
    """Else the list of users would show one that opens no door."""
    change = "update users set email = 'renamed@example.org' where id = %s"
    assert attempt(world, who, change, DRIVER) == "OCPRM"
    assert world.one("select email from users where id = %s", DRIVER) == "driver@example.org"


@pytest.mark.parametrize(
    ("statement", "args"),
    [
        ("update stations set location_id = %s where id = 'ST-1'", [OTHER_LOCATION]),  # a station given away
        ("update stations set location_id = %s where id = 'ST-2'", [LOCATION]),  # and one taken
        ("update stations set location_id = null where id = 'ST-1'", []),
        ("update stations set tariff_plan_id = %s where id = 'ST-1'", [OTHER_PLAN]),  # another company's prices
        ("insert into stations (id, location_id, tariff_plan_id) values ('N', %s, %s)", [LOCATION, OTHER_PLAN]),
        ("insert into stations (id, location_id, tariff_plan_id) values ('N', %s, %s)", [LOCATION, SPARE["other"]]),
        ("insert into stations (id) values ('N')", []),
        ("update locations set client_id = %s", [OTHER_COMPANY]),
        ("update locations set client_id = null", []),
        ("update tariff_plans set client_id = null", []),  # a price list for the whole service
        ("insert into tariff_plans (client_id, name, is_default) values (null, 'All', true)", []),
        ("update tariff_rules set tariff_plan_id = %s", [OTHER_PLAN]),
        (
            "insert into tariff_rules (tariff_plan_id, name, tariff_type, price) values (%s, 'x', 'per_kwh', 0)",
            [OTHER_PLAN],
        ),
        ("update connectors set station_id = 'ST-2' where number = 9", []),
        ("update maintenance set station_id = 'ST-2'", []),
        ("update id_tags set client_id = %s", [OTHER_COMPANY]),
        ("update id_tags set client_id = null", []),
        ("update id_tags set user_id = %s", [DRIVER]),  # a card that charges on a stranger's account
        ("insert into id_tags (id_tag, client_id, user_id) values ('N', %s, %s)", [COMPANY, DRIVER]),
        ("insert into id_tags (id_tag, user_id) values ('N', %s)", [DRIVER]),
        ("insert into stations (id, location_id, last_boot_at) values ('N', %s, now())", [LOCATION]),
        ("update stations set ocpp_status = 'Available'", []),
        ("update connectors set status = 'Available'", []),
        ("update charging_sessions set amount = 0", []),
        ("update clients set balance = 1000000", []),
        ("delete from clients", []),
        ("truncate stations cascade", []),
    ],
)
def test_operator_does_not_reach_beyond_their_company(world: World, statement: str, args: list[object]) -> None:
    assert attempt(world, OPERATOR, statement, *args) in ("denied", 0)


def test_who_leaves_the_company_out_means_their_own(world: World) -> None:
    for table, columns, values in (
        ("locations", "name", "'New'"),
        ("tariff_plans", "name", "'New'"),
        ("client_tariffs", "client_id, discount_percent", f"'{ACCOUNT}', 5"),
        ("id_tags", "id_tag", "'NEW'"),
    ):
        assert attempt(world, OPERATOR, f"insert into {table} ({columns}) values ({values})") == 1, table
        assert attempt(world, DRIVER, f"insert into {table} ({columns}) values ({values})") == "denied", table


def test_company_stays_one_while_it_has_places_prices_or_operators(world: World) -> None:
    """An account that owned stations would be a tenant who pays in advance, and its drivers' operator."""
    change = "update clients set kind = 'account' where id = %s"
    for left, gone in (
        ("everything", "select"),
        ("plans and operators", f"update locations set client_id = null where client_id = '{COMPANY}'"),
        ("operators", f"update tariff_plans set client_id = null where client_id = '{COMPANY}'"),
    ):
        world.sql(gone)
        assert "stays a company" in str(attempt(world, ADMIN, change, COMPANY)), left
    world.sql("update users set role = 'driver' where client_id = %s", COMPANY)
    assert attempt(world, ADMIN, change, COMPANY) == 1


def test_operator_works_for_a_company(world: World) -> None:
    refused = attempt(world, ADMIN, "update users set role = 'operator' where id = %s", DRIVER)
    assert "client_id of an operator must be a company" in str(refused)
    refused = attempt(world, ADMIN, "update users set client_id = %s where id = %s", ACCOUNT, OPERATOR)
    assert "client_id of an operator must be a company" in str(refused)
    both = "update users set role = 'operator', client_id = %s where id = %s"
    assert attempt(world, ADMIN, both, COMPANY, DRIVER) == 1


def test_operator_of_no_company_runs_nothing(world: World) -> None:
    world.sql("update users set client_id = null where id = %s", OPERATOR)
    world.sql("update locations set client_id = null where id = %s", OTHER_LOCATION)
    with acting_as(world.db, OPERATOR):
        assert world.count("charging_sessions") == 0
        assert world.one("select private.operated_station_ids()") == []
    assert attempt(world, OPERATOR, "update locations set name = 'x'") == 0
    assert attempt(world, OPERATOR, "insert into locations (name) values ('x')") == "denied"


def test_who_is_not_active_has_nothing_any_more(world: World) -> None:
    """The same token: what was theirs is gone at once, but for the row that says so; the public map stays."""
    theirs = ("charging_sessions", "meter_values", "commands", "id_tags", "clients")
    with acting_as(world.db, DRIVER):
        assert all(world.count(table) for table in theirs)
    world.sql("update users set is_active = false where id = %s", DRIVER)
    with acting_as(world.db, DRIVER):
        assert {table: world.count(table) for table in theirs} == dict.fromkeys(theirs, 0)
        assert world.one("select is_active from users") is False
        assert world.count("stations") == 2
        assert world.count("station_status", "connectors @? '$[*].session_id ? (@ != null)'") == 0


def test_nobody_inherits_the_messages_of_a_station_that_had_the_same_name(world: World) -> None:
    world.sql("insert into ocpp_messages (station_id, direction, received_at) values ('GONE', 'from_station', now())")
    world.sql(
        "insert into stations (id, location_id, created_at) values ('GONE', %s, now() + interval '1 s')", LOCATION
    )
    later = "insert into ocpp_messages (station_id, direction, received_at) values ('GONE', 'from_station', %s)"
    world.sql(later, world.at(1))
    for who, seen in ((OPERATOR, 1), (ADMIN, 2)):
        with acting_as(world.db, who):
            assert world.count("ocpp_messages", "station_id = 'GONE'") == seen


def test_nobody_takes_the_messages_of_a_station_that_is_gone_by_renaming_one_of_theirs(world: World) -> None:
    sent = "insert into ocpp_messages (station_id, direction, received_at) values (%s, 'from_station', %s)"
    world.sql("update stations set created_at = now() - interval '1 year' where id = 'SPARE-own'")
    for station in ("GONE", "SPARE-own"):
        world.sql(sent, station, world.at(-5))
    assert attempt(world, OPERATOR, "update stations set id = 'GONE' where id = 'SPARE-own'") == 1
    world.sql(sent, "GONE", world.at(5))  # its own, under the name it has now
    for who, seen in ((OPERATOR, 1), (ADMIN, 2)):
        with acting_as(world.db, who):
            assert world.count("ocpp_messages", "station_id = 'GONE'") == seen


def test_operator_adds_and_renames_a_station_that_is_not_on_the_map(world: World) -> None:
    insert = "insert into stations (id, location_id, status) values ('LATER', %s, 'inactive') returning id"
    assert attempt(world, OPERATOR, insert, LOCATION) == 1
    assert attempt(world, OPERATOR, insert.replace("LATER", "THEIRS"), OTHER_LOCATION) == "denied"
    assert attempt(world, OPERATOR, "update stations set id = 'SOON' where id = 'LATER' returning id") == 1
    assert attempt(world, OTHER_OPERATOR, "update stations set id = 'MINE' where id = 'SOON'") == 0


@pytest.mark.parametrize("column", ["balance", "created_at"])
def test_no_form_writes_a_balance(world: World, column: str) -> None:
    for who in (DRIVER, OPERATOR, ADMIN, SUPERADMIN):
        assert attempt(world, who, f"update clients set {column} = {column}") == "denied"
        assert attempt(world, who, f"insert into clients (name, {column}) values ('x', default)") == "denied"
    assert attempt(world, ADMIN, "update clients set status = 'blocked'") == world.count("clients")


def test_own_plan_and_plans_of_the_service_may_be_used(world: World) -> None:
    world.sql("insert into tariff_plans (id, name) values ('b0000000-0000-4000-8000-0000000000aa', 'Service')")
    for plan in (PLAN, SPARE["own"], "b0000000-0000-4000-8000-0000000000aa"):
        assert attempt(world, OPERATOR, "update stations set tariff_plan_id = %s where id = 'ST-1'", plan) == 1


def test_operator_does_not_join_the_group_of_another_companys_tags(world: World) -> None:
    """OCPP 1.6 §3.10: any tag of a group may stop what another of it started."""
    world.sql("update id_tags set parent_id_tag = 'FLEET' where id_tag = 'SPARE-other'")
    for group in ("FLEET", "fleet", "SPARE-other", CARD):
        insert = "insert into id_tags (id_tag, client_id, parent_id_tag) values ('N', %s, %s)"
        assert attempt(world, OPERATOR, insert, COMPANY, group) == "denied"
        assert (
            attempt(world, OPERATOR, "update id_tags set parent_id_tag = %s where id_tag = 'SPARE-own'", group)
            == "denied"
        )
        assert attempt(world, ADMIN, "update id_tags set parent_id_tag = %s where id_tag = 'SPARE-own'", group) == 1
        world.sql("update id_tags set parent_id_tag = null where id_tag = 'SPARE-own'")
    assert attempt(world, OPERATOR, "update id_tags set parent_id_tag = 'OURS' where id_tag = 'SPARE-own'") == 1
    assert attempt(world, OPERATOR, "update id_tags set note = 'x' where id_tag = 'SPARE-own'") == 1


def test_others_company_knows_nothing_of_a_card(world: World) -> None:
    with acting_as(world.db, OTHER_DRIVER):
        assert world.sql("select id_tag from id_tags where lower(id_tag) = lower(%s)", CARD) == []
    assert world.count("id_tags", "id_tag = %s", CARD) == 1


@pytest.mark.parametrize("actor", ["anon", "driver", "operator", "admin", "bridge", "service_role"])
@pytest.mark.parametrize(
    "name",
    [
        "ocpp_messages_default",
        "meter_values_default",
        "bridges",
        "station_connections",
        "station_keys",
        "settings",
        "command_secrets",
    ],
)
def test_private_tables_are_nobodys(world: World, actor: str, name: str) -> None:
    assert attempt(world, ACTORS[actor], f"select from private.{name}") == "denied"


@pytest.mark.parametrize("actor", ["anon", "driver", "operator", "admin", "bridge", "service_role"])
def test_the_rules_themselves_cannot_be_called(world: World, actor: str) -> None:
    for call in (
        "settle_session(null)",
        "expire_waiting()",
        "keep_house()",
        "release_commands('ST-1', null)",
        "take_answer('{}')",
        "ensure_partitions(now())",
        "lock_stations('{ST-1}')",
        "ingest_together('[]')",
    ):
        assert attempt(world, ACTORS[actor], f"select private.{call}") == "denied", call


def test_token_without_a_role_sees_no_connections(world: World) -> None:
    """sees_all() is for the service role and for whoever has the database itself."""
    with acting_as(world.db, {"role": "authenticated"}):
        assert world.sql("select * from connections") == []
    assert world.count("connections") == 2


@pytest.mark.parametrize("claims", ["", "{}"])
@pytest.mark.parametrize("role", ["anon", "authenticated"])
def test_role_of_the_api_without_a_token_is_not_the_dashboard(world: World, role: str, claims: str) -> None:
    """A server with a connection of its own, which takes the role of a visitor who has no token."""
    assert world.count("private.visible_sessions()") > 0
    with world.db.transaction(force_rollback=True):
        world.sql("select set_config('role', %s, true), set_config('request.jwt.claims', %s, true)", role, claims)
        assert world.count("private.visible_sessions()") == 0
        if role == "authenticated":
            assert world.sql("select * from connections") == []
            with refused("OCPRM"):
                world.sql("select top_up_account(%s, 5, 'r')", ACCOUNT)


def test_other_company_is_not_told_through_a_unique_key_that_a_card_exists_by_reading_it(world: World) -> None:
    with pytest.raises(psycopg.errors.UniqueViolation) as error, acting_as(world.db, OTHER_OPERATOR):
        world.db.execute("insert into id_tags (id_tag, client_id) values (%s, %s)", [CARD, OTHER_COMPANY])
    assert str(DRIVER) not in str(error.value)
