"""What Supabase Auth does beyond what the official clients show: reuse of tokens, rows made by SQL, error shapes."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest

from local_supabase import LocalSupabase

PASSWORD = "correct horse 7"


@pytest.fixture
def http(stack: LocalSupabase) -> Iterator[httpx.Client]:
    """The auth API with the anon key."""
    with httpx.Client(base_url=f"{stack.url}/auth/v1", headers={"apikey": stack.anon_key}) as client:
        yield client


@pytest.fixture
def admin(stack: LocalSupabase) -> Iterator[httpx.Client]:
    """The auth API with the service key."""
    with httpx.Client(base_url=f"{stack.url}/auth/v1", headers={"apikey": stack.secret_key}) as client:
        yield client


@pytest.fixture
def sql(stack: LocalSupabase) -> Iterator[psycopg.Connection[Any]]:
    with stack.connect() as connection:
        yield connection


@pytest.fixture
def session(http: httpx.Client, admin: httpx.Client) -> dict[str, Any]:
    """A fresh user's answer to signing in."""
    email = f"{secrets.token_hex(6)}@example.org"
    admin.post("/admin/users", json={"email": email, "password": PASSWORD, "email_confirm": True}).raise_for_status()
    answer: dict[str, Any] = sign_in(http, email).json()
    return answer


def sign_in(http: httpx.Client, email: str, password: str = PASSWORD) -> httpx.Response:
    return http.post("/token?grant_type=password", json={"email": email, "password": password})


def refresh(http: httpx.Client, token: str) -> httpx.Response:
    return http.post("/token?grant_type=refresh_token", json={"refresh_token": token})


def grow_old(sql: psycopg.Connection[Any], token: str) -> None:
    """Let the reuse interval of a token pass."""
    sql.execute("update auth.refresh_tokens set updated_at = updated_at - interval '11 s' where token = %s", [token])


def test_a_stolen_token_ends_the_session(
    http: httpx.Client, sql: psycopg.Connection[Any], session: dict[str, Any]
) -> None:
    first = session["refresh_token"]
    second = refresh(http, first).json()["refresh_token"]
    third = refresh(http, second).json()["refresh_token"]
    grow_old(sql, first)
    assert refresh(http, first).json()["error_code"] == "refresh_token_already_used"
    # whoever holds the newest token cannot be told from the thief
    grow_old(sql, third)
    assert refresh(http, third).json()["error_code"] == "refresh_token_already_used"


def test_an_older_token_works_within_the_reuse_interval(http: httpx.Client, session: dict[str, Any]) -> None:
    second = refresh(http, session["refresh_token"]).json()["refresh_token"]
    refresh(http, second)
    assert refresh(http, session["refresh_token"]).status_code == 200


def test_a_lost_answer_is_given_again_at_any_time(
    http: httpx.Client, sql: psycopg.Connection[Any], session: dict[str, Any]
) -> None:
    second = refresh(http, session["refresh_token"]).json()["refresh_token"]
    grow_old(sql, session["refresh_token"])
    assert refresh(http, session["refresh_token"]).json()["refresh_token"] == second


def test_refreshes_at_the_same_moment_agree_on_one_token(http: httpx.Client, session: dict[str, Any]) -> None:
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: refresh(http, session["refresh_token"]), range(8)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["refresh_token"] for answer in answers}) == 1


def test_an_unknown_refresh_token_is_refused(http: httpx.Client) -> None:
    answer = refresh(http, "nonsense")
    assert (answer.status_code, answer.json()["error_code"]) == (400, "refresh_token_not_found")


def test_errors_have_the_shape_of_the_callers_api_version(http: httpx.Client) -> None:
    old = sign_in(http, "nobody@example.org")
    assert old.json() == {"code": 400, "error_code": "invalid_credentials", "msg": "Invalid login credentials"}
    new = http.post(
        "/token?grant_type=password",
        json={"email": "nobody@example.org", "password": "x"},
        headers={"X-Supabase-Api-Version": "2024-01-01"},
    )
    assert new.json() == {"code": "invalid_credentials", "message": "Invalid login credentials"}
    assert new.headers["X-Supabase-Api-Version"] == "2024-01-01"


INSERT_USER = """
insert into auth.users
  (instance_id, id, aud, role, email, encrypted_password, email_confirmed_at, created_at, updated_at,
   raw_app_meta_data, raw_user_meta_data, confirmation_token, recovery_token, email_change_token_new, email_change)
values (%(instance)s, %(id)s, 'authenticated', 'authenticated', %(email)s, '', now(), now(), now(),
        '{"provider": "email", "providers": ["email"]}', '{}', %(token)s, '', '', '')"""


def insert_user(sql: psycopg.Connection[Any], token: str | None = "") -> str:
    user_id = str(uuid4())
    values = {"instance": "00000000-0000-0000-0000-000000000000", "id": user_id, "email": f"{user_id}@example.org"}
    sql.execute(INSERT_USER, values | {"token": token})
    return user_id


def test_a_user_made_by_sql_gets_a_password_and_signs_in(
    http: httpx.Client, admin: httpx.Client, sql: psycopg.Connection[Any]
) -> None:
    user_id = insert_user(sql)
    assert sign_in(http, f"{user_id}@example.org", "").json()["error_code"] == "invalid_credentials"
    assert user_id in [user["id"] for user in admin.get("/admin/users?per_page=1000").json()["users"]]
    assert admin.put(f"/admin/users/{user_id}", json={"password": PASSWORD}).status_code == 200
    assert sign_in(http, f"{user_id}@example.org").json()["user"]["id"] == user_id


def test_a_row_that_hosted_auth_cannot_read_fails_here_too(
    http: httpx.Client, admin: httpx.Client, sql: psycopg.Connection[Any]
) -> None:
    user_id = insert_user(sql, token=None)
    try:
        answer = sign_in(http, f"{user_id}@example.org")
        assert (answer.status_code, answer.json()["msg"]) == (500, "Database error querying schema")
        assert admin.get(f"/admin/users/{user_id}").json()["msg"] == "Database error loading user"
    finally:
        sql.execute("delete from auth.users where id = %s", [user_id])


def test_admin_creates_a_user_with_a_given_id(admin: httpx.Client) -> None:
    user_id = str(uuid4())
    user = {"id": user_id, "email": f"{user_id}@example.org", "role": "authenticated", "app_metadata": {"plan": 1}}
    made = admin.post("/admin/users", json=user).json()
    assert (made["id"], made["app_metadata"]["plan"], "email_confirmed_at" in made) == (user_id, 1, False)


def test_an_unconfirmed_user_cannot_sign_in(http: httpx.Client, admin: httpx.Client) -> None:
    email = f"{secrets.token_hex(6)}@example.org"
    user_id = admin.post("/admin/users", json={"email": email, "password": PASSWORD}).json()["id"]
    assert sign_in(http, email).json()["error_code"] == "email_not_confirmed"
    admin.put(f"/admin/users/{user_id}", json={"email_confirm": True})
    assert sign_in(http, email).status_code == 200


def test_signing_up_signs_in(http: httpx.Client) -> None:
    email = f"{secrets.token_hex(6)}@example.org"
    body = {"email": email, "password": PASSWORD, "data": {"name": "Aida"}}
    first = http.post("/signup", json=body).json()
    assert first["user"]["user_metadata"] == {"name": "Aida", "email_verified": True}
    again = http.post("/signup", json=body)
    assert (again.status_code, again.json()["error_code"]) == (422, "user_already_exists")


def test_a_new_password_ends_the_other_sessions(http: httpx.Client, session: dict[str, Any]) -> None:
    elsewhere = sign_in(http, session["user"]["email"]).json()
    here = {"Authorization": f"Bearer {session['access_token']}"}
    assert http.put("/user", json={"password": "a new password"}, headers=here).status_code == 200
    assert refresh(http, elsewhere["refresh_token"]).json()["error_code"] == "refresh_token_not_found"
    assert refresh(http, session["refresh_token"]).status_code == 200


def test_a_user_cannot_grant_themselves_app_metadata(http: httpx.Client, session: dict[str, Any]) -> None:
    answer = http.put(
        "/user",
        json={"app_metadata": {"role": "admin"}},
        headers={"Authorization": f"Bearer {session['access_token']}"},
    )
    assert (answer.status_code, answer.json()["error_code"]) == (403, "not_admin")


@pytest.mark.parametrize(
    ("token", "status", "code"),
    [
        ("", 403, "bad_jwt"),  # the anon key is a token without a user
        ("Bearer nonsense", 403, "bad_jwt"),
        ("Basic YTpi", 401, "no_authorization"),
    ],
)
def test_a_user_needs_a_token_of_their_own(http: httpx.Client, token: str, status: int, code: str) -> None:
    answer = http.get("/user", headers={"Authorization": token} if token else {})
    assert (answer.status_code, answer.json()["error_code"]) == (status, code)


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"email": 1, "password": "x"}'])
def test_a_broken_body_is_bad_json(http: httpx.Client, body: bytes) -> None:
    answer = http.post("/token?grant_type=password", content=body)
    assert (answer.status_code, answer.json()["error_code"]) == (400, "bad_json")


def test_pages_of_users_are_counted(admin: httpx.Client, session: dict[str, Any]) -> None:
    answer = admin.get("/admin/users?page=1&per_page=1")
    assert len(answer.json()["users"]) == 1
    total = int(answer.headers["X-Total-Count"])
    assert f'page={total}&per_page=1>; rel="last"' in answer.headers["Link"]


def test_a_soft_deleted_user_is_unrecognisable(
    http: httpx.Client, admin: httpx.Client, session: dict[str, Any], sql: psycopg.Connection[Any]
) -> None:
    user = session["user"]
    admin.request("DELETE", f"/admin/users/{user['id']}", json={"should_soft_delete": True}).raise_for_status()
    assert sign_in(http, user["email"]).json()["error_code"] == "invalid_credentials"
    kept = admin.get(f"/admin/users/{user['id']}").json()
    assert (kept["email"] != user["email"], kept["identities"], "deleted_at" in kept) == (True, [], True)


def test_health_settings_and_keys(http: httpx.Client, stack: LocalSupabase) -> None:
    assert http.get("/health").json()["name"] == "GoTrue"
    assert http.get("/settings").json()["external"]["email"] is True
    assert httpx.get(f"{stack.url}/auth/v1/.well-known/jwks.json").json() == {"keys": []}  # needs no API key


def test_what_is_not_there_is_404(http: httpx.Client) -> None:
    assert http.post("/otp", json={}).status_code == 404
    assert http.put("/token").status_code == 405
