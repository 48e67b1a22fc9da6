"""What an analysis of Slide Score costs beside what it cannot do without: decoding its tiles, and the model.

``python -m tests.benchmarks.slidescore [--patches 4000]`` prints a row of a table. The stand-in for Slide
Score is a process of its own; the door, the engine, the runner and the probe encoder are in this one.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Self

import numpy as np
import psutil

from serving.webhooks.slidescore.tiles import decoded
from tests.support import models
from tests.support.slidescore import SlideScore, rect
from tests.support.slidescore_app import Analyses
from tests.support.tiled_slide import StoredSlide
from tests.support.tissue import tissue

SIDE = 448


class Elsewhere(SlideScore):
    """The stand-in in another process, which its tokens come from."""

    def __init__(self, width: int, height: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.slidescore", "--serve", str(width), str(height)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._address = self._line()

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def __enter__(self) -> Self:
        return self

    @property
    def origin(self) -> str:
        return self._address

    def new_token(self) -> str:
        """Ask the process for one."""
        assert self._process.stdin is not None
        self._process.stdin.write("token\n")
        self._process.stdin.flush()
        return self._line()

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


def serve(width: int, height: int) -> None:
    """Serve until standard input ends; each line asks for a token."""
    slide = StoredSlide(width, height)
    with SlideScore({1: slide}) as server:
        print(server.origin, flush=True)
        for _ in sys.stdin:
            print(server.new_token(), flush=True)


def parts_ms(patches: int, tiles: int) -> float:
    """CPU ms a patch of decoding as many tiles as there are a patch, and of the probe."""
    image = tissue(256, 256)
    slide = StoredSlide(256, 256, texture=image, tile_side=256, overlap=0)
    data = slide.tile(8, 0, 0)
    assert data is not None
    batch = np.stack([tissue(224, 224)] * 16)
    started = time.process_time()
    for _ in range(1000):
        decoded(data, 256, 256)
    decoding = (time.process_time() - started) / 1000
    started = time.process_time()
    for _ in range(50):
        models.probe(batch)
    return 1000 * (decoding * tiles / patches + (time.process_time() - started) / 50 / 16)


def bench_slidescore(patches: int) -> None:
    """Print a row."""
    columns = round(patches**0.5)
    rows = -(-patches // columns)
    width, height = columns * SIDE, rows * SIDE
    tiles = -(-width // 2 // 254) * -(-height // 2 // 254)
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        server = stack.enter_context(Elsewhere(width, height))
        analyses = stack.enter_context(Analyses(Path(folder), server=server))
        memory = psutil.Process().memory_info().rss
        before, cpu, started = parts_ms(patches, tiles), time.process_time(), time.perf_counter()
        answers = {"ROI": rect(0, 0, width, height), "Exemplar": rect(0, 0, SIDE, SIDE)}
        job_id, most = analyses.click("similar", answers).json()["id"], 0
        while "output" not in (answer := analyses.status(job_id).json()):
            most = max(most, psutil.Process().memory_info().rss)
            time.sleep(0.2)
        wall, spent = time.perf_counter() - started, time.process_time() - cpu
        assert answer["status"] == "finished", answer
        parts = (before + parts_ms(patches, tiles)) / 2
        each = 1000 * spent / (columns * rows)
        print(
            f"| similar, {columns * rows:,} patches from {tiles:,} tiles | {columns * rows / wall:.0f} "
            f"| {each:.2f} | {each / parts:.2f} of {parts:.2f} | {(most - memory) / 1e6:.0f} |"
        )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patches", type=int, nargs="*", default=[400, 4000])
    parser.add_argument("--serve", type=int, nargs=2)
    options = parser.parse_args()
    if options.serve:
        serve(*options.serve)
        return
    print("| region | patches/s | CPU ms/patch | ÷ decoding and model alone | memory above start, MB |")
    print("|---|---|---|---|---|")
    for patches in options.patches:
        bench_slidescore(patches)


if __name__ == "__main__":
    main()
