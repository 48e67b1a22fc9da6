"""What an archive costs beside its work: the engine, a slide, and memory.

``python -m tests.benchmarks.archive [SLIDES …]``, with the Python of `.venv/archive`

Processor time, not the clock: of this process and its ended helpers, without the loading of libraries. The
encoder is the probe in NumPy. Each row is a process of its own, and rows are measured in turns.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from serving.archive.job import Job
from serving.archive.worker import Worker
from tests.support.archives import do_all, everything, working, write_slides
from tests.support.commands import probe_in_process

SIDE = 23, 22
"""Patches across and down of a slide: one block of 506."""


def main(counts: list[int]) -> None:
    """Measure and print."""
    print("slides  by            CPU s  ms a patch  PSS MB")
    for count in counts:
        with tempfile.TemporaryDirectory() as folder:
            (slide,) = write_slides(Path(folder) / "slides", SIDE)
            for number in range(count):
                os.link(slide.where, Path(folder) / "slides" / f"{number}.svs")
            for way in ("calls", "FnApiRunner", "calls", "FnApiRunner"):
                command = [
                    sys.executable,
                    "-W",
                    "ignore",
                    "-m",
                    __spec__.name,
                    "one",
                    way,
                    folder,
                    str(count),
                ]
                said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
                seconds, mb = map(float, said)
                patches = count * SIDE[0] * SIDE[1]
                print(
                    f"{count:6}  {way:12}  {seconds:5.1f}  {1000 * seconds / patches:10.3f}  {mb:6.0f}",
                    flush=True,
                )


def one(way: str, folder: str, count: int) -> None:
    """Do one row in this process, and print its processor time and memory."""
    from serving.archive.engine import run
    from serving.batch.worklist import NamedSlide

    slides = [NamedSlide(f"{folder}/slides/{number}.svs", str(number)) for number in range(count)]
    with tempfile.TemporaryDirectory(dir=folder) as out:
        job, before = Job(f"{out}/out", everything()), _seconds()
        if way == "calls":
            with working(job) as worker:
                do_all(worker, slides)
                memory = _pss()
        else:
            run(job, slides, [], partial(Worker, in_process=probe_in_process))
            memory = _pss()
        print(_seconds() - before, memory)


def _seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _pss() -> float:
    """Return this process's proportional memory in MB."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


if __name__ == "__main__":
    if sys.argv[1:2] == ["one"]:
        one(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    else:
        main([int(text) for text in sys.argv[1:]] or [10, 100])
