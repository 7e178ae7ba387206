"""The example frontend, served for the local Supabase: examples/web/ as it is, with two files made for the place.

`config.js` names the API and its anon key, `supabase.js` is supabase-js from the installed npm package.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from aiohttp import web

from local_supabase.ports import HOST, free
from local_supabase.stack import PROJECT

from .processes import DemoError

FOLDER = PROJECT / "examples" / "web"
PORT = 8080


def application(env: Mapping[str, str], node_modules: Path) -> web.Application:
    """The page for the API that env names (SUPABASE_URL, SUPABASE_ANON_KEY)."""
    url = env["SUPABASE_URL"]
    config = "\n".join(
        [
            'export { createClient } from "./supabase.js";',
            f"export const SUPABASE_URL = {json.dumps(url)};",
            f"export const SUPABASE_KEY = {json.dumps(env['SUPABASE_ANON_KEY'])};",
            "",
        ]
    )
    bundle = node_modules / "@supabase" / "supabase-js" / "dist" / "umd" / "supabase.js"
    headers = {
        "Content-Security-Policy": (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
            f" connect-src {url} {url.replace('http', 'ws', 1)};"
            " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        ),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-cache",
    }

    async def index(_: web.Request) -> web.FileResponse:
        return web.FileResponse(FOLDER / "index.html")

    async def serve_config(_: web.Request) -> web.Response:
        return web.Response(text=config, content_type="text/javascript")

    async def serve_library(_: web.Request) -> web.Response:
        # The package's only single file sets a global; here it is a module, as a CDN makes one of it.
        text = f"{bundle.read_text()}\nexport const {{ createClient }} = supabase;\n"
        return web.Response(text=text, content_type="text/javascript")

    async def add_headers(_: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(headers)

    app = web.Application()
    app.router.add_get("/", index)
    app.router.add_get("/config.js", serve_config)
    app.router.add_get("/supabase.js", serve_library)
    app.router.add_static("/", FOLDER)
    app.on_response_prepare.append(add_headers)
    return app


class WebPage:
    """The server of the page, within `async with`. port: None takes 8080, or a free
    one where that is taken; 0 a free one."""

    def __init__(self, env: Mapping[str, str], node_modules: Path, port: int | None = None) -> None:
        self._runner = web.AppRunner(application(env, node_modules), access_log=None, shutdown_timeout=1)
        self._port = port

    async def __aenter__(self) -> WebPage:
        await self._runner.setup()
        try:
            await self._listen(PORT if self._port is None else self._port)
        except OSError as exc:
            if self._port is not None:
                await self._runner.cleanup()
                raise DemoError(
                    f"port {self._port}, of the web page, is in use. Choose another: WEB_PORT=8081 make run"
                ) from exc
            await self._listen(free())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://{HOST}:{self._runner.addresses[0][1]}/"

    @property
    def on_usual_port(self) -> bool:
        """False when that was taken."""
        return bool(self._runner.addresses[0][1] == PORT)

    async def _listen(self, port: int) -> None:
        await web.TCPSite(self._runner, HOST, port).start()
