"""Faults of single instances: what fails one of them leaves the others alone."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from dicom_io.errors import ImageError
from model.transport.stream import Abandoned, DeadlineExceeded, EncoderUnavailable
from serving.errors import Code, Fault, ServiceError, fault_of

UNEXPECTED = Fault(
    Code.INTERNAL_ERROR, "This instance met a fault of the service; its log has the request id."
)
"""The outcome of an instance whose fault is not of its image."""

log = logging.getLogger(__name__)

R = TypeVar("R")


def or_fault(function: Callable[[], R]) -> R | Fault:
    """Return what a function returns, or the fault that it raises.

    Tasks give their faults as values: an exception in a future holds the frames that it went through,
    one of which holds the future, and this circle would keep an image's bytes until the garbage
    collector comes by.
    """
    try:
        return function()
    except Exception as error:
        return _fault_for(error)


class Faults(dict[int, Fault]):
    """The faults of a request's instances, by their positions in it."""

    @contextlib.contextmanager
    def of(self, positions: Sequence[int]) -> Iterator[None]:
        """Let a fault inside a ``with`` block fail some instances, not the request.

        Raises
        ------
        Abandoned, DeadlineExceeded, EncoderUnavailable
            What ends the whole request.
        """
        try:
            yield
        except (EncoderUnavailable, DeadlineExceeded, Abandoned):
            raise
        except Exception as error:
            self.update(dict.fromkeys(positions, _fault_for(error)))


def _fault_for(error: Exception) -> Fault:
    if isinstance(error, ServiceError):
        return error.fault
    if isinstance(error, ImageError):
        return fault_of(error.fault)
    log.error("an instance failed unexpectedly", exc_info=error)
    return UNEXPECTED
