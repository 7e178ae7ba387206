"""Cross-origin headers: any origin may call, as on a hosted project; the tokens decide what it gets."""

from __future__ import annotations

from aiohttp import web

METHODS = "GET,HEAD,PUT,PATCH,POST,DELETE,OPTIONS,TRACE,CONNECT"
EXPOSED = (
    "Content-Encoding, Content-Location, Content-Range, Content-Type, Date, Location, Server, Transfer-Encoding,"
    " Range-Unit, X-Total-Count, Link, X-Supabase-Api-Version"  # the last tells auth-js the shape of an error
)


def is_preflight(request: web.BaseRequest) -> bool:
    return request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers


def preflight(request: web.BaseRequest) -> web.Response:
    """The answer to a browser's question before the real request."""
    return web.Response(
        headers={
            "Access-Control-Allow-Origin": "*",
            "Access-Control-Allow-Methods": METHODS,
            "Access-Control-Allow-Headers": request.headers.get("Access-Control-Request-Headers", "*"),
            "Access-Control-Max-Age": "3600",
        }
    )


def allow(response: web.StreamResponse) -> None:
    """Let a page of any origin read the response. A prepared response (WebSocket) is left alone."""
    if not response.prepared:
        response.headers["Access-Control-Allow-Origin"] = "*"
        response.headers.setdefault("Access-Control-Expose-Headers", EXPOSED)
