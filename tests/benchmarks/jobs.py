"""How soon a webhook's caller is answered, and its job begun, while others ask for theirs."""

from __future__ import annotations

import contextlib
import http.client
import json
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from tests.support.postgres import Postgres, missing
from tests.support.webhooks import WebhookService

CLIENTS = 50
POLL_S = 0.5
"""Ten times as often as Slide Score's page asks."""

POSTS = 200


def bench_jobs() -> None:
    """Print the table, by database."""
    print(f"\n### Webhooks: {CLIENTS} clients that ask for a job every {POLL_S} s\n")
    print("| jobs in | post p50 ms | post to first status p50 ms | p99 ms | post to start p50 ms | p99 ms |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        _row("SQLite", f"sqlite:///{Path(folder) / 'jobs.sqlite'}")
    if not missing():
        with Postgres() as server:
            _row("PostgreSQL", server.new_database())


def _row(name: str, database: str) -> None:
    with WebhookService(database, PATHSERVE_JOBS_AT_ONCE="8") as service:
        service.wait_healthy()
        others = [service.post({}) for _ in range(CLIENTS)]
        with _polling(service.port, others), contextlib.closing(_connection(service.port)) as mine:
            found = np.array([_one(mine) for _ in range(POSTS)]) * 1000
    posted, seen, begun = found.T
    print(
        f"| {name} | {np.median(posted):.1f} | {np.median(seen):.1f} | {np.percentile(seen, 99):.1f} "
        f"| {np.median(begun):.1f} | {np.percentile(begun, 99):.1f} |",
        flush=True,
    )


def _one(connection: http.client.HTTPConnection) -> tuple[float, float, float]:
    """Return the seconds from a post to its answer, to the first status, and until the job has run."""
    started = time.perf_counter()
    job = _ask(connection, "POST", "/test/jobs", {"work": {}})["id"]
    posted = time.perf_counter() - started
    state = _ask(connection, "GET", f"/test/jobs/{job}")["state"]
    seen = time.perf_counter() - started
    while state == "queued":
        state = _ask(connection, "GET", f"/test/jobs/{job}")["state"]
    return posted, seen, time.perf_counter() - started


@contextlib.contextmanager
def _polling(port: int, jobs: list[str]) -> Iterator[None]:
    stop = threading.Event()

    def poll(job: str) -> None:
        with contextlib.closing(_connection(port)) as connection:
            while not stop.wait(POLL_S):
                _ask(connection, "GET", f"/test/jobs/{job}")

    threads = [threading.Thread(target=poll, args=(job,)) for job in jobs]
    _each(threads, threading.Thread.start)
    try:
        yield
    finally:
        stop.set()
        _each(threads, threading.Thread.join)


def _each(threads: list[threading.Thread], function: Callable[[threading.Thread], None]) -> None:
    for thread in threads:
        function(thread)


def _connection(port: int) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", port, timeout=30)


def _ask(
    connection: http.client.HTTPConnection, method: str, path: str, body: object = None
) -> dict[str, str]:
    connection.request(method, path, None if body is None else json.dumps(body))
    answer = connection.getresponse()
    found: dict[str, str] = json.loads(answer.read())
    assert answer.status == 200, found
    return found


if __name__ == "__main__":
    bench_jobs()
