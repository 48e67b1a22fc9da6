"""``make fuzz``, the decoders: every coding as a frame and within a DICOM file, every kind of image file.

Each is decoded in a process of its own. What must hold: pixels are of the right shape, good input between the
hostile gives the right pixels, and nothing takes longer than a request may.
"""

from __future__ import annotations

import argparse
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pydicom.encaps import encapsulate

from dicom_io.codecs.frame_format import NATIVE, FrameFormat
from tests.fuzz.corpus import SMALL, images
from tests.fuzz.structures import repair_of, structured
from tests.support.decode_child import DecodeChild, Died
from tests.support.slides import CODINGS, MICROSCOPIC, Slide, stained
from tests.support.tissue import UInt8Array

_GOOD_ONE_IN = 50

Decode = Callable[[DecodeChild, bytes], UInt8Array | None]
Wrap = Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True)
class Target:
    """Good bytes, how they are decoded, and how mutated ones are put into what is around them."""

    name: str
    good: bytes
    decode: Decode
    wrap: Wrap = lambda data: data


@dataclass(slots=True)
class Outcome:
    """What came of one target."""

    counts: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0


def targets() -> list[Target]:
    """Return every coding of the table, as frames and inlined in DICOM files, and every image file."""
    tile = np.ascontiguousarray(stained(SMALL, SMALL))
    found = []
    for name, coding in CODINGS.items():
        form = FrameFormat(SMALL, SMALL, coding.samples, coding.photometric, coding.planar)
        good, syntax = coding.encode(tile), coding.syntax

        def as_frame(
            child: DecodeChild, data: bytes, syntax: str = syntax, form: FrameFormat = form
        ) -> UInt8Array | None:
            return child.frame(data, syntax, form)

        found.append(Target(f"frame {name}", good, as_frame))
        if syntax in NATIVE:
            continue
        file = Slide().add_single(tile, coding, MICROSCOPIC).file()
        stored = encapsulate([good])
        before = file[: file.index(stored)]

        def within(data: bytes, before: bytes = before) -> bytes:
            return before + encapsulate([data or b"\0\0"]) + b"\xfe\xff\xdd\xe0\0\0\0\0"

        found.append(Target(f"DICOM {name}", good, DecodeChild.image, within))
    found += [
        Target(f"image {number} {data[:12]!r}", data, DecodeChild.image)
        for number, data in enumerate(images())
    ]
    return found


def fuzz(target: Target, count: int, seed: int, folder: Path) -> Outcome:
    """Decode so many mutations of a target; what kills a process is kept in a folder."""
    chance, outcome = random.Random(f"{seed} {target.name}"), Outcome()
    repair = repair_of(target.good)
    with DecodeChild() as child:
        right = target.decode(child, target.wrap(target.good))
        assert right is not None or target.name.startswith("image"), f"{target.name} is not read"
        for number in range(count):
            data = target.wrap(structured(chance, target.good, repair))
            started = time.monotonic()
            try:
                pixels = target.decode(child, data)
                outcome.counts["refused" if pixels is None else "pixels"] += 1
            except Died:
                outcome.counts["died or hung"] += 1
                (folder / f"{target.name.split()[0]}-{seed}-{number}.bin").write_bytes(data)
            outcome.slowest_s = max(outcome.slowest_s, time.monotonic() - started)
            if number % _GOOD_ONE_IN == 0:
                again = target.decode(child, target.wrap(target.good))
                np.testing.assert_array_equal(np.asarray(again), np.asarray(right), target.name)
    return outcome


def main() -> None:
    """Fuzz each target, and say how long that took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20_000, help="mutations of each target")
    parser.add_argument("--seed", type=int, default=224)
    parser.add_argument("--only", default="", help="targets whose name has this in it")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-findings"), help="folder for what kills")
    options = parser.parse_args()
    options.keep.mkdir(exist_ok=True)
    deaths = 0
    for target in targets():
        if options.only not in target.name:
            continue
        started = time.monotonic()
        outcome = fuzz(target, options.count, options.seed, options.keep)
        deaths += outcome.counts["died or hung"]
        spent = time.monotonic() - started
        print(
            f"{target.name:45} {spent:6.0f} s, slowest {outcome.slowest_s:5.2f} s, {dict(outcome.counts)}",
            flush=True,
        )
    print(f"{deaths} processes died or hung; each cost its own image only")


if __name__ == "__main__":
    main()
