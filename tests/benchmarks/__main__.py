"""Prints the tables of docs/benchmarks.md: throughput and latency, memory, start-up."""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import tempfile
import time
from pathlib import Path

from model.runtimes.load import BUILTIN
from tests.benchmarks.bare import BATCH, Bare
from tests.benchmarks.device import bench_devices
from tests.benchmarks.dicom import bench_dicom
from tests.benchmarks.jobs import bench_jobs
from tests.benchmarks.load import Scenario, measure, memory_megabytes, scenarios
from tests.benchmarks.mixed import bench_memory, bench_mixed
from tests.benchmarks.scaling import bench_scaling
from tests.support import models
from tests.support.service import Service


def bench(title: str, environment: dict[str, str], seconds: float) -> None:
    """Measure one model in one precision and print its tables."""
    model, precision = environment["PATHSERVE_MODEL"], environment.get("PATHSERVE_PRECISION", "float32")
    runtime = environment.get("PATHSERVE_RUNTIME", "tensorflow")
    started = time.perf_counter()
    with Service(environment) as service:
        service.wait_healthy()
        healthy = time.perf_counter() - started
        with Bare(model, precision, runtime) as bare:
            print(f"\n### {title}\n")
            print(f"{bare.facts['runtime']}, {bare.facts['precision']}. {bare.facts['parity']}\n")
            print(
                "| request | patches/s | ÷ bare encoder | p50 ms | p99 ms | CPU ms/patch | ÷ bare parts "
                "| answer B/patch |"
            )
            print("|---|---|---|---|---|---|---|---|")
            for scenario in scenarios():
                _row(service, bare, scenario, seconds)
        workers = [memory_megabytes(worker) for worker in service.workers()]
        total = sum(memory_megabytes(process) for process in service.processes())
        print(
            f"\nHealthy after {healthy:.1f} s. Memory (PSS) after this: encoder "
            f"{memory_megabytes(service.encoder()):.0f} MB, workers "
            f"{' and '.join(f'{mb:.0f}' for mb in workers)} MB, all processes {total:.0f} MB."
        )


def _row(service: Service, bare: Bare, scenario: Scenario, seconds: float) -> None:
    size = 1 if scenario.patches == 1 and scenario.clients == 1 else BATCH
    before = bare.rate(size, seconds / 2)
    parts_before = bare.parts_ms(scenario.pixels, seconds / 2)
    found = measure(service, scenario, seconds)
    reference = (before + bare.rate(size, seconds / 2)) / 2
    parts = (parts_before + bare.parts_ms(scenario.pixels, seconds / 2)) / 2
    print(
        f"| {scenario.name} | {found.rate:.0f} | {found.rate / reference:.2f} of {reference:.0f} "
        f"| {found.p50_ms:.1f} | {found.p99_ms:.1f} | {found.cpu_ms:.2f} "
        f"| {found.cpu_ms / parts:.2f} of {parts:.2f} | {found.answer_bytes:.0f} |",
        flush=True,
    )


def bench_precisions(seconds: float) -> None:
    """Measure the bare encoders side by side."""
    ways = [("tensorflow", "float32"), ("tensorflow", "bfloat16"), ("openvino", "float32"),
            ("openvino", "bfloat16"), ("openvino", "int8")]  # fmt: skip
    print("\n### ViT-S/16 alone, patches/s by batch\n")
    print("| runtime | precision | parity | 1 | 8 | 16 | 32 | 32: ÷ TensorFlow float32 |")
    print("|---|---|---|---|---|---|---|---|")
    sizes = (1, 8, 16, 32)
    with contextlib.ExitStack() as stack:
        bares = [stack.enter_context(Bare(BUILTIN, precision, runtime)) for runtime, precision in ways]
        # In turns, so that a slow minute of the machine does not fall on one of them.
        rates = [[bare.rate(size, seconds) for bare in bares] for _ in range(2) for size in sizes]
        best = [
            [max(rates[i][n], rates[i + len(sizes)][n]) for i in range(len(sizes))] for n in range(len(ways))
        ]
        for bare, found in zip(bares, best, strict=True):
            facts = bare.facts
            numbers = " | ".join(f"{rate:.1f}" for rate in found)
            print(
                f"| {facts['runtime']} | {facts['precision']} | {facts['parity']} | {numbers} "
                f"| {found[-1] / best[0][-1]:.2f} |",
                flush=True,
            )


def main() -> None:
    """Measure the probe and the ViT."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=6.0, help="per row")
    parser.add_argument("--long", action="store_true", help="memory over 50 requests of 4,000 patches, too")
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory() as folder:
        probe = str(models.build(Path(folder), "probe") / "probe")
        bench("Probe model (near-free: the cost of all else)", {"PATHSERVE_MODEL": probe}, options.seconds)
        with Service({"PATHSERVE_MODEL": probe}) as service, Bare(probe, "float32") as bare:
            print("\n### DICOMweb, probe model\n")
            bench_dicom(service.wait_healthy(), bare)
        bench_scaling(probe, options.seconds / 2)
        bench_devices(options.seconds / 2)
        if options.long:
            bench_memory(probe)
    bench("ViT-S/16", {"PATHSERVE_MODEL": BUILTIN}, options.seconds)
    for precision in ("bfloat16", "int8"):
        openvino = {"PATHSERVE_RUNTIME": "openvino", "PATHSERVE_PRECISION": precision}
        bench(f"ViT-S/16, {precision}", {"PATHSERVE_MODEL": BUILTIN} | openvino, options.seconds)
    bench_precisions(options.seconds)
    bench_mixed()
    bench_jobs()


if __name__ == "__main__":
    main()
