"""Routes of the gateway."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

import aiohttp
from aiohttp import web

from . import cors
from .access import Gate, apikey_of
from .config import GatewayConfig
from .proxy import Proxy, forwarded_headers

LOG = logging.getLogger(__name__)
MAX_BODY = 50 * 1024 * 1024
Handler = Callable[[web.BaseRequest, str], Awaitable[web.StreamResponse]]


class Gateway:
    """Answers every request of the stack; start() before the first, stop() after the last."""

    def __init__(self, config: GatewayConfig) -> None:
        self.config = config
        self.gate = Gate(config.keys())
        self._handlers: list[tuple[str, Handler]] = [("/rest/v1", self._rest)]

    async def start(self) -> None:
        self._session = aiohttp.ClientSession(auto_decompress=False, connector=aiohttp.TCPConnector(limit=0))
        self._postgrest = Proxy(self._session, f"http://127.0.0.1:{self.config.postgrest_port}")

    async def stop(self) -> None:
        await self._session.close()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """One request. An answer comes in any case; what goes wrong behind the gateway is 502."""
        path = request.raw_path if request.raw_path.startswith("/") else request.path_qs
        for prefix, handler in self._handlers:
            if path.startswith(prefix) and (len(path) == len(prefix) or path[len(prefix)] in "/?"):
                if cors.is_preflight(request):
                    return cors.preflight(request)
                try:
                    response = await handler(request, path[len(prefix) :])
                except (OSError, aiohttp.ClientError, asyncio.IncompleteReadError) as exc:
                    LOG.warning("upstream failed", extra={"path": path, "error": repr(exc)})
                    response = web.json_response(
                        {"message": "An invalid response was received from the upstream server"}, status=502
                    )
                cors.allow(response)
                return response
        return web.json_response({"message": "no Route matched with those values"}, status=404)

    async def _rest(self, request: web.BaseRequest, path: str) -> web.StreamResponse:
        apikey = apikey_of(request)
        refused = self.gate.refusal(request.headers, apikey)
        if refused is not None or apikey is None:
            return refused or web.Response(status=401)
        headers = forwarded_headers(request)
        headers["Authorization"] = self.gate.authorization(request.headers.get("Authorization"), apikey)
        return await self._postgrest.forward(request, path if path.startswith("/") else f"/{path}", headers)
