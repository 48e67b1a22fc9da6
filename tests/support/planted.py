"""A slide with words planted at every place where scanners, laboratories and viewers are known to write.

Each place has a word of its own, so that a word that is found again tells where it came from.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.filewriter import dcmwrite
from pydicom.uid import UID

from tests.support.slides import CODINGS, Coding, Slide, stained

PRIVATE_GROUP = 0x0099
HEMATOXYLIN = "12710003"


@dataclass
class Words:
    """The planted words, by the place where each is.

    Attributes
    ----------
    by_place:
        Words of capital letters and digits, at most 16, dates and UIDs.
    """

    by_place: dict[str, str] = field(default_factory=dict)

    def word(self, place: str) -> str:
        """Return a new word."""
        return self._add(place, f"PHI{len(self.by_place):03}KOWALSKI")

    def date(self, place: str) -> str:
        """Return a new date, long ago."""
        number = len(self.by_place)
        return self._add(place, f"18{number // 28:02}07{1 + number % 28:02}")

    def uid(self, place: str) -> str:
        """Return a new UID."""
        return self._add(place, f"1.3.6.1.4.1.77341.{len(self.by_place)}.20240229")

    def _add(self, place: str, word: str) -> str:
        assert place not in self.by_place
        self.by_place[place] = word
        return word

    def left_in(self, data: bytes | str) -> list[str]:
        """Return the places whose words are in some bytes, as ASCII or UTF-16, in any case."""
        held = data.encode() if isinstance(data, str) else data
        flat = held.replace(b"\0", b"").upper()
        return [place for place, word in self.by_place.items() if word.upper().encode() in flat]


@dataclass
class PlantedSlide:
    """A slide's instances as files.

    Attributes
    ----------
    files:
        The largest level first.
    clean:
        The same slide without a planted word.
    """

    files: list[bytes]
    words: Words
    clean: Slide


def planted_slide(
    sizes: tuple[tuple[int, int], ...] = ((600, 500), (300, 250)),
    coding: str = "JPEG",
    icc: bytes | None = None,
) -> PlantedSlide:
    """Return a slide with words planted in at least 74 places of each instance.

    Parameters
    ----------
    icc:
        An ICC profile, in whose words others are planted.
    """
    words = Words()
    slide = Slide(study=words.uid("StudyInstanceUID"), series=words.uid("SeriesInstanceUID"))
    plants = list(_plants(words, icc))
    files = []
    for number, (width, height) in enumerate(sizes):
        stored = slide.add_level(stained(width, height), CODINGS[coding])[0]
        stored.dataset.SOPInstanceUID = UID(words.uid(f"SOPInstanceUID {number}"))
        stored.dataset.BurnedInAnnotation = stored.dataset.SpecimenLabelInImage = "NO"
        planted = Dataset()
        planted.update(stored.dataset)
        _add_functional_groups(planted, width, height)
        for plant in plants:
            plant(planted)
        files.append(
            _file(planted, CODINGS[coding], [_frame(f, words, coding) for f in stored.frames], words)
        )
    assert len(words.by_place) >= 74
    return PlantedSlide(files, words, slide)


def _add_functional_groups(dataset: Dataset, width: int, height: int) -> None:
    """Make the level sparse, so that each tile has functional groups of its own."""
    dataset.DimensionOrganizationType = "TILED_SPARSE"
    groups = []
    for number in range(int(dataset.NumberOfFrames)):
        across = -(-width // dataset.Columns)
        place, content, group = Dataset(), Dataset(), Dataset()
        place.ColumnPositionInTotalImagePixelMatrix = 1 + number % across * dataset.Columns
        place.RowPositionInTotalImagePixelMatrix = 1 + number // across * dataset.Rows
        place.XOffsetInSlideCoordinateSystem = place.YOffsetInSlideCoordinateSystem = "1.5"
        place.ZOffsetInSlideCoordinateSystem = "0"
        content.DimensionIndexValues = [1 + number % across, 1 + number // across]
        group.FrameContentSequence, group.PlanePositionSlideSequence = [content], [place]
        groups.append(group)
    dataset.PerFrameFunctionalGroupsSequence = groups
    dataset.SharedFunctionalGroupsSequence[0].WholeSlideMicroscopyImageFrameTypeSequence = [
        _set(Dataset(), FrameType=["DERIVED", "PRIMARY", "VOLUME", "RESAMPLED"])
    ]


Plant = Callable[[Dataset], object]

_TEXTS = (
    "PatientName", "PatientID", "IssuerOfPatientID", "OtherPatientIDs", "PatientBirthName", "PatientAddress",
    "PatientTelephoneNumbers", "PatientComments", "EthnicGroup", "Occupation", "AdditionalPatientHistory",
    "AccessionNumber", "StudyID", "StudyDescription", "SeriesDescription", "ProtocolName", "StationName",
    "ReferringPhysicianName", "PhysiciansOfRecord", "OperatorsName", "InstitutionName", "InstitutionAddress",
    "InstitutionalDepartmentName", "DeviceSerialNumber", "Manufacturer", "ManufacturerModelName",
    "SoftwareVersions", "BarcodeValue", "LabelText", "ContainerIdentifier", "ContainerDescription",
    "ImageComments", "DerivationDescription", "AdmissionID", "PositionReferenceIndicator",
    "ClinicalTrialSubjectID", "RequestingPhysician", "TextComments", "ContentQualification",
    "DeidentificationMethod", "StorageMediaFileSetID",
)  # fmt: skip
_DATES = (
    "StudyDate",
    "SeriesDate",
    "ContentDate",
    "PatientBirthDate",
    "AcquisitionDateTime",
    "InstanceCreationDate",
)
_UIDS = ("FrameOfReferenceUID", "PyramidUID", "InstanceCreatorUID", "SynchronizationFrameOfReferenceUID")


def _plants(words: Words, icc: bytes | None) -> Iterator[Plant]:
    """Yield what plants one word or a few at a place."""
    for name in _TEXTS:
        yield _setting({name: words.word(name)})
    for name in _DATES:
        yield _setting({name: words.date(name)})
    for name in _UIDS:
        yield _setting({name: UID(words.uid(name))})
    image_type = words.word("ImageType, value 5")
    yield partial(_set, ImageType=["DERIVED", "PRIMARY", "VOLUME", "RESAMPLED", image_type])
    yield from _unknown(words)
    yield from _nested(words)
    yield from _specimen(words)
    yield from _optical_paths(words, icc)
    yield from _functional_groups(words)


def _unknown(words: Words) -> Iterator[Plant]:
    for tag, vr in (
        (0x00089998, "LO"),
        (0x00229998, "UN"),
        (0x00489998, "UT"),
        (0x00289998, "OB"),
        (0x22009998, "LT"),
    ):
        word = words.word(f"unknown {tag:08X} {vr}")
        yield partial(_add, tag=tag, vr=vr, value=word.encode() if vr in ("UN", "OB") else word)
    yield partial(_add, tag=0x00480011, vr="LO", value=words.word("FocusMethod as LO"))
    yield partial(_add, tag=0x00480302, vr="UT", value=words.word("NumberOfOpticalPaths as UT"))
    yield partial(_add, tag=0x00480012, vr="PN", value=words.word("ExtendedDepthOfField as PN"))
    yield partial(_add, tag=0x60001500, vr="LO", value=words.word("OverlayLabel"))
    yield partial(_add, tag=0x60003000, vr="OB", value=words.word("OverlayData").encode() + b"\0")
    yield partial(_add, tag=0xFFFCFFFC, vr="OB", value=words.word("DataSetTrailingPadding").encode() + b"\0")
    creator, private, deep = (
        words.word("private creator"),
        words.word("private"),
        words.word("private sequence"),
    )

    def add(dataset: Dataset) -> None:
        block = dataset.private_block(PRIVATE_GROUP, creator, create=True)
        block.add_new(1, "LO", private)
        block.add_new(2, "SQ", [_set(Dataset(), PatientName=deep)])

    yield add


def _nested(words: Words) -> Iterator[Plant]:
    yield partial(
        _set,
        RequestAttributesSequence=[
            _set(
                Dataset(),
                ScheduledProcedureStepDescription=words.word("RequestAttributesSequence"),
                ReasonForTheRequestedProcedure=words.word("RequestAttributesSequence, deeper"),
            )
        ],
        OtherPatientIDsSequence=[_set(Dataset(), PatientID=words.word("OtherPatientIDsSequence"))],
        ReferencedStudySequence=[
            _set(Dataset(), ReferencedSOPInstanceUID=UID(words.uid("ReferencedStudySequence")))
        ],
        AcquisitionContextSequence=[
            _set(Dataset(), ValueType="TEXT", TextValue=words.word("AcquisitionContextSequence"))
        ],
        IssuerOfTheContainerIdentifierSequence=[
            _set(Dataset(), LocalNamespaceEntityID=words.word("IssuerOfTheContainerIdentifierSequence"))
        ],
        DigitalSignaturesSequence=[_set(Dataset(), MACIDNumber=1, CertificateType="X509_1993_SIG",
                                        Signature=words.word("DigitalSignaturesSequence").encode() + b"\0")],
        DimensionOrganizationSequence=[
            _set(Dataset(), DimensionOrganizationUID=UID(words.uid("DimensionOrganizationUID")))
        ],
        DimensionIndexSequence=[
            _set(
                Dataset(),
                DimensionIndexPointer=0x0048021E,
                FunctionalGroupPointer=0x0048021A,
                DimensionDescriptionLabel=words.word("DimensionDescriptionLabel"),
            )
        ],
        TotalPixelMatrixOriginSequence=[
            _set(
                Dataset(),
                XOffsetInSlideCoordinateSystem="1.5",
                YOffsetInSlideCoordinateSystem="2",
                PatientName=words.word("a name in TotalPixelMatrixOriginSequence"),
            )
        ],
    )  # fmt: skip


def code(value: str, scheme: str, meaning: str) -> Dataset:
    """Return a code."""
    return _set(Dataset(), CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def _specimen(words: Words) -> Iterator[Plant]:
    def step(kind: str, name: tuple[str, str], **value: object) -> Dataset:
        meaning = words.word(f"step {kind} {name[0]}")
        return _set(Dataset(), ValueType=kind, ConceptNameCodeSequence=[code(*name, meaning)], **value)

    stain = words.word("meaning of a stain")
    items = [
        step("TEXT", ("121041", "DCM"), TextValue=words.word("specimen identifier of a step")),
        step("TEXT", ("121106", "DCM"), TextValue=words.word("comment of a step")),
        step("DATETIME", ("111702", "DCM"), DateTime=words.date("time of a step")),
        step("PNAME", ("111703", "DCM"), PersonName=words.word("name in a step")),
        step("CODE", ("424361007", "SCT"), ConceptCodeSequence=[code(HEMATOXYLIN, "SCT", stain)]),
        step("CODE", ("99", "99LAB"), ConceptCodeSequence=[code(words.word("local code"), "99LAB", "x")]),
    ]  # fmt: skip
    yield partial(
        _set,
        SpecimenDescriptionSequence=[
            _set(
                Dataset(),
                SpecimenIdentifier=words.word("SpecimenIdentifier"),
                SpecimenUID=UID(words.uid("SpecimenUID")),
                IssuerOfTheSpecimenIdentifierSequence=[
                    _set(
                        Dataset(), LocalNamespaceEntityID=words.word("IssuerOfTheSpecimenIdentifierSequence")
                    )
                ],
                SpecimenShortDescription=words.word("SpecimenShortDescription"),
                SpecimenDetailedDescription=words.word("SpecimenDetailedDescription"),
                SpecimenTypeCodeSequence=[code(words.word("code that is none of SCT"), "SCT", "x")],
                PrimaryAnatomicStructureSequence=[code("76752008", "SCT", words.word("meaning of a site"))],
                SpecimenPreparationSequence=[
                    _set(Dataset(), SpecimenPreparationStepContentItemSequence=items)
                ],
            )
        ],
        ContainerTypeCodeSequence=[code("433466003", "SCT", words.word("meaning of a container"))],
    )


def _optical_paths(words: Words, icc: bytes | None) -> Iterator[Plant]:
    identifier = words.word("OpticalPathIdentifier")
    path = _set(
        Dataset(),
        OpticalPathIdentifier=identifier,
        OpticalPathDescription=words.word("OpticalPathDescription"),
        IlluminationTypeCodeSequence=[code("111744", "DCM", words.word("meaning of a light"))],
        ObjectiveLensPower="20",
    )
    if icc is not None:
        path.ICCProfile = _with_words(icc, words)
        path.ColorSpace = words.word("ColorSpace")
    yield partial(_set, OpticalPathSequence=[path])

    def refer(dataset: Dataset) -> None:
        dataset.SharedFunctionalGroupsSequence[0].OpticalPathIdentificationSequence = [
            _set(Dataset(), OpticalPathIdentifier=identifier)
        ]

    yield refer


def _functional_groups(words: Words) -> Iterator[Plant]:
    label, comment, time, private = (
        words.word("FrameLabel"), words.word("FrameComments"), words.date("FrameAcquisitionDateTime"),
        words.word("private in a functional group"),
    )  # fmt: skip

    def add(dataset: Dataset) -> None:
        for group in dataset.PerFrameFunctionalGroupsSequence:
            _set(
                group.FrameContentSequence[0],
                FrameLabel=label,
                FrameComments=comment,
                FrameAcquisitionDateTime=time,
            )
            group.add_new(0x00990010, "LO", private)

    yield add


def _setting(values: Mapping[str, object]) -> Plant:
    return lambda dataset: _set(dataset, **values)


def _set(dataset: Dataset, **values: object) -> Dataset:
    for name, value in values.items():
        setattr(dataset, name, value)
    return dataset


def _add(dataset: Dataset, tag: int, vr: str, value: object) -> None:
    dataset.add_new(tag, vr, value)


def _with_words(icc: bytes, words: Words) -> bytes:
    """Return a profile with a description, a private tag and a maker of our own, and bytes after its end."""
    (count,) = struct.unpack_from(">I", icc, 128)
    entries = [struct.unpack_from(">4sII", icc, 132 + 12 * number) for number in range(count)]
    tags = [
        (name, icc[start : start + size]) for name, start, size in entries if name not in (b"desc", b"cprt")
    ]
    tags += [
        (name, b"text" + bytes(4) + words.word(f"ICC {name.decode()}").encode() + b"\0")
        for name in (b"cprt", b"dmnd", b"targ", b"abcd")
    ]
    wide = words.word("ICC desc").encode("utf-16-be")
    tags.append(
        (b"desc", b"mluc" + bytes(4) + struct.pack(">II2s2sII", 1, 12, b"en", b"US", len(wide), 28) + wide)
    )
    at, table, body = 132 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for name, data in tags:
        table += struct.pack(">4sII", name, at + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    rest = words.word("ICC after the end").encode()
    return struct.pack(">I", at + len(body)) + icc[4:128] + table + body + rest + bytes(len(rest) % 2)


def _frame(frame: bytes, words: Words, coding: str) -> bytes:
    """Return a frame with a comment, EXIF, a thumbnail and bytes after its end, where it is a JPEG."""
    if not coding.startswith("JPEG") or not frame.startswith(b"\xff\xd8"):
        return frame

    def known(place: str) -> bytes:
        return (words.by_place.get(place) or words.word(place)).encode()

    segments = b"".join(
        struct.pack(">BBH", 0xFF, marker, 2 + len(body)) + body
        for marker, body in (
            (0xFE, known("JPEG comment")),
            (0xE1, b"Exif\0\0" + known("EXIF")),
            (0xE0, b"JFXX\0\x13" + known("JFXX")),
            (0xED, known("Photoshop segment")),
        )
    )
    end = frame.rindex(b"\xff\xd9") + 2
    return frame[:2] + segments + frame[2:end] + known("bytes after the end of a frame")


def _file(dataset: Dataset, coding: Coding, frames: list[bytes], words: Words) -> bytes:
    def known(place: str) -> str:
        return words.by_place.get(place) or words.word(place)

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = UID(coding.syntax)
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.ImplementationVersionName = known("ImplementationVersionName")
    meta.SourceApplicationEntityTitle = known("SourceApplicationEntityTitle")
    meta.SendingApplicationEntityTitle = known("SendingApplicationEntityTitle")
    meta.ReceivingApplicationEntityTitle = known("ReceivingApplicationEntityTitle")
    creator = "PrivateInformationCreatorUID"
    meta.PrivateInformationCreatorUID = UID(words.by_place.get(creator) or words.uid(creator))
    meta.PrivateInformation = known("PrivateInformation").encode() + b"\0"
    dataset.file_meta = meta
    dataset.PixelData = encapsulate(frames)
    dataset["PixelData"].VR = "OB"
    dataset.preamble = known("preamble").encode().ljust(128, b"\0")
    file = io.BytesIO()
    dcmwrite(file, dataset, enforce_file_format=True)
    return file.getvalue()
