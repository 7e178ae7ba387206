"""The command line and the life of a whole stack."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from local_supabase import LocalSupabase, LocalSupabaseError, env_file
from local_supabase.__main__ import main

FIRST = "create table public.fruits (name text primary key); alter table public.fruits enable row level security;"
SECOND = 'create policy "Anybody reads fruits" on public.fruits for select to anon using (true);'


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small project: one migration and a seed."""
    folder = tmp_path_factory.mktemp("project")
    migrations = folder / "supabase" / "migrations"
    migrations.mkdir(parents=True)
    (migrations / "20260101000000_create_fruits.sql").write_text(FIRST)
    (folder / "supabase" / "seed.sql").write_text("insert into public.fruits values ('apricot');")
    shutil.copy(Path(__file__).parents[2] / "supabase" / "config.toml", folder / "supabase")
    return folder


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, project: Path) -> Iterator[LocalSupabase]:
    """A stack beside the one of the session; its tests build on each other."""
    stack = LocalSupabase(tmp_path_factory.mktemp("stack"), project=project, durable=False)
    try:
        stack.up()
        yield stack
    finally:
        stack.reset()


def fruits(stack: LocalSupabase, key: str | None = None) -> list[str]:
    answer = httpx.get(f"{stack.url}/rest/v1/fruits", headers={"apikey": key or stack.service_role_key})
    return [row["name"] for row in answer.raise_for_status().json()]


def run(stack: LocalSupabase, *arguments: str) -> int:
    return main(["--dir", os.fspath(stack.folder), *arguments])


def test_up_migrates_and_seeds(stack: LocalSupabase) -> None:
    assert fruits(stack) == ["apricot"]


def test_env_names_what_clients_need(stack: LocalSupabase) -> None:
    env = env_file.read(stack.env_path)
    assert env["SUPABASE_URL"] == stack.url
    assert {"SUPABASE_ANON_KEY", "SUPABASE_SERVICE_ROLE_KEY", "SUPABASE_PUBLISHABLE_KEY", "SUPABASE_SECRET_KEY"} < set(
        env
    )
    assert {"SUPABASE_JWT_SECRET", "DATABASE_URL"} < set(env)
    private = [stack.folder / name for name in ("env", "secrets.json", "postgrest.conf", "gateway.json")]
    readable = [path.name for path in private if path.stat().st_mode & 0o077]
    assert readable == []


def test_up_again_applies_what_is_new_and_keeps_the_rest(stack: LocalSupabase, project: Path) -> None:
    before = (stack.url, stack.anon_key, [row.pid for row in stack.status()])
    with stack.connect() as connection:
        connection.execute("insert into public.fruits values ('plum')")
    assert fruits(stack, stack.anon_key) == []
    (project / "supabase" / "migrations" / "20260102000000_open_fruits.sql").write_text(SECOND)
    stack.up()
    assert (stack.url, stack.anon_key, [row.pid for row in stack.status()]) == before
    assert fruits(stack, stack.anon_key) == ["apricot", "plum"]


def test_down_and_up_keep_data_keys_and_ports(stack: LocalSupabase) -> None:
    before = (stack.url, stack.db_url, stack.anon_key)
    assert stack.down() == ["gateway", "postgrest", "postgres"]
    assert [row.state for row in stack.status()] == ["stopped"] * 3
    stack.up()
    assert (stack.url, stack.db_url, stack.anon_key) == before
    assert fruits(stack) == ["apricot", "plum"]


def test_everything_killed_comes_back(stack: LocalSupabase) -> None:
    for part in ("postgres", "postgrest", "gateway"):
        stack.kill(part)
    stack.up()
    assert fruits(stack) == ["apricot", "plum"]


def test_the_command_line_shows_and_restarts_parts(stack: LocalSupabase, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(stack, "status") == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [
        "PART",
        "postgres",
        "postgrest",
        "gateway",
    ]
    assert run(stack, "stop", "postgrest") == 0
    assert run(stack, "status") == 1
    assert "stopped" in capsys.readouterr().out
    assert run(stack, "start", "postgrest") == 0
    before = stack.status()
    assert run(stack, "restart", "gateway") == 0
    after = stack.status()
    assert [old.pid == new.pid for old, new in zip(before, after, strict=True)] == [True, True, False]
    assert fruits(stack) == ["apricot", "plum"]


def test_a_failing_migration_is_shown_without_a_stack_trace(stack: LocalSupabase, project: Path) -> None:
    broken = project / "supabase" / "migrations" / "20260103000000_break.sql"
    broken.write_text("create table public.half (id int); select * from nowhere;")
    try:
        with pytest.raises(LocalSupabaseError, match='relation "nowhere" does not exist'):
            stack.up()
    finally:
        broken.unlink()
    with stack.connect() as connection:
        assert connection.execute("select to_regclass('public.half')").fetchone() == (None,)
    stack.up()


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "local_supabase", *arguments], capture_output=True, text=True, timeout=120, check=False
    )


def test_a_port_in_use_is_a_clear_error(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = command("--dir", str(tmp_path / "a"), "up", "--api-port", "0", "--db-port", port)
        assert (done.returncode, "Traceback" in done.stderr) == (1, False)
        assert f"Port {port}, wanted for PostgreSQL, is in use" in done.stderr
        assert "DB_PORT=54332 make run" in done.stderr
        assert "--db-port 0" in done.stderr


@pytest.mark.parametrize("arguments", [["status"], ["stop", "gateway"], ["start", "postgres"], ["types"]])
def test_without_a_stack_the_commands_say_so(tmp_path: Path, arguments: list[str]) -> None:
    done = command("--dir", str(tmp_path / "none"), *arguments)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert "python -m local_supabase up" in done.stderr


def test_types_and_advisors_come_from_the_database(stack: LocalSupabase) -> None:
    assert '"fruits"' in command("--dir", str(stack.folder), "types").stdout
    with stack.connect() as connection:
        connection.execute("create table public.bare (id int); grant select on public.bare to anon")
    done = command("--dir", str(stack.folder), "advisors")
    assert (done.returncode, "rls_disabled_in_public" in done.stdout) == (1, True)


def test_reset_asks_then_deletes(stack: LocalSupabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builtins.input", lambda _: "n")
    assert run(stack, "reset") == 1
    assert fruits(stack) == ["apricot", "plum"]
    key = stack.anon_key
    monkeypatch.setattr("builtins.input", lambda _: "y")
    assert run(stack, "reset") == 0
    assert not (stack.folder / "postgres").exists()
    stack.up()
    assert fruits(stack) == ["apricot"]
    assert stack.anon_key != key
