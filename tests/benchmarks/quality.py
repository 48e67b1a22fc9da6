"""``python -m tests.benchmarks.quality``: what measuring the quality of a patch costs a core.

CPU time of one thread, a patch, the least and the median of many rounds, beside decoding the same patches:
work that a request does anyway. Patches that are decoded together, up to 16, are measured together.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import cv2
import numpy as np

from dicom_io.codecs.raster import RasterFile
from dicom_io.quality.blur import blur_effect, blur_effects
from dicom_io.quality.patch import measure
from tests.support.tissue import encode, tissue

GROUP = 16
ROUNDS = 300


def cost(work: Callable[[], object], patches: int) -> tuple[float, float]:
    """Return the least and the median CPU time of a patch, in ms."""
    seconds = []
    for _ in range(ROUNDS):
        before = time.thread_time()
        work()
        seconds.append((time.thread_time() - before) / patches)
    return 1000 * min(seconds), 1000 * statistics.median(seconds)


def main() -> None:
    """Print a line for each."""
    cv2.setNumThreads(1)
    whole = tissue(1024, 1024)
    patches = [
        np.ascontiguousarray(whole[y : y + 224, x : x + 224])
        for y in range(0, 800, 200)
        for x in range(0, 800, 200)
    ]
    encoded = {kind: [encode(patch, kind) for patch in patches] for kind in ("JPEG", "PNG")}

    def decode(kind: str) -> None:
        for data in encoded[kind]:
            RasterFile(data, 1 << 20).decode()

    rows: dict[str, tuple[Callable[[], object], int]] = {
        "quality, 16 patches at once": (lambda: measure(patches), GROUP),
        "quality, 8 at once": (lambda: measure(patches[:8]), 8),
        "quality, one": (lambda: measure(patches[:1]), 1),
        "of it blur": (lambda: blur_effects(patches, 16), GROUP),
        "blur of all rows and columns": (lambda: [blur_effect(patch) for patch in patches], GROUP),
        "decoding a JPEG of 224 x 224": (lambda: decode("JPEG"), GROUP),
        "decoding a PNG of 224 x 224": (lambda: decode("PNG"), GROUP),
    }
    print(f"{'ms of CPU a patch':32} {'least':>7} {'median':>7}")
    for name, (work, count) in rows.items():
        least, median = cost(work, count)
        print(f"{name:32} {least:7.3f} {median:7.3f}")


if __name__ == "__main__":
    main()
