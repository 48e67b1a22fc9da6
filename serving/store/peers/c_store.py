"""C-STORE as user: instances go to a DICOM node as they are stored, from their files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from pydicom.uid import UID
from pynetdicom import AE, _config
from pynetdicom.association import Association

from serving.store.index.query import Stored
from serving.store.peers.http import PeerFailed
from serving.store.peers.peer import NodePeer
from serving.store.peers.sender import Verified, name_of

_MAX_CONTEXTS = 128
"""PS3.8, 9.3.2.2: presentation context ids are the odd numbers below 256."""

_NEGOTIATION_S = 15.0
_SILENCE_S = 120.0
_WARNINGS = frozenset({0xB000, 0xB006, 0xB007, 0x0107, 0x0116})
_TRY_AGAIN = range(0xA700, 0xA800)
"""PS3.4, B.2.3: the node is out of resources."""


class CStoreSender:
    """Sends by C-STORE over one association, which is opened anew when it was lost.

    Parameters
    ----------
    kinds:
        SOP class and transfer syntax of all that will be sent.
    title:
        The store's own AE title.

    Raises
    ------
    PeerFailed
        When there are more kinds than one association can agree on.
    """

    def __init__(self, peer: NodePeer, kinds: Iterable[tuple[str, str]], title: str) -> None:
        self._peer = peer
        self._entity = AE(ae_title=peer.calling or title)
        self._entity.acse_timeout = _NEGOTIATION_S
        self._entity.connection_timeout = _NEGOTIATION_S
        self._entity.dimse_timeout = self._entity.network_timeout = _SILENCE_S
        # A context for each syntax: a node chooses one syntax of a context, and nothing is converted here.
        wanted = sorted(set(kinds))
        if len(wanted) > _MAX_CONTEXTS:
            raise PeerFailed("These studies have too many transfer syntaxes for one transfer; send fewer.")
        for sop_class, syntax in wanted:
            self._entity.add_requested_context(UID(sop_class), UID(syntax))
        self._association: Association | None = None

    def __enter__(self) -> Self:
        _config.STORE_SEND_CHUNKED_DATASET = True  # else all of an instance would be in memory
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._association is not None and self._association.is_established:
            self._association.release()
        self._entity.shutdown()

    def send(self, stored: Stored, path: Path) -> str:
        """Send an instance; return what the node calls it, by all that it says."""
        association = self._established()
        try:
            response = association.send_c_store(path)
        except ValueError:
            raise PeerFailed(
                f"{self._peer.name} does not take instances of SOP class {stored.sop_class} with transfer "
                f"syntax {stored.transfer_syntax}.",
                is_of_instance=True,
            ) from None
        except RuntimeError:  # it has just been lost
            raise PeerFailed(f"{self._peer.name} broke the association off.", may_pass=True) from None
        status: int | None = getattr(response, "Status", None)
        if status is None:
            association.abort()
            raise PeerFailed(f"{self._peer.name} broke the association off, or was silent.", may_pass=True)
        if status != 0 and status not in _WARNINGS:
            raise PeerFailed(
                f"{self._peer.name} refused an instance with status {status:04X}H.",
                may_pass=status in _TRY_AGAIN,
                is_of_instance=status not in _TRY_AGAIN,
            )
        return name_of(stored)

    def verify(self, stored: Stored, path: Path, became: str) -> Verified:
        """Return that it is there: C-STORE's answer is all that a node says about it."""
        return Verified.THERE

    def _established(self) -> Association:
        if self._association is not None and self._association.is_established:
            return self._association
        self._association = self._entity.associate(
            self._peer.host, self._peer.port, ae_title=self._peer.ae_title
        )
        if self._association.is_established:
            return self._association
        if self._association.is_rejected:
            raise PeerFailed(
                f"{self._peer.name} rejected the association: it must admit the calling AE title "
                f"{self._entity.ae_title!r}, and be called by its own (ae_title)."
            )
        raise PeerFailed(f"{self._peer.name} cannot be reached, or agreed on nothing.", may_pass=True)
