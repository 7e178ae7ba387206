"""The PostgreSQL cluster of one local stack: created, started, stopped, and its databases."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pwd
import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from . import ports
from .errors import LocalSupabaseError
from .keys import Keys
from .process import Identity, Service, birth, run
from .tools import Tools

BOOTSTRAP = Path(__file__).with_name("bootstrap")
CLUSTER_SQL = ("roles.sql",)
DATABASE_SQL = ("schemas.sql", "auth.sql", "realtime.sql", "event_triggers.sql")
SUPERUSER = "supabase_admin"
SHARED_HOME = Path("/var/lib/evpower-local-supabase")  # only where root may not use user namespaces

SETTINGS = """
# Written by local_supabase at every start.
listen_addresses = '127.0.0.1'
unix_socket_directories = ''            # a socket's path may have 107 bytes, a checkout's path has more
max_connections = 100
shared_buffers = 128MB
wal_level = logical                     # as on a hosted project
max_wal_size = 1GB
checkpoint_timeout = 15min
shared_preload_libraries = 'pg_stat_statements'
jit = off                               # compiling costs more than it saves on short statements
random_page_cost = 1.1                  # solid state disks
timezone = 'UTC'
log_timezone = 'UTC'
log_line_prefix = '%m [%p] %q%u@%d '
log_min_messages = warning
"""
NOT_DURABLE = """
# A throw-away cluster for tests: a power cut may destroy it.
fsync = off
synchronous_commit = off
full_page_writes = off
"""


@dataclass(frozen=True)
class Postgres:
    """One cluster. folder holds the data directory; durable=False trades crash safety for speed, for tests only."""

    tools: Tools
    folder: Path
    service: Service
    keys: Keys
    port: int
    durable: bool = True

    @property
    def data(self) -> Path:
        return self.home / "data"

    @property
    def home(self) -> Path:
        """The folder, or its stand-in under /var/lib where the unprivileged user cannot enter the folder."""
        link = self.folder / "moved"
        return Path(link.read_text()) if link.exists() else self.folder

    def url(self, user: str = "postgres", database: str = "postgres") -> str:
        """Connection URL with the password."""
        password = self.keys.postgres_password if user == "postgres" else self.keys.service_password
        return f"postgresql://{user}:{password}@{ports.HOST}:{self.port}/{database}"

    def connect(self, database: str = "postgres", user: str = SUPERUSER) -> psycopg.Connection:
        """An autocommit connection; of the superuser unless told otherwise."""
        return psycopg.connect(self.url(user, database), autocommit=True, connect_timeout=10)

    # ------------------------------------------------------------------------------------------------ life
    def create(self) -> bool:
        """Make the cluster unless it exists; whether it was made. An interrupted attempt is wiped and repeated."""
        if (self.data / "PG_VERSION").exists() and (self.home / "complete").exists():
            return False
        self.folder.mkdir(parents=True, exist_ok=True)
        identity = self._choose_home()
        shutil.rmtree(self.data, ignore_errors=True)
        password_file = self.home / "password"
        password_file.write_text(self.keys.service_password)
        if isinstance(identity, tuple):
            os.chown(password_file, *identity)
        try:
            run(
                [
                    *(self._binary("initdb"), "-D", self.data, "-U", SUPERUSER, "--pwfile", password_file),
                    *("--auth", "scram-sha-256", "--encoding", "UTF8", "--no-instructions"),
                    # as hosted: ICU, so that texts sort alike here and there
                    *("--locale", "C", "--locale-provider", "icu", "--icu-locale", "en-US"),
                    *(() if self.durable else ("--no-sync",)),
                ],
                identity=identity,
                cwd=self.home,
            )
        finally:
            password_file.unlink()
        (self.home / "complete").touch()
        return True

    def start(self) -> None:
        """Return when it takes connections. Nothing to do when it runs already."""
        if self.service.pid() is not None:
            return
        if not ports.is_free(self.port):
            raise LocalSupabaseError(
                f"Port {self.port}, wanted for PostgreSQL, is in use by another program."
                " Is it another `make run`? Stop it, or take a free port:"
                " DB_PORT=54332 make run, or python -m local_supabase up --db-port 0"
            )
        self._write_settings()
        self._remove_stale_lock()
        deadline = time.monotonic() + 10
        while True:
            self.service.start(
                [self._binary("postgres"), "-D", self.data, "-p", str(self.port)],
                cwd=self.home,
                identity=self.identity(),
            )
            try:
                self.service.wait_ready(self.ready, timeout_s=60)  # recovery after a crash can take a while
            except LocalSupabaseError:
                # after kill -9 the old backends need a moment to notice that their postmaster is gone
                if "shared memory block" not in self.service.tail() or time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
            else:
                return

    def stop(self) -> bool:
        """Fast shutdown: open transactions are rolled back, clients disconnected. Whether it ran."""
        return self.service.stop(signal.SIGINT)

    def ready(self) -> bool:
        """Whether it takes connections."""
        try:
            self.connect().close()
        except psycopg.OperationalError as exc:
            if "password authentication failed" in str(exc) or 'role "supabase_admin" does not exist' in str(exc):
                raise LocalSupabaseError(
                    f"The data in {self.folder} was made with other secrets,"
                    f" or another PostgreSQL listens on port {self.port}."
                    " Restore the secrets file, or run: python -m local_supabase reset"
                ) from exc
            return False
        return True

    def identity(self) -> Identity:
        """As whom PostgreSQL runs: as the caller, or as somebody else when the caller is root."""
        if self.home != self.folder:
            owner = self.data.stat() if self.data.exists() else self.home.stat()
            return (owner.st_uid, owner.st_gid)
        if os.geteuid() == 0:
            return "namespace"
        try:
            pwd.getpwuid(os.geteuid())
        except KeyError:  # a container started with an arbitrary user id: initdb wants a user with a name
            return "namespace"
        return None

    def _choose_home(self) -> Identity:
        identity = self.identity()
        if identity != "namespace":
            return identity
        try:
            run([self._binary("postgres"), "--version"], identity=identity, cwd=self.folder)
        except LocalSupabaseError:
            if os.geteuid() != 0:
                raise
        else:
            return identity
        # No user namespaces here, or the folder lies below one that only another user may enter.
        nobody = pwd.getpwnam("nobody")
        home = SHARED_HOME / hashlib.sha256(os.fspath(self.folder.resolve()).encode()).hexdigest()[:16]
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True, mode=0o755)
        SHARED_HOME.chmod(0o755)
        shutil.copytree(self.tools.postgres, home / "native", symlinks=True)
        os.chown(home, nobody.pw_uid, nobody.pw_gid)
        (self.folder / "moved").write_text(os.fspath(home))
        return (nobody.pw_uid, nobody.pw_gid)

    def _binary(self, name: str) -> Path:
        native = self.home / "native"
        return (native if native.exists() else self.tools.postgres) / "bin" / name

    def _write_settings(self) -> None:
        identity = self.identity()
        conf = self.data / "local_supabase.conf"
        conf.write_text(SETTINGS + ("" if self.durable else NOT_DURABLE))
        if isinstance(identity, tuple):
            os.chown(conf, *identity)
        main = self.data / "postgresql.conf"
        include = "include = 'local_supabase.conf'"
        if include not in main.read_text():
            with main.open("a") as file:
                file.write(f"\n{include}\n")

    def _remove_stale_lock(self) -> None:
        """After a crash PostgreSQL trusts the number in postmaster.pid alone; another process may have it by now."""
        lock = self.data / "postmaster.pid"
        try:
            lines = lock.read_text().splitlines()
        except FileNotFoundError:
            return
        pid = int(lines[0])
        if birth(pid) is not None and self._is_our_postmaster(pid):
            raise LocalSupabaseError(
                f"PostgreSQL (process {pid}) already uses {self.data}, started by something else."
                f" Stop it first: kill -INT {pid}"
            )
        lock.unlink()

    def _is_our_postmaster(self, pid: int) -> bool:
        try:
            # the postmaster changes into its data directory
            return Path(f"/proc/{pid}/cwd").resolve() == self.data.resolve()
        except OSError:
            return True  # no /proc, or another user's process: leave the decision to the person

    def remove(self) -> None:
        """Delete the cluster; it must be stopped."""
        home = self.home
        shutil.rmtree(self.folder, ignore_errors=True)
        if home != self.folder:
            shutil.rmtree(home, ignore_errors=True)
            with contextlib.suppress(OSError):  # other stacks' data is there
                SHARED_HOME.rmdir()

    # ------------------------------------------------------------------------------------------- databases
    def bootstrap(self) -> bool:
        """Make the cluster and its database `postgres` look like a new hosted project, once; whether it did."""
        with self.connect() as connection:
            known = connection.execute("select 1 from pg_roles where rolname = 'authenticator'").fetchone()
            if known is None:
                with connection.transaction():
                    for name in CLUSTER_SQL:
                        connection.execute((BOOTSTRAP / name).read_bytes())
                    for role in ("postgres", "authenticator", "supabase_auth_admin"):
                        password = self.keys.postgres_password if role == "postgres" else self.keys.service_password
                        connection.execute(sql.SQL("alter role {} password {}").format(sql.Identifier(role), password))
                    connection.execute("alter database template1 owner to supabase_admin")
                connection.execute("alter database postgres owner to postgres")
            if connection.execute("select 1 from pg_namespace where nspname = 'auth'").fetchone():
                return False
            self.bootstrap_database(connection)
        return True

    def bootstrap_database(self, connection: psycopg.Connection) -> None:
        """Give an empty database the schemas of a hosted project; all or nothing."""
        with connection.transaction():
            for name in DATABASE_SQL:
                path = BOOTSTRAP / name
                if path.exists():
                    connection.execute(path.read_bytes())
            connection.execute(
                sql.SQL("comment on schema extensions is {}").format(f"local_supabase bootstrap {bootstrap_digest()}")
            )

    def is_outdated(self, database: str = "postgres") -> bool:
        """Whether the database was made by another version of the bootstrap SQL."""
        with self.connect(database) as connection:
            row = connection.execute("select obj_description('extensions'::regnamespace)").fetchone()
        return row is None or row[0] is None or not str(row[0]).endswith(bootstrap_digest())

    def create_database(self, name: str, template: str = "template0") -> None:
        """A new database owned by postgres: a copy of the template, to which nobody may be connected."""
        with self.connect() as connection:
            connection.execute(
                sql.SQL("create database {} template {} owner postgres").format(
                    sql.Identifier(name), sql.Identifier(template)
                )
            )
            connection.execute(sql.SQL("grant all on database {} to dashboard_user").format(sql.Identifier(name)))

    def drop_database(self, name: str) -> None:
        """Drop it, disconnecting whoever uses it. No error when there is none."""
        with self.connect() as connection:
            connection.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))

    def has_database(self, name: str) -> bool:
        with self.connect() as connection:
            return connection.execute("select 1 from pg_database where datname = %s", [name]).fetchone() is not None


def bootstrap_digest() -> str:
    """Names this version of the bootstrap SQL."""
    digest = hashlib.sha256()
    for name in (*CLUSTER_SQL, *DATABASE_SQL):
        path = BOOTSTRAP / name
        with contextlib.suppress(FileNotFoundError):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
