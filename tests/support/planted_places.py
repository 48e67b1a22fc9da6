"""The places of a data set where scanners, laboratories and viewers are known to write."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from functools import partial

from pydicom.dataset import Dataset
from pydicom.uid import UID

from tests.support.planted_words import Words

PRIVATE_GROUP = 0x0099
HEMATOXYLIN = "12710003"

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


def plants(words: Words, icc: bytes | None) -> Iterator[Plant]:
    """Yield what plants one word or a few at a place."""
    for name in _TEXTS:
        yield _setting({name: words.word(name)})
    for name in _DATES:
        yield _setting({name: words.date(name)})
    for name in _UIDS:
        yield _setting({name: UID(words.uid(name))})
    image_type = words.word("ImageType, value 5")
    yield partial(put, ImageType=["DERIVED", "PRIMARY", "VOLUME", "RESAMPLED", image_type])
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
        block.add_new(2, "SQ", [put(Dataset(), PatientName=deep)])

    yield add


def _nested(words: Words) -> Iterator[Plant]:
    yield partial(
        put,
        RequestAttributesSequence=[
            put(
                Dataset(),
                ScheduledProcedureStepDescription=words.word("RequestAttributesSequence"),
                ReasonForTheRequestedProcedure=words.word("RequestAttributesSequence, deeper"),
            )
        ],
        OtherPatientIDsSequence=[put(Dataset(), PatientID=words.word("OtherPatientIDsSequence"))],
        ReferencedStudySequence=[
            put(Dataset(), ReferencedSOPInstanceUID=UID(words.uid("ReferencedStudySequence")))
        ],
        AcquisitionContextSequence=[
            put(Dataset(), ValueType="TEXT", TextValue=words.word("AcquisitionContextSequence"))
        ],
        IssuerOfTheContainerIdentifierSequence=[
            put(Dataset(), LocalNamespaceEntityID=words.word("IssuerOfTheContainerIdentifierSequence"))
        ],
        DigitalSignaturesSequence=[put(Dataset(), MACIDNumber=1, CertificateType="X509_1993_SIG",
                                        Signature=words.word("DigitalSignaturesSequence").encode() + b"\0")],
        DimensionOrganizationSequence=[
            put(Dataset(), DimensionOrganizationUID=UID(words.uid("DimensionOrganizationUID")))
        ],
        DimensionIndexSequence=[
            put(
                Dataset(),
                DimensionIndexPointer=0x0048021E,
                FunctionalGroupPointer=0x0048021A,
                DimensionDescriptionLabel=words.word("DimensionDescriptionLabel"),
            )
        ],
        TotalPixelMatrixOriginSequence=[
            put(
                Dataset(),
                XOffsetInSlideCoordinateSystem="1.5",
                YOffsetInSlideCoordinateSystem="2",
                PatientName=words.word("a name in TotalPixelMatrixOriginSequence"),
            )
        ],
    )  # fmt: skip


def code(value: str, scheme: str, meaning: str) -> Dataset:
    """Return a code."""
    return put(Dataset(), CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def _specimen(words: Words) -> Iterator[Plant]:
    def step(kind: str, name: tuple[str, str], **value: object) -> Dataset:
        meaning = words.word(f"step {kind} {name[0]}")
        return put(Dataset(), ValueType=kind, ConceptNameCodeSequence=[code(*name, meaning)], **value)

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
        put,
        SpecimenDescriptionSequence=[
            put(
                Dataset(),
                SpecimenIdentifier=words.word("SpecimenIdentifier"),
                SpecimenUID=UID(words.uid("SpecimenUID")),
                IssuerOfTheSpecimenIdentifierSequence=[
                    put(Dataset(), LocalNamespaceEntityID=words.word("IssuerOfTheSpecimenIdentifierSequence"))
                ],
                SpecimenShortDescription=words.word("SpecimenShortDescription"),
                SpecimenDetailedDescription=words.word("SpecimenDetailedDescription"),
                SpecimenTypeCodeSequence=[code(words.word("code that is none of SCT"), "SCT", "x")],
                PrimaryAnatomicStructureSequence=[code("76752008", "SCT", words.word("meaning of a site"))],
                SpecimenPreparationSequence=[
                    put(Dataset(), SpecimenPreparationStepContentItemSequence=items)
                ],
            )
        ],
        ContainerTypeCodeSequence=[code("433466003", "SCT", words.word("meaning of a container"))],
    )


def _optical_paths(words: Words, icc: bytes | None) -> Iterator[Plant]:
    identifier = words.word("OpticalPathIdentifier")
    path = put(
        Dataset(),
        OpticalPathIdentifier=identifier,
        OpticalPathDescription=words.word("OpticalPathDescription"),
        IlluminationTypeCodeSequence=[code("111744", "DCM", words.word("meaning of a light"))],
        ObjectiveLensPower="20",
    )
    if icc is not None:
        path.ICCProfile = _with_words(icc, words)
        path.ColorSpace = words.word("ColorSpace")
    yield partial(put, OpticalPathSequence=[path])

    def refer(dataset: Dataset) -> None:
        dataset.SharedFunctionalGroupsSequence[0].OpticalPathIdentificationSequence = [
            put(Dataset(), OpticalPathIdentifier=identifier)
        ]

    yield refer


def _functional_groups(words: Words) -> Iterator[Plant]:
    label, comment, time, private = (
        words.word("FrameLabel"), words.word("FrameComments"), words.date("FrameAcquisitionDateTime"),
        words.word("private in a functional group"),
    )  # fmt: skip

    def add(dataset: Dataset) -> None:
        for group in dataset.PerFrameFunctionalGroupsSequence:
            put(
                group.FrameContentSequence[0],
                FrameLabel=label,
                FrameComments=comment,
                FrameAcquisitionDateTime=time,
            )
            group.add_new(0x00990010, "LO", private)

    yield add


def _setting(values: Mapping[str, object]) -> Plant:
    return lambda dataset: put(dataset, **values)


def put(dataset: Dataset, **values: object) -> Dataset:
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
