"""The parts alone, in a process of their own: what the service is measured against.

Reads a line of JSON from standard input for each measurement and answers with a line of JSON. It is idle
between them, so that the service can run meanwhile.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Self

import imagecodecs
import numpy as np
import simplejpeg

from model.runtimes.allocation import ALLOCATION
from model.runtimes.load import load_encoder
from tests.benchmarks.load import Pixels, encoded_images
from tests.support.tissue import tissue

BATCH = 16


class Bare:
    """The process, seen from the benchmark; parameters as for ``load_encoder``."""

    def __init__(
        self, spec: str, precision: str, runtime: str = "tensorflow", *, reproducible: bool = False
    ) -> None:
        way = [spec, precision, runtime, *(["reproducible"] if reproducible else [])]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.bare", *way],
            env=ALLOCATION | dict(os.environ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            bufsize=1,
        )
        self.facts = self._read()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def rate(self, size: int, seconds: float) -> float:
        """Return patches per second of the encoder on ready arrays in batches of a size."""
        return self.rate_and_cpu(size, seconds)[0]

    def rate_and_cpu(self, size: int, seconds: float) -> tuple[float, float]:
        """Return the same, and ms of CPU a patch."""
        found = self._ask(what="embed", size=size, seconds=seconds)
        return float(found["rate"]), float(found["cpu_ms"])

    def parts_ms(self, pixels: Pixels, seconds: float) -> float:
        """Return ms of CPU a patch: decoding the same bytes, and the encoder on ready arrays."""
        size = 1 if pixels is Pixels.ONE_PNG else BATCH
        decode = self._ask(what=pixels, seconds=seconds / 2)["cpu_ms"]
        return float(decode + self._ask(what="embed", size=size, seconds=seconds / 2)["cpu_ms"])

    def embed_ms(self, seconds: float) -> float:
        """Return ms of CPU a patch of the encoder on ready arrays."""
        return float(self._ask(what="embed", size=BATCH, seconds=seconds)["cpu_ms"])

    def _ask(self, **what: object) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        found: dict[str, Any] = json.loads(self._process.stdout.readline())
        return found


def _decode(data: bytes) -> np.ndarray:
    if data.startswith(b"\xff\xd8"):
        return np.asarray(simplejpeg.decode_jpeg(data, "RGB", fastdct=False, fastupsample=False))
    return np.asarray(imagecodecs.spng_decode(data))


def _decode_all(images: list[bytes]) -> None:
    for data in images:
        _decode(data)


def _measure(work: Callable[[], object], patches: int, seconds: float) -> dict[str, float]:
    work()
    started, cpu, done = time.perf_counter(), time.process_time(), 0
    while (elapsed := time.perf_counter() - started) < seconds:
        work()
        done += patches
    return {"rate": done / elapsed, "cpu_ms": 1000 * (time.process_time() - cpu) / done}


def main(spec: str, precision: str, runtime: str, reproducible: str = "") -> None:
    """Load the model, say what it is, then measure on demand."""
    encoder = load_encoder(spec, precision, runtime=runtime, reproducible=bool(reproducible))
    image = tissue(2240, 2240)
    tiles = [image[y : y + 224, x : x + 224] for y in range(0, 2240, 224) for x in range(0, 2240, 224)]
    facts = encoder.facts
    print(
        json.dumps({"precision": facts.precision, "runtime": facts.runtime, "parity": facts.parity}),
        flush=True,
    )
    for line in sys.stdin:
        asked = json.loads(line)
        if asked["what"] == "embed":
            batch = np.stack([tiles[i % len(tiles)] for i in range(asked["size"])])
            found = _measure(partial(encoder.embed, batch), len(batch), asked["seconds"])
        else:
            images, patches = encoded_images(Pixels(asked["what"]))
            found = _measure(partial(_decode_all, images), patches, asked["seconds"])
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
