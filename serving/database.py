"""SQLite and PostgreSQL as one: connections, transactions, the clock, what a lost connection is called."""

from __future__ import annotations

import contextlib
import random
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from sqlalchemy import (
    URL,
    ColumnElement,
    Connection,
    Double,
    Engine,
    create_engine,
    event,
    func,
    literal,
    make_url,
    text,
)
from sqlalchemy.exc import (
    ArgumentError,
    DatabaseError,
    DBAPIError,
    InterfaceError,
    InternalError,
    OperationalError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout

from serving.errors import Code, ServiceError
from serving.schema import Contents, WrongSchema

_READS = "pathserve_reads"
"""Marks connections whose statements stand alone, and take no lock."""

_BUSY_S = 10.0
"""How long one waits for another's transaction, each of which takes milliseconds."""

_CONNECT_S = 10
_POSTGRES: Final = "postgresql+psycopg"


class BadDatabase(Exception):
    """The database cannot be used; the text says why, and holds no password."""


class DatabaseLost(ServiceError):
    """The database cannot be reached, or does not answer: what callers are told.

    Attributes
    ----------
    reason:
        What the log is told.
    """

    def __init__(self, what: str, reason: str) -> None:
        super().__init__(
            Code.SERVICE_UNAVAILABLE_ERROR,
            f"{what} cannot be used; try again soon.",
            retry_after_s=5,
        )
        self.reason = reason


class Database:
    """Connections to a database; safe to use from many threads, not over a fork.

    SQLite's writers take the file's lock when they begin: one that reads first and writes then would fail at
    once with ``database is locked``, whatever the time-out, if another has written in between.

    Parameters
    ----------
    address:
        ``sqlite:///FILE`` or ``postgresql+psycopg://USER:PASSWORD@HOST/NAME``.
    contents:
        What is kept in it.
    connections:
        Most of them at once.

    Attributes
    ----------
    name:
        The address, without the password.
    is_sqlite:
        Whether it is a file of SQLite's.

    Raises
    ------
    BadDatabase
        When the address is not one of these.
    """

    def __init__(self, address: str, contents: Contents, connections: int = 8) -> None:
        url = _url(address)
        self._contents = contents
        self.name = url.render_as_string(hide_password=True)
        self.is_sqlite = url.get_backend_name() == "sqlite"
        self._engine = (
            _sqlite_engine(url, connections) if self.is_sqlite else _postgres_engine(url, connections)
        )
        self._reader = self._engine.execution_options(
            **({_READS: True} if self.is_sqlite else {"isolation_level": "AUTOCOMMIT"})
        )

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def prepare(self) -> None:
        """Make the tables, or be sure that they are of this version; readable by the service's user alone.

        Raises
        ------
        BadDatabase
        """
        try:
            if self.is_sqlite and self._engine.url.database is not None:
                path = Path(self._engine.url.database)
                path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                path.touch(mode=0o600)
            with self.writing(serial=True) as connection:
                self._contents.create_or_refuse(connection)
        except OSError as error:
            raise BadDatabase(f"{self.name} cannot be written: {error.strerror}") from error
        except WrongSchema as error:
            raise BadDatabase(f"{self.name} {error}") from error
        except DatabaseLost as error:
            raise BadDatabase(f"{self.name} {error.reason}") from error
        except DBAPIError as error:  # the user may not make tables, for one
            raise BadDatabase(f"{self.name} cannot be used ({_reason(error)})") from None

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """Yield a connection for statements that stand alone.

        Raises
        ------
        DatabaseLost
        """
        with self._translated(), self._reader.connect() as connection:
            yield connection

    @contextlib.contextmanager
    def writing(self, *, serial: bool = False) -> Iterator[Connection]:
        """Yield a connection in a transaction, which is committed at the end.

        Parameters
        ----------
        serial:
            Whether no other such transaction may run at the same time, on whatever machine.

        Raises
        ------
        DatabaseLost
        """
        with self._translated(), self._engine.begin() as connection:
            if serial and not self.is_sqlite:
                connection.execute(select_lock(self._contents.lock))
            yield connection

    @property
    def now(self) -> ColumnElement[float]:
        """Seconds since 1970 by one clock: the server's, or that of the machine that has the file."""
        if self.is_sqlite:
            return literal(time.time())
        return func.date_part("epoch", func.clock_timestamp(), type_=Double())

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        """Name what libraries raise when a database is away; their texts hold values, so none is kept."""
        try:
            yield
        except PoolTimeout:
            raise DatabaseLost(self._contents.name, "is too busy") from None
        except DBAPIError as error:
            if isinstance(error, _LOST) or type(error) is DatabaseError:
                raise DatabaseLost(self._contents.name, f"cannot be used ({_reason(error)})") from None
            raise


def select_lock(number: int) -> Any:
    """Return the statement that waits for an advisory lock until the transaction's end."""
    return text("SELECT pg_advisory_xact_lock(:number)").bindparams(number=number)


def _url(address: str) -> URL:
    try:
        url = make_url(address)
    except (ArgumentError, ValueError):
        raise BadDatabase("it is not an address such as sqlite:////var/lib/pathserve/NAME.sqlite") from None
    if url.drivername == "sqlite" and url.database not in (None, "", ":memory:") and not url.query:
        return url
    if url.drivername == _POSTGRES and url.database:
        return url
    raise BadDatabase(f"it must be sqlite:///FILE or {_POSTGRES}://USER:PASSWORD@HOST/NAME")


def _postgres_engine(url: URL, connections: int) -> Engine:
    return create_engine(
        url,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=_BUSY_S,
        pool_pre_ping=True,
        hide_parameters=True,
        connect_args={
            "connect_timeout": _CONNECT_S,
            "application_name": "pathserve",
            # A server that is gone without a word, or a lock that nobody gives back, must not hold a thread.
            "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3,
            "tcp_user_timeout": 20_000,
            "options": "-c statement_timeout=20000 -c idle_in_transaction_session_timeout=30000",
        },
    )  # fmt: skip


def _sqlite_engine(url: URL, connections: int) -> Engine:
    engine = create_engine(
        url,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=_BUSY_S,
        hide_parameters=True,
        connect_args={"timeout": _BUSY_S, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def _connected(connection: Any, _: object) -> None:
        connection.isolation_level = None  # the driver would begin transactions by itself, and late
        _keep_a_log_of_writes(connection)
        for pragma in ("synchronous=FULL", "secure_delete=ON"):
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def _begun(connection: Connection) -> None:
        if not connection.get_execution_options().get(_READS):
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _keep_a_log_of_writes(connection: sqlite3.Connection) -> None:
    """Set a new file's journal mode, which others may be doing at the same moment.

    SQLite does not wait for them, whatever the time-out: two that both wait to become the only user of the
    file would wait for each other. Once a file has the mode, this takes no lock.
    """
    deadline = time.monotonic() + _BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL").close()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(random.uniform(0.001, 0.02))  # noqa: S311  (so that they do not meet again)
        else:
            return


_LOST = (OperationalError, InterfaceError, InternalError)


def _reason(error: DBAPIError) -> str:
    """Return the kind of a fault as the database's own documents name it."""
    code = getattr(error.orig, "sqlite_errorname", None) or getattr(error.orig, "sqlstate", None)
    return str(code or type(error.orig).__name__)
