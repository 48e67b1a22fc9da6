"""The encoder alone on ready arrays, in a process of its own: what the service is measured against.

Reads lines from standard input; for each line ``SIZE SECONDS`` it embeds batches of that size for that
long and prints patches per second. It is idle between lines, so that the service can run meanwhile.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from model.loader import load_encoder
from tests.support.tissue import tissue


def main(model: str, precision: str) -> None:
    """Load the model, say ready, then measure on demand."""
    encoder = load_encoder(model, precision)
    image = tissue(2240, 2240)
    tiles = [image[y : y + 224, x : x + 224] for y in range(0, 2240, 224) for x in range(0, 2240, 224)]
    print("ready", flush=True)
    for line in sys.stdin:
        size, seconds = int(line.split()[0]), float(line.split()[1])
        batch = np.stack([tiles[i % len(tiles)] for i in range(size)])
        encoder.embed(batch)
        started, done = time.perf_counter(), 0
        while (elapsed := time.perf_counter() - started) < seconds:
            encoder.embed(batch)
            done += size
        print(done / elapsed, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
