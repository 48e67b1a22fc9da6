"""What reproducible mode costs, and how far vectors of other machines and runtimes are away.

Another processor is had by withholding instructions from this one's oneDNN.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from model.encoder import Vectors
from model.runtimes.load import BUILTIN, load_encoder
from model.runtimes.parity import min_cosine
from tests.benchmarks.bare import BATCH, Bare
from tests.unit.model.runtimes.test_models import patches

_PATCHES = 8
_ELSEWHERE = [
    ("the same again", "tensorflow", "alone", {}),
    ("plain, a batch of 8", "tensorflow", "together", {}),
    ("its products by oneDNN with AVX, not AVX2", "tensorflow", "alone", {"ONEDNN_MAX_CPU_ISA": "AVX"}),
    ("its products by oneDNN with SSE4.1 only", "tensorflow", "alone", {"ONEDNN_MAX_CPU_ISA": "SSE41"}),
    ("TensorFlow without oneDNN's operations", "tensorflow", "alone", {"TF_ENABLE_ONEDNN_OPTS": "0"}),
    ("TensorFlow with oneDNN's operations", "tensorflow", "alone", {"TF_ENABLE_ONEDNN_OPTS": "1"}),
    ("OpenVINO", "openvino", "alone", {}),
]


def bench_price(seconds: float, rounds: int) -> None:
    """Print rates and CPU, plain and reproducible, in turns."""
    print("| runtime | patches a batch | plain: patches/s | reproducible | ÷ plain | CPU ms/patch, plain "
          "| reproducible | ÷ plain |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|")
    for runtime in ("tensorflow", "openvino"):
        with contextlib.ExitStack() as stack:
            ways = [
                stack.enter_context(Bare(BUILTIN, "float32", runtime, reproducible=reproducible))
                for reproducible in (False, True)
            ]
            for size in (1, BATCH):
                found = [[way.rate_and_cpu(size, seconds) for way in ways] for _ in range(rounds)]
                plain, alone = (
                    [statistics.median(one[way][what] for one in found) for what in (0, 1)] for way in (0, 1)
                )
                rate, cpu = (
                    statistics.median(one[1][what] / one[0][what] for one in found) for what in (0, 1)
                )
                print(
                    f"| {ways[0].facts['runtime']} | {size} | {plain[0]:.1f} | {alone[0]:.1f} | {rate:.2f} "
                    f"| {plain[1]:.0f} | {alone[1]:.0f} | {cpu:.2f} |",
                    flush=True,
                )


def bench_elsewhere() -> None:
    """Print how far other ways to compute are from reproducible TensorFlow here."""
    with tempfile.TemporaryDirectory() as folder:
        here = _vectors("tensorflow", "alone", {}, folder)
        print("\n| against reproducible TensorFlow here | bits | largest difference | 1 - least cosine |")
        print("|---|---|---|---|")
        for name, runtime, way, environment in _ELSEWHERE:
            there = _vectors(runtime, way, environment, folder)
            cosine = min_cosine(here.astype(np.float64), there.astype(np.float64))
            bits = "the same" if np.array_equal(here, there) else "others"
            print(f"| {name} | {bits} | {np.abs(here - there).max():.1e} | {1 - cosine:.1e} |", flush=True)


def _vectors(runtime: str, way: str, environment: dict[str, str], folder: str) -> Vectors:
    file = f"{folder}/vectors.npy"
    command = [sys.executable, "-m", "tests.benchmarks.reproducible", "--write", runtime, way, file]
    subprocess.run(command, env=os.environ | environment, check=True, capture_output=True)
    found: Vectors = np.load(file)
    return found


def _write(runtime: str, way: str, file: str) -> None:
    encoder = load_encoder(BUILTIN, "float32", 1, runtime=runtime, reproducible=way == "alone")
    np.save(Path(file), encoder.embed(patches(_PATCHES)))


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="per measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", nargs=3, help="internal")
    options = parser.parse_args()
    if options.write:
        _write(*options.write)
        return
    bench_price(options.seconds, options.rounds)
    bench_elsewhere()


if __name__ == "__main__":
    main()
