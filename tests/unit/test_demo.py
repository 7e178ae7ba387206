"""`make run`: what needs no running system."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from demo import run as demo
from demo.processes import DemoError
from demo.web import PORT, WebPage
from local_supabase.errors import LocalSupabaseError
from local_supabase.process import Service


@pytest.mark.parametrize("interrupted", [True, False])
async def test_a_start_that_fails_of_ctrl_c_is_no_error(monkeypatch: pytest.MonkeyPatch, interrupted: bool) -> None:
    stopped = []
    loop = asyncio.get_running_loop()

    async def turn() -> None:
        await asyncio.sleep(0)

    class Stack:
        def __init__(self, *_: Any, **__: Any) -> None:
            pass

        def up(self) -> None:
            if interrupted:
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
                for _ in range(3):  # the loop has seen the signal, then runs its handler
                    asyncio.run_coroutine_threadsafe(turn(), loop).result(10)
            raise LocalSupabaseError("npm ended with code -2")

        def down(self) -> list[str]:
            stopped.append(True)
            return []

    monkeypatch.setattr(demo, "LocalSupabase", Stack)
    if interrupted:
        assert await demo.run() == 130
    else:
        with pytest.raises(LocalSupabaseError):
            await demo.run()
    assert stopped


async def test_the_page_gives_way_on_its_usual_port_and_says_so_of_a_chosen_one() -> None:
    env = {"SUPABASE_URL": "http://127.0.0.1:1", "SUPABASE_ANON_KEY": "anon"}
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):  # somebody else's, who keeps it as well
            other.bind(("127.0.0.1", PORT))
            other.listen()
        async with WebPage(env, Path()) as page:
            assert not page.on_usual_port
            assert not page.url.endswith(f":{PORT}/")
        with pytest.raises(DemoError, match=f"port {PORT}.*WEB_PORT="):
            async with WebPage(env, Path(), PORT):
                pass


def test_a_run_that_does_not_stop_is_killed_and_what_it_left_behind_is_stopped(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    deaf = "import signal; signal.signal(15, signal.SIG_IGN); print('up', flush=True); [signal.pause() for _ in 'ab']"
    bridge = Service("bridge", tmp_path / "run" / "bridge.json", tmp_path / "log" / "bridge.log")
    run = Service("make run", tmp_path / "run" / "demo.json", tmp_path / "log" / "demo.log")
    bridge.start([sys.executable, "-c", "import signal; signal.pause()"], cwd=tmp_path)
    run.start([sys.executable, "-c", deaf], cwd=tmp_path)
    try:
        run.wait_ready(lambda: "up" in run.log.read_text())
        monkeypatch.setattr(demo, "LOCAL", tmp_path)
        monkeypatch.setattr(demo, "BRIDGE", bridge)
        monkeypatch.setattr(demo, "STOP_S", 0.1)
        monkeypatch.setattr(sys, "argv", ["demo", "--stop"])
        assert demo.main() == 0
        assert run.pid() is None
        assert bridge.pid() is None
    finally:
        run.kill()
        bridge.kill()
    assert capsys.readouterr() == ("Stopped.\n", "")
