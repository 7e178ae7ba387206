from __future__ import annotations

import asyncio

import pytest

from ocpp_bridge.tasks import Tasks


async def test_joining_waits_for_what_is_started_meanwhile() -> None:
    tasks, done = Tasks(), []

    async def second() -> None:
        await asyncio.sleep(0)
        done.append("second")

    async def first() -> None:
        await asyncio.sleep(0)
        tasks.start(second())

    tasks.start(first())
    await tasks.join()
    assert done == ["second"]


async def test_a_task_that_breaks_is_logged_and_the_others_go_on(caplog: pytest.LogCaptureFixture) -> None:
    tasks = Tasks()

    async def broken() -> None:
        raise RuntimeError("a bug")

    async def sound() -> str:
        await asyncio.sleep(0)
        return "done"

    tasks.start(broken())
    other = tasks.start(sound())
    await tasks.join()
    assert other.result() == "done"
    assert "RuntimeError: a bug" in caplog.text


async def test_cancelling_ends_all_of_them_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    tasks = Tasks()
    waiting = tasks.start(asyncio.Event().wait())
    await asyncio.sleep(0)
    await tasks.cancel()
    assert waiting.cancelled()
    assert caplog.records == []
