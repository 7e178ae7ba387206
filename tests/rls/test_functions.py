"""Who may call which function of the API, and what an error tells about rows that the caller may not see."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from tests.rls.rows import ACTORS, FIRST, role_of
from tests.rls.spec import FUNCTIONS, REFUSED, ROLES
from tests.sql.world import ADMIN, DRIVER, OPERATOR, OTHER_COMPANY, OTHER_DRIVER, OTHER_OPERATOR, World
from tests.support import acting_as


def outcome(world: World, who: str | UUID | None, name: str, **args: Any) -> str:
    """ok, refused (not executable), or the code of the refusal. who: None is the dashboard."""
    named = ", ".join(f'"{key}" => %({key})s' for key in args)
    try:
        with world.db.transaction() if who is None else acting_as(world.db, who):
            world.db.execute(f"select public.{name}({named})", args)  # type: ignore[arg-type]
    except psycopg.errors.InsufficientPrivilege:
        return REFUSED
    except psycopg.Error as error:
        if error.sqlstate != "PGRST":
            raise
        return str(json.loads(error.diag.message_primary or "")["code"])
    return "ok"


def expected(name: str, actor: str) -> str:
    function = FUNCTIONS[name]
    cell = function.cells[role_of(actor)]
    scope, _, otherwise = cell.partition(", else ")
    if scope == "yes" or (otherwise and actor in FIRST):
        return function.success
    return otherwise or cell


def test_every_function_of_the_api_is_specified(world: World) -> None:
    """A new one is to be described in spec.py."""
    names = world.sql("select proname from pg_proc where pronamespace = 'public'::regnamespace")
    assert {row["proname"] for row in names} == set(FUNCTIONS)
    assert all(set(function.cells) == set(ROLES) for function in FUNCTIONS.values())


@pytest.mark.parametrize("actor", ACTORS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_calling(world: World, name: str, actor: str) -> None:
    args = FUNCTIONS[name].args
    values = {k: world.one(v) if isinstance(v, str) and v.startswith("(select") else v for k, v in args.items()}
    assert outcome(world, ACTORS[actor], name, **values) == expected(name, actor)


@pytest.mark.parametrize("name", [name for name, function in FUNCTIONS.items() if function.cells["admin"] == "yes"])
def test_dashboard_without_a_token_may_do_what_admins_may(world: World, name: str) -> None:
    """The hints of errors there say: call top_up_account()."""
    args = FUNCTIONS[name].args
    values = {k: world.one(v) if isinstance(v, str) and v.startswith("(select") else v for k, v in args.items()}
    assert outcome(world, None, name, **values) == FUNCTIONS[name].success


# --- errors tell nothing ----------------------------------------------------------------------------


def error(world: World, who: UUID, name: str, **args: object) -> dict[str, Any]:
    with pytest.raises(psycopg.Error) as caught:
        world.rpc(who, name, **args)
    message: dict[str, Any] = json.loads(caught.value.diag.message_primary or "")
    return message | {"status": json.loads(caught.value.diag.message_detail or "")["status"]}


@pytest.mark.parametrize("who", [OTHER_DRIVER, OTHER_OPERATOR])
@pytest.mark.parametrize("status", ["pending", "started", "stopped", "error"])
def test_session_of_others_is_refused_like_one_that_is_not(world: World, who: UUID, status: str) -> None:
    session_id = world.one("select id from charging_sessions where user_id = %s", DRIVER)
    world.sql("update charging_sessions set status = %s::session_status where id = %s", status, session_id)
    assert error(world, who, "stop_charge", session_id=session_id) == error(
        world, who, "stop_charge", session_id=uuid4()
    )
    assert error(world, who, "stop_charge", session_id=session_id)["status"] == 404


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("start_charge", {}),
        ("send_command", {"action": "Reset"}),
        ("set_station_password", {"password": "x" * 16}),
        ("calculate_cost", {"energy_kwh": 1}),
    ],
)
@pytest.mark.parametrize("who", [DRIVER, OPERATOR])
def test_station_that_is_not_on_the_map_is_refused_like_one_that_is_not(
    world: World, who: UUID, name: str, args: dict[str, Any]
) -> None:
    def told(station: str) -> str:
        return json.dumps(error(world, who, name, station_id=station, **args)).replace(station, "?")

    assert world.count("stations", "id = 'SPARE-other' and status = 'inactive'") == 1
    assert told("SPARE-other") == told("NO-SUCH")


def test_operator_knows_their_own_station_that_is_not_on_the_map(world: World) -> None:
    assert outcome(world, OPERATOR, "send_command", station_id="SPARE-own", action="ClearCache") == "ok"
    assert outcome(world, OTHER_OPERATOR, "send_command", station_id="SPARE-own", action="ClearCache") == "OCSTA"


# --- a change of role holds at once -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("role = 'driver'", "OCPRM"),
        ("is_active = false", "OCPRM"),
        (f"client_id = '{OTHER_COMPANY}'", "OCPRM"),
        ("role = 'admin'", "ok"),
    ],
)
def test_change_of_a_user_holds_at_once(world: World, change: str, expected: str) -> None:
    args = {"station_id": "ST-1", "action": "ClearCache"}
    assert outcome(world, OPERATOR, "send_command", **args) == "ok"
    world.sql(f"update users set {change} where id = %s", OPERATOR)
    assert outcome(world, OPERATOR, "send_command", **args) == expected
    with acting_as(world.db, OPERATOR):
        assert (world.count("ocpp_messages", "station_id = 'ST-1'") > 0) == (expected == "ok")


def test_bridge_that_is_no_bridge_any_more_is_shut_out(world: World) -> None:
    bridge = ACTORS["bridge"]
    assert outcome(world, bridge, "ocpp_ingest", events="[]") == "ok"
    world.sql("update users set is_active = false where id = %s", bridge)
    assert outcome(world, bridge, "ocpp_ingest", events="[]") == "OCBRG"


def test_role_comes_from_the_table_and_not_from_the_token(world: World) -> None:
    claims = {
        "role": "authenticated",
        "sub": str(DRIVER),
        "user_role": "admin",
        "app_metadata": {"role": "admin"},
        "user_metadata": {"role": "bridge"},
    }
    for name in ("ocpp_ingest", "adopt_station"):
        args = FUNCTIONS[name].args
        with pytest.raises(psycopg.Error, match=r"OCBRG|OCPRM"):
            world.rpc(claims, name, **args)
    with acting_as(world.db, claims):
        assert world.count("charging_sessions") == 1


# --- passwords of stations ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("password", "code"), [("x" * 15, "OCARG"), ("x" * 41, "OCARG"), ("x" * 16, "ok"), ("0a" * 20, "ok"), (None, "ok")]
)
def test_password_has_16_to_40_bytes(world: World, password: str | None, code: str) -> None:
    assert outcome(world, ADMIN, "set_station_password", station_id="ST-1", password=password) == code


def test_password_is_kept_as_a_salted_hash_only(world: World) -> None:
    for _ in range(2):
        outcome(world, ADMIN, "set_station_password", station_id="ST-1", password="correct horse battery")
    key = world.one("select salt, key_hash from private.station_keys")
    assert b"correct" not in key["key_hash"]
    assert world.one("select sha256(%s || 'correct horse battery'::bytea) = %s", key["salt"], key["key_hash"])
