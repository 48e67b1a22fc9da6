"""JPEG XL frames: the codestream alone, and only where it is known where it ends (ISO/IEC 18181-1 and -2).

A container's boxes go: EXIF, XMP, and what is needed to get a JPEG file back, with its comments, whose pixels
stay the same. A codestream has room for words, too: names of frames and channels, extensions, a profile. One
with any of these is refused, and so is one with bytes after its last frame: nothing here decodes it, so
nothing is cut out of it.
"""

from __future__ import annotations

from dicom_io.codecs.boxes import boxes
from dicom_io.codecs.encoded_image import DamagedImage
from dicom_io.codecs.jpeg_xl_header import CODESTREAM_SIGNATURE, CONTAINER_SIGNATURE
from serving.store.deidentify.cleaners.jpeg_xl_frames import codestream_end
from serving.store.deidentify.cleaners.pieces import CleanFrame, FrameShape, trailing

_STRUCTURE = frozenset({b"ftyp", b"jxll", b"jxlc", b"jxlp"})


def clean_jpeg_xl(data: bytes, shape: FrameShape) -> CleanFrame:
    """Clean a frame of JPEG XL.

    Raises
    ------
    DamagedImage
    """
    removed = 0
    if data.startswith(CONTAINER_SIGNATURE):
        data, removed = _codestream(data)
    if not data.startswith(CODESTREAM_SIGNATURE):
        raise DamagedImage("it does not begin as a JPEG XL codestream")
    end = codestream_end(data, shape)
    if end > len(data):
        raise DamagedImage("it is cut off")
    if trailing(data, end):
        raise DamagedImage("something follows its last picture")
    return CleanFrame((memoryview(data)[:end],), removed)


def _codestream(data: bytes) -> tuple[bytes, int]:
    """Return the codestream of a container, and how many boxes are not needed."""
    parts, removed = list[bytes](), 0
    for kind, start, end in boxes(data, len(CONTAINER_SIGNATURE)):
        if end > len(data):
            raise DamagedImage("a box is cut off")
        removed += kind not in _STRUCTURE
        if kind == b"jxlc":
            parts.append(data[start:end])
        elif kind == b"jxlp":
            number = int.from_bytes(data[start : start + 4], "big") & 0x7FFFFFFF
            if number != len(parts):
                raise DamagedImage("the container's parts are out of order")
            parts.append(data[start + 4 : end])
    return b"".join(parts), removed
