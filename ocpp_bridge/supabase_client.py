"""Every request to Supabase: sign-in and the RPCs. Nothing else imports supabase; Realtime is in topic.py."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from typing import Any

import httpx
from postgrest.exceptions import APIError
from supabase import AsyncClient, AsyncClientOptions
from supabase_auth.errors import AuthApiError
from supabase_auth.types import Session

from .errors import SupabaseError, SupabaseRejected, SupabaseUnavailable
from .events import Event, Reply
from .settings import Settings
from .topic import Topic

log = logging.getLogger(__name__)

# Refresh this long before the token expires (of 3600 s as a rule), but never later than at half its life.
_REFRESH_BEFORE_S = 120
_SIGN_IN_PAUSES_S = (0.5, 1.0, 2.0, 5.0, 10.0)
# After wrong credentials: long enough not to look like an attack, short enough for somebody who is fixing them.
_REFUSED_PAUSE_S = 15.0

# SQLSTATE classes that pass: connection, resources, operator intervention, dead-lock and time-out.
_TRANSIENT = ("08", "53", "57", "40", "55", "58", "XX")
# PostgREST without its database (PGRST00x), and with a token it does not like (PGRST30x; a new one is on its way).
_TRANSIENT_PGRST = ("PGRST00", "PGRST3")


class SupabaseClient:
    """One signed-in client. It keeps itself signed in; until it is, requests raise SupabaseUnavailable."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._http = httpx.AsyncClient(
            timeout=httpx.Timeout(settings.rpc_timeout, connect=min(3.0, settings.rpc_timeout)),
            limits=httpx.Limits(max_connections=settings.ingest_in_flight + 8, keepalive_expiry=20),
            event_hooks={"response": [self._note_status]},
            follow_redirects=False,
        )
        self._client = AsyncClient(
            settings.url,
            settings.api_key,
            AsyncClientOptions(
                auto_refresh_token=False,  # its refresh gives up after some attempts; _keep_signed_in does not
                persist_session=False,
                postgrest_client_retry=False,
                httpx_client=self._http,
            ),
        )
        self._signed_in = asyncio.Event()
        self._stale = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._token = settings.api_key
        self._key_refused = False
        self._tokens_refused = 0  # since a request was last taken
        self.on_token: Callable[[str], None] | None = None

    async def start(self) -> None:
        """Begin to sign in; does not wait for it."""
        if self._settings.bridge_email:
            self._keeper = asyncio.create_task(self._keep_signed_in())
        else:
            self._signed_in.set()

    async def close(self) -> None:
        """Close all connections."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        await self._http.aclose()

    @property
    def signed_in(self) -> bool:
        """Whether there is a token to work with."""
        return self._signed_in.is_set()

    async def wait_signed_in(self) -> None:
        """Wait until there is a token."""
        await self._signed_in.wait()

    async def ingest(self, events: Sequence[Event]) -> list[Reply]:
        """Store events in one request; replies are aligned with events. Safe to repeat.

        Raises SupabaseUnavailable (repeat), SupabaseError (the request as a whole was refused), SupabaseRejected.
        """
        replies = await self._rpc("ocpp_ingest", events=events)
        # Checked here by hand: pydantic would cost more than everything else the bridge does with a reply.
        if not isinstance(replies, list) or len(replies) != len(events):
            raise SupabaseError(f"ocpp_ingest gave no reply for each of {len(events)} events")
        if not all(isinstance(reply, dict) for reply in replies):
            raise SupabaseError("ocpp_ingest gave a reply that is no object")
        return replies

    async def bridge_heartbeat(
        self, bridge_id: str, settings: dict[str, Any], seen: list[dict[str, Any]]
    ) -> dict[str, Any]:
        """Renew the lease; `seen` lists all open sockets. The reply names the connections to close."""
        reply = await self._rpc("bridge_heartbeat", bridge_id=bridge_id, settings=settings, seen=seen)
        if not isinstance(reply, dict):
            raise SupabaseError("bridge_heartbeat gave no object")
        return reply

    async def claim_commands(self, bridge_id: str, max_commands: int, holding: list[str]) -> list[dict[str, Any]]:
        """Commands for this bridge's stations, at most one per station, marked as sent already.

        `holding` names those claimed before whose end is not stored yet; any other that was handed out to this bridge
        got lost on the way, and is handed out again.
        """
        commands = await self._rpc("claim_commands", bridge_id=bridge_id, max_commands=max_commands, holding=holding)
        if not isinstance(commands, list) or not all(isinstance(command, dict) for command in commands):
            raise SupabaseError("claim_commands gave no list of objects")
        return commands

    def topic(self, name: str) -> Topic:
        """A private Realtime topic, not joined yet."""
        return Topic(self._settings, self._token, name)

    async def _rpc(self, name: str, **params: object) -> Any:
        if not self._signed_in.is_set():
            raise SupabaseUnavailable(f"{name}: not signed in yet")
        try:
            async with asyncio.timeout(self._settings.rpc_timeout):
                answer = (await self._client.rpc(name, params).execute()).data
        except TimeoutError as exc:
            raise SupabaseUnavailable(f"{name}: no answer within {self._settings.rpc_timeout:g} s") from exc
        except (httpx.TransportError, httpx.InvalidURL) as exc:
            raise SupabaseUnavailable(f"{name}: {type(exc).__name__} {exc}".rstrip()) from exc
        except APIError as exc:
            raise _translate(name, exc) from exc
        if isinstance(answer, str):  # the client's way to hand on what is no JSON: something else answered
            raise SupabaseUnavailable(f"{name}: the answer is no JSON")
        self._tokens_refused = 0
        return answer

    async def _note_status(self, response: httpx.Response) -> None:
        if response.status_code == 401:
            self._stale.set()  # expired, or its secret was changed: do not wait for the planned refresh
            if self._settings.bridge_email is None and not self._key_refused:
                self._key_refused = True
                log.error(
                    "Supabase refuses the key; set SUPABASE_SERVICE_ROLE_KEY to the service or secret key of the"
                    " project that SUPABASE_URL names, and start the bridge again",
                    extra={"url": self._settings.url},
                )
        elif response.is_success and self._key_refused:
            self._key_refused = False
            log.info("Supabase takes the key again")

    async def _keep_signed_in(self) -> None:
        session: Session | None = None
        failures = 0
        while True:
            self._stale.clear()
            try:
                session = await self._sign_in(session)
            except (AuthApiError, SupabaseRejected) as exc:
                if session is not None:  # the refresh token is used up or revoked: the password still works
                    session = None
                    continue
                failures += 1
                status = getattr(exc, "status", None)
                if isinstance(status, int) and (status >= 500 or status == 429):
                    await self._pause_after_failure(exc, failures)
                    continue
                log.error(
                    "Supabase refuses the sign-in; check SUPABASE_ANON_KEY, BRIDGE_EMAIL and BRIDGE_PASSWORD",
                    extra={"error": str(exc)},
                )
                await asyncio.sleep(_REFUSED_PAUSE_S)
            except Exception as exc:  # AuthError, httpx's, and pydantic's for a page that is no session: all may pass
                failures += 1
                await self._pause_after_failure(exc, failures)
            else:
                if failures:
                    log.info("Signed in to Supabase")
                failures = 0
                self._token = session.access_token
                self._signed_in.set()
                if self.on_token is not None:
                    self.on_token(session.access_token)
                # Tokens that are refused at once must not become a flood of sign-ins, which Auth would end by a limit.
                await asyncio.sleep(_SIGN_IN_PAUSES_S[min(self._tokens_refused, len(_SIGN_IN_PAUSES_S) - 1)])
                life = session.expires_in - 1
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(max(life - _REFRESH_BEFORE_S, life / 2)):
                        await self._stale.wait()
                if self._stale.is_set():
                    self._tokens_refused += 1
                    session = None  # a refused token may mean a refused session: begin anew

    async def _sign_in(self, session: Session | None) -> Session:
        async with asyncio.timeout(self._settings.rpc_timeout):
            if session is None:
                assert self._settings.bridge_email is not None
                assert self._settings.bridge_password is not None
                reply = await self._client.auth.sign_in_with_password(
                    {
                        "email": self._settings.bridge_email,
                        "password": self._settings.bridge_password.get_secret_value(),
                    }
                )
            else:
                reply = await self._client.auth.refresh_session(session.refresh_token)
        if reply.session is None:
            raise SupabaseRejected("sign-in gave no session")
        return reply.session

    async def _pause_after_failure(self, exc: Exception, failures: int) -> None:
        if failures == 1:
            log.warning("Supabase Auth is away, trying again", extra={"error": f"{type(exc).__name__} {exc}".rstrip()})
        await asyncio.sleep(_SIGN_IN_PAUSES_S[min(failures, len(_SIGN_IN_PAUSES_S)) - 1])


def _translate(name: str, exc: APIError) -> SupabaseUnavailable | SupabaseRejected | SupabaseError:
    """The error of ours that fits: OC… codes are rules that said no, what passes may be repeated, the rest is a bug."""
    code = str(exc.code or "")
    text = f"{name}: {code} {exc.message or ''}".rstrip()
    if code.startswith("OC"):
        return SupabaseRejected(text)
    if not code or code.startswith(_TRANSIENT_PGRST) or (code.startswith("5") and len(code) == 3):
        return SupabaseUnavailable(text)  # no code at all: it is the gateway that speaks
    if (len(code) == 5 and code.startswith(_TRANSIENT)) or code in ("401", "408", "425", "429"):
        return SupabaseUnavailable(text)
    return SupabaseError(text)
