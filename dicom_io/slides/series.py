"""The seams between slides and whoever has their frames: a series of DICOM instances, or any such store."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from concurrent.futures import Executor
from typing import Protocol

from dicom_io.codecs.frame_format import FrameFormat
from dicom_io.slides.frame_cache import DecodedFrame, EncodedFrame
from dicom_io.slides.instance import SopInstance
from dicom_io.waiting import Cancellation, Stop

FRAMES_PER_GET = 64
"""Most frames asked for in one request to a store."""

FRAME_SLACK = 65_536
"""Bytes that a frame may come in beyond twice its uncompressed size: headers, and a profile of its own."""


def most_encoded_bytes(form: FrameFormat) -> int:
    """Return how many bytes a frame may come in: a compressed one may be larger than a native one."""
    return 2 * form.native_bytes + FRAME_SLACK


class FrameStore(Protocol):
    """Whoever has the frames of a level, bound to the rights of one caller and to the time of one request.

    Attributes
    ----------
    key, io, waits:
        As of a ``Series``.
    frames_per_get:
        Most frames that ``frames_of`` is asked for in one call.
    """

    @property
    def key(self) -> Hashable: ...
    @property
    def io(self) -> Executor: ...
    @property
    def waits(self) -> Cancellation: ...
    @property
    def frames_per_get(self) -> int: ...

    def frames_of(
        self, part: str, numbers: Sequence[int], form: FrameFormat, stop: Stop
    ) -> Iterator[tuple[int, EncodedFrame | DecodedFrame]]:
        """Yield frames of what a ``FrameAddress`` names as ``part``; see ``Series.frames``."""


class Series(Protocol):
    """Bound to the store that has the series, to the rights of one caller, and to the time of one request.

    ::

        series = store.series(path, token, waits)
        level = select_level(series.instances([uid]), [uid], strict=False)
        for number, frame in series.frames(level.instance, [1, 2, 3], level.form, Stop()):
            ...

    Methods are called from many threads. What they wait for ends with ``waits``, and all of them raise
    ``ImageError`` for a fault of the store or of what it has.

    Attributes
    ----------
    key:
        Which series, and with whose rights it is read: what is cached under it is shared only by callers with
        the same rights.
    io:
        Runs functions that wait for the series; its own threads may use it.
    waits:
        Ends what the request waits for.
    """

    @property
    def key(self) -> Hashable: ...
    @property
    def io(self) -> Executor: ...
    @property
    def waits(self) -> Cancellation: ...

    def instances(self, uids: Sequence[str] | None = None) -> tuple[SopInstance, ...]:
        """Return the SOP instances of the series.

        Parameters
        ----------
        uids:
            As far as reading these takes: they themselves, whole concatenations (any part names all), and of
            the others what comes with them. ``None`` is all of the series.

        Raises
        ------
        ImageError
            DICOM_PATH_ERROR when there is no such series.
        """

    def frames(
        self, instance: SopInstance, numbers: Sequence[int], form: FrameFormat, stop: Stop
    ) -> Iterator[tuple[int, EncodedFrame]]:
        """Yield frames with their numbers, in any order, as they arrive; each in a syntax that is decoded.

        Parameters
        ----------
        numbers:
            Frames of the instance, from 1, each once.
        form:
            What the frames hold; none of them comes in more than ``most_encoded_bytes(form)``.
        stop:
            Ends it early, besides ``waits``.

        Raises
        ------
        ImageError
            DICOM_ERROR when frames are missing or cannot be had in a syntax that is decoded.
        """

    def icc_profile(self, uri: str) -> bytes:
        """Return the ICC profile at an address that the metadata gave (``IccReference.uri``).

        Raises
        ------
        ImageError
            DICOM_ERROR when it is not an address that may be followed, or leads to no profile.
        """
