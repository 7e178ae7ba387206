"""Supabase's Python client signs in, refreshes and administers users; runs against any Supabase project."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import httpx
import jwt
import pytest
from supabase import AuthApiError, Client, ClientOptions, create_client
from supabase_auth.errors import AuthWeakPasswordError
from supabase_auth.types import User

from tests.support import Api


@dataclass(frozen=True)
class Account:
    id: str
    email: str
    password: str


Connect = Callable[[str], Client]


@pytest.fixture
def connect(api: Api) -> Iterator[Connect]:
    """Clients by API key; their connections are closed with the test."""
    with httpx.Client() as http:
        options = ClientOptions(httpx_client=http, auto_refresh_token=False, persist_session=False)
        yield lambda key: create_client(api.url, key, options=options)


@pytest.fixture
def admin(api: Api, connect: Connect) -> Client:
    return connect(api.service_role_key)


@pytest.fixture
def client(api: Api, connect: Connect) -> Client:
    return connect(api.anon_key)


@pytest.fixture
def other(api: Api, connect: Connect) -> Client:
    """A second device."""
    return connect(api.anon_key)


@pytest.fixture
def account(admin: Client) -> Iterator[Account]:
    """A confirmed user, gone afterwards."""
    email, password = f"{secrets.token_hex(6)}@example.org", secrets.token_urlsafe(12)
    user = admin.auth.admin.create_user(
        {"email": email, "password": password, "email_confirm": True, "user_metadata": {"name": "Aida"}}
    ).user
    yield Account(user.id, email, password)
    if any(found.id == user.id for found in everybody(admin)):
        admin.auth.admin.delete_user(user.id)


def everybody(admin: Client) -> list[User]:
    return admin.auth.admin.list_users(per_page=1000)


def test_signs_in_with_a_password(client: Client, account: Account) -> None:
    session = client.auth.sign_in_with_password({"email": account.email.upper(), "password": account.password}).session
    assert session is not None
    assert session.user.id == account.id
    assert session.user.user_metadata["name"] == "Aida"
    claims = jwt.decode(session.access_token, options={"verify_signature": False})
    assert (claims["sub"], claims["role"], claims["aud"], claims["aal"]) == (
        *(account.id, "authenticated", "authenticated", "aal1"),
    )
    assert claims["amr"][0]["method"] == "password"
    assert claims["exp"] - claims["iat"] == session.expires_in


def test_a_wrong_password_is_told_apart_by_its_code(client: Client, account: Account) -> None:
    with pytest.raises(AuthApiError) as refused:
        client.auth.sign_in_with_password({"email": account.email, "password": "wrong"})
    assert (refused.value.status, refused.value.code) == (400, "invalid_credentials")


def test_an_unknown_address_looks_like_a_wrong_password(client: Client) -> None:
    with pytest.raises(AuthApiError) as refused:
        client.auth.sign_in_with_password({"email": "nobody@example.org", "password": "wrong"})
    assert refused.value.code == "invalid_credentials"


def test_the_api_accepts_the_token(client: Client, account: Account) -> None:
    client.auth.sign_in_with_password({"email": account.email, "password": account.password})
    found = client.auth.get_user()
    assert found is not None
    assert found.user.email == account.email


def test_a_refresh_gives_a_new_pair_for_the_same_session(client: Client, account: Account) -> None:
    first = client.auth.sign_in_with_password({"email": account.email, "password": account.password}).session
    second = client.auth.refresh_session().session
    assert first is not None
    assert second is not None
    assert second.refresh_token != first.refresh_token
    sessions = {
        jwt.decode(token, options={"verify_signature": False})["session_id"]
        for token in (first.access_token, second.access_token)
    }
    assert len(sessions) == 1


def test_signing_out_ends_the_session(client: Client, other: Client, account: Account) -> None:
    session = client.auth.sign_in_with_password({"email": account.email, "password": account.password}).session
    assert session is not None
    client.auth.sign_out()
    with pytest.raises(AuthApiError) as refused:
        other.auth.refresh_session(session.refresh_token)
    assert refused.value.code == "refresh_token_not_found"
    with pytest.raises(AuthApiError) as refused:
        other.auth.get_user(session.access_token)
    assert refused.value.code == "session_not_found"


def test_signing_out_elsewhere_keeps_this_session(client: Client, other: Client, account: Account) -> None:
    credentials = {"email": account.email, "password": account.password}
    elsewhere = other.auth.sign_in_with_password(credentials).session
    assert elsewhere is not None
    client.auth.sign_in_with_password(credentials)
    client.auth.sign_out({"scope": "others"})
    found = client.auth.get_user()
    assert found is not None
    with pytest.raises(AuthApiError):
        other.auth.refresh_session(elsewhere.refresh_token)


def test_a_user_changes_their_password_and_data(client: Client, account: Account) -> None:
    client.auth.sign_in_with_password({"email": account.email, "password": account.password})
    client.auth.update_user({"password": "another-one-77", "data": {"name": "Aida K.", "language": "ky"}})
    session = client.auth.sign_in_with_password({"email": account.email, "password": "another-one-77"}).session
    assert session is not None
    assert (session.user.user_metadata["name"], session.user.user_metadata["language"]) == ("Aida K.", "ky")


def test_a_weak_password_is_refused(client: Client, account: Account) -> None:
    client.auth.sign_in_with_password({"email": account.email, "password": account.password})
    with pytest.raises(AuthWeakPasswordError) as refused:
        client.auth.update_user({"password": "abc"})
    assert refused.value.reasons == ["length"]


def test_the_same_password_again_is_refused(client: Client, account: Account) -> None:
    client.auth.sign_in_with_password({"email": account.email, "password": account.password})
    with pytest.raises(AuthApiError) as refused:
        client.auth.update_user({"password": account.password})
    assert refused.value.code == "same_password"


def test_admins_see_change_and_delete_users(admin: Client, account: Account) -> None:
    assert account.id in [user.id for user in everybody(admin)]
    changed = admin.auth.admin.update_user_by_id(
        account.id, {"app_metadata": {"company": "Bishkek"}, "user_metadata": {"name": None}}
    ).user
    assert changed.app_metadata == {"provider": "email", "providers": ["email"], "company": "Bishkek"}
    assert "name" not in changed.user_metadata
    admin.auth.admin.delete_user(account.id)
    with pytest.raises(AuthApiError) as refused:
        admin.auth.admin.get_user_by_id(account.id)
    assert refused.value.code == "user_not_found"


def test_an_address_can_be_registered_once(admin: Client, account: Account) -> None:
    with pytest.raises(AuthApiError) as refused:
        admin.auth.admin.create_user({"email": account.email.upper(), "password": "whatever-1"})
    assert (refused.value.status, refused.value.code) == (422, "email_exists")


def test_a_banned_user_cannot_sign_in(admin: Client, client: Client, account: Account) -> None:
    admin.auth.admin.update_user_by_id(account.id, {"ban_duration": "24h"})
    credentials = {"email": account.email, "password": account.password}
    with pytest.raises(AuthApiError) as refused:
        client.auth.sign_in_with_password(credentials)
    assert refused.value.code == "user_banned"
    admin.auth.admin.update_user_by_id(account.id, {"ban_duration": "none"})
    assert client.auth.sign_in_with_password(credentials).session is not None


def test_users_are_no_admins(client: Client, account: Account) -> None:
    session = client.auth.sign_in_with_password({"email": account.email, "password": account.password}).session
    assert session is not None
    client.auth.admin._headers["Authorization"] = f"Bearer {session.access_token}"
    with pytest.raises(AuthApiError) as refused:
        client.auth.admin.list_users()
    assert (refused.value.status, refused.value.code) == (403, "not_admin")
