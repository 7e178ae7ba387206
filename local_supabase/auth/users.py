"""Rows of auth.users and auth.identities, and the JSON that the API makes of them."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from base64 import b64encode
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import psycopg
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from .errors import AuthError, broken, email_exists, invalid

log = logging.getLogger(__name__)
AUDIENCE = "authenticated"
INSTANCE = UUID(int=0)  # every row has it; Supabase Auth finds no row without it
Connection = psycopg.AsyncConnection[DictRow]
Row = dict[str, Any]

# Supabase Auth reads these into types that cannot be null: a row inserted by hand without them breaks it. Here too, or
# a seed that works locally would lock people out of the hosted project.
NEVER_NULL = (
    *("aud", "role", "created_at", "updated_at", "confirmation_token", "recovery_token", "email_change_token_new"),
    *("email_change", "email_change_token_current", "phone_change", "phone_change_token", "reauthentication_token"),
)
TIMES = (
    *("email_confirmed_at", "invited_at", "phone_confirmed_at", "confirmation_sent_at", "confirmed_at"),
    *("recovery_sent_at", "email_change_sent_at", "phone_change_sent_at", "reauthentication_sent_at"),
    *("last_sign_in_at", "banned_until", "deleted_at"),
)
EMAIL = re.compile(r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)+")


def check_email(email: str) -> str:
    """The address in lower case. Raises AuthError validation_failed."""
    if not EMAIL.fullmatch(email) or len(email) > 255:
        raise invalid("Unable to validate email address: invalid format")
    return email.lower()


def check_row(row: Row, message: str) -> Row:
    """The row itself. Raises what Supabase Auth answers for a row it cannot read."""
    missing = [column for column in NEVER_NULL if row[column] is None]
    if missing:
        log.warning("auth.users %s: null in %s; Supabase Auth cannot read such a row", row["id"], ", ".join(missing))
        raise broken(message)
    return row


async def by_email(connection: Connection, email: str, message: str) -> Row | None:
    """The user with the address. Raises AuthError with the message when the row cannot be read."""
    query = """select * from auth.users
                where instance_id = %s and lower(email) = %s and aud = %s and is_sso_user = false limit 1"""
    cursor = await connection.execute(query, [INSTANCE, email.lower(), AUDIENCE])
    row = await cursor.fetchone()
    return row and check_row(row, message)


async def by_id(connection: Connection, user_id: UUID) -> Row | None:
    """The user with the id. Raises AuthError when the row cannot be read."""
    cursor = await connection.execute(
        "select * from auth.users where instance_id = %s and id = %s", [INSTANCE, user_id]
    )
    row = await cursor.fetchone()
    return row and check_row(row, "Database error loading user")


async def page(connection: Connection, number: int, size: int) -> tuple[list[Row], int]:
    """One page of all users, newest first, and how many there are."""
    where = "where instance_id = %s and aud = %s"
    cursor = await connection.execute(f"select count(*) as n from auth.users {where}", [INSTANCE, AUDIENCE])
    counted = await cursor.fetchone()
    cursor = await connection.execute(
        f"select * from auth.users {where} order by created_at desc, id limit %s offset %s",
        [INSTANCE, AUDIENCE, size, (number - 1) * size],
    )
    rows = [check_row(row, "Database error finding users") for row in await cursor.fetchall()]
    return rows, counted["n"] if counted else 0


async def create(
    connection: Connection,
    email: str,
    encrypted_password: str,
    *,
    user_id: UUID | None = None,
    user_metadata: Row | None = None,
    app_metadata: Row | None = None,
    role: str = AUDIENCE,
    confirmed: bool = False,
    banned_until: datetime | None = None,
) -> UUID:
    """The id of a new user with an e-mail identity. Raises AuthError email_exists."""
    user_id = user_id or uuid4()
    now = datetime.now(UTC)
    app = {"provider": "email", "providers": ["email"]} | (app_metadata or {})
    # Supabase Auth notes the confirmation in the metadata that the user can read
    metadata = (user_metadata or {}) | ({"email_verified": True} if confirmed else {})
    try:
        await connection.execute(
            """insert into auth.users
                 (instance_id, id, aud, role, email, encrypted_password, email_confirmed_at, confirmation_token,
                  recovery_token, email_change_token_new, email_change, raw_app_meta_data, raw_user_meta_data,
                  banned_until, created_at, updated_at)
               values (%s, %s, %s, %s, %s, %s, %s, '', '', '', '', %s, %s, %s, %s, %s)""",
            [
                *(INSTANCE, user_id, AUDIENCE, role, email, encrypted_password, now if confirmed else None),
                *(Jsonb(without_nulls(app)), Jsonb(without_nulls(metadata)), banned_until, now, now),
            ],
        )
    except psycopg.errors.UniqueViolation as exc:
        if "email" in (exc.diag.constraint_name or ""):
            raise email_exists() from exc
        raise broken("Database error creating new user") from exc
    await _create_identity(connection, user_id, email, now)
    return user_id


async def _create_identity(connection: Connection, user_id: UUID, email: str, now: datetime) -> None:
    data = {"sub": str(user_id), "email": email, "email_verified": False, "phone_verified": False}
    await connection.execute(
        """insert into auth.identities
             (provider_id, user_id, identity_data, provider, last_sign_in_at, created_at, updated_at)
           values (%s, %s, %s, 'email', %s, %s, %s)""",
        [str(user_id), user_id, Jsonb(data), now, now, now],
    )


async def set_email(connection: Connection, user_id: UUID, email: str) -> None:
    """Change the address of user and identity. Raises AuthError email_exists."""
    try:
        await connection.execute("update auth.users set email = %s, updated_at = now() where id = %s", [email, user_id])
    except psycopg.errors.UniqueViolation as exc:
        raise email_exists() from exc
    cursor = await connection.execute(
        """update auth.identities set identity_data = identity_data || %s, updated_at = now()
            where user_id = %s and provider = 'email'""",
        [Jsonb({"email": email}), user_id],
    )
    if cursor.rowcount == 0:
        await _create_identity(connection, user_id, email, datetime.now(UTC))


async def set_password(connection: Connection, user_id: UUID, encrypted: str, keep_session: UUID | None) -> None:
    """Store a new hash and end the user's sessions, except the one in which the change was made."""
    await connection.execute(
        """update auth.users
              set encrypted_password = %s, confirmation_token = '', confirmation_sent_at = null, recovery_token = '',
                  recovery_sent_at = null, email_change_token_current = '', email_change_token_new = '',
                  reauthentication_token = '', reauthentication_sent_at = null, updated_at = now()
            where id = %s""",
        [encrypted, user_id],
    )
    await connection.execute(
        "delete from auth.sessions where user_id = %s and id is distinct from %s", [user_id, keep_session]
    )


async def merge_metadata(connection: Connection, user_id: UUID, column: str, changes: Row) -> None:
    """Merge keys into raw_user_meta_data or raw_app_meta_data; null removes a key."""
    assert column in ("raw_user_meta_data", "raw_app_meta_data")
    removed = [key for key, value in changes.items() if value is None]
    await connection.execute(
        f"""update auth.users set {column} = (coalesce({column}, '{{}}') || %s) - %s::text[], updated_at = now()
             where id = %s""",
        [Jsonb(changes), removed, user_id],
    )


async def confirm(connection: Connection, user_id: UUID) -> None:
    """Mark the address as the user's own."""
    await connection.execute(
        "update auth.users set email_confirmed_at = now(), confirmation_token = '', updated_at = now() where id = %s",
        [user_id],
    )
    await merge_metadata(connection, user_id, "raw_user_meta_data", {"email_verified": True})


async def soft_delete(connection: Connection, user_id: UUID) -> None:
    """Keep the row for references to it, without password, sessions and readable address."""
    row = await by_id(connection, user_id)
    assert row is not None
    hidden = b64encode(hashlib.sha256(f"{user_id}{row['email']}".encode()).digest()).decode()
    await connection.execute(
        """update auth.users
              set email = %s, encrypted_password = '', raw_user_meta_data = '{}', raw_app_meta_data = '{}',
                  deleted_at = now(), updated_at = now()
            where id = %s""",
        [hidden, user_id],
    )
    await connection.execute("delete from auth.identities where user_id = %s", [user_id])
    await connection.execute("delete from auth.sessions where user_id = %s", [user_id])


def is_banned(row: Row) -> bool:
    return row["banned_until"] is not None and row["banned_until"] > datetime.now(UTC)


def without_nulls(metadata: Row) -> Row:
    return {key: value for key, value in metadata.items() if value is not None}


def rfc3339(moment: datetime) -> str:
    """A time as Go prints it."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


async def as_json(connection: Connection, row: Row) -> Row:
    """The user as the API shows it; empty times are left out, as by Supabase Auth."""
    cursor = await connection.execute(
        "select * from auth.identities where user_id = %s order by created_at", [row["id"]]
    )
    identities = await cursor.fetchall()
    return {
        "id": str(row["id"]),
        "aud": row["aud"],
        "role": row["role"],
        "email": row["email"] or "",
        "phone": row["phone"] or "",
        **{name: rfc3339(row[name]) for name in TIMES if row[name] is not None},
        **({"new_email": row["email_change"]} if row["email_change"] else {}),
        "app_metadata": row["raw_app_meta_data"] or {},
        "user_metadata": row["raw_user_meta_data"] or {},
        "identities": [_identity_json(identity) for identity in identities],
        "created_at": rfc3339(row["created_at"]),
        "updated_at": rfc3339(row["updated_at"]),
        "is_anonymous": row["is_anonymous"],
    }


def _identity_json(row: Row) -> Row:
    return {
        "identity_id": str(row["id"]),
        "id": row["provider_id"],
        "user_id": str(row["user_id"]),
        "identity_data": row["identity_data"],
        "provider": row["provider"],
        **{name: rfc3339(row[name]) for name in ("last_sign_in_at", "created_at", "updated_at") if row[name]},
        **({"email": row["email"]} if row["email"] else {}),
    }


def parse_uuid(text: str, refusal: AuthError) -> UUID:
    """Raises the refusal when it is none."""
    try:
        return UUID(text)
    except ValueError:
        raise refusal from None


def parse_object(raw: bytes) -> Row:
    """A JSON object. Raises AuthError bad_json."""
    try:
        value = json.loads(raw)
    except ValueError as exc:
        raise AuthError(400, "bad_json", f"Could not parse request body as JSON: {exc}") from None
    if not isinstance(value, dict):
        raise AuthError(400, "bad_json", "Could not parse request body as JSON: not an object")
    return value
