"""``python -m tests.benchmarks.deidentify [MB]``: what de-identification costs a core, and how much it holds.

Each coding's slide is written to a file of its own and de-identified in a process of its own, whose time on a
processor is told beside that of a plain copy; the disk's speed is in neither.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from serving.store.deidentify.deidentifier import Deidentifier
from serving.store.deidentify.key import Key

_BUFFER = 1 << 18
CODINGS_MEASURED = (
    "JPEG",
    "JPEG-LS",
    "JPEG 2000 lossless",
    "HTJ2K lossless",
    "JPEG XL lossless",
    "RLE",
    "explicit",
)


def write_slide(path: Path, coding: str, size: int) -> None:
    """Write a level of about so many bytes: sixteen tiles, again and again."""
    # Imported here, so that they are not in the memory of the process that is measured.
    from tests.support.local_slides import jpeg
    from tests.support.slides import CODINGS, JPEG, Coding, Slide, stained

    small = Coding(JPEG, "YBR_FULL_422", jpeg)
    made = small if coding == "JPEG" else CODINGS[coding]
    stored = Slide().add_level(stained(1000, 1000), made, BurnedInAnnotation="NO", SpecimenLabelInImage="NO")[
        0
    ]
    stored.frames *= max(1, size // sum(map(len, stored.frames)))
    stored.dataset.NumberOfFrames = len(stored.frames)
    path.write_bytes(stored.file())


def _seconds(work: Callable[[Path, Path], object], source: Path, target: Path) -> float:
    before = os.times()
    work(source, target)
    after = os.times()
    target.unlink()
    return after.user + after.system - before.user - before.system


def _deidentify(source: Path, target: Path) -> None:
    with target.open("wb", buffering=_BUFFER) as file:
        Deidentifier(Key(bytes(32)), None).write(source, file)


def measure(source: Path) -> None:
    """Print a row for one file: best of three."""
    target, size = source.with_suffix(".out"), source.stat().st_size / 1e6
    cleaned = min(_seconds(_deidentify, source, target) for _ in range(3))
    copied = min(_seconds(shutil.copyfile, source, target) for _ in range(3))
    # Not getrusage's: that begins with what the parent had.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    peak = int(status.split("VmHWM:")[1].split()[0]) >> 10
    print(f"| {source.stem} | {size:.0f} | {size / cleaned:.0f} | {size / max(copied, 0.01):.0f} | {peak} |")


def main() -> None:
    """Write slides and measure them one after the other."""
    if len(sys.argv) > 1 and Path(sys.argv[1]).is_file():
        measure(Path(sys.argv[1]))
        return
    size = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    print("| frames | MB | MB/s a core | of a copy | peak, MiB |\n|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for coding in CODINGS_MEASURED:
            path = Path(folder) / f"{coding}.dcm"
            write_slide(path, coding, size * 1_000_000)
            subprocess.run([sys.executable, "-m", "tests.benchmarks.deidentify", str(path)], check=True)
            path.unlink()


if __name__ == "__main__":
    main()
