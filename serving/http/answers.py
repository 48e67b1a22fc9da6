"""Errors become answers here, and nowhere else."""

from __future__ import annotations

import logging
import uuid

from flask import Response, g
from werkzeug.exceptions import HTTPException

from model.transport.stream import Abandoned
from serving.api.response import error_body
from serving.errors import TABLE, Code, ServiceError
from serving.front.wsgi_bridge import Answer
from serving.http.access import secured

JSON = "application/json"

_CLIENT_GONE = 499
"""What the log calls a request whose client hung up; nobody reads the answer."""

_CODES: dict[int | None, Code] = {
    row.status: code for code, row in TABLE.items() if row.status and not row.in_instance
}
"""Codes of HTTP statuses that Flask and Werkzeug refuse requests with."""

log = logging.getLogger(__name__)


def answer_error(error: Exception) -> Response:
    """Return the answer of a request that failed whole: Flask's one error handler.

    ``g.outcome`` becomes what logs and metrics call it.
    """
    if isinstance(error, Abandoned):
        g.outcome = "client gone"
        return Response(status=_CLIENT_GONE)
    failure = _in_table(error)
    g.outcome = str(failure.code)
    response = answer_failure(failure)
    if allowed := getattr(error, "valid_methods", None):
        response.headers["Allow"] = ", ".join(sorted(allowed))
    return response


def answer_failure(error: ServiceError) -> Response:
    """Return the answer that the table has for an error."""
    status = TABLE[error.code].status
    assert status is not None, f"{error.code} cannot fail a whole request"
    response = Response(error_body(error.fault), status=status, content_type=JSON)
    if error.retry_after_s is not None:
        response.headers["Retry-After"] = str(error.retry_after_s)
    if error.code is Code.CONTENT_ENCODING_ERROR:
        response.headers["Accept-Encoding"] = "gzip"
    return response


def refusal(error: ServiceError) -> Answer:
    """Return the answer to bytes that are not a valid request; none of them are quoted.

    Called in the event loop, outside of Flask's contexts.
    """
    log.info("refused", extra={"outcome": str(error.code)})
    response = secured(answer_failure(error))
    response.headers["X-Request-Id"] = uuid.uuid4().hex
    return Answer(response.status, list(response.headers), response.get_data())


def _in_table(error: Exception) -> ServiceError:
    """Return an exception as an error of the table; an unforeseen one is logged."""
    if isinstance(error, ServiceError):
        return error
    if isinstance(error, HTTPException) and (error.code or 0) < 500:  # an unknown path, a wrong method
        code = _CODES.get(error.code, Code.INVALID_REQUEST_FIELD_ERROR)
    else:
        log.error("unexpected fault", exc_info=error, extra={"request_id": g.get("request_id", "")})
        code = Code.INTERNAL_ERROR
    return ServiceError(code, TABLE[code].meaning)
