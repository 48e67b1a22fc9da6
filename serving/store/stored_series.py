"""A series of the store as slides are read from: its instances from the index, its frames from the files."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import orjson

from dicom_io.cache import SharedCache
from dicom_io.codecs.frame import DECODERS
from dicom_io.codecs.frame_format import FrameFormat
from dicom_io.errors import ImageCode, ImageError
from dicom_io.slides.frame_cache import EncodedFrame
from dicom_io.slides.instance import MAX_ICC_BYTES, SopInstance, parse_instance
from dicom_io.slides.series import most_encoded_bytes
from dicom_io.waiting import Cancellation, Stop
from serving.errors import ServiceError
from serving.store.index.frames import UnreadableInstance
from serving.store.index.metadata import MARK
from serving.store.index.query import Stored
from serving.store.index.store_index import StoreIndex
from serving.store.reader import GoneMeanwhile, StoreReader

_PROFILE_LIFE_S = 3600.0
_BUSY_S = 30.0

Profiles = SharedCache[Hashable, bytes]
"""ICC profiles by the file that they are in."""


def profile_cache() -> Profiles:
    """Return a cache for the profiles of all series that a process reads."""
    return SharedCache(4 * MAX_ICC_BYTES, _PROFILE_LIFE_S)


@dataclass(frozen=True, slots=True)
class StoredSeries:
    """A series in the store; a ``Series``. Who made it has seen to it that the caller may read it."""

    index: StoreIndex
    reader: StoreReader
    study: str
    series: str
    key: Hashable
    io: Executor
    waits: Cancellation
    profiles: Profiles

    def instances(self, uids: Sequence[str] | None = None) -> tuple[SopInstance, ...]:
        """Return all SOP instances of the series; see ``Series.instances``."""
        stored = self._stored()
        if not stored:
            raise ImageError(
                ImageCode.DICOM_PATH_ERROR,
                f"The slide store has no series {self.series} in study {self.study}.",
            )
        try:
            found = list(self.index.metadata(list(stored)))
        except ServiceError as error:
            raise _unreadable() from error
        return tuple(parse_instance(_document(sop, document)) for sop, document in found)

    def frames(
        self, instance: SopInstance, numbers: Sequence[int], form: FrameFormat, stop: Stop
    ) -> Iterator[tuple[int, EncodedFrame]]:
        """Yield frames; see ``Series.frames``."""
        stored = self._one(str(instance.sop_uid))
        if stored.transfer_syntax not in DECODERS:
            raise ImageError(
                ImageCode.DICOM_ERROR,
                f"Frames in transfer syntax {stored.transfer_syntax} are not decoded here; SOP instance "
                f"{stored.sop}.",
            )
        try:
            table = self.index.frames(stored)
        except (KeyError, ServiceError, TimeoutError) as error:
            raise _unreadable() from error
        most = most_encoded_bytes(form)
        for number in numbers:
            if not 1 <= number <= table.count or table.where(number)[1] > most:
                raise ImageError(
                    ImageCode.DICOM_ERROR,
                    f"SOP instance {stored.sop} has no frame {number} of the size that its metadata says.",
                )
        bodies = self.reader.frames(stored, table, numbers)
        try:
            for number, data in zip(numbers, bodies, strict=True):
                if stop.is_set():
                    return
                yield number, EncodedFrame(data, stored.transfer_syntax)
        except (GoneMeanwhile, OSError) as error:
            raise _unreadable() from error
        finally:
            bodies.close()

    def icc_profile(self, uri: str) -> bytes:
        """Return the profile at an address that ``instances`` gave."""
        sop, _, number = uri.removeprefix(MARK).partition("/bulkdata/")
        stored = self._one(sop)

        def make() -> tuple[bytes, int]:
            value = self.reader.bulk_value(stored, int(number))
            if value is None or len(value) > MAX_ICC_BYTES:
                raise UnreadableInstance("it has no such profile")
            return value, len(value) + 512

        try:
            return self.profiles.get((stored.path, number), make, _BUSY_S)
        except (GoneMeanwhile, UnreadableInstance, ValueError, OSError) as error:
            raise ImageError(
                ImageCode.DICOM_ERROR, f"The ICC profile of SOP instance {stored.sop} cannot be read."
            ) from error

    def _stored(self) -> dict[str, Stored]:
        try:
            return {one.sop: one for one in self.index.instances(self.study, self.series)}
        except ServiceError as error:
            raise _unreadable() from error

    def _one(self, sop: str) -> Stored:
        try:
            stored = self.index.instance(self.study, self.series, sop)
        except ServiceError as error:
            raise _unreadable() from error
        if stored is None:
            raise ImageError(
                ImageCode.DICOM_ERROR, f"The slide store has no SOP instance {sop} in this series."
            )
        return stored


def _document(sop: str, document: bytes) -> dict[str, object]:
    """Return an instance's DICOM JSON, with references that ``icc_profile`` follows."""
    named = document.replace(b'"' + MARK.encode(), b'"' + f"{MARK}{sop}/".encode())
    parsed: dict[str, object] = orjson.loads(named)
    return parsed


def _unreadable() -> ImageError:
    return ImageError(
        ImageCode.INTERNAL_ERROR, "The slide store cannot be read at the moment; try again soon."
    )
