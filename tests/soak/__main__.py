"""``make soak``: load, faults and drains for as long as asked; prints figures, fails on a wrong answer."""

from __future__ import annotations

import argparse
import random
import signal
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import psutil

from tests.soak.clients import Client, Control, Sample, Tally, samples
from tests.soak.faults import Surroundings
from tests.soak.slow import KINDS
from tests.support import models
from tests.support.service import Service, wait_until

REFUSALS = {
    "ok",
    "503 with Retry-After",
    "hung up",
    "connection lost",  # with a worker that was killed
    "HTTP_ERROR of a lost store",
    "DICOM_ERROR of a lost store",
}


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="of each load and of the faults")
    parser.add_argument("--drains", type=int, default=10)
    parser.add_argument("--only", choices=("load", "slow", "faults", "drain"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        probe = str(models.build(Path(folder), "probe") / "probe")
        if options.only in (None, "load"):
            for clients in (8, 64):
                load(probe, clients, 60 * options.minutes)
        if options.only in (None, "slow"):
            slow(probe, 60 * options.minutes / len(KINDS))
        if options.only in (None, "faults"):
            faults(probe, 60 * options.minutes)
        if options.only in (None, "drain"):
            drains(probe, options.drains)


def load(probe: str, clients: int, seconds: float) -> None:
    """Put more load on the service than it can do."""
    with Service({"PATHSERVE_MODEL": probe}) as service:
        service.wait_healthy()
        tally, running = _start(service, clients)
        threading.Event().wait(seconds / 4)
        early = _memory(service)
        threading.Event().wait(3 * seconds / 4)
        late = _memory(service)
        _stop(running)
        started = time.monotonic()
        wait_until(lambda: service.health() == 200, "health after load")
        _report(f"{clients} clients for {seconds / 60:.0f} min", tally)
        print(
            f"  memory without files {early:.0f} MB after a quarter, {late:.0f} MB at the end; healthy "
            f"{time.monotonic() - started:.2f} s after the load ended"
        )
        assert set(_outcomes(tally)) <= {"ok", "503 with Retry-After"}, tally.outcomes
        assert late < early + 150, "memory grew"


def slow(probe: str, seconds: float) -> None:
    """Serve eight clients beside hundreds that are slow, each kind for so long."""
    with Service({"PATHSERVE_MODEL": probe}) as service:
        service.wait_healthy()
        for name, kind in KINDS.items():
            with kind.around(service):
                tally, running = _start(service, 8)
                threading.Event().wait(seconds)
                _stop(running)
            _report(f"8 clients for {seconds:.0f} s beside: {name}", tally)
            print(f"  memory without files {_memory(service):.0f} MB")
            assert set(_outcomes(tally)) <= {"ok", "503 with Retry-After"}, tally.outcomes


def faults(probe: str, seconds: float) -> None:
    """Let processes, disk, memory, clock, store and clients fail at random moments under load."""
    chance = random.Random(7)
    with Surroundings(probe) as around:
        service = around.service.wait_healthy()
        tally, running = _start(service, 8, around.slide_samples, hangs_up=0.05)
        until, done = time.monotonic() + seconds, dict.fromkeys(around.faults, 0)
        gaps = dict.fromkeys(around.faults, 0.0)
        while time.monotonic() < until:
            threading.Event().wait(chance.uniform(3, 8))
            tally.take_longest_gap()
            name = min(done, key=lambda fault: (done[fault], chance.random()))
            try:
                around.faults[name](chance)
                done[name] += 1
            except (StopIteration, IndexError, psutil.Error):
                continue  # what it is about is being replaced just now
            try:
                wait_until(lambda: service.health() == 200, f"recovery from {name}", 90)
                served = tally.outcomes["ok"] + 20
                wait_until(lambda: tally.outcomes["ok"] >= served, f"answers after {name}", 90)  # noqa: B023
            except TimeoutError:
                print(service.log()[-20_000:])
                raise
            gaps[name] = max(gaps[name], tally.take_longest_gap())
        _stop(running)
        _report(f"faults under load for {seconds / 60:.0f} min", tally)
        for name, count in done.items():
            print(f"  {count:>4} x {name}: at most {gaps[name]:.1f} s without a right answer")
        assert set(_outcomes(tally)) <= REFUSALS, tally.outcomes


def drains(probe: str, count: int) -> None:
    """End the service under load: accepted requests are answered, and it exits with 0."""
    taken = []
    total = Tally()
    for number in range(count):
        with Service({"PATHSERVE_MODEL": probe, "PATHSERVE_GRACE_S": "30"}) as service:
            service.wait_healthy()
            tally, running = _start(service, 6)
            threading.Event().wait(1.0 + number / count)
            for client in running[:-1]:
                client.stop.set()  # the request that it has sent is its last
            service.process.send_signal(signal.SIGTERM)
            started = time.monotonic()
            status = service.process.wait(60)
            taken.append(time.monotonic() - started)
            _stop(running)
            assert status == 0, status
            total.outcomes.update(tally.outcomes)
            total.seconds += tally.seconds
    _report(f"{count} drains under load", total)
    print(f"  exit status 0 each time, after at most {max(taken):.1f} s")
    assert set(_outcomes(total)) <= {"ok", "503 with Retry-After"}, total.outcomes


def _start(
    service: Service, clients: int, further: Sequence[Sample] = (), hangs_up: float = 0.0
) -> tuple[Tally, list[Client | Control]]:
    tally, made = Tally(), [*samples(), *further]
    running: list[Client | Control] = [
        Client(service, made, tally, seed, hangs_up) for seed in range(clients)
    ]
    running.append(Control(service, tally))
    for thread in running:
        thread.start()
    return tally, running


def _stop(running: list[Client | Control]) -> None:
    for thread in running:
        thread.stop.set()
    for thread in running:
        thread.join(130)


def _memory(service: Service) -> float:
    """Return the memory of all processes in megabytes, without files: others may map those, too."""
    kilobytes = 0
    for process in service.processes():
        for line in Path(f"/proc/{process.pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
            if line.startswith(("Pss_Anon:", "Pss_Shmem:")):
                kilobytes += int(line.split()[1])
    return kilobytes / 1024


def _outcomes(tally: Tally) -> dict[str, int]:
    return {name: n for name, n in tally.outcomes.items() if not name.startswith(("health", "metrics"))}


def _report(title: str, tally: Tally) -> None:
    print(f"{title}:")
    for name, count in tally.outcomes.most_common():
        print(f"  {count:>8,} {name}")
    for wrong in tally.wrong:
        print(f"  WRONG: {wrong}")
    seconds = np.array(tally.seconds)
    print(
        f"  accepted: p50 {np.median(seconds):.2f} s, p99 {np.percentile(seconds, 99):.2f} s; slowest health "
        f"or metrics {tally.slowest_control_s:.2f} s",
        flush=True,
    )


if __name__ == "__main__":
    main()
