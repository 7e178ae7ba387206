"""A system whose parts may be broken: a Supabase of its own, as durable as a real one, and bridges as processes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from demo.users import ensure_users
from local_supabase import LocalSupabase
from tests.bridges import BridgeProcess

pytest.register_assert_rewrite("tests.faults.audit")


@dataclass
class Plant:
    """Supabase, and the bridges that were started at it. Stations are told apart by their prefix."""

    stack: LocalSupabase
    env: Mapping[str, str]
    folder: Path
    bridges: list[BridgeProcess] = field(default_factory=list)

    def bridge(self, **settings: object) -> BridgeProcess:
        """Start a bridge."""
        bridge = BridgeProcess(self.env, self.folder, **settings)
        self.bridges.append(bridge)
        bridge.start()
        return bridge


@pytest.fixture(scope="module")
def durable_stack(cluster: LocalSupabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSupabase]:
    """Not the session's own, which trades crash safety for speed and belongs to other tests."""
    stack = LocalSupabase(cluster.folder / "stacks" / "durable")  # where a killed test run is cleaned up after
    try:
        stack.up()
        yield stack
    finally:
        stack.down()
        stack.postgres.remove()


@pytest.fixture
def plant(durable_stack: LocalSupabase, tmp_path: Path) -> Iterator[Plant]:
    """The system without a bridge yet; those started must end in order and have logged nothing but log lines."""
    plant = Plant(durable_stack, asyncio.run(ensure_users(durable_stack.env_path)), tmp_path)
    try:
        yield plant
    finally:
        codes = [bridge.end() for bridge in plant.bridges]
        for part in ("postgres", "postgrest", "gateway"):  # whatever a failed test left broken
            durable_stack.start(part)
    assert codes == [0] * len(codes)
    for bridge in plant.bridges:
        assert not [line for line in bridge.lines() if "Traceback" in line]
