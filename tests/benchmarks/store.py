"""Reading from the slide store, beside Orthanc and plain reads: ``python -m tests.benchmarks.store``.

Both servers hold the same 200 MB slide and answer in turns: what else the machine does meets both. Searches
are over an index of 100,000 instances. What comes in is measured by ``tests.benchmarks.store_ingest``.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, create_engine

from serving.store.index.record import record_of
from serving.store.index.tables import details, instances, series, studies
from tests.benchmarks.store_ingest import FRAMES, stow, write_level
from tests.support.orthanc import Orthanc, missing
from tests.support.service import wait_until
from tests.support.slides import WHOLE_SLIDE, pyramid
from tests.support.store_service import STOW, StoreService, multipart

OCTETS = 'multipart/related; type="application/octet-stream"; transfer-syntax=*'
JSON = "application/dicom+json"
_OF_A_STUDY = 100
_ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Server:
    """A server to be asked."""

    name: str
    port: int
    root: str
    headers: dict[str, str]

    def connection(self) -> http.client.HTTPConnection:
        """Return a connection, which is kept."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)

    def get(self, connection: http.client.HTTPConnection, path: str, accept: str) -> bytes:
        """Return an answer."""
        headers = self.headers | {"Accept": accept}
        connection.request("GET", self.root + path, headers=headers)
        try:
            answer = connection.getresponse()
        except http.client.RemoteDisconnected:  # Orthanc keeps no connection while the other's turn lasts
            connection.close()
            connection.request("GET", self.root + path, headers=headers)
            answer = connection.getresponse()
        body = answer.read()
        assert answer.status == 200, (answer.status, path)
        return body

    def uids(self) -> list[tuple[str, str, str]]:
        """Return the UIDs of all instances."""
        rows = json.loads(self.get(self.connection(), "/instances", JSON))
        return [tuple(row[tag]["Value"][0] for tag in ("0020000D", "0020000E", "00080018")) for row in rows]

    def post(self, body: bytes) -> None:
        """Store instances."""
        connection = self.connection()
        connection.request("POST", f"{self.root}/studies", body, self.headers | STOW)
        answer = connection.getresponse()
        assert answer.status in (200, 202), answer.read()


def per_second(ask: Callable[[], int], seconds: float) -> float:
    """Return how many of something come in a second."""
    done, started = 0, time.perf_counter()
    while (spent := time.perf_counter() - started) < seconds:
        done += ask()
    return done / spent


def frames_of(server: Server, instance: str, count: int, frames: int) -> Callable[[], int]:
    """Return what asks for so many frames in a row, from anywhere in the instance."""
    connection, chance = server.connection(), random.Random(1)

    def ask() -> int:
        first = chance.randrange(1, frames - count + 2)
        numbers = ",".join(map(str, range(first, first + count)))
        server.get(connection, f"{instance}/frames/{numbers}", OCTETS)
        return count

    return ask


def reads_of(path: Path, frames: int) -> Callable[[], int]:
    """Return what reads frames of a file by ``pread`` and nothing else."""
    record, fd, chance = record_of(path, "bench"), os.open(path, os.O_RDONLY), random.Random(1)

    def ask() -> int:
        for _ in range(64):
            offset, length = record.frames.where(chance.randrange(1, frames + 1))
            os.pread(fd, length, offset)
        return 64

    return ask


@contextmanager
def servers(folder: Path) -> Iterator[list[Server]]:
    """Start both."""
    with StoreService(folder / "store") as service:
        wait_until(lambda: service.health() == 200, "the store", 60)
        ours = Server("store", service.port, "/dicomweb", {"Authorization": f"Bearer {service.token}"})
        if missing():
            yield [ours]
            return
        (folder / "orthanc").mkdir()
        with Orthanc(folder / "orthanc") as orthanc:
            yield [ours, Server("Orthanc", orthanc.port, "/dicom-web", {})]


def row(name: str, figures: Sequence[float], plain: float | None = None) -> None:
    """Print a line: what each server did, and how many times more or less that of ours is."""
    shown = [f"{figure:,.1f}" for figure in figures]
    ratio = f"{figures[0] / figures[1]:,.2f}" if len(figures) > 1 else ""
    print(
        f"| {name} | {' | '.join(shown)} | {ratio} | {'' if plain is None else f'{plain:,.0f}'} |", flush=True
    )


def bench_frames(both: Sequence[Server], path: Path, frames: int, seconds: float) -> None:
    """Print how many frames a second come, one and 64 to a request."""
    where = {}
    for server in both:
        stow(server.port, path, f"{server.root}/studies", server.headers.get("Authorization", "")[7:])
        (uids,) = server.uids()
        where[server.name] = "/studies/{}/series/{}/instances/{}".format(*uids)
    plain = per_second(reads_of(path, frames), seconds)
    for count in (1, 64):
        asks = [frames_of(server, where[server.name], count, frames) for server in both]
        turns = [[per_second(ask, seconds / _ROUNDS) for ask in asks] for _ in range(_ROUNDS)]
        figures = [statistics.median(column) for column in zip(*turns, strict=True)]
        row(f"frames/s, {count} to a request", figures, plain)


def bench_metadata(both: Sequence[Server]) -> None:
    """Print how long the metadata of a study of 100 instances takes."""
    slide = pyramid("JPEG", [(256, 256)] * _OF_A_STUDY, BurnedInAnnotation="NO", SpecimenLabelInImage="NO")
    body = multipart(*(instance.file() for instance in slide.instances))
    asks = []
    for server in both:
        before = set(server.uids())
        server.post(body)
        study = (set(server.uids()) - before).pop()[0]
        asks.append((server, server.connection(), f"/studies/{study}/metadata"))
    found: list[list[float]] = [[] for _ in both]
    for _ in range(20):
        for times, (server, connection, path) in zip(found, asks, strict=True):
            started = time.perf_counter()
            assert len(json.loads(server.get(connection, path, JSON))) == _OF_A_STUDY
            times.append(1000 * (time.perf_counter() - started))
    row(f"metadata of {_OF_A_STUDY} instances, ms", [statistics.median(times) for times in found])


def fill(connection: Connection, count: int) -> None:
    """Add instances that have no files to an index."""
    of_study = range(count // _OF_A_STUDY)
    dates = [f"20{20 + n % 6}{1 + n % 12:02}{1 + n % 28:02}" for n in of_study]
    connection.execute(
        studies.insert(),
        [{"study": f"1.2.{n}", "patientid": f"P{n:06}", "studydate": dates[n]} for n in of_study],
    )
    connection.execute(
        series.insert(), [{"study": f"1.2.{n}", "series": f"1.3.{n}", "modality": "SM"} for n in of_study]
    )
    common = {"transfer_syntax": "1.2.840.10008.1.2.4.50", "size": 1, "sha256": "0" * 64, "path": "-"}
    common |= {"origin": "bench", "added_at": 0.0, "frames": 1, "sopclassuid": WHOLE_SLIDE}
    rows = range(count)
    connection.execute(
        instances.insert(),
        [
            common
            | {"study": f"1.2.{n // _OF_A_STUDY}", "series": f"1.3.{n // _OF_A_STUDY}", "sop": f"1.4.{n}"}
            for n in rows
        ],
    )
    empty = {"layout": "native", "frame_table": b"\0" * 12, "metadata": b"{}"}
    connection.execute(details.insert(), [empty | {"sop": f"1.4.{n}"} for n in rows])


def bench_search(server: Server, folder: Path, count: int) -> None:
    """Print how long searches take over so many instances."""
    engine = create_engine(f"sqlite:///{folder / 'store' / 'index.sqlite'}")
    with engine.begin() as connection:
        fill(connection, count)
    engine.dispose()
    chance, connection_to, of = random.Random(1), server.connection(), count // _OF_A_STUDY
    kinds: dict[str, Callable[[], str]] = {
        "a study by its UID": lambda: f"/studies?StudyInstanceUID=1.2.{chance.randrange(of)}",
        "studies by PatientID with a wildcard": lambda: (
            f"/studies?PatientID=P00{chance.randrange(10)}*&limit=50"
        ),
        "studies of a month, a page of 50": lambda: "/studies?StudyDate=20230401-20230430&limit=50",
        "the instances of a study": lambda: f"/studies/1.2.{chance.randrange(of)}/instances",
        "an instance by its UID": lambda: f"/instances?SOPInstanceUID=1.4.{chance.randrange(count)}",
        "instances, a page of 100 anywhere": lambda: f"/instances?limit=100&offset={chance.randrange(count)}",
    }
    print(f"\n| search over {count:,} instances, by HTTP | p50 ms | p99 ms |\n|---|---|---|")
    for name, path in kinds.items():
        times = []
        for _ in range(300):
            asked, started = path(), time.perf_counter()
            server.get(connection_to, asked, JSON)
            times.append(1000 * (time.perf_counter() - started))
        cuts = statistics.quantiles(times, n=100)
        print(f"| {name} | {cuts[49]:.1f} | {cuts[98]:.1f} |", flush=True)


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=FRAMES)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--instances", type=int, default=100_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = write_level(folder, options.frames, 0)
        with servers(folder) as both:
            names = " | ".join(server.name for server in both)
            print(f"| reading | {names} | ratio | pread of the file |\n|---|{'---|' * len(both)}---|---|")
            bench_frames(both, path, options.frames, options.seconds)
            bench_metadata(both)
            bench_search(both[0], folder, options.instances)


if __name__ == "__main__":
    main()
