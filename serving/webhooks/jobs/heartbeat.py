"""The thread that keeps a runner's leases, whatever its handlers do."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping

from serving.database import DatabaseLost
from serving.webhooks.jobs.clearing import Clearing
from serving.webhooks.jobs.endings import OUT_OF_TIME
from serving.webhooks.jobs.leases import Leases
from serving.webhooks.jobs.running import Running, Why

_TICK_S = 1.0
_END_S = 5.0
_OVERRUN_S = 10.0
"""How long a handler may take to end once its time is over."""

log = logging.getLogger(__name__)


class Heartbeat:
    """Renews leases, stores progress, tells handlers when to end, and clears up after others.

    Parameters
    ----------
    running:
        Returns the jobs that the runner is at work on, by their ids.
    abandon:
        Called with a job that was ended without its handler, which does not return.
    each:
        Called at each turn with whether the database answered.
    """

    def __init__(
        self,
        leases: Leases,
        clearing: Clearing,
        running: Callable[[], Mapping[str, Running]],
        abandon: Callable[[Running], None],
        each: Callable[[bool], None],
    ) -> None:
        self._leases = leases
        self._clearing = clearing
        self._running = running
        self._abandon = abandon
        self._each = each
        self._tick_s = min(_TICK_S, leases.lease_s / 6)
        self._next_beat = 0.0
        self._hurry = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def hurry(self) -> None:
        """Have the next turn at once, with a beat."""
        self._next_beat = 0.0
        self._hurry.set()

    def stop(self) -> None:
        """End; what is held then is held until its lease is over. A database that is away is not awaited."""
        self._ended.set()
        self._hurry.set()
        self._thread.join(_END_S)

    def _run(self) -> None:
        answered = True
        while not self._ended.is_set():
            try:
                answered = self._answered(before=answered)
                self._each(answered)
            except Exception:  # nothing may end the heartbeat
                log.exception("the heartbeat stumbled")
            self._hurry.wait(self._tick_s)
            self._hurry.clear()

    def _answered(self, *, before: bool) -> bool:
        """Have a turn; return whether the database answered."""
        try:
            self._turn()
        except DatabaseLost as error:
            if before:
                log.error("the job database %s", error.reason)
            return False
        if not before:
            log.info("the job database answers again")
        return True

    def _turn(self) -> None:
        running = self._running()
        self._end_late(running)
        if time.monotonic() >= self._next_beat:
            self._beat(running)
            self._next_beat = time.monotonic() + self._leases.lease_s / 3
        for job in running.values():
            if not job.is_done and (text := job.news()) and not self._leases.progress(job.claim, text):
                self._look_again(job)
        self._clearing.sweep()

    def _beat(self, running: Mapping[str, Running]) -> None:
        mine = self._leases.beat(running)
        for job_id, job in running.items():
            fence, is_cancelled = mine.get(job_id, (None, False))
            if fence != job.claim.fence:
                self._look_again(job)
            elif is_cancelled:
                job.end(Why.CANCELLED)

    def _look_again(self, job: Running) -> None:
        """End a job that the table does not know as ours, unless its own thread is just ending it."""
        if not job.is_done:
            log.warning("a job's lease is lost", extra={"job": job.claim.job_id, "kind": job.claim.kind})
            job.end(Why.LOST)

    def _end_late(self, running: Mapping[str, Running]) -> None:
        now = time.monotonic()
        late = [job for job in running.values() if now >= job.waits.deadline]
        for job in late:
            if job.is_done:  # it is being closed, which has a time of its own
                job.waits.cancel()
            else:
                job.end(Why.LATE)
        for job in late:
            overrun = not job.is_done and now > job.waits.deadline + _OVERRUN_S
            if overrun and self._leases.abandon(job.claim, OUT_OF_TIME):
                log.error("a handler does not end", extra={"job": job.claim.job_id, "kind": job.claim.kind})
                self._abandon(job)
