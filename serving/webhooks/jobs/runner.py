"""The runner: takes jobs from the table and does them in threads, until it is told to stop."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from serving.database import DatabaseLost
from serving.webhooks.jobs.bench import Bench, RunnerObserver
from serving.webhooks.jobs.clearing import Clearing
from serving.webhooks.jobs.doorbell import Doorbell, Ring
from serving.webhooks.jobs.heartbeat import Heartbeat
from serving.webhooks.jobs.job import JobState
from serving.webhooks.jobs.leases import Leases
from serving.webhooks.jobs.running import Running, Why

LOOK_S = 1.0
"""How often the table is looked at when no bell rings: other machines' callers cannot ring it."""

_CLOSINGS = 4
"""Jobs closed at once, beside those that are done: a site that does not answer holds up nobody's job."""

_LAST_S = 5.0
"""After the grace, how long handlers may take to end, and what they leave to be written."""

log = logging.getLogger(__name__)


class Runner:
    """Does jobs.

    Parameters
    ----------
    at_once:
        Jobs that are done at the same time.
    """

    def __init__(
        self, leases: Leases, clearing: Clearing, bell: Doorbell, observer: RunnerObserver, at_once: int
    ) -> None:
        self._leases = leases
        self._clearing = clearing
        self._bell = bell
        self._observer = observer
        self._at_once = at_once
        self._lock = threading.Lock()
        self._running: dict[str, Running] = {}
        self._stuck: set[Running] = set()
        self._is_stopping = False
        self._heart = Heartbeat(leases, clearing, self._snapshot, self._abandon, self._turn)

    def start(self, group: str) -> None:
        """Keep leases, before anything can be done: loading an encoder takes longer than a lease.

        Parameters
        ----------
        group:
            What the names of this process' predecessors begin with, all of which have ended.

        Raises
        ------
        DatabaseLost
        """
        self._leases.beat(())
        self._clearing.inherit(group, self._leases.owner)
        self._heart.start()

    def run(self, bench: Bench, grace_s: float) -> bool:
        """Do jobs until ``stop``.

        Parameters
        ----------
        grace_s:
            How long the jobs at hand may take to finish then; after it they are given back, or interrupted.

        Returns
        -------
        Whether it was told to stop; else its threads are all held by handlers that do not return.
        """
        while not self._is_stopping and len(self._stuck) < self._at_once:
            if not self._take(bench):
                self._listen()
        was_told = self._is_stopping
        if not was_told:
            log.critical("no handler returns; the runner ends")
        self._drain(bench, grace_s if was_told else 0.0)
        self._heart.stop()
        return was_told

    def stop(self) -> None:
        """Begin the drain; safe in a handler of signals."""
        self._is_stopping = True
        self._bell.ring()

    def _listen(self) -> None:
        if Ring.CANCEL.value in self._bell.wait(LOOK_S):
            self._heart.hurry()

    def _take(self, bench: Bench) -> bool:
        """Begin one job, or the closing of one; return whether there was one and a thread for it."""
        with self._lock:
            closing = sum(job.claim.state.is_final for job in self._running.values())
            free = self._at_once - (len(self._running) - closing) - len(self._stuck)
        try:
            if closing < _CLOSINGS and (claim := self._leases.claim_closing(self._snapshot())):
                self._begin(Running(claim), bench.close)
                return True
            if free > 0 and not self._is_stopping and (claim := self._leases.claim()):
                self._begin(Running(claim), bench.do)
                return True
        except DatabaseLost:  # the heartbeat logs it
            self._bell.wait(LOOK_S)
        return False

    def _begin(self, job: Running, work: Callable[[Running], None]) -> None:
        with self._lock:
            self._running[job.claim.job_id] = job

        def run() -> None:
            try:
                work(job)
            except Exception as error:
                fields = {"job": job.claim.job_id, "kind": job.claim.kind}
                log.error("a job's thread failed", exc_info=error, extra=fields)
            finally:
                self._let_go(job)

        # A daemon: one that does not end must not keep the process from ending.
        threading.Thread(target=run, name=f"job-{job.claim.job_id[:8]}", daemon=True).start()

    def _let_go(self, job: Running) -> None:
        with self._lock:
            if self._running.get(job.claim.job_id) is job:
                del self._running[job.claim.job_id]
            self._stuck.discard(job)
        self._bell.ring()

    def _abandon(self, job: Running) -> None:
        """Take note of a job that was ended, and whose thread still runs."""
        with self._lock:
            self._running.pop(job.claim.job_id, None)
            self._stuck.add(job)
        self._observer.ended(job.claim.kind, JobState.ERROR, time.monotonic() - job.started)
        self._bell.ring()

    def _snapshot(self) -> dict[str, Running]:
        with self._lock:
            return dict(self._running)

    def _turn(self, database: bool) -> None:
        self._observer.turn(database=database, running=len(self._running), stuck=len(self._stuck))

    def _drain(self, bench: Bench, grace_s: float) -> None:
        """Finish what has begun, give back what has not finished within the grace."""
        log.info("runner drains", extra={"jobs": len(self._running)})
        end = time.monotonic() + grace_s
        if not bench.outlives and grace_s > 0:
            self._interrupt_unreadable()
        while time.monotonic() < end and (self._take(bench) or self._running):
            self._bell.wait(0.2)
        for job in self._snapshot().values():
            job.end(Why.DRAINED)
        end = time.monotonic() + _LAST_S
        while time.monotonic() < end and self._running:
            self._bell.wait(0.1)

    def _interrupt_unreadable(self) -> None:
        try:
            self._clearing.interrupt_unreadable()
        except DatabaseLost as error:
            log.error("the job database %s", error.reason)
