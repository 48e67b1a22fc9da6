"""A slide with words planted at every place where scanners, laboratories and viewers are known to write.

Each place has a word of its own, so that a word that is found again tells where it came from.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.filewriter import dcmwrite
from pydicom.uid import UID

from tests.support.planted_places import plants, put
from tests.support.planted_words import Words
from tests.support.slides import CODINGS, Coding, Slide, stained


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
    places = list(plants(words, icc))
    files = []
    for number, (width, height) in enumerate(sizes):
        stored = slide.add_level(stained(width, height), CODINGS[coding])[0]
        stored.dataset.SOPInstanceUID = UID(words.uid(f"SOPInstanceUID {number}"))
        stored.dataset.BurnedInAnnotation = stored.dataset.SpecimenLabelInImage = "NO"
        planted = Dataset()
        planted.update(stored.dataset)
        _add_functional_groups(planted, width, height)
        for plant in places:
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
        put(Dataset(), FrameType=["DERIVED", "PRIMARY", "VOLUME", "RESAMPLED"])
    ]


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
