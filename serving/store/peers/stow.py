"""STOW-RS as user: an instance to a request, so that what broke off goes on with the next one."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from serving.store.index.query import Stored
from serving.store.peers.data_set import DataSetDigest, data_set_digest
from serving.store.peers.dicomweb import InstanceBody, retrieve, value
from serving.store.peers.http import PeerFailed, Web
from serving.store.peers.peer import WebPeer
from serving.store.peers.sender import Verified, name_of
from serving.store.uids import is_uid

_STORED, _FAILED = "00081199", "00081198"
_SOP, _ADDRESS, _REASON = "00081155", "00081190", "00081197"


class StowSender:
    """Sends by STOW-RS, and reads back what the peer has."""

    def __init__(self, peer: WebPeer) -> None:
        self._peer = peer
        self._web = Web(peer)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._web.__exit__(kind, error, trace)

    def send(self, stored: Stored, path: Path) -> str:
        """Send an instance; return what the peer calls it: other UIDs where it gives new ones."""
        answer = self._web.json(
            "POST",
            "/studies",
            body=InstanceBody(path),
            headers={"Content-Type": InstanceBody.CONTENT_TYPE, "Accept": "application/dicom+json"},
            accepted=(HTTPStatus.CONFLICT,),
        )
        if not isinstance(answer, dict):
            raise PeerFailed(f"{self._peer.name} does not say what became of an instance.")
        if failed := value(answer, _FAILED):
            reason = value(failed, _REASON)
            shown = f"{reason:04X}H" if isinstance(reason, int) else "no reason"
            raise PeerFailed(f"{self._peer.name} refused an instance: {shown}.", is_of_instance=True)
        return _became(value(answer, _STORED), stored)

    def verify(self, stored: Stored, path: Path, became: str) -> Verified:
        """Return what the peer has: the instance is read back, since a peer's word is not its disk."""
        digest = _Reading()
        try:
            study, series, sop = became.split("/")
            retrieve(self._web, study, series, sop, digest)
        except PeerFailed as failure:
            if failure.is_absence:
                return Verified.MISSING
            raise  # a token that may only write, for one: what is there is not known
        if became != name_of(stored) or self._peer.rewrites:
            return Verified.THERE
        return Verified.SAME if digest.value == data_set_digest(path) else Verified.OTHER


class _Reading:
    """Digests the one part of an answer."""

    def __init__(self) -> None:
        self._digest = DataSetDigest()

    def begin(self, media_type: str) -> None:
        """Begin the part."""

    def data(self, piece: memoryview) -> None:
        """Take bytes."""
        self._digest.add(piece)

    def end(self) -> None:
        """End the part."""

    @property
    def value(self) -> str:
        return self._digest.value


def _became(item: Any, stored: Stored) -> str:
    """Return what a peer calls an instance, by its answer; our own name where it does not say."""
    if not isinstance(item, dict):
        return name_of(stored)
    parts = urlsplit(str(value(item, _ADDRESS))).path.rstrip("/").split("/")[-6:]
    if parts[::2] == ["studies", "series", "instances"] and all(is_uid(uid) for uid in parts[1::2]):
        return "/".join(parts[1::2])
    sop = str(value(item, _SOP))
    if sop not in ("", stored.sop) and is_uid(sop):
        return f"{stored.study}/{stored.series}/{sop}"
    return name_of(stored)
