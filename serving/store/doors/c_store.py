"""The DICOM node: C-STORE, C-ECHO and C-FIND as provider (PS3.4, annexes A to C)."""

from __future__ import annotations

import contextlib
import logging
import tempfile
import time
import warnings
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, _config, evt
from pynetdicom.association import Association
from pynetdicom.events import Event
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]
from pynetdicom.transport import ThreadedAssociationServer

from serving.store.doors import dimse_bounds
from serving.store.doors.c_find import STUDY_ROOT, Answer, Finder
from serving.store.ingest.arrival import DiskFull, Refusal, TooLarge
from serving.store.ingest.ingest import Ingest
from serving.store.ingest.outcome import Door, Origin, Outcome, Status
from serving.store.ingest.requirements import SOP_CLASSES, SYNTAXES

log = logging.getLogger(__name__)

MAX_ASSOCIATIONS = 16
"""Connections at a time; each has two threads."""

_LOOK_EVERY = 128
"""PDUs of a connection between two looks at the instance's size and the disk's room: about 16 MB."""

_NEGOTIATION_S = 15.0
_COMMENT = 64
"""Characters of an Error Comment (0000,0902), an LO."""


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """What a node needs to know.

    Attributes
    ----------
    address:
        Where it listens; port 0 takes a free one.
    title:
        The AE title by which it must be called.
    peers:
        Calling AE titles that may send.
    finders:
        Calling AE titles that may query.
    silence_s:
        A connection on which nothing comes for so long is ended; not while the store itself is at work.
    """

    address: tuple[str, int]
    title: str
    peers: Sequence[str]
    finders: Sequence[str] = ()
    silence_s: float = 60.0


class DicomNode:
    """A DICOM node, of which a process has one.

    Parameters
    ----------
    folder:
        Where instances are written while they come; becomes this process's folder of temporary files.
    finder:
        Answers queries.

    Raises
    ------
    ValueError
        When no peer may send or query.
    OSError
        When it cannot listen, by ``start``.
    """

    def __init__(self, settings: NodeSettings, ingest: Ingest, folder: Path, finder: Finder) -> None:
        if not (settings.peers or settings.finders):  # pynetdicom takes an empty list as everybody
            raise ValueError("a DICOM node needs at least one calling AE title that may send or query")
        self._settings = settings
        self._ingest = ingest
        self._folder = folder
        self._finder = finder
        self._server: ThreadedAssociationServer | None = None
        self._entity = _entity(settings)
        self._pdus = weakref.WeakKeyDictionary[Association, int]()

    @property
    def port(self) -> int:
        """The port that it listens on, once started."""
        assert self._server is not None, "it has been started"
        port: int = self._server.server_address[1]
        return port

    def start(self) -> None:
        """Listen, and answer in threads."""
        _config.STORE_RECV_CHUNKED_DATASET = True
        _silence_libraries()
        _config.LOG_REQUEST_IDENTIFIERS = _config.LOG_RESPONSE_IDENTIFIERS = False
        tempfile.tempdir = str(self._folder)  # pynetdicom has no other way to be told
        self._server = self._entity.start_server(
            self._settings.address,
            block=False,
            evt_handlers=[
                (evt.EVT_CONN_OPEN, self._opened),
                (evt.EVT_CONN_CLOSE, self._closed),
                (evt.EVT_REQUESTED, self._requested),
                (evt.EVT_REJECTED, self._rejected),
                (evt.EVT_PDU_RECV, self._look),
                (evt.EVT_C_STORE, self._store),
                (evt.EVT_C_FIND, self._find),
                (evt.EVT_C_ECHO, lambda _: int(Status.SUCCESS)),
            ],
        )

    def stop(self) -> None:
        """Abort what is going on and listen no more; an instance at hand is whole or absent."""
        self._entity.shutdown()

    def _opened(self, event: Event) -> None:
        dimse_bounds.bound_connection(event.assoc)
        connection = event.assoc.dul.socket
        # Rejecting needs a request to answer: who opens connections and is silent gets none.
        if connection is not None and len(self._entity.active_associations) > 2 * MAX_ASSOCIATIONS:
            connection.close()

    def _closed(self, event: Event) -> None:
        dimse_bounds.remove_unfinished(event.assoc)

    def _requested(self, event: Event) -> None:
        """Agree with who may only send, or only query, on nothing else."""
        may_send, may_find = self._may(event, self._settings.peers), self._may(event, self._settings.finders)
        acceptor = event.assoc.acceptor
        acceptor.supported_contexts = [
            context
            for context in acceptor.supported_contexts
            if context.abstract_syntax == Verification
            or (may_find if context.abstract_syntax == STUDY_ROOT else may_send)
        ]

    def _rejected(self, event: Event) -> None:
        log.warning("association rejected")
        self._ingest.refused(
            Refusal(Status.NOT_AUTHORISED, "An association was rejected: its AE titles are not admitted."),
            self._origin(event),
        )

    def _look(self, event: Event) -> None:
        """End a connection whose instance is too large, or that fills the disk."""
        if event.assoc.network_timeout != self._settings.silence_s:
            event.assoc.network_timeout = self._settings.silence_s
        if dimse_bounds.holds_too_much(event.assoc):
            log.warning("a connection sent more than a query has")
            event.assoc.abort()
            return
        seen = self._pdus[event.assoc] = self._pdus.get(event.assoc, 0) + 1
        if seen % _LOOK_EVERY:
            return
        try:
            self._ingest.require_room(dimse_bounds.unfinished_bytes(event.assoc))
        except Refusal as refusal:
            self._ingest.refused(refusal, self._origin(event))
            event.assoc.abort()

    def _store(self, event: Event) -> Dataset:
        with self._at_work(event):
            return _response(self._taken(event))

    def _find(self, event: Event) -> Iterator[Answer]:
        if not self._may(event, self._settings.finders):  # no context was agreed for it
            yield int(Status.NOT_AUTHORISED), None
            return
        with self._at_work(event):
            yield from self._finder.answers(event, self._origin(event).who)

    @contextlib.contextmanager
    def _at_work(self, event: Event) -> Iterator[None]:
        started = time.monotonic()
        try:
            yield
        finally:
            # pynetdicom counts this, too, as silence of the peer's, and would abort instead of answering.
            event.assoc.network_timeout = self._settings.silence_s + time.monotonic() - started

    def _taken(self, event: Event) -> Outcome:
        origin = self._origin(event)
        if not self._may(event, self._settings.peers):
            return self._ingest.refused(Refusal(Status.NOT_AUTHORISED, "This AE title may not send."), origin)
        try:
            path = event.dataset_path
            self._ingest.require_room(path.stat().st_size)
            return self._ingest.add(path, origin)
        except (DiskFull, TooLarge) as refusal:
            return self._ingest.refused(refusal, origin)
        except Exception:
            log.exception("an instance could not be stored")
            failure = Refusal(Status.PROCESSING_FAILURE, "The store failed; send it again.")
            return self._ingest.refused(failure, origin)

    def _origin(self, event: Event) -> Origin:
        # Who is not admitted may write anything as its title, a patient's name too.
        known = self._may(event, (*self._settings.peers, *self._settings.finders))
        return Origin(Door.C_STORE, f"dimse:{_title(event)}" if known else "dimse:unknown")

    def _may(self, event: Event, titles: Sequence[str]) -> bool:
        return _title(event) in titles


def _title(event: Event) -> str:
    request = event.assoc.requestor.primitive  # its own attribute has none until the negotiation is over
    return "" if request is None else str(request.calling_ae_title or "").strip()


def _silence_libraries() -> None:
    """Keep what peers call things out of the log: both libraries quote what they find odd, at every level."""
    for library in ("pynetdicom", "pydicom"):
        logging.getLogger(library).setLevel(logging.CRITICAL + 1)
    warnings.filterwarnings("ignore", module=r"(pynetdicom|pydicom)(\.|$)")


def _entity(settings: NodeSettings) -> AE:
    entity = AE(ae_title=settings.title)
    entity.maximum_pdu_size = dimse_bounds.PDU_BYTES
    entity.maximum_associations = MAX_ASSOCIATIONS
    entity.require_called_aet = True
    entity.require_calling_aet = sorted({*settings.peers, *settings.finders})
    entity.acse_timeout = _NEGOTIATION_S
    entity.dimse_timeout = entity.network_timeout = settings.silence_s
    entity.add_supported_context(Verification)
    entity.add_supported_context(STUDY_ROOT, [ImplicitVRLittleEndian, ExplicitVRLittleEndian])
    for sop_class in SOP_CLASSES:
        entity.add_supported_context(sop_class, [UID(syntax) for syntax in SYNTAXES])
    return entity


def _response(outcome: Outcome) -> Dataset:
    response = Dataset()
    response.Status = int(outcome.status)
    if outcome.reason and outcome.status not in (Status.SUCCESS, Status.COERCED):
        response.ErrorComment = outcome.reason[:_COMMENT]
    return response
