"""`make run` as a newcomer has it: in a checkout of its own, from nothing to a receipt, again, and down."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import httpx
import pytest

from local_supabase import LocalSupabase, env_file
from local_supabase.ports import free
from local_supabase.tools import Tools
from tests.conftest import ROOT

PATIENCE_S = 120
LEFT_OUT = shutil.ignore_patterns(
    ".git", ".local", ".venv", ".*_cache", ".hypothesis", "__pycache__", "*.egg-info", "tests"
)


class Run:
    """`python -m demo`, which is all that `make run` does after installing the Python packages."""

    def __init__(self, checkout: Path, ports: dict[str, str], *arguments: str) -> None:
        # -m looks into the current folder first, so that all is the checkout's own
        self.process = subprocess.Popen(
            [sys.executable, "-m", "demo", *arguments],
            cwd=checkout,
            env={**os.environ, **ports},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.lines: list[str] = []
        self._patience = threading.Timer(PATIENCE_S, self.process.kill)
        self._patience.start()

    def until(self, text: str) -> None:
        """Read on until a line has the text. Fails when there is none."""
        stdout: IO[str] | None = self.process.stdout
        assert stdout is not None
        for line in stdout:
            self.lines.append(line.rstrip("\n"))
            if text in line:
                return
        raise AssertionError(f"it ended without {text!r}:\n" + "\n".join(self.lines))

    def end(self, number: signal.Signals | None = None) -> int:
        """Send a signal, if one is given, and wait for the end; its exit code."""
        if number is not None:
            self.process.send_signal(number)
        out, _ = self.process.communicate()
        self._patience.cancel()
        self.lines += out.splitlines()
        return self.process.returncode


@pytest.fixture
def ports() -> dict[str, str]:
    return {name: str(free()) for name in ("API_PORT", "DB_PORT", "OCPP_PORT", "WEB_PORT")}


@pytest.fixture
def checkout(tools: Tools, tmp_path: Path) -> Iterator[Path]:
    """A copy of the project without anything made in it; but with the programs from npm, to spare the download."""
    folder = tmp_path / "checkout"
    shutil.copytree(ROOT, folder, ignore=LEFT_OUT)
    (folder / ".local").mkdir()
    (folder / ".local" / "tools").symlink_to(tools.folder)
    yield folder
    if (folder / ".local" / "ports.json").exists():
        LocalSupabase(folder / ".local", api_port=None, db_port=None).down()


def receipt(lines: list[str]) -> list[str]:
    """The words of the receipt's lines."""
    begin = next(number for number, line in enumerate(lines) if line.startswith("Receipt: "))
    return [" ".join(line.split()) for line in lines[begin + 1 : begin + 3]]


def answers(port: str) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", int(port))) == 0


def test_from_a_checkout_to_a_receipt_again_and_down(checkout: Path, ports: dict[str, str]) -> None:
    expected = ["Energy 25.5 kWh x 15 KGS 382.50 KGS", "Total 382.50 KGS"]
    first = Run(checkout, ports)
    first.until("ocpp-bridge simulate")
    assert receipt(first.lines) == expected

    env = env_file.read(checkout / ".local" / "env")
    assert env["SUPABASE_URL"] == f"http://127.0.0.1:{ports['API_PORT']}"
    assert env["OCPP_URL"] == f"ws://127.0.0.1:{ports['OCPP_PORT']}/ws"
    for name in ("SUPABASE_ANON_KEY", "SUPABASE_SERVICE_ROLE_KEY", "SUPABASE_JWT_SECRET", "DATABASE_URL"):
        assert env[name]
    for who in ("DRIVER", "OPERATOR", "ADMIN"):
        answer = httpx.post(
            f"{env['SUPABASE_URL']}/auth/v1/token?grant_type=password",
            headers={"apikey": env["SUPABASE_ANON_KEY"]},
            json={"email": env[f"DEMO_{who}_EMAIL"], "password": env[f"DEMO_{who}_PASSWORD"]},
        )
        assert answer.status_code == 200, who
    assert httpx.get(f"http://127.0.0.1:{ports['OCPP_PORT']}/ready").json()["ready"] is True

    page = f"http://127.0.0.1:{ports['WEB_PORT']}/"
    assert any(page in line for line in first.lines)
    assert "<title>EvPower</title>" in httpx.get(page).text
    config = httpx.get(f"{page}config.js").text
    assert env["SUPABASE_URL"] in config
    assert env["SUPABASE_ANON_KEY"] in config
    for secret in ("SUPABASE_SERVICE_ROLE_KEY", "SUPABASE_SECRET_KEY", "SUPABASE_JWT_SECRET", "DEMO_DRIVER_PASSWORD"):
        assert env[secret] not in config

    second = Run(checkout, ports)
    assert second.end() == 1
    assert "is up already" in second.lines[-1]

    assert first.end(signal.SIGINT) == 0
    assert not any(answers(port) for port in ports.values())

    again = Run(checkout, ports)  # on a used machine
    again.until("ocpp-bridge simulate")
    assert receipt(again.lines) == expected
    stop = Run(checkout, ports, "--stop")
    assert stop.end() == 0
    assert stop.lines == ["Stopped."]
    assert again.end() == 0
    assert not any(answers(port) for port in ports.values())
    log = (checkout / ".local" / "log" / "bridge.log").read_text()
    assert log.count("StopTransaction: energy=25.5kWh, amount=382.5 KGS") == 2
    worrying = [line for line in log.splitlines() if " - INFO - " not in line]
    assert len(worrying) == 2  # nothing to worry a newcomer, but the fault that is played, in each run
    assert all("KG-CHA-002 - WARNING - StatusNotification: connector=1, status=Faulted" in line for line in worrying)

    nothing = Run(checkout, ports, "--stop")
    assert nothing.end() == 0
    assert nothing.lines == ["Nothing was running."]


@pytest.mark.parametrize("part", ["postgres", "postgrest", "gateway"])
def test_a_part_that_dies_is_named_with_its_log(checkout: Path, ports: dict[str, str], part: str) -> None:
    run = Run(checkout, ports)
    run.until("ocpp-bridge simulate")
    LocalSupabase(checkout / ".local", api_port=None, db_port=None).kill(part)
    assert run.end() == 1
    assert run.lines[-1] == f"error: {part} ended; its log: {checkout}/.local/log/{part}.log"
    assert not any("Traceback" in line for line in run.lines)
    assert not any(answers(port) for port in ports.values())


def test_a_port_in_use_is_named_with_what_to_do(checkout: Path, ports: dict[str, str]) -> None:
    for name, hint in (("API_PORT", "--api-port"), ("OCPP_PORT", "OCPP_PORT="), ("WEB_PORT", "WEB_PORT=")):
        with socket.create_server(("127.0.0.1", int(ports[name]))):
            run = Run(checkout, ports)
            assert run.end() == 1
        (error,) = [line for line in run.lines if line.startswith("error: ")]
        assert ports[name] in error
        assert hint in " ".join(run.lines)
        assert not any("Traceback" in line for line in run.lines)


def test_a_port_that_is_none_is_refused(checkout: Path, ports: dict[str, str]) -> None:
    run = Run(checkout, {**ports, "OCPP_PORT": "ocpp"})
    assert run.end() == 1
    assert run.lines[-1] == "error: OCPP_PORT must be a port number, and 'ocpp' is none."


def test_the_makefile_runs_the_demonstration() -> None:
    done = subprocess.run(
        ["make", "--no-print-directory", "--dry-run", "run"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.rstrip().endswith("/python -m demo")
