"""A real PostgreSQL on a Unix socket, in a folder of its own, run by the user that Debian made for it."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import uuid
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg

from tests.support.service import wait_until

PASSWORD = "planted-password-of-the-database"
_PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


def missing() -> str:
    """Return why PostgreSQL cannot be started here; empty when it can."""
    if not _PROGRAMS:
        return "PostgreSQL is not installed (Debian package postgresql)"
    return "" if os.getuid() or _user() else "there is no user postgres, and root may not run PostgreSQL"


def _user() -> dict[str, Any]:
    """Return as whom the server is run: it refuses to be run by root."""
    if os.getuid():
        return {}
    try:
        found = pwd.getpwnam("postgres")
    except KeyError:
        return {}
    return {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": []}


class Postgres:
    """The server; use it as a context manager."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="pathserve-pg-"))
        if user := _user():
            os.chown(self.folder, user["user"], user["group"])
        else:
            user = {}
        data, programs = str(self.folder / "data"), _PROGRAMS[-1]
        subprocess.run(
            [
                str(programs / "initdb"),
                "-D",
                data,
                "-A",
                "trust",
                "-U",
                "postgres",
                "-E",
                "UTF8",
                "--no-sync",
            ],
            check=True,
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            **user,
        )
        self._log = (self.folder / "postgres.log").open("wb")
        command = [str(programs / "postgres"), "-D", data, "-k", str(self.folder), "-c", "listen_addresses="]
        command += ["-c", "fsync=off", "-c", "log_statement=all"]
        self._process = subprocess.Popen(command, stdout=self._log, stderr=self._log, cwd=self.folder, **user)

    def __enter__(self) -> Self:
        wait_until(self._answers, "PostgreSQL", 60)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.send_signal(signal.SIGQUIT)  # at once: nothing of it is kept
        self._process.wait(30)
        self._log.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def new_database(self) -> str:
        """Make a user and its empty schema; return the address, as PATHSERVE_JOBS_DATABASE has it."""
        # A database of its own would be a thousand files.
        name = f"jobs_{uuid.uuid4().hex}"
        with self._connect() as connection:
            connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}'".encode())
            connection.execute(f"CREATE SCHEMA AUTHORIZATION {name}".encode())
        return f"postgresql+psycopg://{name}:{PASSWORD}@/postgres?host={self.folder}"

    def cut_connections(self) -> None:
        """End all connections but this one, as a server does that restarts."""
        with self._connect() as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
            )

    def log(self) -> bytes:
        """Everything that the server has logged, statements included."""
        return (self.folder / "postgres.log").read_bytes()

    def _connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(f"host={self.folder} user=postgres dbname=postgres", autocommit=True)

    def _answers(self) -> bool:
        try:
            self._connect().close()
        except psycopg.OperationalError:
            return False
        return True
