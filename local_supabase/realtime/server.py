"""The Realtime stand-in as aiohttp routes: GET /websocket and the HTTP broadcast, below /realtime/v1."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

import psycopg
from aiohttp import web

from .broker import Broker
from .database import Database, DatabaseUnavailable
from .frames import Version, dumps, push
from .http_api import HttpApi
from .listener import Listener
from .project import Project, policy_headers
from .settings import RealtimeSettings
from .socket import Socket
from .tokens import TokenError, verify

logger = logging.getLogger(__name__)

_STOP_TIMEOUT_S = 5.0
# A local client answers in milliseconds; while aiohttp shuts down it does not hear the answer.
_CLOSE_HANDSHAKE_S = 0.25


class RealtimeServer:
    """Serves one project.

    `database_url` must be of a superuser (supabase_admin): it takes on the roles of the tokens. `translate_key` turns a
    publishable or secret key into its JWT and returns None for what it does not know; with it the header apikey is
    read by the WebSocket too, as behind a hosted project's gateway.
    """

    def __init__(
        self,
        database_url: str,
        jwt_secret: str,
        settings: RealtimeSettings | None = None,
        translate_key: Callable[[str], str | None] | None = None,
    ) -> None:
        self.jwt_secret = jwt_secret
        self.settings = settings or RealtimeSettings()
        self._translate_key = translate_key
        self.broker = Broker(self.settings)
        self.database = Database(database_url, self.settings)
        self.listener = Listener(
            database_url, self.database, self.settings, wanted=self.broker.wanted, deliver=self.broker.deliver
        )
        self._project = Project(
            self.settings,
            jwt_secret,
            self.broker,
            self.database,
            self.listener,
            users=lambda: self.users,
            translate=self._translate,
        )
        self._sockets: set[Socket] = set()
        self._all_closed = asyncio.Event()
        self._stopping = False
        self._maintenance: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen to the database and see to the partitions. A database that is down is waited for, not an error."""
        await self._maintain_partitions()
        await self.listener.start()
        self._maintenance = asyncio.create_task(self._maintain())

    async def stop(self) -> None:
        """Close every socket with 1012 (service restart): clients reconnect by themselves."""
        self._stopping = True
        if self._maintenance:
            self._maintenance.cancel()
            await asyncio.gather(self._maintenance, return_exceptions=True)
        await self.listener.stop()
        await self._close_sockets()
        await self.database.close()

    async def disconnect(self) -> None:
        """Close every socket as after a change of the project's settings: a notice on each channel, then 1012."""
        notice = {"extension": "system", "message": "Server requested disconnect", "status": "ok"}
        for socket in self._sockets:
            for channel in socket.channels.values():
                socket.send(push(socket.version, channel.wire_topic, "system", notice, join_ref=channel.join_ref))
        await self._close_sockets()

    async def _close_sockets(self) -> None:
        sockets = set(self._sockets)
        for socket in sockets:
            socket.close(1012)
        if sockets:
            self._all_closed.clear()
            try:
                async with asyncio.timeout(_STOP_TIMEOUT_S):
                    await self._all_closed.wait()
            except TimeoutError:
                logger.warning("sockets still open", extra={"sockets": len(self._sockets)})

    def routes(self, prefix: str = "/realtime/v1") -> list[web.RouteDef]:
        """Everything below the prefix; what is unknown there gets 404."""
        return [
            web.get(f"{prefix}/websocket", self.websocket),
            *HttpApi(self._project).routes(prefix),
            web.route("*", f"{prefix}/{{tail:.*}}", _not_found),
        ]

    @property
    def users(self) -> int:
        """A user is a socket with at least one channel."""
        return sum(1 for socket in self._sockets if socket.channels)

    def _translate(self, key: str) -> str:
        return (self._translate_key(key) if self._translate_key else None) or key

    async def websocket(self, request: web.Request) -> web.StreamResponse:
        """The handshake, then the socket's life."""
        version = Version.of(request.query.get("vsn"))
        if version is None:
            return web.Response(status=403)
        # aiohttp's limit resets the connection under the client's hands, and 1009 is lost: so it comes later than ours
        ws = web.WebSocketResponse(
            compress=False, autoping=False, max_msg_size=2 * self.settings.max_frame_bytes, timeout=_CLOSE_HANDSHAKE_S
        )
        if not ws.can_prepare(request):
            connection = request.headers.get("Connection", "keep-alive").lower()
            return web.Response(
                status=400, text=f"'connection' header must contain 'upgrade', got [{dumps(connection)}]"
            )
        key = request.query.get("apikey", request.headers.get("x-api-key"))
        if key is None and self._translate_key:
            key = request.headers.get("apikey")
        apikey = self._translate(key) if key else key
        if refusal := self._refusal(apikey):
            status, error = refusal
            logger.info("handshake refused", extra={"status": status, "error": error})
            await asyncio.sleep(self.settings.refused_handshake_delay_s)
            return web.json_response({"error": error}, status=status, dumps=dumps)
        await ws.prepare(request)
        headers = policy_headers(request.headers)
        socket = Socket(self._project, ws, version, apikey or "", headers, _aborter(request))
        self._sockets.add(socket)
        try:
            await socket.run()
        finally:
            self._sockets.discard(socket)
            if not self._sockets:
                self._all_closed.set()
        return ws

    def _refusal(self, apikey: str | None) -> tuple[int, str] | None:
        if self._stopping:
            return 503, "Server is shutting down"
        if apikey is None:
            return 401, "API key is missing"
        try:
            verify(apikey, self.jwt_secret)
        except TokenError as exc:
            return 401, exc.on_handshake
        if self.users >= self.settings.max_concurrent_users:
            return 429, "Too many connected users"
        if self.broker.joins.exceeded:
            return 429, "Too many joins per second"
        return None

    async def _maintain(self) -> None:
        while True:
            await asyncio.sleep(self.settings.maintenance_interval_s)
            await self._maintain_partitions()
            forgotten = time.monotonic() - self.settings.no_channel_timeout_s
            for socket in list(self._sockets):
                if not socket.channels and socket.last_channel_at < forgotten:
                    socket.close(1000)

    async def _maintain_partitions(self) -> None:
        try:
            await self.database.maintain_partitions()
        except (DatabaseUnavailable, psycopg.Error) as exc:
            logger.warning("partitions of realtime.messages not maintained", extra={"error": str(exc).strip()})


def _aborter(request: web.Request) -> Callable[[], None]:
    def abort() -> None:
        if request.transport is not None:
            request.transport.abort()

    return abort


async def _not_found(request: web.Request) -> web.Response:
    return web.Response(status=404, text="Not Found", content_type="text/html")
