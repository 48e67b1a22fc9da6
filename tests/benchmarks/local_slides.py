"""Reading slides in local files: beside a loop over OpenSlide's regions, and one decode of each tile.

``python -m tests.benchmarks.local_slides``; ``--memory`` adds the peak of reading 100,000 x 80,000 pixels.
``--tiatoolbox`` names the Python of an environment with tiatoolbox, whose patch extractor then takes turns.
"""

from __future__ import annotations

import argparse
import resource
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from pathlib import Path

import numpy as np
import openslide
import psutil
import simplejpeg
import tifffile

from dicom_io.geometry import Patch, Rect
from dicom_io.local.opening import open_slide
from dicom_io.reading import ReadOptions
from dicom_io.slides.slide import grid
from dicom_io.sources.session import ReadContext, ReadSession
from dicom_io.sources.shared_raster import RasterRegistry
from dicom_io.waiting import Cancellation
from serving.config.settings import load_settings
from serving.processes.assembly import read_context
from tests.support.local_slides import APERIO, TILE, jpeg, split_tables, tiles_of
from tests.support.slides import stained

SIDE = 224
CHUNK = 512
"""Patches of one request, as ``pathserve embed`` sends them."""

_UNIQUE = 1024
"""Pixels along an edge of the tissue that the slide repeats."""

_ROWS = 20
"""Rows of tiles that are read of the large slide, unless told: more than caches hold."""

_TIATOOLBOX = """
import sys, time
import numpy as np, pandas
from tiatoolbox.tools.patchextraction import get_patch_extractor

places = np.load(sys.argv[2])
table = pandas.DataFrame({"x": places[:, 0], "y": places[:, 1], "class": 0})
for _ in sys.stdin:
    started, cpu = time.perf_counter(), time.process_time()
    size = {"patch_size": (224, 224), "resolution": 0, "units": "level"}
    for patch in get_patch_extractor("point", input_img=sys.argv[1], locations_list=table, **size):
        assert patch.shape == (224, 224, 3)
    print("took", time.process_time() - cpu, time.perf_counter() - started, flush=True)
"""


def write_large(path: Path, width: int, height: int) -> list[bytes]:
    """Write an SVS of one level whose tiles are those of a square of tissue, each there once; return them."""
    unique = [jpeg(tile) for tile in tiles_of(stained(_UNIQUE, _UNIQUE))]
    tables, side = split_tables(unique[0])[0], _UNIQUE // TILE
    bodies = [split_tables(data)[1] for data in unique]
    description = APERIO.format(width=width, height=height, tile=TILE) + "|AppMag = 20|MPP = 0.5\0"
    across, down = -(-width // TILE), -(-height // TILE)
    which = (np.arange(down)[:, None] % side * side + np.arange(across) % side).ravel()
    starts = 16 + np.cumsum([0, *map(len, bodies)])
    offsets, sizes = starts[:-1][which].astype("<u8"), np.asarray([len(b) for b in bodies], "<u8")[which]
    extra = [description.encode("ascii"), tables, offsets.tobytes(), sizes.tobytes()]
    places = int(starts[-1]) + np.cumsum([0, *map(len, extra)])
    tags = [
        (256, 4, 1, width), (257, 4, 1, height), (258, 3, 3, 8 | 8 << 16 | 8 << 32), (259, 3, 1, 7),
        (262, 3, 1, 6), (270, 2, len(extra[0]), int(places[0])), (277, 3, 1, 3), (284, 3, 1, 1),
        (322, 4, 1, TILE), (323, 4, 1, TILE), (324, 16, len(offsets), int(places[2])),
        (325, 16, len(sizes), int(places[3])), (347, 7, len(tables), int(places[1])),
        (530, 3, 2, 2 | 2 << 16),
    ]  # fmt: skip
    directory = struct.pack("<Q", len(tags)) + b"".join(struct.pack("<HHQQ", *tag) for tag in tags) + bytes(8)
    header = struct.pack("<2sHHHQ", b"II", 43, 8, 0, int(places[-1]))
    path.write_bytes(header + b"".join(bodies) + b"".join(extra) + directory)
    return [tables[:-2] + body[2:] for body in bodies]


def in_stripes(patches: Sequence[Patch]) -> list[Patch]:
    """Return patches in stripes of 64 side by side: rows of these share tiles that are still in the cache."""
    return sorted(patches, key=lambda patch: (patch.x // (64 * SIDE), patch.y, patch.x))


def read_ours(path: Path, patches: Sequence[Patch], context: ReadContext) -> int:
    """Read patches through a source, a chunk at a time; return their number."""
    done = 0
    with open_slide(path, context) as local:
        source, order = local.source(0), in_stripes(patches)
        for first in range(0, len(order), CHUNK):
            waits = Cancellation(time.monotonic() + 600)
            session = ReadSession(context, waits, RasterRegistry({}), lambda _: nullcontext())
            image = source.open(ReadOptions(), session)
            for task in image.read(order[first : first + CHUNK]):
                task.wait()
                done += len(task.pixels())
            image.close()
    return done


def read_plain(path: Path, patches: Sequence[Patch]) -> int:
    """Read patches as tutorials do: a region each, in rows, to RGB."""
    with openslide.OpenSlide(path) as slide:
        for patch in patches:
            np.asarray(slide.read_region((patch.x, patch.y), 0, (SIDE, SIDE)).convert("RGB"))
    return len(patches)


def decode_once(tiles: Sequence[bytes], count: int) -> int:
    """Decode as many tiles as the patches touch, and do nothing else."""
    for number in range(count):
        simplejpeg.decode_jpeg(
            tiles[number % len(tiles)], "RGB", fastdct=False, fastupsample=False, strict=True
        )
    return count


def write_zlib(path: Path, width: int, height: int) -> None:
    """Write a TIFF whose tiles OpenSlide alone decodes."""
    unique = stained(_UNIQUE, _UNIQUE)
    pixels = np.tile(unique, (-(-height // _UNIQUE), -(-width // _UNIQUE), 1))[:height, :width]
    tifffile.imwrite(path, pixels, tile=(TILE, TILE), photometric="rgb", compression="zlib")


Way = Callable[[], tuple[float, float]]
"""Reads once; returns seconds of CPU, and by the clock."""


def timed(read: Callable[[], object]) -> Way:
    """Measure a function in this process and its helpers."""

    def cpu() -> float:
        of_helpers = (helper.cpu_times() for helper in psutil.Process().children())
        return time.process_time() + sum(times.user + times.system for times in of_helpers)

    def way() -> tuple[float, float]:
        before, started = cpu(), time.perf_counter()
        read()
        return cpu() - before, time.perf_counter() - started

    return way


@contextmanager
def tiatoolbox(python: str, path: Path, patches: Sequence[Patch]) -> Iterator[Way]:
    """Have the patches read by tiatoolbox's extractor, in a process that stays from turn to turn."""
    places = path.with_suffix(".npy")
    np.save(places, [(patch.x, patch.y) for patch in patches])
    command = [python, "-c", _TIATOOLBOX, str(path), str(places)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        asks, answers = process.stdin, process.stdout
        assert asks is not None
        assert answers is not None

        def way() -> tuple[float, float]:
            asks.write("\n")
            asks.flush()
            while not (line := answers.readline()).startswith("took"):
                assert line, "tiatoolbox ended"
            cpu, seconds = map(float, line.split()[1:])
            return cpu, seconds

        yield way
        asks.close()


def bench_ways(title: str, ways: dict[str, Way], count: int, repeats: int) -> None:
    """Print a row for each way to read, the best of some turns: a slow minute of the machine falls on all."""
    best = dict.fromkeys(ways, (float("inf"), float("inf")))
    for _ in range(repeats):
        for name, way in ways.items():
            found = way()
            best[name] = (min(best[name][0], found[0]), min(best[name][1], found[1]))
    print(f"| {count} patches of {title} | CPU ms/patch | patches/s |\n|---|---|---|")
    for name, (cpu, seconds) in best.items():
        print(f"| {name} | {1000 * cpu / count:.2f} | {count / seconds:.0f} |")
    print(flush=True)


def bench_reading(folder: Path, context: ReadContext, rows: int, repeats: int, peer: str | None) -> None:
    """Print a table for JPEG tiles, and one for tiles that OpenSlide decodes."""
    side, high = 20_000, rows * TILE
    svs, tiff = folder / "slide.svs", folder / "slide.tif"
    tiles = write_large(svs, side, side)
    write_zlib(tiff, side, high)
    patches = grid(Rect(100, 100, side - 100, high - 100), SIDE, SIDE)
    ours, plain = "pathserve", "loop over OpenSlide's regions"
    with ExitStack() as stack:
        for title, path in (("JPEG tiles", svs), ("zlib tiles", tiff)):
            ways = {
                ours: timed(partial(read_ours, path, patches, context)),
                plain: timed(partial(read_plain, path, patches)),
            }
            if peer and path == svs:
                ways["tiatoolbox's extractor"] = stack.enter_context(tiatoolbox(peer, path, patches))
            if path == svs:
                ways["each tile decoded once"] = timed(partial(decode_once, tiles, rows * -(-side // TILE)))
            bench_ways(title, ways, len(patches), repeats)


def bench_memory(folder: Path, context: ReadContext, count: int) -> None:
    """Print how memory grows while a large slide is read."""
    path, width, height = folder / "large.svs", 100_000, 80_000
    write_large(path, width, height)
    every = in_stripes(grid(Rect(0, 0, width, height), SIDE, SIDE))
    print(
        f"| patches read, of {len(every)} of {width}x{height} pixels | peak of the process, MB |\n|---|---|"
    )
    for first in range(0, count, count // 4):
        read_ours(path, every[first : first + count // 4], context)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"| {first + count // 4} | {peak:.0f} |", flush=True)


def main() -> None:
    """Measure, and print tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=_ROWS, help="of tiles that are read")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--memory", type=int, default=0, metavar="PATCHES", help="of a very large slide")
    parser.add_argument("--tiatoolbox", metavar="PYTHON")
    options = parser.parse_args()
    context = read_context(load_settings({}))
    try:
        with tempfile.TemporaryDirectory() as folder:
            bench_reading(Path(folder), context, options.rows, options.repeats, options.tiatoolbox)
            if options.memory:
                bench_memory(Path(folder), context, options.memory)
    finally:
        context.decoders.close()


if __name__ == "__main__":
    main()
