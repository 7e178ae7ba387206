"""Long-lived programs are started, recognised and stopped by who they are, not by their number alone."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from local_supabase.errors import LocalSupabaseError
from local_supabase.process import Service, birth

SLEEP = [sys.executable, "-c", "import signal; print('up', flush=True); signal.pause()"]


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    service = Service("sleeper", tmp_path / "run" / "sleeper.json", tmp_path / "log" / "sleeper.log")
    yield service
    service.stop(signal.SIGKILL)


def test_a_program_runs_in_a_session_of_its_own(service: Service, tmp_path: Path) -> None:
    """Ctrl-C in the caller's terminal reaches the caller's session only."""
    pid = service.start(SLEEP, cwd=tmp_path)
    assert service.pid() == pid
    assert os.getsid(pid) == pid != os.getsid(0)


def test_another_process_with_the_noted_number_is_not_ours(service: Service) -> None:
    service.pid_file.parent.mkdir()
    service.pid_file.write_text(json.dumps({"pid": os.getpid(), "birth": "before the reboot"}))
    assert service.pid() is None
    assert service.stop() is False  # and this test lives on


def test_a_killed_program_is_not_running(service: Service, tmp_path: Path) -> None:
    pid = service.start(SLEEP, cwd=tmp_path)
    service.kill()
    assert service.pid_file.exists()
    assert service.pid() is None
    assert birth(pid) is None


def test_stopping_waits_until_it_is_gone(service: Service, tmp_path: Path) -> None:
    pid = service.start(SLEEP, cwd=tmp_path)
    assert service.stop() is True
    assert birth(pid) is None
    assert service.stop() is False


def test_one_that_ignores_the_signal_is_killed(service: Service, tmp_path: Path) -> None:
    stubborn = (
        "import signal; signal.signal(15, signal.SIG_IGN); print('up', flush=True); signal.pause(); signal.pause()"
    )
    pid = service.start([sys.executable, "-c", stubborn], cwd=tmp_path)
    service.wait_ready(lambda: "up" in service.tail())
    service.stop(timeout_s=0.1)
    assert birth(pid) is None


def test_a_program_that_cannot_be_executed_is_a_clear_error(service: Service, tmp_path: Path) -> None:
    with pytest.raises(LocalSupabaseError, match=r"sleeper could not be started: No such file or directory: .*nowhere"):
        service.start([tmp_path / "nowhere"], cwd=tmp_path)


def test_one_that_ends_while_starting_shows_its_log(service: Service, tmp_path: Path) -> None:
    service.start([sys.executable, "-c", "raise SystemExit('the reason')"], cwd=tmp_path)
    with pytest.raises(LocalSupabaseError, match="the reason"):
        service.wait_ready(lambda: False)


def test_one_that_is_never_ready_is_an_error(service: Service, tmp_path: Path) -> None:
    service.start(SLEEP, cwd=tmp_path)
    with pytest.raises(LocalSupabaseError, match="not ready"):
        service.wait_ready(lambda: False, timeout_s=0.1)
