"""The keep-list: each attribute that may stay, with its rule and the reason.

It holds at every depth: an attribute that may stay at one place of a slide may stay at all of them. Names are
those of PS3.6; the modules are those of the VL Whole Slide Microscopy image (PS3.3, A.32.8).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

from pydicom.datadict import tag_for_keyword

from serving.store.deidentify.keeping import vocabulary
from serving.store.deidentify.keeping.pseudonyms import CONTAINER, DEVICE, PATIENT, SPECIMEN
from serving.store.deidentify.keeping.rules import (
    Rule,
    decimals,
    first_words,
    identifier,
    known_or,
    new_uid,
    numbers,
    optical_path,
    profile,
    registered_uid,
    substitute,
    tags,
    whole,
    words,
)  # fmt: skip


class Items(Enum):
    """What the items of a sequence are."""

    DATA_SETS = "data sets"
    """Data sets, of which this list says what stays."""
    CODES = "codes"
    """Codes; those of unknown schemes go."""
    CONTENT = "content"
    """Names and values; codes, numbers and specimen identifiers stay."""
    NONE = "none"
    """No item may stay, but the sequence must be there (type 2)."""


@dataclass(frozen=True, slots=True)
class Kept:
    """An attribute that may stay.

    Attributes
    ----------
    vr:
        Its value representation; in another one it goes.
    rule:
        What may stay of its value or items.
    why:
        Why it may.
    """

    vr: bytes
    rule: Rule | Items
    why: str


_NAMES = "Names an instance; a pseudonym keeps those together that belong together."
_FORMAT = "The format of pixels; without it they cannot be read."
_PLACE = "Where a tile is, and how large."
_OPTICS = "How the light went; what a model may depend on."
_TISSUE = "What the tissue is and how it was prepared, in codes."
_EQUIPMENT = "What made the image; a word of our list, or a pseudonym."
_MUST = "It must be there; nothing of it stays."
_RANGES = "Its part of a concatenation or series."

_US, _UL, _SL, _FL, _FD = (vr.encode() for vr in ("US", "UL", "SL", "FL", "FD"))


def _number(vr: bytes, why: str, low: int = 1, high: int = 1, below: int = 10_000_000) -> Kept:
    return Kept(vr, numbers(vr, low, high, below), why)


def _small(vr: bytes, why: str, below: int = 10_000, count: int = 1) -> Kept:
    """Return an attribute of numbers below any two letters."""
    return _number(vr, why, count, count, below)


def _decimal(why: str, low: int = 1, high: int = 1) -> Kept:
    return Kept(b"DS", decimals(low, high), why)


def _words(why: str, *vocabulary: str, most: int = 1) -> Kept:
    return Kept(b"CS", words(*vocabulary, most=most), why)


def _items(rule: Items, why: str) -> Kept:
    return Kept(b"SQ", rule, why)


_UID = Kept(b"UI", new_uid, _NAMES)
_IMAGE_TYPE = Kept(b"CS", first_words(*vocabulary.IMAGE_TYPE, most=4), "Whether it is a level of the slide.")
_YES_NO = ("YES", "NO")
_CODED_OPTICS = _items(Items.CODES, _OPTICS)
_CODED_TISSUE = _items(Items.CODES, _TISSUE)
_GROUPS = _items(Items.DATA_SETS, _PLACE)

_BY_NAME: dict[str, Kept] = {
    "ImageType": _IMAGE_TYPE,
    "FrameType": _IMAGE_TYPE,
    "VolumetricProperties": _words(_PLACE, "VOLUME", "MIXED", "SAMPLED", "DISTORTED"),
    "VolumeBasedCalculationTechnique": _words(_PLACE, "NONE"),
    "SOPClassUID": Kept(b"UI", registered_uid, "What kind of image it is."),
    "SOPInstanceUID": _UID,
    "StudyInstanceUID": _UID,
    "SeriesInstanceUID": _UID,
    "PyramidUID": _UID,
    "FrameOfReferenceUID": _UID,
    "ConcatenationUID": _UID,
    "SOPInstanceUIDOfConcatenationSource": _UID,
    "DimensionOrganizationUID": _UID,
    "SpecimenUID": _UID,
    "Modality": _words("What kind of image it is.", "SM", "GM", "XC"),
    "PatientID": Kept(b"LO", identifier(PATIENT), "A pseudonym keeps a patient's slides together."),
    "Manufacturer": Kept(b"LO", known_or("Unknown", vocabulary.MAKERS), _EQUIPMENT),
    "ManufacturerModelName": Kept(b"LO", known_or("Unknown", vocabulary.MODELS), _EQUIPMENT),
    "DeviceSerialNumber": Kept(b"LO", identifier(DEVICE), _EQUIPMENT),
    "SoftwareVersions": Kept(b"LO", substitute(b"Unknown"), _MUST),
    "ContentQualification": _words("Whether it is fit for patients.", "PRODUCT", "RESEARCH", "SERVICE"),
    "SeriesNumber": Kept(b"IS", whole(99_999), _RANGES),
    "InstanceNumber": Kept(b"IS", whole(99_999), _RANGES),
    "InConcatenationNumber": _small(_US, _RANGES),
    "InConcatenationTotalNumber": _small(_US, _RANGES),
    "ConcatenationFrameOffsetNumber": _number(_UL, _RANGES),
    "PositionReferenceIndicator": Kept(b"LO", words("SLIDE_CORNER"), _PLACE),
    "DimensionOrganizationSequence": _GROUPS,
    "DimensionIndexSequence": _GROUPS,
    "DimensionIndexPointer": Kept(b"AT", tags(), _PLACE),
    "FunctionalGroupPointer": Kept(b"AT", tags(), _PLACE),
    "DimensionOrganizationType": _words(_PLACE, "TILED_FULL", "TILED_SPARSE", "3D", "3D_TEMPORAL"),
    "SamplesPerPixel": _small(_US, _FORMAT, 4),
    "PhotometricInterpretation": _words(_FORMAT, *vocabulary.PHOTOMETRIC),
    "PlanarConfiguration": _small(_US, _FORMAT, 2),
    "NumberOfFrames": Kept(b"IS", whole(4_000_000), _FORMAT),
    "Rows": _number(_US, _FORMAT),
    "Columns": _number(_US, _FORMAT),
    "PixelSpacing": _decimal(_PLACE, 2, 2),
    "BitsAllocated": _small(_US, _FORMAT, 33),
    "BitsStored": _small(_US, _FORMAT, 33),
    "HighBit": _small(_US, _FORMAT, 32),
    "PixelRepresentation": _small(_US, _FORMAT, 2),
    "BurnedInAnnotation": _words("That nothing is written in the pixels.", *_YES_NO),
    "RecognizableVisualFeatures": _words("Whether pixels show who it is.", *_YES_NO),
    "LossyImageCompression": _words("Whether pixels lost something.", "00", "01"),
    "LossyImageCompressionRatio": _decimal("How much they lost.", 1, 8),
    "LossyImageCompressionMethod": _words("How.", *vocabulary.COMPRESSION_METHODS, most=8),
    "RescaleIntercept": _decimal(_FORMAT),
    "RescaleSlope": _decimal(_FORMAT),
    "PresentationLUTShape": _words(_FORMAT, "IDENTITY", "INVERSE"),
    "ICCProfile": Kept(b"OB", profile, "What colours the numbers are; its words go."),
    "ColorSpace": _words("What colours the numbers are.", *vocabulary.COLOUR_SPACES),
    "SliceThickness": _decimal(_PLACE),
    "SpacingBetweenSlices": _decimal(_PLACE),
    "PixelMeasuresSequence": _GROUPS,
    "FrameContentSequence": _GROUPS,
    "DimensionIndexValues": _number(_UL, _PLACE, 1, 8),
    "WholeSlideMicroscopyImageFrameTypeSequence": _GROUPS,
    "PlanePositionSlideSequence": _GROUPS,
    "ColumnPositionInTotalImagePixelMatrix": _number(_SL, _PLACE),
    "RowPositionInTotalImagePixelMatrix": _number(_SL, _PLACE),
    "XOffsetInSlideCoordinateSystem": _decimal(_PLACE),
    "YOffsetInSlideCoordinateSystem": _decimal(_PLACE),
    "ZOffsetInSlideCoordinateSystem": _decimal(_PLACE),
    "SharedFunctionalGroupsSequence": _GROUPS,
    "PerFrameFunctionalGroupsSequence": _GROUPS,
    "ImagedVolumeWidth": _number(_FL, _PLACE),
    "ImagedVolumeHeight": _number(_FL, _PLACE),
    "ImagedVolumeDepth": _number(_FL, _PLACE),
    "TotalPixelMatrixColumns": _number(_UL, _PLACE),
    "TotalPixelMatrixRows": _number(_UL, _PLACE),
    "TotalPixelMatrixOriginSequence": _GROUPS,
    "SpecimenLabelInImage": _words("That no label is in the pixels.", *_YES_NO),
    "FocusMethod": _words(_OPTICS, "AUTO", "MANUAL"),
    "ExtendedDepthOfField": _words(_OPTICS, *_YES_NO),
    "NumberOfFocalPlanes": _small(_US, _OPTICS),
    "DistanceBetweenFocalPlanes": _number(_FL, _OPTICS),
    "TotalPixelMatrixFocalPlanes": _small(_UL, _PLACE),
    "NumberOfOpticalPaths": _small(_UL, _OPTICS),
    "PixelOriginInterpretation": _words(_PLACE, "FRAME", "VOLUME"),
    "ImageOrientationSlide": _decimal(_PLACE, 6, 6),
    "OpticalPathSequence": _items(Items.DATA_SETS, _OPTICS),
    "OpticalPathIdentifier": Kept(b"SH", optical_path, _OPTICS),
    "OpticalPathIdentificationSequence": _items(Items.DATA_SETS, _OPTICS),
    "IlluminationTypeCodeSequence": _CODED_OPTICS,
    "IlluminatorTypeCodeSequence": _CODED_OPTICS,
    "IlluminationColorCodeSequence": _CODED_OPTICS,
    "IlluminationWaveLength": _number(_FL, _OPTICS),
    "LensesCodeSequence": _CODED_OPTICS,
    "ChannelDescriptionCodeSequence": _CODED_OPTICS,
    "LightPathFilterTypeStackCodeSequence": _CODED_OPTICS,
    "ImagePathFilterTypeStackCodeSequence": _CODED_OPTICS,
    "LightPathFilterPassThroughWavelength": _small(_US, _OPTICS),
    "ImagePathFilterPassThroughWavelength": _small(_US, _OPTICS),
    "LightPathFilterPassBand": _small(_US, _OPTICS, count=2),
    "ImagePathFilterPassBand": _small(_US, _OPTICS, count=2),
    "ObjectiveLensPower": _decimal(_OPTICS),
    "ObjectiveLensNumericalAperture": _decimal(_OPTICS),
    "CondenserLensPower": _decimal(_OPTICS),
    "ContainerIdentifier": Kept(b"LO", identifier(CONTAINER), "A pseudonym keeps a slide's images together."),
    "IssuerOfTheContainerIdentifierSequence": _items(Items.NONE, _MUST),
    "ContainerTypeCodeSequence": _CODED_TISSUE,
    "ContainerComponentSequence": _items(Items.DATA_SETS, _OPTICS),
    "ContainerComponentTypeCodeSequence": _CODED_OPTICS,
    "ContainerComponentMaterial": _words(_OPTICS, "GLASS", "PLASTIC", "METAL"),
    "ContainerComponentThickness": _number(_FD, _OPTICS),
    "ContainerComponentWidth": _number(_FD, _OPTICS),
    "AcquisitionContextSequence": _items(Items.NONE, _MUST),
    "SpecimenDescriptionSequence": _items(Items.DATA_SETS, _TISSUE),
    "SpecimenIdentifier": Kept(b"LO", identifier(SPECIMEN), "A pseudonym tells one piece from another."),
    "IssuerOfTheSpecimenIdentifierSequence": _items(Items.NONE, _MUST),
    "SpecimenReferenceSequence": _items(Items.DATA_SETS, _TISSUE),
    "SpecimenTypeCodeSequence": _CODED_TISSUE,
    "SpecimenPreparationSequence": _items(Items.DATA_SETS, _TISSUE),
    "SpecimenPreparationStepContentItemSequence": _items(Items.CONTENT, _TISSUE),
    "PrimaryAnatomicStructureSequence": _CODED_TISSUE,
}


def _tag(name: str) -> int:
    tag = tag_for_keyword(name)
    assert tag is not None, name
    return tag


KEEP_LIST: Mapping[int, Kept] = MappingProxyType({_tag(name): kept for name, kept in _BY_NAME.items()})
"""By tag, group and element in one number."""
