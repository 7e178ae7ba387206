"""`make run`: what needs no running system."""

from __future__ import annotations

import asyncio
import signal
import threading
from typing import Any

import pytest

from demo import run as demo
from local_supabase.errors import LocalSupabaseError


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
