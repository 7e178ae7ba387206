"""Routes of the gateway."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web

from .. import ports
from ..auth import AuthServer, AuthSettings
from ..realtime import RealtimeServer
from . import cors
from .access import Gate, apikey_of
from .config import GatewayConfig
from .function_proxy import FunctionProxy
from .functions import Functions
from .postgrest_client import PostgrestClient

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
log = logging.getLogger(__name__)
MAX_BODY = 50 * 1024 * 1024
OPEN_AUTH_PATHS = ("/verify", "/callback", "/authorize", "/.well-known/jwks.json")  # reached by links, without a key
APIKEY_PARAMETER = re.compile(r"([?&])apikey=[^&]*")  # PostgREST would take it for a filter
UNREACHABLE = {"message": "An invalid response was received from the upstream server"}


class Gateway:
    """All routes as one aiohttp application."""

    def __init__(self, config: GatewayConfig) -> None:
        keys = config.keys()
        self._gate = Gate(keys)
        self._postgrest = PostgrestClient(ports.HOST, config.postgrest_port)
        settings = AuthSettings.read(Path(config.project) / "supabase" / "config.toml")
        self._auth = AuthServer(config.auth_database_url, keys.jwt_secret, f"{config.url}/auth/v1", settings)
        self._realtime = RealtimeServer(config.realtime_database_url, keys.jwt_secret, translate_key=self._gate.jwt_for)
        self._functions = Functions(config)
        self._function_proxy = FunctionProxy(self._functions, self._gate)

    def application(self) -> web.Application:
        """Starts and stops the parts with itself."""
        app = web.Application(client_max_size=MAX_BODY)
        app.router.add_route("*", "/rest/v1{tail:(?s:/.*)?}", self._rest)
        app.router.add_route("*", "/auth/v1{tail:(?s:/.*)?}", self._handle_auth)
        app.router.add_route("*", "/functions/v1/{name}{tail:(?s:/.*)?}", self._function_proxy.handle)
        for route in self._realtime.routes():
            assert isinstance(route, web.RouteDef)
            app.router.add_route(route.method, route.path, self._behind_gate(route.handler))
        app.router.add_route("*", "/{tail:(?s:.*)}", _no_route)
        app.on_startup.append(self._start)
        app.on_shutdown.append(self._close_sockets)
        app.on_cleanup.append(self._stop)
        return app

    async def _start(self, _: web.Application) -> None:
        await self._auth.start()
        await self._functions.start()
        await self._function_proxy.start()
        await self._realtime.start()

    async def _close_sockets(self, _: web.Application) -> None:
        await self._realtime.stop()  # before aiohttp waits for its handlers: a WebSocket ends only when it is closed

    async def _stop(self, _: web.Application) -> None:
        await self._function_proxy.stop()
        await self._functions.stop()
        await self._auth.stop()
        self._postgrest.close()

    async def _rest(self, request: web.Request) -> web.Response:
        if cors.is_preflight(request):
            return cors.preflight(request)
        headers = request.headers
        apikey = apikey_of(request)
        refused = self._gate.refusal(headers, apikey)
        if refused is None and apikey is not None:
            path = request.raw_path[len("/rest/v1") :]
            if "apikey=" in path:
                path = APIKEY_PARAMETER.sub(lambda found: "?" if found[1] == "?" else "", path).replace("?&", "?")
            if not path.startswith("/"):
                path = f"/{path}"
            try:
                answer = await self._postgrest.request(
                    request.method,
                    path,
                    request.raw_headers,
                    self._gate.authorization(headers.get("Authorization"), apikey),
                    await request.read(),
                )
            except OSError as exc:
                log.warning("PostgREST gave no answer: %r", exc)
                response = web.json_response(UNREACHABLE, status=502)
            else:
                response = web.Response(status=answer.status, headers=answer.headers, body=answer.body)
        else:
            response = refused or web.Response(status=401)
        cors.allow(response)
        return response

    async def _handle_auth(self, request: web.Request) -> web.Response:
        if cors.is_preflight(request):
            return cors.preflight(request)
        path = request.path.removeprefix("/auth/v1")
        response = None
        if path not in OPEN_AUTH_PATHS:
            response = self._gate.refusal(request.headers, apikey_of(request))
        if response is None:
            response = await self._auth.handle(request, path, self._authorization(request))
        cors.allow(response)
        return response

    def _behind_gate(self, handler: Handler) -> Handler:
        """The handler for callers with an API key, readable by pages of any origin."""

        async def guarded(request: web.Request) -> web.StreamResponse:
            if cors.is_preflight(request):
                return cors.preflight(request)
            response = self._gate.refusal(request.headers, apikey_of(request)) or await handler(request)
            cors.allow(response)
            return response

        return guarded

    def _authorization(self, request: web.Request) -> str | None:
        apikey = apikey_of(request)
        header = request.headers.get("Authorization")
        return self._gate.authorization(header, apikey) if apikey else header


async def _no_route(_: web.Request) -> web.Response:
    return web.json_response({"message": "no Route matched with those values"}, status=404)


async def run(config: GatewayConfig, stopped: asyncio.Event) -> None:
    """Answer requests until stopped is set; those under way are finished first."""
    runner = web.AppRunner(Gateway(config).application(), access_log=None, shutdown_timeout=2)
    await runner.setup()
    try:
        await web.TCPSite(runner, ports.HOST, config.port).start()
        await stopped.wait()
    finally:
        await runner.cleanup()
