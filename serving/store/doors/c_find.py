"""C-FIND as provider: searches of the index by the Study Root model (PS3.4, C.4.1), for few at a time."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

from pydicom.dataset import Dataset
from pynetdicom.association import Association
from pynetdicom.events import Event as Request
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelFind,
)

from serving.store.access.audit import Audit, Event, Result
from serving.store.doors.find_status import BadIdentifier, FindStatus, failure
from serving.store.doors.identifier import Asked, answer_of, parse_identifier
from serving.store.index.store_index import StoreIndex

log = logging.getLogger(__name__)

STUDY_ROOT = StudyRootQueryRetrieveInformationModelFind

MOST_MATCHES = 5000
"""Matches of one query; then A700H says that there are more."""

_PAGE = 500
"""Matches that are in memory at a time."""

_BATCH = 50
"""Matches that are sent before it is looked whether the peer has read them, or cancels."""

_POLL_S = 0.005
_SENDING_S = 60.0

Answer = tuple[Dataset | int, Dataset | None]


class Finder:
    """What answers queries; each leaves a row in the audit trail.

    Parameters
    ----------
    most:
        Matches of one query.
    """

    def __init__(self, index: StoreIndex, audit: Audit, most: int = MOST_MATCHES) -> None:
        self._index = index
        self._audit = audit
        self._most = most

    def answers(self, request: Request, who: str) -> Iterator[Answer]:
        """Yield the matches of a query, and a status where it does not end with success."""
        try:
            yield from self._matches(request, _asked(request), who)
        except BadIdentifier as bad:
            self._audit.write(Event.QUERY, who, (), Result.FAILED, bad.reason)
            yield failure(bad.status, bad.reason), None
        except Exception:
            log.exception("a query could not be answered")
            yield failure(FindStatus.UNABLE_TO_PROCESS, "The store failed; ask again."), None

    def _matches(self, request: Request, asked: Asked, who: str) -> Iterator[Answer]:
        sent = 0
        while True:
            limit = min(_PAGE, self._most - sent)
            page = self._index.search(asked.level, replace(asked.query, limit=limit, offset=sent))
            if not sent:
                self._audit.write(Event.QUERY, who, (), Result.SUCCESS)
            for found in page.rows:
                yield int(asked.pending), answer_of(asked, found)
                sent += 1
                if sent % _BATCH == 0:
                    if not _has_read(request.assoc):
                        return
                    if request.is_cancelled:
                        yield int(FindStatus.CANCELLED), None
                        return
            if not page.remaining:
                return
            if sent >= self._most:
                reason = f"The first {sent} matches are here; narrow the query."
                yield failure(FindStatus.OUT_OF_RESOURCES, reason), None
                return


def _asked(request: Request) -> Asked:
    # What a message says of itself need not be what was agreed: the context is, and with finders alone.
    if {request.request.AffectedSOPClassUID, request.context.abstract_syntax} != {STUDY_ROOT}:
        raise BadIdentifier(FindStatus.CLASS_NOT_SUPPORTED, "Only Study Root queries are answered.")
    try:
        identifier = request.identifier
    except Exception as error:  # pydicom raises anything at hostile bytes
        raise BadIdentifier(FindStatus.UNABLE_TO_PROCESS, "The identifier cannot be read.") from error
    return parse_identifier(identifier)


def _has_read(association: Association) -> bool:
    """Wait until all is sent, before which pynetdicom reads no cancel; a peer that reads nothing is ended."""
    deadline = time.monotonic() + _SENDING_S
    while not association.dul.to_provider_queue.empty():
        if not association.is_established or time.monotonic() > deadline:
            association.abort()
            return False
        threading.Event().wait(_POLL_S)
    return bool(association.is_established)
