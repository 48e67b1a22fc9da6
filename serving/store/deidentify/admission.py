"""What an image must say of itself to be let in: that it is of a slide, and shows no label."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from serving.store.deidentify.cleaners.pieces import FrameShape
from serving.store.deidentify.refused import Cause, Refused, damaged

_IMAGE_TYPE, _SOP_CLASS, _SOP, _STUDY, _SERIES = 0x00080008, 0x00080016, 0x00080018, 0x0020000D, 0x0020000E
_SAMPLES, _PHOTOMETRIC, _FRAMES, _ROWS, _COLUMNS = 0x00280002, 0x00280004, 0x00280008, 0x00280010, 0x00280011
_ALLOCATED, _STORED, _BURNED_IN, _LABEL = 0x00280100, 0x00280101, 0x00280301, 0x00480010

WHOLE_SLIDE = b"1.2.840.10008.5.1.4.1.1.77.1.6"
_SOP_CLASSES = frozenset({
    b"1.2.840.10008.5.1.4.1.1.77.1.2", b"1.2.840.10008.5.1.4.1.1.77.1.3", WHOLE_SLIDE,
})  # fmt: skip
"""VL Microscopic, VL Slide-Coordinates Microscopic and VL Whole Slide Microscopy Image Storage."""

_SHOW_MORE = {
    b"LABEL": "the slide's label",
    b"OVERVIEW": "the whole glass with its label",
    b"LOCALIZER": "the whole glass",
}
_TISSUE = frozenset({b"VOLUME", b"THUMBNAIL"})


@dataclass(frozen=True, slots=True)
class Admitted:
    """An image that may come in.

    Attributes
    ----------
    frame_bytes:
        Of each uncompressed frame.
    """

    study: str
    series: str
    sop: str
    frames: int
    shape: FrameShape
    frame_bytes: int


def admit(values: Mapping[int, bytes], frame_types: frozenset[bytes], *, native: bool) -> Admitted:
    """Return what is known of an image that may come in.

    Parameters
    ----------
    values:
        Those of the data set that may stay, by tag.
    frame_types:
        Of its functional groups.
    native:
        Whether its frames are uncompressed.

    Raises
    ------
    Refused
    """
    _require_class(values)
    _require_tissue(values, frame_types)
    _require_nothing_written(values)
    study, series, sop = (values.get(tag, b"").decode("ascii") for tag in (_STUDY, _SERIES, _SOP))
    if not (study and series and sop):
        raise damaged("it has no study, series or SOP instance UID")
    samples, rows, columns, allocated, stored = (
        int.from_bytes(values.get(tag, b""), "little")
        for tag in (_SAMPLES, _ROWS, _COLUMNS, _ALLOCATED, _STORED)
    )
    if not rows or not columns or samples not in (1, 3) or allocated not in (8, 16):
        raise damaged("its rows, columns, samples per pixel or bits allocated are none of slides")
    if native and stored != allocated:
        raise damaged("its samples have bits beside those of pixels, which could hold anything")
    frames = int(values.get(_FRAMES, b"") or b"1")
    if not frames:
        raise damaged("it has no frames")
    shape = FrameShape(columns, rows, samples, allocated // 8)
    halved = values.get(_PHOTOMETRIC) == b"YBR_FULL_422"
    frame_bytes = rows * columns * (2 if halved else samples) * shape.sample_bytes
    return Admitted(study, series, sop, frames, shape, frame_bytes)


def _require_class(values: Mapping[int, bytes]) -> None:
    if values.get(_SOP_CLASS) not in _SOP_CLASSES:
        raise Refused(
            Cause.SOP_CLASS, "The instance is no image of a slide: its SOP class is not one of microscopy."
        )


def _require_tissue(values: Mapping[int, bytes], frame_types: frozenset[bytes]) -> None:
    types = values.get(_IMAGE_TYPE, b"").split(b"\\")
    for word in [*types, *(word for frame in frame_types for word in frame.split(b"\\"))]:
        if what := _SHOW_MORE.get(word):
            raise Refused(
                Cause.IDENTIFYING,
                f"The image is a {word.decode()}: it shows {what}, so it is not taken in. Send the slide's "
                "levels.",
            )
    if values.get(_SOP_CLASS) == WHOLE_SLIDE and not _TISSUE & set(types[2:3]):
        raise Refused(
            Cause.IDENTIFYING,
            "The image does not say by Image Type (0008,0008), value 3, that it is a VOLUME or a THUMBNAIL, "
            "so it could show the label.",
        )


def _require_nothing_written(values: Mapping[int, bytes]) -> None:
    for tag, name in (
        (_BURNED_IN, "Burned In Annotation (0028,0301)"),
        (_LABEL, "Specimen Label in Image (0048,0010)"),
    ):
        if values.get(tag) != b"NO":
            raise Refused(
                Cause.IDENTIFYING,
                f"The image must say NO in {name}: else its pixels could show who the patient is.",
            )
