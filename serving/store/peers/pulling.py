"""Studies are pulled from a peer: through the one pipeline, and on from where it broke off."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from serving.store.dicomweb.stow import Taking
from serving.store.ingest.ingest import Ingest
from serving.store.ingest.outcome import Origin, Outcome, Verdict
from serving.store.peers.http import PeerFailed
from serving.store.peers.source import Remote, Source

_PAUSES_S = (1.0, 5.0, 20.0)
"""Before each further try of an instance that did not come whole."""


@dataclass(slots=True)
class Pulled:
    """What became of the instances of a study.

    Attributes
    ----------
    skipped:
        Were here already, so that they were not asked for.
    reasons:
        Why instances were refused, and how many for each.
    failure:
        What ended it before its end; empty when nothing did.
    """

    stored: int = 0
    skipped: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    failure: str = ""

    @property
    def is_whole(self) -> bool:
        """Whether all of it is here."""
        return not self.failure and not self.reasons

    @property
    def has_any(self) -> bool:
        """Whether the peer had anything of it."""
        return bool(self.stored or self.skipped or self.reasons)


@dataclass(frozen=True, slots=True)
class Pulling:
    """Pulls from one peer.

    Attributes
    ----------
    has:
        Returns whether the store has an instance of these original UIDs.
    wait:
        Waits for so many seconds between tries.
    """

    source: Source
    ingest: Ingest
    origin: Origin
    has: Callable[[Remote], bool]
    wait: Callable[[float], None] = time.sleep

    def pull(self, study: str, series: str | None = None) -> Pulled:
        """Take in a study, or one series of it."""
        pulled = Pulled()
        try:
            for remote in self.source.instances(study, series):
                if self.has(remote):
                    pulled.skipped += 1
                    continue
                for outcome in self._taken(remote):
                    _count(outcome, pulled)
        except PeerFailed as failure:
            pulled.failure = str(failure)
        return pulled

    def _taken(self, remote: Remote) -> list[Outcome]:
        for pause in (*_PAUSES_S, None):
            with Taking(self.ingest, self.origin) as taking:
                try:
                    self.source.fetch(remote, taking)
                    return taking.outcomes
                except PeerFailed as failure:
                    if not failure.may_pass or pause is None:
                        raise
            self.wait(pause)
        raise AssertionError("the last try returns or raises")


def _count(outcome: Outcome, pulled: Pulled) -> None:
    if outcome.verdict is Verdict.STORED:
        pulled.stored += 1
    elif outcome.is_here:
        pulled.skipped += 1
    else:
        pulled.reasons[outcome.reason] += 1
