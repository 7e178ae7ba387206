"""Sessions, their refresh tokens, and the access tokens issued for them."""

from __future__ import annotations

import secrets
import string
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import jwt

from . import users
from .errors import AuthError
from .settings import AuthSettings
from .users import Connection, Row

ALPHABET = string.ascii_lowercase + string.digits


@dataclass(frozen=True)
class Client:
    """Who signs in, for the sessions table."""

    user_agent: str | None
    ip: str | None


@dataclass(frozen=True)
class Tokens:
    """Issues and verifies access tokens."""

    secret: str
    issuer: str
    settings: AuthSettings

    def issue(self, user: Row, session_id: UUID, signed_in_at: datetime) -> tuple[str, int]:
        """An access token and when it expires (seconds since 1970)."""
        now = int(time.time())
        expires = now + self.settings.jwt_expiry_s
        claims = {
            "iss": self.issuer,
            "sub": str(user["id"]),
            "aud": user["aud"],
            "exp": expires,
            "iat": now,
            "email": user["email"] or "",
            "phone": user["phone"] or "",
            "app_metadata": user["raw_app_meta_data"] or {},
            "user_metadata": user["raw_user_meta_data"] or {},
            "role": user["role"],
            "aal": "aal1",
            "amr": [{"method": "password", "timestamp": int(signed_in_at.timestamp())}],
            "session_id": str(session_id),
            "is_anonymous": user["is_anonymous"],
        }
        return jwt.encode(claims, self.secret, algorithm="HS256"), expires

    def verify(self, authorization: str | None) -> dict[str, Any]:
        """The claims of the bearer token. Raises AuthError no_authorization or bad_jwt."""
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise AuthError(401, "no_authorization", "This endpoint requires a valid Bearer token")
        try:
            claims: dict[str, Any] = jwt.decode(
                token, self.secret, algorithms=["HS256"], options={"verify_aud": False, "verify_iat": False}
            )
        except jwt.ExpiredSignatureError:
            reason = "token has invalid claims: token is expired"
        except jwt.PyJWTError as exc:
            reason = str(exc)
        else:
            return claims
        raise AuthError(403, "bad_jwt", f"invalid JWT: unable to parse or verify signature, {reason}")


async def sign_in(connection: Connection, tokens: Tokens, user_id: UUID, client: Client) -> Row:
    """Open a session: the answer to a successful sign-in."""
    now = datetime.now(UTC)
    session_id = uuid4()
    await connection.execute(
        """insert into auth.sessions (id, user_id, created_at, updated_at, aal, user_agent, ip)
           values (%s, %s, %s, %s, 'aal1', %s, %s)""",
        [session_id, user_id, now, now, client.user_agent, client.ip],
    )
    await connection.execute(
        """insert into auth.mfa_amr_claims (session_id, created_at, updated_at, authentication_method, id)
           values (%s, %s, %s, 'password', %s)""",
        [session_id, now, now, uuid4()],
    )
    await connection.execute(
        "update auth.users set last_sign_in_at = %s, updated_at = %s where id = %s", [now, now, user_id]
    )
    await connection.execute("update auth.identities set last_sign_in_at = %s where user_id = %s", [now, user_id])
    refresh_token = await _new_refresh_token(connection, user_id, session_id, parent=None)
    return await _answer(connection, tokens, user_id, session_id, refresh_token)


async def refresh(connection: Connection, tokens: Tokens, token: str, client: Client) -> Row | AuthError:
    """A new pair of tokens for a refresh token, which is then used up.

    A used token whose successor is still unused gets that successor: the client lost the answer. Otherwise it works for
    the reuse interval; after it, somebody has a copy: every token of the session is revoked. That error is returned
    rather than raised, so that the caller commits the revocation.
    """
    # the session's row is the lock: two refreshes of one session come one after the other
    cursor = await connection.execute(
        """select t.*, s.not_after from auth.refresh_tokens as t join auth.sessions as s on s.id = t.session_id
            where t.token = %s for update of s""",
        [token],
    )
    row = await cursor.fetchone()
    if row is None:
        raise AuthError(400, "refresh_token_not_found", "Invalid Refresh Token: Refresh Token Not Found")
    cursor = await connection.execute("select revoked, updated_at from auth.refresh_tokens where id = %s", [row["id"]])
    row |= await cursor.fetchone() or {}  # as it is now that the lock is ours
    user_id, session_id = UUID(row["user_id"]), row["session_id"]
    user = await users.by_id(connection, user_id)
    if user is None:
        raise AuthError(400, "refresh_token_not_found", "Invalid Refresh Token: Refresh Token Not Found")
    if users.is_banned(user):
        raise AuthError(400, "user_banned", "Invalid Refresh Token: User Banned")
    if row["not_after"] is not None and row["not_after"] < datetime.now(UTC):
        raise AuthError(400, "session_expired", "Invalid Refresh Token: Session Expired")

    issued: str | None = None
    if row["revoked"]:
        cursor = await connection.execute(
            """select token, parent from auth.refresh_tokens
                where session_id = %s and revoked = false order by id desc limit 1""",
            [session_id],
        )
        active = await cursor.fetchone()
        if active is not None and active["parent"] == token:
            issued = active["token"]
        elif datetime.now(UTC) > row["updated_at"] + timedelta(seconds=tokens.settings.reuse_interval_s):
            if tokens.settings.rotate_refresh_tokens:
                await connection.execute(
                    """update auth.refresh_tokens set revoked = true, updated_at = now()
                        where session_id = %s and not revoked""",
                    [session_id],
                )
            return AuthError(400, "refresh_token_already_used", "Invalid Refresh Token: Already Used")
    if issued is None:
        await connection.execute(
            "update auth.refresh_tokens set revoked = true, updated_at = now() where id = %s and not revoked",
            [row["id"]],
        )
        issued = await _new_refresh_token(connection, user_id, session_id, parent=token)
    await connection.execute(
        """update auth.sessions
              set refreshed_at = now() at time zone 'utc', updated_at = now(), user_agent = %s, ip = %s
            where id = %s""",
        [client.user_agent, client.ip, session_id],
    )
    return await _answer(connection, tokens, user_id, session_id, issued)


async def sign_out(connection: Connection, user_id: UUID, session_id: UUID | None, scope: str) -> None:
    """End sessions: all (global), this one (local) or the rest (others)."""
    if scope == "global" or session_id is None:
        await connection.execute("delete from auth.sessions where user_id = %s", [user_id])
    elif scope == "local":
        await connection.execute("delete from auth.sessions where id = %s", [session_id])
    else:
        await connection.execute("delete from auth.sessions where user_id = %s and id <> %s", [user_id, session_id])


async def exists(connection: Connection, session_id: UUID) -> bool:
    cursor = await connection.execute("select 1 from auth.sessions where id = %s", [session_id])
    return await cursor.fetchone() is not None


async def _new_refresh_token(connection: Connection, user_id: UUID, session_id: UUID, parent: str | None) -> str:
    token = "".join(secrets.choice(ALPHABET) for _ in range(12))
    await connection.execute(
        """insert into auth.refresh_tokens
             (instance_id, token, user_id, revoked, created_at, updated_at, parent, session_id)
           values (%s, %s, %s, false, now(), now(), %s, %s)""",
        [users.INSTANCE, token, str(user_id), parent, session_id],
    )
    return token


async def _answer(connection: Connection, tokens: Tokens, user_id: UUID, session_id: UUID, refresh_token: str) -> Row:
    user = await users.by_id(connection, user_id)
    assert user is not None  # just written in this transaction
    cursor = await connection.execute("select created_at from auth.sessions where id = %s", [session_id])
    session = await cursor.fetchone()
    assert session is not None
    access_token, expires_at = tokens.issue(user, session_id, session["created_at"])
    return {
        "access_token": access_token,
        "token_type": "bearer",
        "expires_in": tokens.settings.jwt_expiry_s,
        "expires_at": expires_at,
        "refresh_token": refresh_token,
        "user": await users.as_json(connection, user),
    }
