"""What an archive costs beside its work: the engine, a slide, memory, and a second worker.

``python -m tests.benchmarks.archive [engine|slides|workers …]``, with the Python of `.venv/archive`

``engine``: slides of one full block, by plain calls and by Beam in this process, in turns.
``slides``: 10, 100 and 1,000 slides of 64 patches by Beam in this process.
``workers``: slides of one full block by Dask with one process and with two, in turns.

Processor time is that of the process and of all its children; the loading of libraries is not in it. The
encoder is the probe in NumPy. Each row is a process of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil

from serving.archive.job import Job
from serving.archive.worker import Worker
from serving.batch.worklist import NamedSlide
from tests.benchmarks.load import memory_megabytes
from tests.support.archives import do_all, everything, working, write_slides
from tests.support.commands import probe_in_process

BLOCK = 23, 22
"""Patches across and down of a slide that is one block of 506."""

SMALL = 8, 8
"""The same of a slide whose own cost is to be seen."""

TABLES: dict[str, tuple[tuple[int, int], tuple[int, ...], tuple[str, ...]]] = {
    "engine": (BLOCK, (10, 100), ("calls", "FnApiRunner", "calls", "FnApiRunner")),
    "slides": (SMALL, (10, 100, 1000), ("FnApiRunner",)),
    "workers": (BLOCK, (60,), ("1 by Dask", "2 by Dask", "1 by Dask", "2 by Dask")),
}
"""Patches across and down of each slide, numbers of slides, and what does them, in turns."""


@dataclass(frozen=True)
class Cost:
    """What a row took: seconds; memory at the end (PSS) and at most (resident), in MB."""

    clock: float
    cpu: float
    pss: float
    most: float


def main(tables: Sequence[str]) -> None:
    """Measure and print."""
    for table in tables:
        side, counts, ways = TABLES[table]
        print(f"\n{table}, {side[0] * side[1]} patches a slide")
        print("slides  by            clock s  CPU s  CPU ms a patch  CPU ms a slide  PSS MB  at most MB")
        for count in counts:
            with tempfile.TemporaryDirectory() as folder:
                (slide,) = write_slides(Path(folder) / "slides", side)
                for number in range(count):
                    os.link(slide.where, Path(folder) / "slides" / f"{number}.svs")
                for way in ways:
                    _row(way, folder, count, side[0] * side[1])


def _row(way: str, folder: str, count: int, patches: int) -> None:
    command = [sys.executable, "-W", "ignore", "-m", __spec__.name, "one", way, folder, str(count)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    cost = Cost(*map(float, said.split()))
    a_slide = 1000 * cost.cpu / count
    print(
        f"{count:6}  {way:12}  {cost.clock:7.1f}  {cost.cpu:5.1f}  {a_slide / patches:14.3f}  "
        f"{a_slide:14.0f}  {cost.pss:6.0f}  {cost.most:10.0f}",
        flush=True,
    )


def one(way: str, folder: str, count: int) -> None:
    """Do one row in this process, and print what it took."""
    slides = [NamedSlide(f"{folder}/slides/{number}.svs", str(number)) for number in range(count)]
    with tempfile.TemporaryDirectory(dir=folder) as out:
        job = Job(f"{out}/out", everything())
        cost = _by_dask(job, slides, int(way[0])) if "Dask" in way else _here(job, slides, way)
    print(cost.clock, cost.cpu, cost.pss, cost.most)


def _here(job: Job, slides: Sequence[NamedSlide], way: str) -> Cost:
    from serving.archive.engine import run

    me = psutil.Process()
    clock, cpu = time.monotonic(), _seconds(me)
    if way == "calls":
        with working(job) as worker:
            do_all(worker, slides)
            memory = _memory(me)
    else:
        run(job, slides, [], partial(Worker, in_process=probe_in_process))
        memory = _memory(me)
    return Cost(time.monotonic() - clock, _seconds(me) - cpu, *memory)


def _by_dask(job: Job, slides: Sequence[NamedSlide], processes: int) -> Cost:
    from dask.distributed import Client, LocalCluster

    from serving.archive.engine import run

    with (
        LocalCluster(n_workers=processes, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        client.run(_import)
        workers = [psutil.Process(pid) for pid in client.run(os.getpid).values()]
        me = psutil.Process()  # of which Dask's processes are children
        clock, cpu = time.monotonic(), _seconds(me)
        engine = ["--runner=DaskRunner", f"--dask_client_address={cluster.scheduler_address}"]
        run(job, slides, engine, partial(Worker, in_process=probe_in_process))
        clock, cpu = time.monotonic() - clock, _seconds(me) - cpu
        pss, most = map(sum, zip(*map(_memory, workers), strict=True))
        return Cost(clock, cpu, pss, most)


def _import() -> None:
    import serving.archive.engine  # noqa: F401


def _seconds(process: psutil.Process) -> float:
    """Return what a process and all of its children, ended or not, have taken of processors."""
    total = 0.0
    for one in (process, *process.children(recursive=True)):
        times = one.cpu_times()
        total += times.user + times.system + times.children_user + times.children_system
    return total


def _memory(process: psutil.Process) -> tuple[float, float]:
    """Return a process's proportional memory now, and the most that it has had resident, in MB."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    most = next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM:"))
    return memory_megabytes(process), most / 1e6


if __name__ == "__main__":
    if sys.argv[1:2] == ["one"]:
        one(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    else:
        main(sys.argv[1:] or list(TABLES))
