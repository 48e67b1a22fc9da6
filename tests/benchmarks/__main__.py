"""Prints the README's tables: throughput and latency, memory, start-up."""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Self

from tests.benchmarks.dicom import bench_dicom
from tests.benchmarks.load import measure, memory_megabytes, scenarios
from tests.support import models
from tests.support.service import Service

BARE_BATCH = 16


class BareEncoder:
    """The encoder alone, in a process that works only when asked."""

    def __init__(self, model: str, precision: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.bare", model, precision],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            bufsize=1,
        )
        if self._read() != "ready":
            raise RuntimeError("the bare encoder did not start")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def rate(self, size: int, seconds: float) -> float:
        """Return patches per second in batches of a size."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{size} {seconds}\n")
        return float(self._read())

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


def bench(title: str, model: str, precision: str, seconds: float) -> None:
    """Measure one model and print its tables."""
    environment = {"PATHSERVE_MODEL": model, "PATHSERVE_PRECISION": precision}
    started = time.perf_counter()
    with Service(environment) as service:
        service.wait_healthy()
        healthy = time.perf_counter() - started
        with BareEncoder(model, precision) as bare:
            print(f"\n### {title}\n")
            print(
                "| request | patches/s | ÷ bare encoder | p50 ms | p99 ms | CPU ms/patch | answer B/patch |"
            )
            print("|---|---|---|---|---|---|---|")
            for scenario in scenarios():
                size = 1 if scenario.patches == 1 and scenario.clients == 1 else BARE_BATCH
                before = bare.rate(size, seconds / 2)
                found = measure(service, scenario, seconds)
                reference = (before + bare.rate(size, seconds / 2)) / 2
                print(
                    f"| {scenario.name} | {found.rate:.0f} | {found.rate / reference:.2f} of {reference:.0f} "
                    f"| {found.p50_ms:.1f} | {found.p99_ms:.1f} | {found.cpu_ms:.2f} "
                    f"| {found.answer_bytes:.0f} |",
                    flush=True,
                )
        workers = [memory_megabytes(worker) for worker in service.workers()]
        total = sum(memory_megabytes(process) for process in service.processes())
        print(
            f"\nHealthy after {healthy:.1f} s. Memory (PSS) after this: encoder "
            f"{memory_megabytes(service.encoder()):.0f} MB, workers "
            f"{' and '.join(f'{mb:.0f}' for mb in workers)} MB, all processes {total:.0f} MB."
        )


def main() -> None:
    """Measure the probe and the ViT."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=6.0, help="per row")
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory() as folder:
        probe = str(models.build("probe", Path(folder) / "probe"))
        bench("Probe model (near-free: the cost of all else)", probe, "float32", options.seconds)
        with Service({"PATHSERVE_MODEL": probe}) as service:
            print("\n### DICOMweb, probe model\n")
            bench_dicom(service.wait_healthy())
    bench("ViT-S/16, float32", "builtin:vit-s16", "float32", options.seconds)
    bench("ViT-S/16, bfloat16", "builtin:vit-s16", "bfloat16", options.seconds)


if __name__ == "__main__":
    main()
