"""Hands a request on to a server behind the gateway and its answer back, both as streams."""

from __future__ import annotations

import aiohttp
from aiohttp import web
from multidict import CIMultiDict

HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


class Proxy:
    """Keeps connections to one server open and reuses them."""

    def __init__(self, session: aiohttp.ClientSession, origin: str) -> None:
        self._session = session
        self._origin = origin

    async def forward(self, request: web.BaseRequest, path: str, headers: CIMultiDict[str]) -> web.StreamResponse:
        """The server's answer to the request under path. Raises OSError or aiohttp.ClientError when it is not there."""
        body = await request.read() if request.body_exists else None
        async with self._session.request(
            request.method,
            self._origin + path,
            headers=headers,
            data=body,
            allow_redirects=False,
            skip_auto_headers=("User-Agent", "Content-Type"),
        ) as upstream:
            kept = CIMultiDict((k, v) for k, v in upstream.headers.items() if k.lower() not in HOP_BY_HOP)
            payload = await upstream.read()
            kept.pop("Content-Length", None)
            return web.Response(status=upstream.status, reason=upstream.reason, headers=kept, body=payload)


def forwarded_headers(request: web.BaseRequest) -> CIMultiDict[str]:
    """The caller's headers without those that concern only its connection to us."""
    return CIMultiDict(
        (k, v) for k, v in request.headers.items() if k.lower() not in HOP_BY_HOP and k.lower() != "host"
    )
