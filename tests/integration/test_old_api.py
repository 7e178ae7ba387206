"""What the old paths refuse, and how: problem+json with a code, `detail` as the old service had it, never a 5xx."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest

from local_supabase import LocalSupabase
from tests.integration.conftest import Project
from tests.integration.ways import Ways, ways_of
from tests.people import signed_in

COMPANY = "c0000000-0000-4000-8000-000000000001"
FOREIGN_COMPANY = "c0000000-0000-4000-8000-000000000002"
YARD = "d0000000-0000-4000-8000-000000000001"
FOREIGN_PLACE = "d0000000-0000-4000-8000-000000000015"
FOREIGN_PLAN = "b0000000-0000-4000-8000-000000000006"
NOBODY = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def db(project: Project) -> Iterator[psycopg.Connection]:
    with project.stack.connect() as connection:
        yield connection


@pytest.fixture
async def driver(project: Project) -> AsyncIterator[Ways]:
    async with ways_of(project.env, "DEMO_DRIVER") as ways:
        yield ways


@pytest.fixture
async def operator(project: Project) -> AsyncIterator[Ways]:
    async with ways_of(project.env, "DEMO_OPERATOR") as ways:
        yield ways


@pytest.fixture
async def admin(project: Project) -> AsyncIterator[Ways]:
    async with ways_of(project.env, "DEMO_ADMIN") as ways:
        yield ways


def refused(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The refusal, which must be this one, and whole."""
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/problem+json"), answer.text
    problem: dict[str, Any] = answer.json()
    assert (problem["status"], problem["code"]) == (status, code)
    assert all(isinstance(problem[key], str) and problem[key] for key in ("type", "title", "detail", "hint"))
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    return problem


async def test_every_path_needs_a_token_that_is_good(project: Project, driver: Ways) -> None:
    stack = project.stack
    document = (await driver.old.get("openapi.json")).json()
    forged = stack.mint("authenticated", driver.user_id)[:-3] + "abc"
    tokens = [None, "nonsense", stack.anon_key, stack.publishable_key, forged]
    tokens.append(stack.mint("authenticated", driver.user_id, expires_in_s=-60))
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
            example = document["components"]["schemas"][body["$ref"].split("/")[-1]]["examples"][0] if body else None
            place = path.format(station_id="TEST-001", id=NOBODY)
            for token in tokens:
                headers = {"Authorization": f"Bearer {token}"} if token else {"Authorization": ""}
                answer = await driver.old.request(
                    method, place, headers=headers, json=example, params={"energy_kwh": "1"}
                )
                refused(answer, 401, "OCAUT")


async def test_the_description_is_public(project: Project) -> None:
    async with httpx.AsyncClient(base_url=f"{project.stack.url}/functions/v1/ocpp") as anybody:
        assert (await anybody.get("openapi.json")).headers["Content-Type"] == "application/json"
        page = await anybody.get("docs")
        assert page.headers["Content-Type"].startswith("text/plain")  # hosted projects send no HTML
        assert "\nGET /calculate_cost/{station_id}?energy_kwh\n" in page.text
        for method in ("POST", "OPTIONS"):
            headers = {"Access-Control-Request-Method": method, "Origin": "https://app.example"}
            answer = await anybody.options("users", headers=headers)
            assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (204, "*")
        refused(await anybody.get("metrics"), 404, "OCPTH")


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("PUT", "stations/TEST-001", {"price_per_kwh": 0}, 403, "OCPRM"),
        ("PUT", "stations/KG-TLS-001", {"price_per_kwh": 0}, 404, "OCSTA"),  # not on the map
        ("PUT", "stations/NONE", {"price_per_kwh": 0}, 404, "OCSTA"),
        ("GET", "stations/KG-TLS-001", None, 404, "OCSTA"),
        ("GET", "status/KG-TLS-001", None, 404, "OCSTA"),
        ("GET", "calculate_cost/KG-TLS-001?energy_kwh=1", None, 404, "OCSTA"),
        ("POST", "stations", {"serial_number": "X", "location_id": YARD}, 403, "OCPRM"),
        ("POST", "locations", {"name": "X"}, 403, "OCPRM"),
        ("POST", "tariff_plans", {"name": "X"}, 403, "OCPRM"),
        ("POST", "tariffs", {"station_id": "TEST-001", "price_per_kwh": 0}, 403, "OCPRM"),
        ("DELETE", "tariffs/KG-BSK-010", None, 403, "OCPRM"),
        ("POST", "send_command", {"station_id": "TEST-001", "command": "ClearCache"}, 403, "OCPRM"),
        ("POST", "disconnect", "TEST-001", 403, "OCPRM"),
        ("POST", "users", {"email": "x@evpower.example", "password": "long enough"}, 403, "OCPRM"),
        ("GET", f"users/{NOBODY}", None, 404, "OCROW"),
        ("GET", "users/nonsense", None, 404, "OCROW"),
        ("GET", f"sessions/{NOBODY}", None, 404, "OCROW"),
        ("GET", "tariffs/TEST-001", None, 404, "OCROW"),
        ("POST", "start_charge", {"station_id": "TEST-001"}, 409, "OCOFF"),
        ("POST", "start_charge", {"station_id": "NONE"}, 404, "OCSTA"),
        ("POST", "transactions", {"connection_id": "TEST-001"}, 409, "OCOFF"),
        ("POST", "start_charge", {"station_id": "TEST-001", "limit_type": "energy"}, 422, "OCVAL"),
        ("POST", "start_charge", {"station_id": "TEST-001", "limit_value": 5}, 422, "OCVAL"),
        ("POST", "start_charge", {"station_id": "TEST-001\u0000"}, 422, "OCVAL"),
        ("POST", "start_charge", {}, 422, "OCVAL"),
        ("POST", "disconnect", {"station_id": "TEST-001"}, 422, "OCVAL"),
    ],
)
async def test_a_driver_is_refused(driver: Ways, method: str, path: str, body: object, status: int, code: str) -> None:
    refused(await driver.old.request(method, path, json=body), status, code)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("PUT", "stations/KG-OSH-001", {"price_per_kwh": 0}, 403, "OCPRM"),
        ("PUT", "stations/TEST-001", {"location_id": FOREIGN_PLACE}, 403, "OCPRM"),
        ("PUT", "stations/TEST-001", {"id": "TEST-002"}, 422, "OCVAL"),
        ("PUT", "stations/TEST-001", {"status": "gone"}, 422, "OCVAL"),
        ("PUT", "stations/TEST-001", {"status": None}, 422, "OCVAL"),
        ("PUT", "stations/TEST-001", {"price_per_kwh": 1, "currency": "USD"}, 400, "OCTRF"),
        ("POST", "stations", {"serial_number": "X", "location_id": FOREIGN_PLACE}, 403, "OCPRM"),
        ("POST", "stations", {"serial_number": "X"}, 403, "OCPRM"),
        ("POST", "stations", {"serial_number": "a/b", "location_id": YARD}, 422, "OCVAL"),  # would be its id
        ("POST", "locations", {"name": "X", "client_id": FOREIGN_COMPANY}, 403, "OCPRM"),
        ("POST", "locations", {"name": "X", "latitude": 91}, 422, "OCVAL"),
        ("POST", "tariff_rules", {"tariff_plan_id": FOREIGN_PLAN, "name": "X", "tariff_type": "per_kwh", "price": 1},
         403, "OCPRM"),
        ("POST", "tariffs", {"station_id": "KG-OSH-001", "price_per_kwh": 0}, 403, "OCPRM"),
        ("POST", "send_command", {"station_id": "KG-OSH-001", "command": "ClearCache"}, 403, "OCPRM"),
        ("POST", "send_command", {"station_id": "TEST-001", "command": "Explode"}, 400, "OCACT"),
        ("POST", "send_command", {"station_id": "TEST-001", "command": "Reset"}, 400, "OCPAY"),
        ("POST", "disconnect", "KG-OSH-001", 403, "OCPRM"),
        ("POST", "users", {"email": "x@evpower.example", "password": "long enough"}, 403, "OCPRM"),
        ("PATCH", "stations/TEST-001", {"price_per_kwh": 0}, 405, "OCMET"),
    ],
)  # fmt: skip
async def test_an_operator_is_refused(
    operator: Ways, method: str, path: str, body: object, status: int, code: str
) -> None:
    refused(await operator.old.request(method, path, json=body), status, code)


async def test_what_exists_is_a_duplicate_as_before(operator: Ways, admin: Ways) -> None:
    """400, with a detail that says what."""
    station = {"id": "DUP-1", "serial_number": "DUP-1", "location_id": YARD}
    await operator.post("stations", station)
    said = refused(await operator.old.post("stations", json={**station, "id": "DUP-2"}), 400, "OCDUP")
    assert said["detail"] == "a station with this serial number exists already"
    said = refused(
        await operator.old.post("stations", json={**station, "id": "dup-1", "serial_number": "2"}), 400, "OCDUP"
    )
    assert said["detail"] == "a station with this id exists already"
    refused(await operator.old.put("stations/TEST-001", json={"serial_number": "DUP-1"}), 400, "OCDUP")
    refused(await operator.old.post("tariff_plans", json={"name": "X", "is_default": True}), 400, "OCDUP")
    user = {"email": "twice@evpower.example", "password": "long enough"}
    await admin.post("users", user)
    said = refused(await admin.old.post("users", json={**user, "email": "Twice@evpower.example"}), 400, "OCDUP")
    assert said["detail"] == "a user with this e-mail exists already"


async def test_a_reference_to_nothing_is_not_found(admin: Ways) -> None:
    for path, body, column in (
        ("stations", {"serial_number": "X", "location_id": NOBODY}, "location_id"),
        ("stations", {"serial_number": "X", "location_id": YARD, "admin_id": NOBODY}, "admin_id"),
        ("locations", {"name": "X", "client_id": NOBODY}, "client_id"),
    ):
        said = refused(await admin.old.post(path, json=body), 404, "OCREF")
        assert said["detail"].startswith(f"{column}:")


async def test_a_station_whose_connectors_cannot_be_made_is_not_made(operator: Ways, db: psycopg.Connection) -> None:
    """Two requests, one result."""
    db.execute("alter table connectors add constraint refused check (station_id <> 'HALF-1')")
    body = {"id": "HALF-1", "serial_number": "HALF-1", "location_id": YARD, "connectors_count": 2}
    refused(await operator.old.post("stations", json=body), 422, "OCVAL")
    assert db.execute("select from stations where id = 'HALF-1'").fetchall() == []


async def test_a_user_is_made_whole_or_not_at_all(admin: Ways, db: psycopg.Connection) -> None:
    user = {"email": "half@evpower.example", "password": "long enough"}
    refused(await admin.old.post("users", json={**user, "admin_id": NOBODY}), 404, "OCREF")
    refused(await admin.old.post("users", json={**user, "role": "superadmin"}), 403, "OCPRM")
    refused(await admin.old.post("users", json={**user, "role": "bridge"}), 422, "OCVAL")
    refused(await admin.old.post("users", json={**user, "password": "short"}), 422, "OCVAL")
    assert db.execute("select from auth.users where email = 'half@evpower.example'").fetchall() == []
    made = await admin.post("users", {**user, "is_active": False})
    assert (made["role"], made["is_active"]) == ("operator", False)


async def test_superadmins_are_made_by_superadmins_and_by_the_service_key(
    project: Project, admin: Ways, db: psycopg.Connection
) -> None:
    body = {"email": "root@evpower.example", "password": "long enough", "role": "superadmin"}
    service = {"Authorization": f"Bearer {project.env['SUPABASE_SERVICE_ROLE_KEY']}"}
    assert (await admin.old.post("users", json=body, headers=service)).json()["role"] == "superadmin"
    db.execute("update users set role = 'superadmin' where id = %s", [admin.user_id])
    assert (await admin.post("users", {**body, "email": "root2@evpower.example"}))["role"] == "superadmin"
    db.execute("update users set role = 'admin' where id = %s", [admin.user_id])


async def test_a_user_who_is_not_active_may_do_nothing(project: Project, db: psycopg.Connection) -> None:
    async with ways_of(project.env, "DEMO_DRIVER2") as ways:
        db.execute("update users set is_active = false where id = %s", [ways.user_id])
        assert await ways.get("sessions") == []
        refused(await ways.old.post("start_charge", json={"station_id": "TEST-001"}), 403, "OCPRM")
        db.execute("update users set is_active = true where id = %s", [ways.user_id])


async def test_lists_are_never_cut_without_saying_so(admin: Ways, db: psycopg.Connection) -> None:
    """The data API gives at most 1,000 rows."""
    db.execute(
        "insert into locations (name, client_id) select 'L' || n, %s from generate_series(1, 1005) as n", [COMPANY]
    )
    first = await admin.old.get("locations")
    assert len(first.json()) == 1000
    assert first.headers["Link"] == '</functions/v1/ocpp/locations?offset=1000>; rel="next"'
    rest = await admin.old.get("locations", params={"offset": "1000"})
    assert "Link" not in rest.headers
    ids = [row["id"] for row in first.json() + rest.json()]
    assert len(set(ids)) == len(ids) == db.execute("select count(*) from locations").fetchall()[0][0]
    page = await admin.old.get("stations", params={"limit": "5", "location_id": YARD})
    assert "Link" not in page.headers
    page = await admin.old.get("tariff_rules", params={"limit": "5", "offset": "10"})
    assert page.headers["Link"] == '</functions/v1/ocpp/tariff_rules?limit=5&offset=15>; rel="next"'
    assert await admin.get("stations", offset="100000") == []


async def test_slashes_at_the_end_and_head_do_no_harm(driver: Ways) -> None:
    assert await driver.get("stations/TEST-001/") == await driver.get("stations/TEST-001")
    assert len(await driver.get("stations/")) > 1
    head = await driver.old.head("stations")
    assert (head.status_code, head.content) == (200, b"")


async def test_an_id_of_a_station_may_be_written_in_any_case(operator: Ways) -> None:
    """As in commands: no two ids differ in case only."""
    await operator.post("stations", {"serial_number": "Any_Case%1", "location_id": YARD})
    await operator.post("stations", {"serial_number": "AnyXCase21", "location_id": YARD})  # no pattern finds this one
    for path in ("stations/any_case%251", "status/ANY_CASE%251"):
        shown = await operator.get(path)
        assert shown.get("id", shown.get("station_id")) == "Any_Case%1"
    refused(await operator.old.get("stations/any_case_1"), 404, "OCSTA")
    refused(await operator.old.get("stations/any*case*1"), 404, "OCSTA")
    assert (await operator.put("stations/any_case%251", id="any_case%1", price_per_kwh=17))["id"] == "Any_Case%1"
    assert (await operator.get("tariffs/any_case%251"))["price_per_kwh"] == 17
    (shown,) = await operator.get("tariffs", station_id="any_case%1")
    assert shown["station_id"] == "Any_Case%1"
    assert await operator.delete("tariffs/any_case%251") == {"status": "deleted"}
    refused(await operator.old.delete("tariffs/any_case%251"), 404, "OCROW")
    refused(await operator.old.put("stations/kg-osh-001", json={"price_per_kwh": 1}), 403, "OCPRM")


async def test_what_is_null_in_something_new_is_left_out(operator: Ways) -> None:
    """Clients that fill a form's gaps with null get what they would get without them."""
    gaps = dict.fromkeys(("address", "city", "country", "latitude", "longitude", "client_id"))
    location = await operator.post("locations", {"name": "Gaps", **gaps})
    assert (location["country"], location["client_id"]) == ("KG", COMPANY)
    gaps = dict.fromkeys(("id", "model", "connector_types", "status", "currency", "connectors_count", "admin_id"))
    body = {"serial_number": "GAPS-1", "location_id": location["id"], "installation_date": "2026-05-06T00:00:00.000Z"}
    station = await operator.post("stations", {**gaps, **body})
    assert (station["id"], station["status"], station["currency"]) == ("GAPS-1", "active", "KGS")
    assert (station["connector_types"], station["installation_date"]) == ([], "2026-05-06")
    plan = await operator.post("tariff_plans", {"name": "Gaps", "is_active": None, "is_default": None})
    assert (plan["is_active"], plan["is_default"]) == (True, False)
    gaps = dict.fromkeys(("connector_type", "power_range_min", "currency", "time_start", "time_end", "priority"))
    needed = {"tariff_plan_id": plan["id"], "name": "Gaps", "tariff_type": "per_kwh", "price": 1}
    rule = await operator.post("tariff_rules", {**needed, **gaps})
    assert (rule["connector_type"], rule["time_start"], rule["time_end"]) == ("ALL", "00:00:00", "23:59:59")
    refused(await operator.old.post("stations", json={**body, "installation_date": "2026-02-30"}), 422, "OCVAL")


async def test_strange_ids_are_unknown_ones(driver: Ways) -> None:
    for station_id in ("a%20b", "%0A", "eq.TEST-001", "TEST-001)%2Cor(id.eq.X", "%F0%9F%94%8C", "..%2F..", "*"):
        refused(await driver.old.get(f"status/{station_id}"), 404, "OCSTA")
    refused(await driver.old.get("status/%00"), 404, "OCPTH")


async def test_bodies_that_are_no_requests(operator: Ways) -> None:
    for content in (b"", b"{", b"[]", b"null", b'"\xff"', b"[" * 100_000):
        refused(await operator.old.post("stations", content=content), 422, "OCVAL")
    for text in ("\\ud800", "\\u0000"):
        body = f'{{"serial_number": "{text}", "location_id": "{YARD}"}}'.encode()
        refused(await operator.old.post("stations", content=body), 422, "OCVAL")
    refused(await operator.old.post("stations", content=b" " * (1024 * 1024 + 1)), 413, "OCBIG")


async def test_fields_that_are_not_in_the_schema_are_ignored_whatever_their_name(
    operator: Ways, db: psycopg.Connection
) -> None:
    """Also names that every object of JavaScript knows, which no column has."""
    strange = {"constructor": 1, "toString": None, "__proto__": {"role": "admin"}, "balance": 5, "select": "*"}
    made = await operator.old.post("locations", json={"name": "Strange", **strange})
    assert made.status_code == 200, made.text
    changed = await operator.old.put("stations/TEST-001", json=strange)
    assert changed.status_code == 200, changed.text
    db.execute("delete from locations where id = %s", [made.json()["id"]])
    db.commit()


async def test_what_the_database_s_rules_say_is_passed_on(operator: Ways) -> None:
    rule = {"tariff_plan_id": "b0000000-0000-4000-8000-000000000002", "name": "X", "tariff_type": "per_kwh", "price": 1}
    wrong = {"power_range_min": 100, "power_range_max": 50}
    said = refused(await operator.old.post("tariff_rules", json={**rule, **wrong}), 422, "OCVAL")
    assert "out of range" in said["detail"]
    refused(await operator.old.post("tariff_rules", json={**rule, "currency": "USD"}), 400, "OCTRF")


async def test_without_a_database_it_is_503_and_then_well_again(seeded_stack: LocalSupabase) -> None:
    token = seeded_stack.mint("authenticated", str(uuid4()))
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=f"{seeded_stack.url}/functions/v1/ocpp", headers=headers, timeout=90) as http:
        # the very first requests: nobody waits for a process that is not there yet with an error
        answers = await asyncio.gather(*(http.get("stations") for _ in range(10)))
        assert [answer.status_code for answer in answers] == [200] * 10
        seeded_stack.stop("postgrest")
        problem = refused(await http.get("stations"), 503, "OCDWN")
        assert "PostgREST" not in problem["detail"]
        assert (await http.get("openapi.json")).status_code == 200
        seeded_stack.start("postgrest")
        assert (await http.get("stations")).status_code == 200


async def test_supabase_s_own_client_can_call_it(project: Project) -> None:
    async with signed_in(project.env, "DEMO_DRIVER") as client:
        answer = await client.functions.invoke(
            "ocpp/calculate_cost/TEST-001?energy_kwh=25.5", {"method": "GET", "responseType": "json"}
        )
    assert answer["cost"] == 382.5
