"""The demo's users, one per role, made through the Auth admin API with passwords of their own."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import httpx
from supabase import AsyncClient, AsyncClientOptions, AuthApiError, acreate_client

from local_supabase import env_file

# prefix of the keys in .local/env -> e-mail (the seed knows them), role
USERS = {
    "DEMO_DRIVER": ("driver@evpower.example", "driver"),
    "DEMO_DRIVER2": ("driver2@evpower.example", "driver"),
    "DEMO_OPERATOR": ("operator@evpower.example", "operator"),
    "DEMO_ADMIN": ("admin@evpower.example", "admin"),
    "BRIDGE": ("bridge@evpower.example", "bridge"),
}

ENOUGH = 2000  # KGS: the session that is shown, and some tries


async def ensure_users(env_path: Path) -> dict[str, str]:
    """Every user of USERS exists and can sign in; returns the file's lines, with PREFIX_EMAIL and PREFIX_PASSWORD.

    Passwords are minted once and kept in the file. A user whose password no longer fits gets a new one.
    """
    env = env_file.read(env_path)
    async with httpx.AsyncClient() as http:
        options = AsyncClientOptions(httpx_client=http, auto_refresh_token=False, persist_session=False)
        admin = await acreate_client(env["SUPABASE_URL"], env["SUPABASE_SERVICE_ROLE_KEY"], options)
        anon = await acreate_client(env["SUPABASE_URL"], env["SUPABASE_ANON_KEY"], options)
        for prefix, (email, role) in USERS.items():
            password = env.get(f"{prefix}_PASSWORD") or secrets.token_urlsafe(18)
            if not await _signs_in(anon, email, password):
                user_id = await _set_password(admin, email, password)
                await admin.table("users").update({"role": role}).eq("id", user_id).execute()
            env |= {f"{prefix}_EMAIL": email, f"{prefix}_PASSWORD": password}
    env_file.update(env_path, {key: env[key] for prefix in USERS for key in (f"{prefix}_EMAIL", f"{prefix}_PASSWORD")})
    return env


async def ensure_funds(env: Mapping[str, str]) -> None:
    """Tops up drivers who have spent nearly all, so that the demonstration can be run for ever."""
    async with httpx.AsyncClient() as http:
        options = AsyncClientOptions(httpx_client=http, auto_refresh_token=False, persist_session=False)
        admin = await acreate_client(env["SUPABASE_URL"], env["SUPABASE_SERVICE_ROLE_KEY"], options)
        drivers = await admin.table("users").select("client:clients(id,balance)").eq("role", "driver").execute()
        for account in (driver["client"] for driver in cast(list[dict[str, Any]], drivers.data)):
            if account is not None and account["balance"] < ENOUGH:
                payment = {"client_id": account["id"], "amount": ENOUGH, "reference": f"demo {secrets.token_hex(8)}"}
                await admin.rpc("top_up_account", payment).execute()


async def sign_in(env: dict[str, str], prefix: str) -> AsyncClient:
    """A client with the JWT of one of USERS, as a frontend has it."""
    client = await acreate_client(env["SUPABASE_URL"], env["SUPABASE_ANON_KEY"])
    await client.auth.sign_in_with_password({"email": env[f"{prefix}_EMAIL"], "password": env[f"{prefix}_PASSWORD"]})
    return client


async def _signs_in(client: AsyncClient, email: str, password: str) -> bool:
    try:
        await client.auth.sign_in_with_password({"email": email, "password": password})
    except AuthApiError:
        return False
    await client.auth.sign_out({"scope": "local"})
    return True


async def _set_password(admin: AsyncClient, email: str, password: str) -> str:
    known = {user.email: user.id for user in await admin.auth.admin.list_users(per_page=1000)}
    if email in known:
        await admin.auth.admin.update_user_by_id(known[email], {"password": password})
        return known[email]
    made = await admin.auth.admin.create_user({"email": email, "password": password, "email_confirm": True})
    return made.user.id
