"""What can be wrong with a slide or a block, as a row that people read: one place for all of it."""

from __future__ import annotations

import logging

from dicom_io.errors import ImageCode, ImageError
from serving.archive.records import Failure
from serving.batch.chunks import Stopped
from serving.batch.given_tissue import TissueError
from serving.batch.opened import TargetError
from serving.errors import Code, Fault, ServiceError, fault_of

SLIDE_ERROR = "SLIDE_ERROR"
"""A slide cannot be embedded as asked: it is not there, has no such level, or no tissue."""

MAY_PASS = frozenset({Code.HTTP_ERROR, Code.INTERNAL_ERROR, Code.SERVICE_UNAVAILABLE_ERROR})
"""Codes of what may be better the next time: a store or a machine is at fault, and not an image."""

log = logging.getLogger(__name__)


def failure_of(slide: str, block: int | None, error: Exception) -> Failure:
    """Return what failed by an exception."""
    code, sentence = _said(error)
    return Failure(slide, block, code, sentence.encode("utf-8", "replace").decode("utf-8"))


def is_of_credentials(error: Exception) -> bool:
    """Return whether a store has refused a token."""
    if isinstance(error, ImageError):
        return error.code is ImageCode.INVALID_CREDENTIALS_ERROR
    return isinstance(error, Stopped) and error.fault.code is Code.INVALID_CREDENTIALS_ERROR


def _said(error: Exception) -> tuple[str, str]:
    if isinstance(error, Stopped):
        return _of(error.fault)
    if isinstance(error, ServiceError):
        return _of(error.fault)
    if isinstance(error, ImageError):
        return _of(fault_of(error.fault))
    if isinstance(error, (TargetError, TissueError)):
        code, colon, rest = str(error).partition(": ")
        return (code, rest) if colon and code in set(Code) else (SLIDE_ERROR, str(error))
    if isinstance(error, OSError):
        return SLIDE_ERROR, f"{error.filename or 'the system'}: {error.strerror or error}."
    log.error("a piece of work failed unexpectedly", exc_info=error)
    return Code.INTERNAL_ERROR, f"unexpected {type(error).__name__}; the worker's log has more."


def _of(fault: Fault) -> tuple[str, str]:
    return str(fault.code), fault.description
