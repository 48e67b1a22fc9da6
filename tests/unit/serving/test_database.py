"""What a database may be, and what becomes of one that goes away."""

from __future__ import annotations

import contextlib
import sqlite3
import stat
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import pytest
from sqlalchemy import update

from serving.database import BadDatabase, Database, DatabaseLost
from serving.errors import Code, ServiceError
from serving.webhooks.jobs.handler import JobContext, JobKind
from serving.webhooks.jobs.job import JobState
from serving.webhooks.jobs.tables import JOBS, VERSION, schema
from tests.support.jobs import ECHO, KEY, Engine, new_job
from tests.support.postgres import PASSWORD, Postgres


@pytest.mark.parametrize(
    "address",
    [
        "",
        "jobs.sqlite",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:///a.sqlite?mode=ro",
        "sqlite+aiosqlite:///a.sqlite",
        "mysql://u:secret-word@h/d",
        "postgresql://u:secret-word@h/d",
        "postgresql+psycopg://u:secret-word@h",
        "postgresql+psycopg2://u:secret-word@h/d",
        "http://u:secret-word@h:port/d",
    ],
)
def test_an_address_of_another_kind_is_refused_without_its_password(address: str) -> None:
    with pytest.raises(BadDatabase) as caught:
        Database(address, JOBS)
    assert "secret-word" not in str(caught.value)


def test_the_table_is_made_once_and_by_many_at_the_same_time(jobs_database: str) -> None:
    databases = [Database(jobs_database, JOBS) for _ in range(6)]
    together = threading.Barrier(6)

    def prepare(database: Database) -> None:
        together.wait()
        database.prepare()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(prepare, databases))
    with databases[0].reading() as connection:
        assert connection.execute(schema.select()).scalars().all() == [VERSION]
    for database in databases:
        database.close()


def test_a_new_file_that_another_writes_to_is_waited_for(tmp_path: Path) -> None:
    """SQLite itself gives up at once where the journal's mode is to be changed."""
    file = tmp_path / "jobs.sqlite"
    database = Database(f"sqlite:///{file}", JOBS)
    with ThreadPoolExecutor(1) as pool, contextlib.closing(sqlite3.connect(file)) as other:
        other.execute("BEGIN IMMEDIATE")
        prepared = pool.submit(database.prepare)
        assert not wait([prepared], timeout=0.3).done
        other.commit()
        prepared.result(60)
    database.close()


@pytest.mark.parametrize("version", [0, VERSION + 1])
def test_jobs_of_another_version_are_refused_by_name(jobs_database: str, version: int) -> None:
    database = Database(jobs_database, JOBS)
    database.prepare()
    with database.writing() as connection:
        connection.execute(update(schema).values(version=version))
    with pytest.raises(BadDatabase) as caught:
        database.prepare()
    database.close()
    assert f"version {version}" in str(caught.value)
    assert ("jobs.sqlite" if "sqlite" in jobs_database else "postgresql+psycopg://") in str(caught.value)
    assert PASSWORD not in str(caught.value)


def test_a_table_of_ours_without_its_version_is_refused(jobs_database: str) -> None:
    database = Database(jobs_database, JOBS)
    database.prepare()
    with database.writing() as connection:
        schema.drop(connection)
    with pytest.raises(BadDatabase, match="none that says its version"):
        database.prepare()
    database.close()


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "jobs.sqlite"
    path.write_bytes(b"not a database at all, but a file with some text in it\n" * 100)
    before = path.read_bytes()
    database = Database(f"sqlite:///{path}", JOBS)
    with pytest.raises(BadDatabase, match="SQLITE_NOTADB"):
        database.prepare()
    database.close()
    assert path.read_bytes() == before


def test_the_file_and_its_folder_are_for_their_user_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "jobs.sqlite"
    with Engine(f"sqlite:///{path}", tmp_path, KEY) as engine:
        engine.post()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.with_name("jobs.sqlite-wal").stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_other_tables_of_a_database_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "jobs.sqlite"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE theirs (x)")
    other.execute("INSERT INTO theirs VALUES (1)")
    other.commit()
    with Engine(f"sqlite:///{path}", tmp_path, KEY) as engine, engine.runner(ECHO):
        assert engine.final(engine.post()).state is JobState.FINISHED
    assert other.execute("SELECT * FROM theirs").fetchall() == [(1,)]
    other.close()


def test_a_database_that_is_away_is_a_503_whose_text_holds_nothing_of_it(tmp_path: Path) -> None:
    address = f"postgresql+psycopg://u:secret-word@/d?host={tmp_path}"
    database = Database(address, JOBS)
    with pytest.raises(ServiceError) as caught, database.reading():
        pass
    assert isinstance(caught.value, DatabaseLost)
    assert caught.value.code is Code.SERVICE_UNAVAILABLE_ERROR
    assert caught.value.retry_after_s
    assert "secret-word" not in f"{caught.value} {caught.value.reason} {caught.value.__cause__}"
    assert caught.value.__cause__ is None
    with pytest.raises(BadDatabase, match="cannot be used"):
        database.prepare()
    database.close()


def test_jobs_survive_a_database_that_restarts(postgres: Postgres, tmp_path: Path) -> None:
    begun, go = threading.Event(), threading.Event()

    def handler(context: JobContext) -> bytes:
        begun.set()
        assert go.wait(30)
        context.require_lease()
        return context.payload

    with (
        Engine(postgres.new_database(), tmp_path, KEY) as engine,
        engine.runner({"echo": JobKind(handler)}),
    ):
        job = engine.post()
        assert begun.wait(10)
        postgres.cut_connections()
        go.set()
        assert engine.final(job).attempt == 1
        postgres.cut_connections()
        assert engine.final(engine.post()).state is JobState.FINISHED


def test_a_writer_waits_for_another_whatever_it_has_read_before(tmp_path: Path) -> None:
    """As SQLite is by itself, a transaction that has read fails at once when it writes after another did."""
    with Engine(f"sqlite:///{tmp_path / 'jobs.sqlite'}", tmp_path, KEY) as engine:
        with ThreadPoolExecutor(8) as pool:
            posts = list(pool.map(lambda n: engine.store.post(new_job(key=str(n % 10))), range(80)))
        assert len(engine.rows()) == 10
        assert len(posts) == 80
