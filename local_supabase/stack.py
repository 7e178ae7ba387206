"""One local Supabase: its folder, its parts, and what starts after what."""

from __future__ import annotations

import fcntl
import json
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from . import env_file, function_modules, ports, supabase_cli, tools
from .errors import LocalSupabaseError
from .gateway.config import GatewayConfig
from .keys import Keys, load_or_mint
from .postgres import Postgres
from .postgrest import Postgrest
from .process import Service

PROJECT = Path(__file__).resolve().parent.parent
PARTS = ("postgres", "postgrest", "gateway")
API_PORT, DB_PORT = 54321, 54322  # those of `supabase start`
TEMPLATE = "evpower_template"


def silent(_: str) -> None:
    """Where progress goes when nobody watches."""


@dataclass(frozen=True)
class Ports:
    """The TCP ports of one stack, kept between starts so that its URLs stay the same."""

    api: int
    database: int
    postgrest: int
    postgrest_admin: int


@dataclass(frozen=True)
class Status:
    """One part as `status` shows it."""

    part: str
    pid: int | None
    port: int
    state: str


class LocalSupabase:
    """A local Supabase in a folder of its own; several may run side by side.

    api_port and db_port: None takes the port of the last start, else the given default; 0 takes a free one. After up():
    url, api_port, db_port, db_url (as postgres), anon_key, service_role_key, publishable_key, secret_key, jwt_secret.
    durable=False trades crash safety for speed. database: which database of the cluster the API serves.
    """

    def __init__(
        self,
        folder: Path,
        *,
        api_port: int | None = 0,
        db_port: int | None = 0,
        project: Path = PROJECT,
        tools_folder: Path = PROJECT / ".local" / "tools",
        durable: bool = True,
        database: str = "postgres",
        say: Callable[[str], None] = silent,
        _cluster: Postgres | None = None,
    ) -> None:
        self.folder = folder.resolve()
        self.project = project
        self.database = database
        self._api_port = api_port
        self._db_port = db_port
        self._tools_folder = tools_folder
        self._durable = durable
        self._say = say
        self._shared_cluster = _cluster
        self._ports: Ports | None = None
        self._tools: tools.Tools | None = None

    # ------------------------------------------------------------------------------------------- attributes
    @property
    def keys(self) -> Keys:
        return load_or_mint(self.folder / "secrets.json")

    @property
    def api_port(self) -> int:
        return self.ports.api

    @property
    def db_port(self) -> int:
        return self.ports.database

    @property
    def url(self) -> str:
        """Where the API is: SUPABASE_URL."""
        return f"http://{ports.HOST}:{self.api_port}"

    @property
    def db_url(self) -> str:
        """The database as postgres, the project's owner."""
        return self.postgres.url("postgres", self.database)

    @property
    def anon_key(self) -> str:
        return self.keys.anon_key

    @property
    def service_role_key(self) -> str:
        return self.keys.service_role_key

    @property
    def publishable_key(self) -> str:
        return self.keys.publishable_key

    @property
    def secret_key(self) -> str:
        return self.keys.secret_key

    @property
    def jwt_secret(self) -> str:
        return self.keys.jwt_secret

    @property
    def env_path(self) -> Path:
        """The file with KEY=value lines for every tool of the project."""
        return self.folder / "env"

    def env(self) -> dict[str, str]:
        """What a client of this stack needs to know, by the names that the project uses everywhere."""
        keys = self.keys
        return {
            "SUPABASE_URL": self.url,
            "SUPABASE_ANON_KEY": keys.anon_key,
            "SUPABASE_SERVICE_ROLE_KEY": keys.service_role_key,
            "SUPABASE_PUBLISHABLE_KEY": keys.publishable_key,
            "SUPABASE_SECRET_KEY": keys.secret_key,
            "SUPABASE_JWT_SECRET": keys.jwt_secret,
            "DATABASE_URL": self.db_url,
        }

    def mint(self, role: str, sub: str | None = None, **claims: Any) -> str:
        """An access token for a role and user, as Supabase Auth would issue it; expires_in_s=3600 unless given."""
        return self.keys.mint(role, sub, **claims)

    # ------------------------------------------------------------------------------------------------ parts
    @property
    def tools(self) -> tools.Tools:
        if self._tools is None:
            self._tools = tools.find(self._tools_folder)
        return self._tools

    @property
    def ports(self) -> Ports:
        """The ports of the last start. Raises LocalSupabaseError before the first."""
        if self._ports is None:
            try:
                self._ports = Ports(**json.loads((self.folder / "ports.json").read_text()))
            except FileNotFoundError:
                raise LocalSupabaseError(
                    f"There is no local Supabase in {self.folder}. Run: python -m local_supabase up"
                ) from None
        return self._ports

    def _service(self, name: str) -> Service:
        if name == "postgres" and self._shared_cluster is not None:
            return self._shared_cluster.service
        return Service(name, self.folder / "run" / f"{name}.json", self.folder / "log" / f"{name}.log")

    @property
    def postgres(self) -> Postgres:
        if self._shared_cluster is not None:
            return self._shared_cluster
        return Postgres(
            self.tools,
            self.folder / "postgres",
            self._service("postgres"),
            self.keys,
            self.ports.database,
            self._durable,
        )

    @property
    def postgrest(self) -> Postgrest:
        return Postgrest(
            self.tools,
            self._service("postgrest"),
            self.folder / "postgrest.conf",
            self.postgres.url("authenticator", self.database),
            self.jwt_secret,
            self.ports.postgrest,
            self.ports.postgrest_admin,
        )

    def start(self, part: str) -> None:
        """Start one part: postgres, postgrest or gateway. Nothing to do when it runs."""
        if _known(part) == "postgres":
            self.postgres.start()
        elif part == "postgrest":
            self.postgrest.start()
        else:
            self._start_gateway()

    def stop(self, part: str) -> bool:
        """Stop one part in good order; whether it ran. Raises LocalSupabaseError when there is no stack here."""
        _ = self.ports
        if part == "postgres":
            return self.postgres.stop()
        ran = self._service(_known(part)).stop()
        if part == "gateway":
            self._stop_functions()
        return ran

    def kill(self, part: str) -> None:
        """End one part with SIGKILL, as a crash does."""
        (self.postgres.service if part == "postgres" else self._service(_known(part))).kill()

    def restart(self, part: str) -> None:
        """Stop and start one part."""
        self.stop(part)
        self.start(part)

    def _start_gateway(self) -> None:
        service = self._service("gateway")
        if service.pid() is not None:
            return
        if not ports.is_free(self.api_port):
            raise LocalSupabaseError(
                f"Port {self.api_port}, wanted for the API, is in use by another program."
                " Is it another `make run`? Stop it, or take a free port:"
                " API_PORT=54331 make run, or python -m local_supabase up --api-port 0"
            )
        config = GatewayConfig(
            port=self.api_port,
            postgrest_port=self.ports.postgrest,
            secrets=str(self.folder / "secrets.json"),
            auth_database_url=self.postgres.url("supabase_auth_admin", self.database),
            realtime_database_url=self.postgres.url("supabase_admin", self.database),
            functions_database_url=self.db_url,
            project=str(self.project),
            folder=str(self.folder),
            deno=str(self.tools.deno),
            deno_dir=function_modules.environment(self.tools.folder)["DENO_DIR"],
        )
        path = self.folder / "gateway.json"
        config.write(path)
        service.start(
            [sys.executable, "-m", "local_supabase.gateway", path], cwd=self.folder, env={"PYTHONPATH": str(PROJECT)}
        )
        service.wait_ready(lambda: ports.answers(self.api_port))

    # ------------------------------------------------------------------------------------------------- life
    def up(self, *, migrate: bool = True, seed: bool = True) -> None:
        """Install, create, start, migrate and seed whatever is not yet; returns when the API answers. Safe to repeat.

        Raises LocalSupabaseError, saying what to do, when it cannot.
        """
        with self._one_at_a_time():
            self.up_database()
            if migrate:
                self.migrate(seed=seed)
            with self._step("PostgREST"):
                self.postgrest.start()
            function_modules.download(self.tools, self.project / "supabase" / "functions", self._say)
            with self._step("Gateway"):
                self._start_gateway()
            env_file.update(self.env_path, self.env())

    def up_database(self) -> None:
        """The first half of up(): PostgreSQL with the schemas of a new hosted project, without migrations and API."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._step("Tools"):
            self._tools = tools.install(self._tools_folder, self._say)
        self._choose_ports()
        if self._shared_cluster is not None:
            return
        with self._step("PostgreSQL 17"):
            self.postgres.create()
            self.postgres.start()
            self.postgres.bootstrap()
        if self.postgres.is_outdated(self.database):
            self._say(
                "  The database was made by another version of local_supabase/bootstrap."
                " `python -m local_supabase reset`, which deletes its data, makes a new one."
            )

    def down(self) -> list[str]:
        """Stop every part; the data stays. The parts that ran."""
        parts = [part for part in reversed(PARTS) if part != "postgres" or self._shared_cluster is None]
        stopped = [part for part in parts if self._service(part).pid() is not None and self.stop(part)]
        self._stop_functions()
        return stopped

    def _stop_functions(self) -> None:
        """End what a killed gateway left behind; one that stops in good order has ended its functions."""
        for note in (self.folder / "run").glob("function-*.json"):
            self._service(note.stem).stop()

    def reset(self) -> None:
        """Stop everything and delete data, keys and logs; the installed tools stay."""
        self.down()
        if self._shared_cluster is None:
            self.postgres.remove()
        for name in ("run", "log", "functions"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        for name in ("secrets.json", "ports.json", "postgrest.conf", "gateway.json", "env"):
            (self.folder / name).unlink(missing_ok=True)
        self._ports = None

    def status(self) -> list[Status]:
        """Every part with its process and port."""
        numbers = {"postgres": self.ports.database, "postgrest": self.ports.postgrest, "gateway": self.ports.api}
        rows = []
        for part in PARTS:
            pid = self._service(part).pid()
            state = "running" if pid and ports.answers(numbers[part]) else "not answering" if pid else "stopped"
            rows.append(Status(part, pid, numbers[part], state))
        return rows

    def migrate(self, *, seed: bool, database: str | None = None) -> list[str]:
        """Apply new migrations, and new seed files, with the Supabase CLI; their names."""
        with self._step("Migrations and seed" if seed else "Migrations"):
            applied = supabase_cli.push(
                self.tools, self.project, self.postgres.url("postgres", database or self.database), seed=seed
            )
        for name in applied:
            self._say(f"    {name}")
        return applied

    def _choose_ports(self) -> None:
        try:
            last: Ports | None = self.ports
        except LocalSupabaseError:
            last = None
        before = last.__dict__ if last else {}
        running = any(self._service(part).pid() for part in PARTS)

        def choose(asked: int | None, used_last: int | None, default: int) -> int:
            if asked:
                return asked
            if asked is None:
                return used_last or default
            return used_last if used_last and (running or ports.is_free(used_last)) else ports.free()

        chosen_ports = Ports(
            api=choose(self._api_port, before.get("api"), API_PORT),
            database=choose(self._db_port, before.get("database"), DB_PORT),
            postgrest=choose(0, before.get("postgrest"), 0),
            postgrest_admin=choose(0, before.get("postgrest_admin"), 0),
        )
        if last is not None and chosen_ports != last:
            self.down()  # a part that runs on the old port would be taken for the new one
        self._ports = chosen_ports
        (self.folder / "ports.json").write_text(json.dumps(chosen_ports.__dict__))

    @contextmanager
    def _one_at_a_time(self) -> Iterator[None]:
        """Two `up` in one folder would both create the cluster."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = (self.folder / ".lock").open("w")
        except OSError as exc:
            raise LocalSupabaseError(
                f"{self.folder} cannot be written: {exc.strerror}. To choose another folder:"
                " python -m local_supabase --dir FOLDER up"
            ) from exc
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    @contextmanager
    def _step(self, what: str) -> Iterator[None]:
        started = time.monotonic()
        yield
        self._say(f"  {what:<24} {time.monotonic() - started:5.1f} s")

    # ------------------------------------------------------------------------------------- many databases
    def prepare_template(self, *, seed: bool = False, name: str = TEMPLATE) -> str:
        """A database with all migrations (and the seed) to clone from; made once per cluster. Its name."""
        if not self.postgres.has_database(name):
            self.postgres.create_database(name)
            with self.postgres.connect(name) as connection:
                self.postgres.bootstrap_database(connection)
            self.migrate(seed=seed, database=name)
        return name

    @contextmanager
    def fresh_database(self, template: str = TEMPLATE) -> Iterator[str]:
        """The URL (as postgres) of a new copy of the template, dropped afterwards. Takes some 0.1 s."""
        name = f"test_{secrets.token_hex(6)}"
        self.postgres.create_database(name, template)
        try:
            yield self.postgres.url("postgres", name)
        finally:
            self.postgres.drop_database(name)

    @contextmanager
    def fresh_stack(self, template: str = TEMPLATE, project: Path | None = None) -> Iterator[LocalSupabase]:
        """A whole API (PostgREST and gateway of its own, same keys) on a new copy of the template; gone afterwards.

        project: whose supabase/ folder the gateway reads functions and settings from, if not this one's.
        """
        name = f"test_{secrets.token_hex(6)}"
        self.postgres.create_database(name, template)
        folder = self.folder / "stacks" / name
        folder.mkdir(parents=True)
        shutil.copy(self.folder / "secrets.json", folder / "secrets.json")
        stack = LocalSupabase(
            folder,
            project=project or self.project,
            tools_folder=self._tools_folder,
            database=name,
            db_port=self.ports.database,
            _cluster=self.postgres,
        )
        try:
            stack.up(migrate=False)
            yield stack
        finally:
            stack.down()
            self.postgres.drop_database(name)
            shutil.rmtree(folder, ignore_errors=True)

    def connect(self, user: str = "postgres") -> psycopg.Connection:
        """An autocommit connection to the stack's database."""
        return self.postgres.connect(self.database, user)


def _known(part: str) -> str:
    if part not in PARTS:
        raise LocalSupabaseError(f"There is no part named {part}: choose from {', '.join(PARTS)}.")
    return part
