"""JPEG and JPEG-LS frames with nothing but their coding (ITU-T T.81, annex B; T.87, annex C).

Kept are tables, headers and scans, and of application segments those that say how colours are coded, written
anew. Comments, EXIF, thumbnails, profiles and all bytes after the end of the image go.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from dicom_io.codecs.encoded_image import DamagedImage
from serving.store.deidentify.cleaners.pieces import CleanFrame, FrameShape, trailing

_SOI, _EOI = b"\xff\xd8", b"\xff\xd9"
_SOS, _DQT, _DHT, _DAC, _DRI, _DNL, _LSE = 0xDA, 0xDB, 0xC4, 0xCC, 0xDD, 0xDC, 0xF8
_APP0, _APP8, _APP14, _COM = 0xE0, 0xE8, 0xEE, 0xFE
_JPEG = frozenset({0xC0, 0xC1, 0xC2, 0xC3})
_JPEG_LS = frozenset({0xF7})
_WORDS = frozenset({*range(_APP0, 0xF0), _COM})
_SEGMENT = struct.Struct(">BBH")
_JFIF = b"JFIF\0\1\1\0\0\1\0\1\0\0"
"""Version 1.1, square pixels, no thumbnail (T.871, 10.1): that it is there says that colours are YCbCr."""

_MOST_SEGMENTS = 1000
_AFTER_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_AFTER_LS_SCAN = re.compile(rb"\xff[\x80-\xcf\xd8-\xfe]")
"""Within a scan of JPEG-LS, a byte of ones is followed by a bit of zero (T.87, A.1)."""


@dataclass(frozen=True, slots=True)
class _Head:
    """What comes before the first scan's data, which most frames of an image have in common.

    Attributes
    ----------
    source:
        As it was.
    piece:
        As it stays.
    size:
        Width and height of the image.
    components:
        Of the image.
    """

    source: bytes
    piece: bytes
    removed: int
    size: tuple[int, int]
    components: int


class JpegCleaner:
    """Cleans the frames of one image, one after the other.

    Parameters
    ----------
    processes:
        Markers of the frame headers that are let in.
    after_scan:
        Finds the marker that ends a scan.
    """

    def __init__(self, processes: frozenset[int], after_scan: re.Pattern[bytes]) -> None:
        self._processes = processes
        self._after_scan = after_scan
        self._head = _Head(b"", b"", 0, (0, 0), 0)

    def __call__(self, data: bytes, shape: FrameShape) -> CleanFrame:
        """Clean a frame.

        Raises
        ------
        DamagedImage
        """
        head = self._head
        if not head.source or not data.startswith(head.source):
            head = self._head = self._read_head(data)
        shape.require(*head.size)
        shape.require_samples(head.components)
        view = memoryview(data)
        pieces, removed = list[bytes | memoryview]((head.piece,)), head.removed
        kept_from = start = at = len(head.source)
        marker = _SOS
        for _ in range(_MOST_SEGMENTS):
            if marker in self._processes:
                raise DamagedImage("it has two frame headers")
            if marker == _SOS:
                start = at = self._end_of_scan(data, at)
            while data[at : at + 2] == b"\xff\xff":  # fill bytes, which are allowed before any marker
                at += 1
            if data[at : at + 2] == _EOI:
                pieces += view[kept_from:start], _EOI
                return CleanFrame(tuple(pieces), removed + trailing(data, at + 2))
            marker, body, at = _segment(data, at)
            instead = _instead(marker, body, self._processes)
            if instead is not None:
                pieces += view[kept_from:start], instead
                removed += len(instead) != at - start
                kept_from = at
            start = at
        raise DamagedImage("it has too many segments")

    def _read_head(self, data: bytes) -> _Head:
        if not data.startswith(_SOI):
            raise DamagedImage("it does not begin as a JPEG image")
        pieces, removed, at, sizes = [_SOI], 0, 2, list[tuple[int, int, int]]()
        for _ in range(_MOST_SEGMENTS):
            start = at
            while data[at : at + 2] == b"\xff\xff":
                at += 1
            marker, body, at = _segment(data, at)
            instead = _instead(marker, body, self._processes)
            removed += instead is not None and len(instead) != at - start
            pieces.append(data[start:at] if instead is None else instead)
            if marker in self._processes:
                height, width, components = struct.unpack_from(">HHB", body, 1)
                sizes.append((width, height, components))
            if marker == _SOS:
                if len(sizes) != 1:
                    raise DamagedImage("it has no frame header, or two")
                return _Head(data[:at], b"".join(pieces), removed, sizes[0][:2], sizes[0][2])
        raise DamagedImage("it has too many segments")

    def _end_of_scan(self, data: bytes, at: int) -> int:
        found = self._after_scan.search(data, at)
        if found is None:
            raise DamagedImage("it is cut off")
        return found.start()


def jpeg_cleaner() -> JpegCleaner:
    """Return a cleaner of Huffman-coded JPEG."""
    return JpegCleaner(_JPEG, _AFTER_SCAN)


def jpeg_ls_cleaner() -> JpegCleaner:
    """Return a cleaner of JPEG-LS."""
    return JpegCleaner(_JPEG_LS, _AFTER_LS_SCAN)


def _segment(data: bytes, at: int) -> tuple[int, bytes, int]:
    """Return the marker and the contents of a segment, and where it ends."""
    if at + _SEGMENT.size > len(data):
        raise DamagedImage("it is cut off")
    escape, marker, length = _SEGMENT.unpack_from(data, at)
    end = at + 2 + length
    if escape != 0xFF or marker < 0xC0 or length < 2:
        raise DamagedImage("its segments are damaged")
    if end > len(data):
        raise DamagedImage("it is cut off")
    return marker, data[at + 4 : end], end


def _instead(marker: int, body: bytes, processes: frozenset[int]) -> bytes | None:
    """Return what is written instead of a segment: nothing where it goes, ``None`` where it stays.

    A segment stays only if it has the length of what it says it holds.
    """
    if marker in _WORDS:
        return _application(marker, body, processes)
    if marker in processes:
        fits = len(body) >= 6 and len(body) == 6 + 3 * body[5]
    elif marker == _SOS:
        fits = len(body) >= 1 and len(body) == 4 + 2 * body[0]
    elif marker == _DQT:
        fits = _quantisation_fits(body)
    elif marker == _DHT:
        fits = _huffman_fits(body)
    elif marker in (_DRI, _DNL):
        fits = len(body) == 2
    elif marker == _LSE and processes is _JPEG_LS:
        fits = len(body) == 11 and body[0] == 1  # parameters; palettes are not of slides
    else:
        raise DamagedImage(f"its coding (marker FF{marker:02X}) is not one of slides")
    if not fits:
        raise DamagedImage(f"its segment FF{marker:02X} holds more or less than it should")
    return None


def _application(marker: int, body: bytes, processes: frozenset[int]) -> bytes | None:
    if marker == _APP0 and body[:5] == b"JFIF\0" and len(body) >= 14:
        plain = _JFIF
    elif marker == _APP14 and body[:5] == b"Adobe" and len(body) >= 12:
        plain = b"Adobe\0\x64" + bytes(4) + body[11:12]
    elif marker == _APP8 and processes is _JPEG_LS and body[:4] == b"mrfx" and len(body) == 5:
        plain = body
    else:
        return b""
    return None if plain == body else _SEGMENT.pack(0xFF, marker, 2 + len(plain)) + plain


def _quantisation_fits(body: bytes) -> bool:
    at = 0
    while at < len(body):
        at += 65 if body[at] < 16 else 129  # one byte or two for each of 64 (T.81, B.2.4.1)
    return at == len(body)


def _huffman_fits(body: bytes) -> bool:
    at = 0
    while at < len(body):
        at += 17 + sum(body[at + 1 : at + 17])  # (T.81, B.2.4.2)
    return at == len(body)
