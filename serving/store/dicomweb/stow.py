"""STOW-RS: instances come in as a multipart body of any size (PS3.18, 10.5)."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from types import TracebackType
from typing import Self

import orjson
from flask import Blueprint, Response, request

from serving.errors import Code, ServiceError
from serving.store.access.roles import Role
from serving.store.dicomweb.stow_answer import JSON, XML, StowAnswer, encoded
from serving.store.dicomweb.stow_body import DICOM, BadBody, Stream, UnknownMediaType, read_parts
from serving.store.door import Right, StoreDoor, caller
from serving.store.ingest.arrival import Arrival, DiskFull, Refusal
from serving.store.ingest.ingest import Ingest
from serving.store.ingest.outcome import Door, Origin, Outcome, Status
from serving.store.uids import is_uid

_MAX_PARTS = 10_000
_MAX_WARNINGS = 8
_PLAIN = ("", "identity")


def stow_door(ingest: Ingest, base: Callable[[], str]) -> StoreDoor:
    """Return the door.

    Parameters
    ----------
    base:
        Returns the address of the store as the present request's client names it, without a slash at its end.
    """
    routes = Blueprint("stow", __name__)

    def store(study: str | None = None) -> Response:
        if study is not None and not is_uid(study):
            raise ServiceError(Code.INVALID_REQUEST_FIELD_ERROR, "The study in the path is not a UID.")
        if request.headers.get("Content-Encoding", "").strip().lower() not in _PLAIN:
            return _refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Send the body without Content-Encoding.")
        try:
            ingest.require_room(0)  # before any of it is read
            taking = Taking(ingest, Origin(Door.STOW, caller().token_id), study)
            outcomes = taking.all_of(
                request.stream, request.headers.get("Content-Type", ""), request.content_length
            )
        except DiskFull as full:
            return _refusal(HTTPStatus.INSUFFICIENT_STORAGE, full.reason)
        except UnknownMediaType as error:
            return _refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, str(error))
        except BadBody as error:
            raise ServiceError(Code.INVALID_REQUEST_FIELD_ERROR, str(error)) from None
        if not outcomes:
            raise ServiceError(Code.INVALID_REQUEST_FIELD_ERROR, "The body has no instance.")
        return _answer(StowAnswer(outcomes, base()))

    routes.add_url_rule("/studies", "store", store, methods=["POST"])
    routes.add_url_rule("/studies/<study>", "store_study", store, methods=["POST"])
    right = Right(Role.WRITE)  # rows of the audit trail are the pipeline's
    return StoreDoor(
        routes,
        {"store": right, "store_study": right},
        streamed=frozenset({"store", "store_study"}),
    )


class Taking:
    """Takes the parts of one request in, one at a time.

    What came whole before a body was cut off is stored; sent again, it is the same instance.
    """

    def __init__(self, ingest: Ingest, origin: Origin, study: str | None = None) -> None:
        self._ingest = ingest
        self._study = study
        self._origin = origin
        self._outcomes: list[Outcome] = []
        self._arrival: Arrival | None = None

    def all_of(self, stream: Stream, content_type: str, length: int | None) -> list[Outcome]:
        """Return what became of each part of a body.

        Raises
        ------
        BadBody, UnknownMediaType
        """
        with self:
            read_parts(stream, content_type, length, self)
        return self._outcomes

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._drop()

    @property
    def outcomes(self) -> list[Outcome]:
        """What became of the parts that have ended."""
        return self._outcomes

    def begin(self, media_type: str) -> None:
        """Begin a part; see ``Taker``."""
        if len(self._outcomes) >= _MAX_PARTS:
            raise BadBody(f"The body has more than {_MAX_PARTS} parts; send fewer instances at a time.")
        if media_type not in ("", DICOM):
            self._refuse(
                Refusal(Status.CANNOT_UNDERSTAND, f"A part is not {DICOM}, the one media type taken in.")
            )
            return
        try:
            self._arrival = self._ingest.arrival()
        except Refusal as refusal:
            self._refuse(refusal)

    def data(self, piece: memoryview) -> None:
        """Take bytes of a part; see ``Taker``. Those of one that is refused already are read and dropped."""
        if self._arrival is None:
            return
        try:
            self._arrival.write(piece)
        except Refusal as refusal:
            self._drop()
            self._refuse(refusal)

    def end(self) -> None:
        """End a part; see ``Taker``."""
        if self._arrival is None:
            return
        self._arrival.close()
        self._outcomes.append(self._ingest.add(self._arrival.path, self._origin, self._study))
        self._drop()

    def _refuse(self, refusal: Refusal) -> None:
        self._outcomes.append(self._ingest.refused(refusal, self._origin))

    def _drop(self) -> None:
        if self._arrival is not None:
            self._arrival.discard()
            self._arrival = None


def _answer(answer: StowAnswer) -> Response:
    media_type = request.accept_mimetypes.best_match([JSON, XML, "application/json"], default=JSON)
    body = encoded(answer.document(), XML if media_type == XML else JSON)
    response = Response(body, status=answer.status, content_type=media_type)
    reasons = dict.fromkeys(outcome.reason for outcome in answer.outcomes if outcome.reason)
    for reason in list(reasons)[:_MAX_WARNINGS]:  # the module of the answer has numbers only
        response.headers.add("Warning", f'299 pathserve "{reason}"')
    return response


def _refusal(status: HTTPStatus, description: str) -> Response:
    body = orjson.dumps({"error": {"code": status.phrase, "description": description}})
    return Response(body, status=status, content_type="application/json")
