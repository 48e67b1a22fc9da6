"""How throughput and cost grow with patches a request, clients and workers: a table and a plot."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl

from tests.benchmarks.load import Measured, Pixels, Scenario, body_of, measure
from tests.support.service import Service

mpl.use("Agg")
import matplotlib.pyplot as plt

PLOT = Path(__file__).parents[2] / "docs/scaling.png"
PATCHES = (100, 400, 1000, 4000)
CLIENTS = (1, 2, 4, 8)
WORKERS = (1, 2)


def bench_scaling(probe: str, seconds: float) -> None:
    """Measure the probe and print the table; write the plot."""
    print("\n### Growth, probe model: patches/s (CPU ms/patch)\n")
    by_patches: dict[int, list[Measured]] = {}
    by_clients: dict[int, list[Measured]] = {}
    for workers in WORKERS:
        with Service({"PATHSERVE_MODEL": probe, "PATHSERVE_WORKERS": str(workers)}) as service:
            service.wait_healthy()
            by_patches[workers] = [
                measure(service, Scenario("", Pixels.LARGE, body_of(Pixels.LARGE, n), n), seconds)
                for n in PATCHES
            ]
            jpegs = body_of(Pixels.JPEGS)
            by_clients[workers] = [
                measure(service, Scenario("", Pixels.JPEGS, jpegs, 64, clients=n), seconds) for n in CLIENTS
            ]
    _table("2240x2240 JPEGs, patches a request", PATCHES, by_patches)
    _table("64 JPEG 224 instances a request, clients", CLIENTS, by_clients)
    one, two = by_clients[1][-1], by_clients[2][-1]
    print(
        f"2 workers ÷ 1 worker, {CLIENTS[-1]} clients: {two.rate / one.rate:.2f} of the rate at "
        f"{two.cpu_ms / one.cpu_ms:.2f} of the CPU a patch.\n"
    )
    _plot(by_patches, by_clients)


def _table(title: str, points: tuple[int, ...], rows: dict[int, list[Measured]]) -> None:
    print(f"| {title} | {' | '.join(f'{n:,}' for n in points)} |")
    print(f"|---|{'---|' * len(points)}")
    for workers, found in rows.items():
        cells = " | ".join(f"{m.rate:.0f} ({m.cpu_ms:.2f})" for m in found)
        print(f"| {workers} worker{'s' * (workers > 1)} | {cells} |")
    print(flush=True)


def _plot(by_patches: dict[int, list[Measured]], by_clients: dict[int, list[Measured]]) -> None:
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), sharey=True)
    for axes, points, rows, label in (
        (left, PATCHES, by_patches, "patches a request (2240x2240 JPEGs)"),
        (right, CLIENTS, by_clients, "clients (64 JPEG 224 instances a request)"),
    ):
        for workers, found in rows.items():
            axes.plot(points, [m.rate for m in found], marker="o", label=f"{workers} workers")
        axes.set_xscale("log", base=2)
        axes.set_xticks(points, [f"{n:,}" for n in points])
        axes.set_xlabel(label)
        axes.grid(alpha=0.3)
    left.set_ylim(bottom=0)
    left.set_ylabel("patches/s, probe model")
    left.legend()
    figure.tight_layout()
    PLOT.parent.mkdir(exist_ok=True)
    figure.savefig(PLOT, dpi=110)
