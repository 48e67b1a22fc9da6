"""How frames are asked for, and in which transfer syntax they have come (PS3.18, 8.7.3)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    JPEG2000MC,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
    JPEG2000MCLossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from dicom_io.codecs import jp2, jpeg2000, jpeg_markers, jpeg_xl, jpeg_xl_header
from dicom_io.codecs.frame import recognised_syntax
from dicom_io.codecs.frame_format import NATIVE, FrameFormat, is_native_size
from dicom_io.slides.instance import SopInstance
from dicom_io.web.multipart import Part
from dicom_io.web.series_path import is_uid

_LOSSY_JPEG = frozenset({JPEGBaseline8Bit, JPEGExtended12Bit})
_FULL_RANGE = frozenset({"YBR_FULL", "YBR_FULL_422"})


@dataclass(frozen=True, slots=True)
class _Family:
    """Transfer syntaxes of one coding.

    Attributes
    ----------
    types:
        Media types of their frames, the standard's first.
    syntaxes:
        UIDs; the first is what a part of that type is in where nothing else says so.
    magic:
        What their frames begin with; nothing where that says little.
    """

    types: tuple[str, ...]
    syntaxes: tuple[str, ...]
    magic: tuple[bytes, ...]


_FAMILIES = (
    _Family(("image/jpeg",), (JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1),
            (jpeg_markers.SIGNATURE,)),
    _Family(("image/jls", "image/x-jls"), (JPEGLSLossless, JPEGLSNearLossless), (jpeg_markers.SIGNATURE,)),
    _Family(("image/jp2", "image/jpx"), (JPEG2000Lossless, JPEG2000, JPEG2000MCLossless, JPEG2000MC),
            (jpeg2000.START, jp2.SIGNATURE)),
    _Family(("image/jphc", "image/jph"), (HTJ2KLossless, HTJ2KLosslessRPCL, HTJ2K),
            (jpeg2000.START, jp2.SIGNATURE)),
    _Family(("image/jxl",), jpeg_xl.SYNTAXES, jpeg_xl_header.SIGNATURES),
    _Family(("image/dicom-rle", "image/x-dicom-rle"), (RLELossless,), ()),
)  # fmt: skip
"""PS3.18, table 8.7.3-2, and older names that stores still use."""

FRAME_TYPES = frozenset({"application/octet-stream", *(kind for f in _FAMILIES for kind in f.types)})
"""Media types of frames."""


def media_types_of(syntax: str) -> tuple[str, ...]:
    """Return the media types of frames in a transfer syntax, the standard's first, beside that of octets."""
    return next((family.types for family in _FAMILIES if syntax in family.syntaxes), ())


@dataclass(frozen=True, slots=True)
class Wanted:
    """One way to ask for frames.

    Attributes
    ----------
    accept:
        The Accept header.
    as_stored:
        Whether what comes is what the metadata describes, where the answer does not say.
    """

    accept: str
    as_stored: bool


def _multipart(kind: str, syntax: str = "") -> str:
    return f'multipart/related; type="{kind}"' + (f"; transfer-syntax={syntax}" if syntax else "")


_OCTETS = "application/octet-stream"
_AS_STORED = Wanted(_multipart(_OCTETS, "*"), True)
_NATIVE = (
    # Explicit little endian by PS3.18, 8.7.3.3; Orthanc then sends what it does not know as it is.
    Wanted(_multipart(_OCTETS), False),
    Wanted(_multipart(_OCTETS, ExplicitVRLittleEndian), False),
)
_JPEG = Wanted(_multipart("image/jpeg", JPEGBaseline8Bit), False)


def ways_to_ask(instance: SopInstance) -> Iterator[Wanted]:
    """Yield how frames are asked for, one after the other until the store has an answer that can be decoded.

    As stored first: as bytes, then by the media type of the coding that the metadata names, or by all of them
    where it names none. Then as a transcode.
    """
    yield _AS_STORED
    known = [f for f in _FAMILIES if set(f.syntaxes) & set(instance.transfer_syntaxes)]
    stored = [
        _multipart(family.types[0], syntax)
        for family in known
        for syntax in family.syntaxes
        if syntax in instance.transfer_syntaxes
    ]
    if not instance.transfer_syntaxes:
        stored = [_multipart(family.types[0]) for family in _FAMILIES]
    if stored:
        yield Wanted(", ".join(stored), True)
    yield from _NATIVE
    yield _JPEG


def colours_are_unknown(syntax: str, instance: SopInstance, form: FrameFormat) -> bool:
    """Return whether a frame's colours are unknown: it is native, its image stored as lossy JPEG in YCbCr.

    Its metadata describes the JPEG. Most stores turn the colours to RGB as they decompress, some do not, and
    no part of the answer says which.
    """
    return (
        syntax in NATIVE
        and form.photometric in _FULL_RANGE
        and not _LOSSY_JPEG.isdisjoint(instance.transfer_syntaxes)
    )


def syntax_of(part: Part, instance: SopInstance, form: FrameFormat, wanted: Wanted) -> str:
    """Return the transfer syntax that a frame has come in.

    What the part declares comes first: its transfer syntax, then its media type narrowed by the metadata.
    Then what the metadata declares, for frames that were asked for as stored; then what the bytes show.
    Nothing is believed where the bytes cannot be that: stores call native what they could not transcode.
    """
    declared = part.parameters.get("transfer-syntax", "")
    if is_uid(declared) and _can_be(part.body, declared, form):
        return declared
    family = next((f for f in _FAMILIES if part.media_type in f.types), None)
    listed = instance.transfer_syntaxes
    if family is not None:
        listed = (*(s for s in listed if s in family.syntaxes), *family.syntaxes)
    elif not wanted.as_stored and is_native_size(part.body, form):
        return ExplicitVRLittleEndian
    possible = [syntax for syntax in listed if _can_be(part.body, syntax, form)]
    seen = recognised_syntax(part.body, form)
    if len(possible) > 1 and seen is not None:
        # The store has it in several codings: what the bytes look like tells them apart.
        alike = [syntax for syntax in possible if _alike(syntax, seen)]
        possible = alike or possible
    if not possible and seen is None and _is_decompressed(part.body, form):
        return ExplicitVRLittleEndian
    return next(iter(possible), seen or declared or instance.transfer_syntax or "unknown")


def _is_decompressed(data: bytes, form: FrameFormat) -> bool:
    """Return whether a frame has all samples of all pixels, though its chroma is said to be subsampled."""
    return form.decoded_bytes <= len(data) <= form.decoded_bytes + 1


def _alike(syntax: str, other: str) -> bool:
    if syntax in NATIVE:
        return other in NATIVE
    return any(syntax in f.syntaxes and other in f.syntaxes for f in _FAMILIES)


def _can_be(data: bytes, syntax: str, form: FrameFormat) -> bool:
    """Return whether a frame's size or first bytes allow a transfer syntax; for an unknown one all do."""
    if syntax in NATIVE:
        return is_native_size(data, form)
    magic = next((f.magic for f in _FAMILIES if syntax in f.syntaxes), ())
    return not magic or data.startswith(magic)
