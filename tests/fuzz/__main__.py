"""``make fuzz``: the long run. Prints what came back, how slow the slowest was, and memory."""

from __future__ import annotations

import argparse
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.benchmarks.load import memory_megabytes
from tests.fuzz.campaign import ENVIRONMENT, Campaign
from tests.support import models
from tests.support.service import Service
from tests.support.slides import CODINGS, pyramid
from tests.support.store import Store

LANES = 3


def main() -> None:
    """Run the campaigns side by side against one service."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--images", type=int, default=16_000)
    parser.add_argument("--frames", type=int, default=4_000)
    parser.add_argument("--seed", type=int, default=224)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        probe = str(models.build(Path(folder), "probe") / "probe")
        with Service(ENVIRONMENT | {"PATHSERVE_MODEL": probe}) as service:
            service.wait_healthy()
            processes = {process.pid for process in service.processes()}
            lanes = [Campaign(service, options.seed + lane) for lane in range(LANES)]
            lanes[0].require_true()
            memory = []
            for share in range(10):
                started = time.monotonic()
                with ThreadPoolExecutor(LANES) as pool:
                    list(pool.map(lambda lane, share=share: _part(lane, share, options), lanes))
                memory.append(sum(memory_megabytes(process) for process in service.processes()))
                print(
                    f"{10 * (share + 1)} %: {time.monotonic() - started:.0f} s, {memory[-1]:.0f} MB",
                    flush=True,
                )
            assert processes == {process.pid for process in service.processes()}, "a process died"
            outcomes: dict[str, int] = {}
            for lane in lanes:
                for code, count in lane.outcomes.items():
                    outcomes[code] = outcomes.get(code, 0) + count
            for code, count in sorted(outcomes.items(), key=lambda item: -item[1]):
                print(f"{count:>9,}  {code}")
            slowest = max(lane.slowest_s for lane in lanes)
            print(
                f"slowest answer {slowest:.2f} s; memory {memory[0]:.0f} MB after 10 %, {memory[4]:.0f} MB "
                f"after half, {memory[-1]:.0f} MB at the end"
            )
            assert memory[-1] < memory[4] + 150, "memory grew"


def _part(lane: Campaign, share: int, options: argparse.Namespace) -> None:
    lane.requests(options.requests // (10 * LANES) + 1)
    lane.images(options.images // (10 * LANES) + 1)
    codings = list(CODINGS)[share::10]  # every coding, in the ten parts together
    for name in codings:
        slide = pyramid(name, [(500, 400)])
        with Store(slide) as store:
            lane.frames(options.frames // (10 * LANES * len(codings)) + 1, store, slide)


if __name__ == "__main__":
    main()
