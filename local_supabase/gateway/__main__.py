"""``python -m local_supabase.gateway CONFIG``: runs until SIGTERM."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from pathlib import Path

from aiohttp import web

from .app import MAX_BODY, Gateway
from .config import GatewayConfig


async def serve(config: GatewayConfig) -> None:
    """Answer requests until SIGTERM or SIGINT; those under way are finished first."""
    gateway = Gateway(config)
    await gateway.start()
    server = web.Server(gateway.handle, client_max_size=MAX_BODY, access_log=None)
    runner = web.ServerRunner(server)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", config.port, shutdown_timeout=2).start()
    stopped = asyncio.Event()
    for sig in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(sig, stopped.set)
    await stopped.wait()
    await runner.cleanup()
    await gateway.stop()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    asyncio.run(serve(GatewayConfig.read(Path(sys.argv[1]))))
