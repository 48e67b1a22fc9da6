"""What an image must say of itself to be let in: that it is of a slide, and shows no label."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass

from serving.store.deidentify.cleaners.pieces import FrameShape
from serving.store.deidentify.refused import Cause, Refused, damaged

_IMAGE_TYPE, _SOP_CLASS, _SOP, _STUDY, _SERIES = 0x00080008, 0x00080016, 0x00080018, 0x0020000D, 0x0020000E
_SAMPLES, _PHOTOMETRIC, _FRAMES, _ROWS, _COLUMNS = 0x00280002, 0x00280004, 0x00280008, 0x00280010, 0x00280011
_ALLOCATED, _STORED, _PLANAR = 0x00280100, 0x00280101, 0x00280006
_BURNED_IN, _LABEL, _RECOGNIZABLE = 0x00280301, 0x00480010, 0x00280302

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


def admit(values: Mapping[int, bytes], image_types: Set[bytes], *, native: bool) -> Admitted:
    """Return what is known of an image that may come in.

    Parameters
    ----------
    values:
        Those of the data set that may stay, by tag.
    image_types:
        Every word of Image Type and of the Frame Types of its functional groups, as they were sent.
    native:
        Whether its frames are uncompressed.

    Raises
    ------
    Refused
    """
    _require_class(values)
    _require_tissue(values, image_types)
    _require_nothing_written(values)
    study, series, sop = (values.get(tag, b"").decode("ascii") for tag in (_STUDY, _SERIES, _SOP))
    if not (study and series and sop):
        raise damaged("it has no study, series or SOP instance UID")
    shape = _shape(values, native=native)
    halved = values[_PHOTOMETRIC] == b"YBR_FULL_422"
    frame_bytes = shape.height * shape.width * (2 if halved else shape.samples) * shape.sample_bytes
    return Admitted(study, series, sop, _frames(values), shape, frame_bytes)


def _shape(values: Mapping[int, bytes], *, native: bool) -> FrameShape:
    """Return the size of frames; what stays must say all that is needed to read them rightly."""
    samples, rows, columns, allocated, stored = (
        int.from_bytes(values.get(tag, b""), "little")
        for tag in (_SAMPLES, _ROWS, _COLUMNS, _ALLOCATED, _STORED)
    )
    if not rows or not columns or samples not in (1, 3) or allocated not in (8, 16):
        raise damaged("its rows, columns, samples per pixel or bits allocated are none of slides")
    photometric = values.get(_PHOTOMETRIC, b"")
    if not photometric or photometric.startswith(b"MONOCHROME") != (samples == 1):
        raise damaged("its photometric interpretation is none of slides, or none of its samples")
    if native and stored != allocated:
        raise damaged("its samples have bits beside those of pixels, which could hold anything")
    if native and samples == 3 and len(values.get(_PLANAR, b"")) != 2:
        raise damaged("its planar configuration is missing, so its pixels cannot be told")
    return FrameShape(columns, rows, samples, allocated // 8)


def _frames(values: Mapping[int, bytes]) -> int:
    """Return how many frames there are: one where an image of another class than whole slides is silent."""
    number = values.get(_FRAMES, b"")
    if not number and values.get(_SOP_CLASS) == WHOLE_SLIDE:
        raise damaged("it does not say how many frames it has")
    if (frames := int(number or b"1")) == 0:
        raise damaged("it has no frames")
    return frames


def _require_class(values: Mapping[int, bytes]) -> None:
    if values.get(_SOP_CLASS) not in _SOP_CLASSES:
        raise Refused(
            Cause.SOP_CLASS, "The instance is no image of a slide: its SOP class is not one of microscopy."
        )


def _require_tissue(values: Mapping[int, bytes], image_types: Set[bytes]) -> None:
    for word in sorted(image_types & _SHOW_MORE.keys()):
        raise Refused(
            Cause.IDENTIFYING,
            f"The image is a {word.decode()}: it shows {_SHOW_MORE[word]}, so it is not taken in. Send the "
            "slide's levels.",
        )
    types = values.get(_IMAGE_TYPE, b"").split(b"\\")
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
    if values.get(_RECOGNIZABLE) == b"YES":
        raise Refused(
            Cause.IDENTIFYING,
            "The image says YES in Recognizable Visual Features (0028,0302): it shows who the patient is.",
        )
