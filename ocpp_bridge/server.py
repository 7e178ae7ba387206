"""The port: who may open a socket (identity, sub-protocol, credentials), /health, /ready and /metrics."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import http
import json
import logging
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from websockets.asyncio.server import Server as WebSocketServer
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from . import events, handshake
from .errors import CannotListen, NotStored
from .handshake import Credentials
from .logs import Throttle
from .registry import Registry
from .settings import Settings
from .station import Policy, Socket, Station, Surroundings
from .tasks import Tasks

log = logging.getLogger(__name__)

_CACHED_REFUSALS = 10_000
_JSON = "application/json"
_PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


class StationSocket(Socket):
    """A connection with what its handshake found out."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.connection_id = str(uuid.uuid4())
        self.protocol_name: str | None = None
        self.offered: list[str] = []
        self.refuse_protocol = False
        self.station_id: str | None = None  # canonical; set once the database has accepted the connection
        self.policy = Policy()
        self.on_failed: Callable[[StationSocket], None] | None = None

    async def handshake(self, *args: Any, **kwargs: Any) -> None:
        try:
            await super().handshake(*args, **kwargs)
        finally:
            if self.station_id is not None and self.state.name != "OPEN" and self.on_failed is not None:
                self.on_failed(self)


class _Refusals:
    """Handshakes refused a moment ago, answered again from memory: stations retry for ever (errata-J 3.3)."""

    def __init__(self, keep_s: float) -> None:
        self._keep_s = keep_s
        self._until: OrderedDict[bytes, tuple[float, str]] = OrderedDict()

    @staticmethod
    def key(station_id: str, credentials: Credentials | None) -> bytes:
        digest = hashlib.sha256(station_id.lower().encode())
        if credentials is not None:
            digest.update(b"\0" + credentials.user.encode() + b"\0" + credentials.key)
        return digest.digest()

    def get(self, key: bytes) -> str | None:
        until, outcome = self._until.get(key, (0.0, ""))
        return outcome if until > time.monotonic() else None

    def put(self, key: bytes, outcome: str) -> None:
        if self._keep_s > 0:
            self._until[key] = (time.monotonic() + self._keep_s, outcome)
            self._until.move_to_end(key)
            if len(self._until) > _CACHED_REFUSALS:
                self._until.popitem(last=False)


class _HandshakeLog(logging.LoggerAdapter[logging.Logger]):
    """Where websockets reports: a failed handshake is one line without a traceback, rate-limited."""

    def __init__(self, throttle: Throttle) -> None:
        super().__init__(logging.getLogger(__name__), {})
        self._throttle = throttle

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        if level < logging.WARNING:
            return
        exc_info = kwargs.pop("exc_info", None)
        extra = dict(kwargs.pop("extra", None) or {})
        socket = extra.pop("websocket", None)
        exception = getattr(getattr(socket, "protocol", None), "handshake_exc", None)
        if exception is None and exc_info:
            super().log(level, msg, *args, exc_info=exc_info, **kwargs)
            return
        if exception is not None:
            level = logging.WARNING  # somebody else's mistake
            peer = socket.remote_address if socket is not None else None
            address = peer[0] if isinstance(peer, tuple) else None
            swallowed = self._throttle.allow(f"handshake {address}")
            if swallowed is None:
                return
            cause = exception.__cause__ or exception
            extra = {"remote_address": address, "error": str(cause)[:200], "more_before": swallowed or None}
        logging.getLogger(__name__).log(level, msg, *args, extra=extra)

    def process(self, msg: Any, kwargs: Any) -> tuple[Any, Any]:
        return msg, kwargs


class Server:
    """Owns the listening socket and the registry of stations."""

    def __init__(
        self,
        around: Surroundings,
        registry: Registry,
        ready: Callable[[], dict[str, Any]],
        lease_held: Callable[[], bool],
    ) -> None:
        self._around = around
        self._settings: Settings = around.settings
        self._registry = registry
        self._ready = ready
        self._lease_held = lease_held
        self._refusals = _Refusals(self._settings.unknown_station_cache)
        self._server: WebSocketServer | None = None
        self._stopping = False
        self._background = Tasks()

    async def start(self) -> None:
        """Listen. Raises CannotListen."""
        settings = self._settings
        try:
            self._server = await serve(
                self._handle,
                settings.ocpp_host,
                settings.ocpp_port,
                process_request=self._process_request,
                select_subprotocol=self._select_protocol,
                create_connection=StationSocket,
                compression="deflate" if settings.compression else None,
                server_header=None,
                open_timeout=settings.open_timeout,
                close_timeout=settings.close_timeout,
                ping_interval=None,  # Station pings, with an interval of its own and more patience
                max_size=settings.max_frame_bytes,
                logger=_HandshakeLog(self._around.throttle),
                backlog=4096,  # after an outage all stations come at once
            )
        except OSError as exc:
            raise CannotListen(str(exc)) from exc

    @property
    def port(self) -> int:
        """The port listened on; of interest where the setting is 0."""
        assert self._server is not None
        port: int = next(iter(self._server.sockets)).getsockname()[1]
        return port

    async def stop_accepting(self) -> None:
        """Close the listening socket; open connections live on, new handshakes get 503."""
        self._stopping = True
        if self._server is not None:
            self._server.close(close_connections=False)

    async def close_stations(self) -> None:
        """Close every socket with 1001 and wait until all is said and stored. Cancel it to give that up."""
        for station in self._registry:
            station.close(1001, "the central system restarts")
        if self._server is not None:
            await self._server.wait_closed()
        await self._background.join()

    # --- handshake ---

    async def _process_request(self, connection: ServerConnection, request: Request) -> Response | None:
        """Answer plain HTTP and refusals; None lets the handshake go on."""
        assert isinstance(connection, StationSocket)
        path = request.path.partition("?")[0].rstrip("/")
        if path == "/health":
            return _respond(http.HTTPStatus.OK, json.dumps({"status": "ok"}), _JSON)
        if path == "/ready":
            state = self._ready()
            status = http.HTTPStatus.OK if state["ready"] else http.HTTPStatus.SERVICE_UNAVAILABLE
            return _respond(status, json.dumps(state), _JSON)
        if path == "/metrics":
            return _respond(http.HTTPStatus.OK, self._around.metrics.render(), _PROMETHEUS)
        return await self._admit(connection, request)

    async def _admit(self, connection: StationSocket, request: Request) -> Response | None:
        headers = request.headers
        name = handshake.station_id(request.path)
        if name is None:
            return self._refuse(connection, None, http.HTTPStatus.NOT_FOUND, "no station in the URL")
        problem = _repair(headers)
        if problem is not None:
            response = self._refuse(connection, name, http.HTTPStatus.UPGRADE_REQUIRED, problem)
            response.headers["Upgrade"] = "websocket"
            return response
        connection.offered = handshake.offered_protocols(headers.get_all("Sec-WebSocket-Protocol"))
        connection.protocol_name = handshake.choose_protocol(connection.offered)
        _replace(headers, "Sec-WebSocket-Protocol", connection.protocol_name)
        credentials = handshake.basic_credentials(headers.get("Authorization"))
        if credentials is not None and ":" in name:  # a user name cannot carry it (RFC 7617)
            return self._refuse(connection, name, http.HTTPStatus.UNAUTHORIZED, "Basic auth with a colon in the id")
        if self._stopping or not self._lease_held():
            return self._unavailable(connection, name, "the bridge is not ready")
        if connection.offered and connection.protocol_name is None:
            # OCPP-J §3.2: complete the handshake without the header, then close. Nothing is stored: the station's
            # working connection, if there is one, must not be replaced by this one.
            self._warn(connection, name, "no common sub-protocol", offered=",".join(connection.offered)[:200])
            return None
        key = self._refusals.key(name, credentials)
        outcome = self._refusals.get(key)
        if outcome is None:
            outcome = await self._ask(connection, name, headers, credentials)
            if outcome in ("unknown", "unauthorized"):
                self._refusals.put(key, outcome)
        if outcome == "accepted":
            if connection.protocol_name is None and not connection.policy.allow_no_subprotocol:
                connection.refuse_protocol = True
                self._warn(connection, name, "no sub-protocol offered")
            return None
        if outcome == "unknown":
            return self._refuse(connection, name, http.HTTPStatus.NOT_FOUND, "unknown station")
        if outcome == "unauthorized":
            return self._refuse(connection, name, http.HTTPStatus.UNAUTHORIZED, "wrong or missing credentials")
        return self._unavailable(connection, name, outcome)

    async def _ask(
        self, connection: StationSocket, name: str, headers: Headers, credentials: Credentials | None
    ) -> str:
        """Ask the database; "accepted", "unknown", "unauthorized", or why it could not say."""
        peer = connection.remote_address
        event = events.connect(
            name,
            connection.connection_id,
            bridge_id=self._settings.bridge_id,
            protocol=connection.protocol_name,
            offered=connection.offered[:20],
            remote_address=handshake.remote_address(
                peer[0] if isinstance(peer, tuple) else None,
                headers.get_all("X-Forwarded-For"),
                self._settings.trusted_proxies,
            ),
            user_agent=_first(headers, "User-Agent"),
            basic_user=credentials.user if credentials else None,
            basic_key=credentials.key if credentials else None,
        )
        try:
            reply = await self._around.ingest.submit(event, 600)
        except NotStored as exc:
            return str(exc)
        except asyncio.CancelledError:
            # The station hung up, or the handshake took too long; the event may have been stored all the same.
            self._background.start(self._take_back(name, connection.connection_id, "handshake not completed"))
            raise
        outcome = reply.get("connect")
        if not isinstance(outcome, str) or outcome != "accepted":
            return outcome if isinstance(outcome, str) else f"ocpp_ingest gave no outcome: {str(reply)[:200]}"
        canonical = reply.get("station_id")
        connection.station_id = canonical if isinstance(canonical, str) else name
        connection.policy = self._policy(reply.get("station"))
        connection.on_failed = self._handshake_failed
        return outcome

    @staticmethod
    def _policy(row: Any) -> Policy:
        station = row if isinstance(row, dict) else {}
        return Policy(
            strict=bool(station.get("strict")),
            # Null means never. 20 s keeps stations that drop a socket which is silent for 30 s (field notes 5).
            ping_interval_s=_seconds(station.get("ping_interval_s", 20)),
            ping_timeout_s=_seconds(station.get("ping_timeout_s", 20)),
            allow_no_subprotocol=bool(station.get("allow_no_subprotocol", True)),
        )

    @staticmethod
    def _select_protocol(connection: ServerConnection, _: Any) -> Subprotocol | None:
        assert isinstance(connection, StationSocket)
        return Subprotocol(connection.protocol_name) if connection.protocol_name is not None else None

    def _handshake_failed(self, connection: StationSocket) -> None:
        """The database took the connection, then the handshake broke: take it back."""
        assert connection.station_id is not None
        self._background.start(self._take_back(connection.station_id, connection.connection_id, "handshake failed"))

    async def _take_back(self, station_id: str, connection_id: str, reason: str) -> None:
        with contextlib.suppress(NotStored):  # shutting down without Supabase: the lease runs out and says the same
            await self._around.ingest.deliver(events.disconnect(station_id, connection_id, 1006, reason))

    # --- an open connection ---

    async def _handle(self, connection: ServerConnection) -> None:
        assert isinstance(connection, StationSocket)
        if connection.station_id is None:
            await connection.close(1002, "no common sub-protocol")
            return
        station = Station(connection.station_id, connection.connection_id, connection, connection.policy, self._around)
        if connection.refuse_protocol:
            station.close(1002, "no sub-protocol")
        else:
            former = self._registry.add(station)
            if former is not None:
                former.close(1000, "replaced by a newer connection")
            self._around.metrics.connects.labels(outcome="accepted").inc()
            self._around.metrics.connections.set(len(self._registry))
            log.info(
                "Station connected",
                extra={
                    "station_id": station.id,
                    "connection_id": station.connection_id,
                    "protocol": connection.protocol_name,
                    "remote_address": connection.remote_address[0] if connection.remote_address else None,
                },
            )
        if self._stopping:
            station.close(1001, "the central system restarts")
        try:
            await station.run()
        finally:
            self._registry.remove(station)
            self._around.metrics.connections.set(len(self._registry))
            await station.farewell()

    # --- refusals ---

    def _refuse(self, connection: StationSocket, name: str | None, status: http.HTTPStatus, reason: str) -> Response:
        self._warn(connection, name, reason, status=status.value)
        self._around.metrics.connects.labels(outcome=str(status.value)).inc()
        response = _respond(status, f"{reason}\n")
        if status is http.HTTPStatus.UNAUTHORIZED:
            response.headers["WWW-Authenticate"] = 'Basic realm="OCPP"'
        return response

    def _unavailable(self, connection: StationSocket, name: str, reason: str) -> Response:
        response = self._refuse(connection, name, http.HTTPStatus.SERVICE_UNAVAILABLE, reason)
        # Spread over some seconds, so that all stations do not come back at once.
        response.headers["Retry-After"] = str(5 + hash(connection.connection_id) % 10)
        return response

    def _warn(self, connection: StationSocket, name: str | None, reason: str, **facts: Any) -> None:
        peer = connection.remote_address
        address = peer[0] if isinstance(peer, tuple) else None
        swallowed = self._around.throttle.allow(f"refused {name or address} {reason}")
        if swallowed is not None:
            log.warning(
                "Handshake refused",
                extra={
                    "station_id": name,
                    "remote_address": address,
                    "reason": reason,
                    **facts,
                    "more_before": swallowed or None,
                },
            )


def _respond(status: http.HTTPStatus, body: str | bytes, content_type: str = "text/plain; charset=utf-8") -> Response:
    data = body.encode() if isinstance(body, str) else body
    headers = Headers([("Content-Type", content_type), ("Content-Length", str(len(data))), ("Connection", "close")])
    return Response(status.value, status.phrase, headers, data)


def _repair(headers: Headers) -> str | None:
    """Add what some stations forget (Autel: `Connection: Upgrade`); why it is no WebSocket handshake otherwise."""
    if "websocket" not in " ".join(headers.get_all("Upgrade")).lower():
        return "this is a WebSocket server"
    if not headers.get_all("Sec-WebSocket-Key"):
        return "Sec-WebSocket-Key is missing"
    if "upgrade" not in " ".join(headers.get_all("Connection")).lower():
        _replace(headers, "Connection", "Upgrade")
    return None


def _replace(headers: Headers, name: str, value: str | None) -> None:
    if name in headers:
        del headers[name]
    if value is not None:
        headers[name] = value


def _first(headers: Headers, name: str) -> str | None:
    values = headers.get_all(name)
    return values[0].encode(errors="replace").decode()[:300] if values else None


def _seconds(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and value > 0 else None
