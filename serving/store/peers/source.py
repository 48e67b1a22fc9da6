"""What is pulled from: what a peer has of a study, and each instance of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from serving.store.dicomweb.stow_body import Taker
from serving.store.peers import dicomweb
from serving.store.peers.http import Web


@dataclass(frozen=True, slots=True)
class Remote:
    """An instance at a peer. Its UIDs are original ones: they are shown and kept nowhere.

    Attributes
    ----------
    series, sop:
        Empty where the peer does not say.
    address:
        What else the peer calls it.
    """

    study: str = field(repr=False)
    series: str = field(repr=False)
    sop: str = field(repr=False)
    address: str = ""


class Source(Protocol):
    """A peer that is pulled from."""

    def instances(self, study: str, series: str | None) -> Iterator[Remote]:
        """Yield the instances of a study, or of one series of it.

        Raises
        ------
        PeerFailed
        """

    def fetch(self, remote: Remote, taker: Taker) -> None:
        """Give an instance to a taker.

        Raises
        ------
        PeerFailed
        """


class DicomWebSource:
    """What a DICOMweb store has."""

    def __init__(self, web: Web) -> None:
        self._web = web

    def instances(self, study: str, series: str | None) -> Iterator[Remote]:
        """Yield the instances of a study, or of one series of it."""
        for one in [series] if series is not None else dicomweb.series_of(self._web, study):
            for sop in dicomweb.instances_of(self._web, study, one):
                yield Remote(study, one, sop)

    def fetch(self, remote: Remote, taker: Taker) -> None:
        """Give an instance to a taker."""
        dicomweb.retrieve(self._web, remote.study, remote.series, remote.sop, taker)
