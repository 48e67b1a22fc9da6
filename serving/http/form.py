"""The form of a predict answer, as its client wants it: JSON or Arrow, wrapped or not, compressed or not."""

from __future__ import annotations

from dataclasses import dataclass

from flask import Request, Response

from serving.api.encodings import Encoding
from serving.api.request import PredictRequest
from serving.api.response import prediction_body
from serving.api.table import MEDIA_TYPE as ARROW
from serving.api.table import prediction_table
from serving.config.groups import HttpSettings
from serving.http.answers import JSON
from serving.http.compression import Accepted, Kind, accepted, compress
from serving.http.http_body import wrap
from serving.pipeline.types import Predictions


@dataclass(frozen=True, slots=True)
class Form:
    """How a client wants its answer.

    Attributes
    ----------
    is_table:
        As an Arrow IPC stream; else as JSON.
    codings:
        The content codings that it accepts.
    is_wrapped:
        In an HttpBody.
    """

    is_table: bool
    codings: Accepted
    is_wrapped: bool = False

    def made_of(self, encoding: Encoding) -> Kind:
        """Return what the answer is made of."""
        if self.is_wrapped:
            return Kind.BASE64
        if self.is_table:
            return Kind.BINARY
        return Kind.NUMBERS if encoding is Encoding.JSON else Kind.BASE64


def wanted_form(request: Request, settings: HttpSettings, *, is_local: bool) -> Form:
    """Return how a client wants its answer (RFC 9110, 12.5); who accepts neither type gets JSON.

    Parameters
    ----------
    is_local:
        Whether it is on this machine, where compressing takes longer than it saves.

    Raises
    ------
    ServiceError
        NOT_ACCEPTABLE_ERROR when it refuses every coding that there is.
    """
    whose = settings.compress_answers
    offers = whose == "all" or (whose == "remote" and not is_local)
    kind = request.accept_mimetypes.best_match([JSON, ARROW])
    return Form(kind == ARROW, accepted(request.accept_encodings, offers=offers))


def formed(asked: PredictRequest, predictions: Predictions, form: Form, deployed_model_id: str) -> Response:
    """Return a predict answer in the form that is wanted."""
    write, kind = (prediction_table, ARROW) if form.is_table else (prediction_body, JSON)
    body = write(asked, predictions, deployed_model_id)
    if form.is_wrapped:
        body, kind = wrap(body, kind), JSON
    response = Response(body, content_type=kind)
    response.vary.update(("Accept", "Accept-Encoding"))
    coding = form.codings.of(form.made_of(asked.encoding), len(body))
    if coding is not None:
        compress(response, coding)
    return response
