"""Studies are sent to a peer: each instance once, again where it broke off, and then looked for there."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from serving.store.access.audit import Audit, Event, Result
from serving.store.index.query import Stored
from serving.store.peers.http import PeerFailed
from serving.store.peers.ledger import Ledger
from serving.store.peers.sender import Sender, Verified

_PAUSES_S = (1.0, 5.0, 20.0)
"""Before each further try of an instance whose sending broke off."""


@dataclass(slots=True)
class Transfer:
    """What became of the instances of a transfer.

    Attributes
    ----------
    skipped:
        Were sent before.
    verified:
        How many the peer has the same, has, has otherwise, and has not.
    failure:
        What ended the transfer before its end, or why an instance was refused; empty when nothing was wrong.
    """

    sent: int = 0
    skipped: int = 0
    size: int = 0
    verified: dict[Verified, int] = field(default_factory=lambda: dict.fromkeys(Verified, 0))
    failure: str = ""

    @property
    def is_whole(self) -> bool:
        """Whether the peer has all of it, as far as it can be asked."""
        return not (self.failure or self.verified[Verified.MISSING] or self.verified[Verified.OTHER])


@dataclass(frozen=True, slots=True)
class Sending:
    """Sends to one peer.

    Attributes
    ----------
    folder:
        Of the store.
    peer:
        The peer's name.
    who:
        Who sends, as the audit trail calls them.
    wait:
        Waits for so many seconds between tries.
    """

    folder: Path
    sender: Sender
    ledger: Ledger
    audit: Audit
    peer: str
    who: str
    wait: Callable[[float], None] = time.sleep

    def send(self, instances: Sequence[Stored], *, again: bool = False) -> Transfer:
        """Send instances, and look for them at the peer.

        Parameters
        ----------
        again:
            Whether those are sent, too, that were sent before.
        """
        transfer = Transfer()
        try:
            for stored in instances:
                if not again and self.ledger.became(self.peer, stored) is not None:
                    transfer.skipped += 1
                    continue
                try:
                    self.ledger.add(self.peer, stored, self._sent(stored))
                except PeerFailed as failure:
                    if not failure.is_of_instance:
                        raise
                    transfer.failure = str(failure)  # it is missing there; the others are sent
                    continue
                transfer.sent += 1
                transfer.size += stored.size
            self._verify(instances, transfer)
        except PeerFailed as failure:
            transfer.failure = str(failure)
        except FileNotFoundError:
            transfer.failure = "An instance was deleted here while its study was being sent."
        self._note(instances, transfer)
        return transfer

    def _sent(self, stored: Stored) -> str:
        for pause in (*_PAUSES_S, None):
            try:
                return self.sender.send(stored, self.folder / stored.path)
            except PeerFailed as failure:
                if not failure.may_pass or pause is None:
                    raise
            self.wait(pause)
        raise AssertionError("the last try returns or raises")

    def _verify(self, instances: Sequence[Stored], transfer: Transfer) -> None:
        for stored in instances:
            became = self.ledger.became(self.peer, stored)
            if became is None:  # refused; or another run has just found that it is not there
                transfer.verified[Verified.MISSING] += 1
                continue
            verified = self.sender.verify(stored, self.folder / stored.path, became)
            transfer.verified[verified] += 1
            if verified in (Verified.MISSING, Verified.OTHER):
                self.ledger.forget(self.peer, stored)  # so that the next run sends it again

    def _note(self, instances: Sequence[Stored], transfer: Transfer) -> None:
        self.audit.write(
            Event.TRANSFERRED,
            self.who,
            sorted({stored.study for stored in instances}),
            Result.SUCCESS if transfer.is_whole else Result.FAILED,
            transfer.failure,
            peer=self.peer,
            instances=transfer.sent,
            skipped=transfer.skipped,
            missing=transfer.verified[Verified.MISSING],
            other=transfer.verified[Verified.OTHER],
        )
