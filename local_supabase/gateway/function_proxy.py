"""/functions/v1/NAME/...: checks the token, hands the request to the function's process, streams its answer back."""

from __future__ import annotations

import logging

import aiohttp
import jwt
from aiohttp import web
from multidict import CIMultiDict

from .. import ports
from ..keys import Keys
from . import cors
from .access import Gate, apikey_of
from .functions import BootError, Functions

log = logging.getLogger(__name__)
TIMEOUT_S = 150.0  # a hosted function has as long to begin its answer
HOP_BY_HOP = frozenset(
    ("connection", "keep-alive", "proxy-authorization", "te", "trailer", "transfer-encoding", "upgrade", "host")
)
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD")


class FunctionProxy:
    """Answers below /functions/v1."""

    def __init__(self, functions: Functions, gate: Gate) -> None:
        self._functions = functions
        self._gate = gate

    async def start(self) -> None:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=TIMEOUT_S)
        self._session = aiohttp.ClientSession(
            auto_decompress=False, connector=aiohttp.TCPConnector(limit=0), timeout=timeout
        )

    async def stop(self) -> None:
        await self._session.close()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """The function's answer, or the platform's: 401, 404, 405 or 503 with a code."""
        name = request.match_info["name"]
        if request.method not in METHODS:
            return _refuse(405, 405, "Method Not Allowed", Allow=", ".join(METHODS))
        settings = self._functions.settings(name)
        if settings is None:
            return _refuse(404, "NOT_FOUND", "Requested function was not found")
        apikey = apikey_of(request)
        # an API key is not required (webhooks have none), but a wrong one is refused
        if apikey and (refused := self._gate.refusal(request.headers, apikey)):
            cors.allow(refused)
            return refused
        if settings.verify_jwt and request.method != "OPTIONS":  # browsers send no token with a preflight
            header = request.headers.get("Authorization", "")
            if not header:
                return _refuse(401, 401, "Missing authorization header")
            if not is_token_of(self._gate.keys, header):
                return _refuse(401, 401, "Invalid JWT")
        try:
            port = await self._functions.port(name, settings)
            return await self._forward(request, port, apikey)
        except BootError as exc:
            log.error("%s", exc)
            return _refuse(503, "BOOT_ERROR", "Function failed to start (please check logs)")
        except aiohttp.ClientError as exc:
            log.error("function %s gave no answer: %r", name, exc)
            return _refuse(500, "WORKER_ERROR", "Function exited due to an error (please check logs)")

    async def _forward(self, request: web.Request, port: int, apikey: str | None) -> web.StreamResponse:
        # the function sees /NAME/..., as hosted
        path = request.raw_path.removeprefix("/functions/v1")
        headers = CIMultiDict((k, v) for k, v in request.headers.items() if k.lower() not in HOP_BY_HOP)
        headers["X-Forwarded-For"] = request.remote or ""
        headers["X-Forwarded-Host"] = request.host
        headers["X-Forwarded-Proto"] = "http"
        headers.pop("sb-api-key", None)  # ours to set: what a caller claims there is worth nothing
        if apikey and (token := self._gate.jwt_for(apikey)):
            headers["sb-api-key"] = token
        async with self._session.request(
            request.method,
            f"http://{ports.HOST}:{port}{path}",
            headers=headers,
            data=request.content if request.body_exists else None,
            allow_redirects=False,
            skip_auto_headers=("User-Agent", "Content-Type", "Accept", "Accept-Encoding"),
        ) as upstream:
            response = web.StreamResponse(status=upstream.status, reason=upstream.reason)
            for key, value in upstream.headers.items():
                if key.lower() not in HOP_BY_HOP:
                    response.headers.add(key, value)
            if request.method == "GET" and upstream.content_type == "text/html":
                # hosted projects do so against phishing on their domain: a page made here would not show there
                response.headers["Content-Type"] = "text/plain"
                response.headers["Content-Security-Policy"] = "default-src 'none'; sandbox"
            await response.prepare(request)
            async for chunk in upstream.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
            return response


def is_token_of(keys: Keys, header: str) -> bool:
    """Whether the Authorization header holds a token of this project that is still good."""
    scheme, _, token = header.partition(" ")
    try:
        jwt.decode(token, keys.jwt_secret, algorithms=["HS256"], options={"verify_aud": False})
    except jwt.PyJWTError:
        return False
    return scheme.lower() == "bearer"


def _refuse(status: int, code: int | str, message: str, **headers: str) -> web.Response:
    response = web.json_response(
        {"code": code, "message": message}, status=status, headers={"sb-error-code": str(code), **headers}
    )
    cors.allow(response)
    return response
