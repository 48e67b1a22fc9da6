"""A whole run of an archive in a process of its own, with the probe in place of a model: to be killed.

``python -m tests.support.archive_run OUT SLIDE… -- BEAM'S OPTIONS``
"""

from __future__ import annotations

import sys
from functools import partial

from serving.archive.engine import run
from serving.archive.job import Job
from serving.archive.stores.opening import open_store
from serving.archive.submitting import submit
from serving.archive.worker import Worker
from serving.batch.worklist import worklist
from tests.support.archives import everything
from tests.support.commands import probe_in_process


def main(arguments: list[str]) -> None:
    """Run."""
    at = arguments.index("--")
    (out, *wheres), engine = arguments[:at], arguments[at + 1 :]
    job = Job(out, everything())
    counters: list[dict[str, int]] = []

    def in_engine(job: Job, slides: object) -> None:
        counters.append(run(job, slides, engine, partial(Worker, in_process=probe_in_process)))  # type: ignore[arg-type]

    samples = submit(job, open_store(out), worklist(wheres).slides, in_engine, lambda _: None)
    print(samples[-1].status.whole, counters[0])


if __name__ == "__main__":
    main(sys.argv[1:])
