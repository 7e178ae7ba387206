"""The HTTP API below /auth/v1."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
from aiohttp import web
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from . import passwords, sessions, users
from .errors import AuthError, broken, email_exists, invalid
from .sessions import Client, Tokens
from .settings import AuthSettings
from .users import Connection, Row

log = logging.getLogger(__name__)
ADMIN_ROLES = ("service_role", "supabase_admin")
DESCRIPTION = "GoTrue is a user registration and authentication API"
DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:h|m|s))+")
UNIT_S = {"h": 3600.0, "m": 60.0, "s": 1.0}


@dataclass(frozen=True)
class Call:
    """One request with its parsed body."""

    request: web.BaseRequest
    authorization: str | None
    body: Row
    tail: str  # what followed the last slash of a path with an id

    @property
    def client(self) -> Client:
        return Client(self.request.headers.get("User-Agent"), self.request.remote)

    def text(self, key: str) -> str:
        """A string of the body, empty when missing. Raises AuthError bad_json for another type."""
        value = self.body.get(key) or ""
        if not isinstance(value, str):
            raise AuthError(400, "bad_json", f"Could not parse request body as JSON: {key} is not a string")
        return value

    def mapping(self, key: str) -> Row | None:
        """An object of the body, None when missing. Raises AuthError bad_json for another type."""
        value = self.body.get(key)
        if value is not None and not isinstance(value, dict):
            raise AuthError(400, "bad_json", f"Could not parse request body as JSON: {key} is not an object")
        return value


@dataclass(frozen=True)
class Caller:
    """The signed-in user of a request."""

    user: Row
    session_id: UUID | None

    @property
    def id(self) -> UUID:
        user_id = self.user["id"]
        assert isinstance(user_id, UUID)
        return user_id


Answer = tuple[int, Any]
Handler = Callable[[Call], Awaitable[Answer]]


class AuthServer:
    """Serves one project. database_url is that of supabase_auth_admin, issuer the public URL of this API."""

    def __init__(self, database_url: str, jwt_secret: str, issuer: str, settings: AuthSettings) -> None:
        self.settings = settings
        self.tokens = Tokens(jwt_secret, issuer, settings)
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            database_url,
            min_size=0,  # sign-ins are rare: an idle stack keeps no connection
            max_size=4,
            max_idle=30,
            timeout=5,
            open=False,
            check=AsyncConnectionPool.check_connection,  # PostgreSQL may have been restarted
            kwargs={"row_factory": dict_row, "autocommit": True},
        )
        self._routes: list[tuple[str, re.Pattern[str], Handler]] = [
            (method, re.compile(pattern), handler)
            for method, pattern, handler in (
                ("GET", r"/health", self._health),
                ("GET", r"/settings", self._settings),
                ("GET", r"/\.well-known/jwks\.json", self._jwks),
                ("POST", r"/token", self._token),
                ("POST", r"/signup", self._sign_up),
                ("POST", r"/logout", self._sign_out),
                ("GET", r"/user", self._get_user),
                ("PUT", r"/user", self._update_user),
                ("GET", r"/admin/users", self._admin_list),
                ("POST", r"/admin/users", self._admin_create),
                ("GET", r"/admin/users/(.+)", self._admin_get),
                ("PUT", r"/admin/users/(.+)", self._admin_update),
                ("DELETE", r"/admin/users/(.+)", self._admin_delete),
            )
        ]

    async def start(self) -> None:
        await self._pool.open()

    async def stop(self) -> None:
        await self._pool.close()

    async def handle(self, request: web.BaseRequest, path: str, authorization: str | None) -> web.Response:
        """The answer to a request for path, which begins after /auth/v1; authorization as the gateway made it."""
        for method, pattern, handler in self._routes:
            found = pattern.fullmatch(path)
            if found and request.method == method:
                try:
                    raw = await request.read()
                    call = Call(
                        request, authorization, users.parse_object(raw) if raw else {}, (*found.groups(), "")[0]
                    )
                    status, body = await handler(call)
                except AuthError as exc:
                    return exc.response(request)
                except (psycopg.Error, PoolTimeout) as exc:
                    log.error("auth request failed: %s", exc, extra={"path": path})
                    return broken("Unexpected failure, please check server logs for more information").response(request)
                return body if isinstance(body, web.Response) else web.json_response(body, status=status)
        if any(pattern.fullmatch(path) for _, pattern, _ in self._routes):
            return web.Response(status=405)
        return web.Response(status=404, text="404 page not found\n")

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[Connection]:
        async with self._pool.connection() as connection, connection.transaction():
            yield connection

    # ---------------------------------------------------------------------------------------------- anybody
    async def _health(self, _: Call) -> Answer:
        return 200, {"version": "local", "name": "GoTrue", "description": DESCRIPTION}

    async def _jwks(self, _: Call) -> Answer:
        return 200, {"keys": []}  # tokens are signed with the shared secret

    async def _settings(self, _: Call) -> Answer:
        return 200, {
            "external": {"email": True, "phone": False, "anonymous_users": False},
            "disable_signup": not self.settings.allow_sign_up,
            "mailer_autoconfirm": not self.settings.confirm_emails,
            "phone_autoconfirm": False,
            "sms_provider": "",
            "saml_enabled": False,
        }

    async def _token(self, call: Call) -> Answer:
        grant = call.request.query.get("grant_type")
        if grant == "password":
            return await self._password_grant(call)
        if grant == "refresh_token":
            return await self._refresh_grant(call)
        raise AuthError(400, "invalid_credentials", "unsupported_grant_type")

    async def _password_grant(self, call: Call) -> Answer:
        email = call.text("email")
        if not email:
            raise invalid("missing email or phone")
        wrong = AuthError(400, "invalid_credentials", "Invalid login credentials")
        async with self._transaction() as connection:
            user = await users.by_email(connection, email, "Database error querying schema")
        if user is None or not await passwords.matches(call.text("password"), user["encrypted_password"]):
            raise wrong
        if users.is_banned(user):
            raise AuthError(400, "user_banned", "User is banned")
        if user["email_confirmed_at"] is None:
            raise AuthError(400, "email_not_confirmed", "Email not confirmed")
        async with self._transaction() as connection:
            return 200, await sessions.sign_in(connection, self.tokens, user["id"], call.client)

    async def _refresh_grant(self, call: Call) -> Answer:
        token = call.text("refresh_token")
        if not token:
            raise invalid("refresh_token required")
        async with self._transaction() as connection:
            answer = await sessions.refresh(connection, self.tokens, token, call.client)
        if isinstance(answer, AuthError):
            raise answer
        return 200, answer

    async def _sign_up(self, call: Call) -> Answer:
        if not self.settings.allow_sign_up:
            raise AuthError(422, "signup_disabled", "Signups not allowed for this instance")
        if not call.text("email"):
            raise AuthError(422, "anonymous_provider_disabled", "Anonymous sign-ins are disabled")
        password = call.text("password")
        if not password:
            raise invalid("Signup requires a valid password")
        passwords.check_strength(password, self.settings.minimum_password_length)
        email = users.check_email(call.text("email"))
        encrypted = await passwords.digest(password)
        async with self._transaction() as connection:
            if await users.by_email(connection, email, "Database error finding user"):
                raise AuthError(422, "user_already_exists", "User already registered")
            confirmed = not self.settings.confirm_emails
            user_id = await users.create(
                connection, email, encrypted, user_metadata=call.mapping("data"), confirmed=confirmed
            )
            if confirmed:
                return 200, await sessions.sign_in(connection, self.tokens, user_id, call.client)
            log.warning("nobody sends a confirmation to %s: confirm with PUT /admin/users/%s", email, user_id)
            return 200, await self._show(connection, user_id)

    # ----------------------------------------------------------------------------------------- the signed-in
    async def _caller(self, connection: Connection, call: Call) -> Caller:
        claims = self.tokens.verify(call.authorization)
        if not claims.get("sub"):
            raise AuthError(403, "bad_jwt", "invalid claim: missing sub claim")
        refusal = AuthError(400, "bad_jwt", "invalid claim: sub claim must be a UUID")
        user = await users.by_id(connection, users.parse_uuid(str(claims["sub"]), refusal))
        if user is None:
            raise AuthError(403, "user_not_found", "User from sub claim in JWT does not exist")
        if not claims.get("session_id"):
            return Caller(user, None)
        refusal = AuthError(403, "bad_jwt", "invalid claim: session_id claim must be a UUID")
        session_id = users.parse_uuid(str(claims["session_id"]), refusal)
        if not await sessions.exists(connection, session_id):
            raise AuthError(403, "session_not_found", "Session from session_id claim in JWT does not exist")
        return Caller(user, session_id)

    async def _sign_out(self, call: Call) -> Answer:
        scope = call.request.query.get("scope", "global")
        async with self._transaction() as connection:
            caller = await self._caller(connection, call)
            if scope not in ("global", "local", "others"):
                raise invalid(f'Unsupported logout scope "{scope}"')
            await sessions.sign_out(connection, caller.id, caller.session_id, scope)
        return 204, web.Response(status=204)

    async def _get_user(self, call: Call) -> Answer:
        async with self._transaction() as connection:
            caller = await self._caller(connection, call)
            return 200, await users.as_json(connection, caller.user)

    async def _update_user(self, call: Call) -> Answer:
        async with self._transaction() as connection:
            caller = await self._caller(connection, call)
        if call.body.get("app_metadata") is not None:
            raise AuthError(403, "not_admin", "Updating app_metadata requires admin privileges")
        email = users.check_email(call.text("email")) if call.text("email") else None
        encrypted = None
        if call.body.get("password") is not None:
            password = call.text("password")
            passwords.check_strength(password, self.settings.minimum_password_length)
            if await passwords.matches(password, caller.user["encrypted_password"]):
                raise AuthError(422, "same_password", "New password should be different from the old password.")
            encrypted = await passwords.digest(password)
        async with self._transaction() as connection:
            if encrypted is not None:
                await users.set_password(connection, caller.id, encrypted, caller.session_id)
            if (data := call.mapping("data")) is not None:
                await users.merge_metadata(connection, caller.id, "raw_user_meta_data", data)
            if email and email != caller.user["email"]:
                if await users.by_email(connection, email, "Database error checking email"):
                    raise email_exists()
                # a hosted project waits for the link in its e-mail; here nobody sends one
                await connection.execute(
                    "update auth.users set email_change = %s, email_change_sent_at = now() where id = %s",
                    [email, caller.id],
                )
            return 200, await self._show(connection, caller.id)

    async def _show(self, connection: Connection, user_id: UUID) -> Row:
        row = await users.by_id(connection, user_id)
        assert row is not None  # the caller has just written it
        return await users.as_json(connection, row)

    # --------------------------------------------------------------------------------------- service role only
    def _require_admin(self, call: Call) -> None:
        if self.tokens.verify(call.authorization).get("role") not in ADMIN_ROLES:
            raise AuthError(403, "not_admin", "User not allowed")

    async def _named_user(self, connection: Connection, call: Call) -> Row:
        user_id = users.parse_uuid(call.tail, AuthError(404, "validation_failed", "user_id must be an UUID"))
        row = await users.by_id(connection, user_id)
        if row is None:
            raise AuthError(404, "user_not_found", "User not found")
        return row

    async def _admin_list(self, call: Call) -> Answer:
        self._require_admin(call)
        try:
            number, size = (
                int(call.request.query.get(key) or default) for key, default in (("page", "1"), ("per_page", "50"))
            )
        except ValueError as exc:
            raise invalid(f"Bad Pagination Parameters: {exc}") from None
        number, size = max(number, 1), max(size, 1)
        async with self._transaction() as connection:
            rows, total = await users.page(connection, number, size)
            shown = [await users.as_json(connection, row) for row in rows]
        last = max(1, -(-total // size))
        links = [(number + 1, "next")] if number < last else []
        link = ", ".join(f'</admin/users?page={n}&per_page={size}>; rel="{rel}"' for n, rel in [*links, (last, "last")])
        body = {"users": shown, "aud": users.AUDIENCE}
        return 200, web.json_response(body, headers={"X-Total-Count": str(total), "Link": link})

    async def _admin_create(self, call: Call) -> Answer:
        self._require_admin(call)
        if not call.text("email"):
            raise invalid("Cannot create a user without either an email or phone")
        email = users.check_email(call.text("email"))
        user_id = None
        if call.text("id"):
            user_id = users.parse_uuid(call.text("id"), invalid("ID must conform to the uuid v4 format"))
        if call.text("password") and call.text("password_hash"):
            raise invalid("Only a password or a password hash should be provided")
        encrypted = call.text("password_hash")
        if not encrypted:
            password = call.text("password") or passwords.random_password()
            passwords.check_strength(password, 0)  # admins may set any length
            encrypted = await passwords.digest(password)
        banned = _banned_until(call.text("ban_duration")) if call.text("ban_duration") else None
        async with self._transaction() as connection:
            if await users.by_email(connection, email, "Database error checking email"):
                raise email_exists()
            user_id = await users.create(
                connection,
                email,
                encrypted,
                user_id=user_id,
                user_metadata=call.mapping("user_metadata"),
                app_metadata=call.mapping("app_metadata"),
                role=call.text("role") or users.AUDIENCE,
                confirmed=bool(call.body.get("email_confirm")),
                banned_until=banned,
            )
            return 200, await self._show(connection, user_id)

    async def _admin_get(self, call: Call) -> Answer:
        self._require_admin(call)
        async with self._transaction() as connection:
            return 200, await users.as_json(connection, await self._named_user(connection, call))

    async def _admin_update(self, call: Call) -> Answer:
        self._require_admin(call)
        email = users.check_email(call.text("email")) if call.text("email") else None
        encrypted = None
        if call.body.get("password") is not None:
            passwords.check_strength(call.text("password"), self.settings.minimum_password_length)
            encrypted = await passwords.digest(call.text("password"))
        banned = _banned_until(call.text("ban_duration")) if call.text("ban_duration") else None
        async with self._transaction() as connection:
            user_id = (await self._named_user(connection, call))["id"]
            if call.text("ban_duration"):
                await connection.execute("update auth.users set banned_until = %s where id = %s", [banned, user_id])
            if call.text("role"):
                await connection.execute("update auth.users set role = %s where id = %s", [call.text("role"), user_id])
            if call.body.get("email_confirm"):
                await users.confirm(connection, user_id)
            if encrypted is not None:
                await users.set_password(connection, user_id, encrypted, None)
            if email:
                await users.set_email(connection, user_id, email)
            for key, column in (("app_metadata", "raw_app_meta_data"), ("user_metadata", "raw_user_meta_data")):
                if (changes := call.mapping(key)) is not None:
                    await users.merge_metadata(connection, user_id, column, changes)
            return 200, await self._show(connection, user_id)

    async def _admin_delete(self, call: Call) -> Answer:
        self._require_admin(call)
        async with self._transaction() as connection:
            user_id = (await self._named_user(connection, call))["id"]
            if call.body.get("should_soft_delete"):
                await users.soft_delete(connection, user_id)
            else:
                try:
                    await connection.execute("delete from auth.users where id = %s", [user_id])
                except psycopg.errors.IntegrityError as exc:  # a table of the project refers to the user
                    raise broken("Database error deleting user") from exc
        return 200, {}


def _banned_until(text: str) -> datetime | None:
    """The end of a ban of a length such as 24h or 1h30m; none lifts it. Raises AuthError validation_failed."""
    if text == "none":
        return None
    if not DURATION.fullmatch(text):
        raise invalid(f'invalid format for ban duration: time: invalid duration "{text}"')
    parts = re.findall(r"([\d.]+)([hms])", text)
    return datetime.now(UTC) + timedelta(seconds=sum(float(number) * UNIT_S[unit] for number, unit in parts))
