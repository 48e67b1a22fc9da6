from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames

from dicom_io.codecs.frame import decode_frame
from dicom_io.codecs.frame_format import FrameFormat
from dicom_io.colour.profiles import IccTarget, target_profile
from dicom_io.colour.transforms import IccTransform
from serving.store.deidentify.deidentifier import Deidentifier
from serving.store.deidentify.mapping import MappingFile
from tests.support.planted import PlantedSlide, planted_slide
from tests.support.planted_places import HEMATOXYLIN
from tests.support.slides import JPEG
from tests.unit.serving.store.deidentify.conftest import KEY, Clean

ADOBE = target_profile(IccTarget.ADOBERGB)


@pytest.fixture(scope="module")
def planted() -> PlantedSlide:
    return planted_slide(icc=ADOBE)


@pytest.fixture(scope="module")
def levels(planted: PlantedSlide, clean: Clean) -> list[tuple[bytes, Dataset]]:
    written = [clean(data)[0] for data in planted.files]
    return [(data, pydicom.dcmread(io.BytesIO(data))) for data in written]


def elements(dataset: Dataset) -> Iterator[pydicom.DataElement]:
    for element in dataset:
        yield element
        if element.VR == "SQ":
            for item in element.value:
                yield from elements(item)


def test_no_planted_word_is_left(planted: PlantedSlide, levels: list[tuple[bytes, Dataset]]) -> None:
    for source, (data, _) in zip(planted.files, levels, strict=True):
        assert len(planted.words.left_in(source)) >= 74
        assert planted.words.left_in(data) == []


def test_no_private_attribute_is_left_at_any_depth(levels: list[tuple[bytes, Dataset]]) -> None:
    for _, dataset in levels:
        assert [element.tag for element in elements(dataset) if element.tag.is_private] == []


def test_the_pixels_of_each_frame_are_the_same(
    planted: PlantedSlide, levels: list[tuple[bytes, Dataset]]
) -> None:
    form = FrameFormat(256, 256, 3, "YBR_FULL_422", 0)
    for source, (_, dataset) in zip(planted.clean.instances, levels, strict=True):
        frames = list(generate_frames(dataset.PixelData, number_of_frames=dataset.NumberOfFrames))
        for frame, original in zip(frames, source.frames, strict=True):
            assert np.array_equal(decode_frame(frame, JPEG, form), decode_frame(original, JPEG, form))


def test_the_colour_transform_is_the_same(planted: PlantedSlide, levels: list[tuple[bytes, Dataset]]) -> None:
    pixels = np.random.default_rng(7).integers(0, 256, (64, 64, 3), np.uint8)
    seen = pydicom.dcmread(io.BytesIO(planted.files[0])).OpticalPathSequence[0].ICCProfile
    kept = levels[0][1].OpticalPathSequence[0].ICCProfile
    assert kept != seen
    before, after = (
        IccTransform(profile, IccTarget.SRGB, 3)(pixels) for profile in (bytes(seen), bytes(kept))
    )
    assert np.array_equal(before, after)


def test_levels_stay_one_slide(levels: list[tuple[bytes, Dataset]]) -> None:
    first, second = (dataset for _, dataset in levels)
    for name in (
        "StudyInstanceUID",
        "SeriesInstanceUID",
        "FrameOfReferenceUID",
        "PatientID",
        "ContainerIdentifier",
    ):
        assert getattr(first, name) == getattr(second, name)
    assert first.SOPInstanceUID != second.SOPInstanceUID
    assert first.SOPInstanceUID == first.file_meta.MediaStorageSOPInstanceUID
    assert str(first.StudyInstanceUID).startswith("2.25.")


def test_the_same_file_gives_the_same_bytes(
    planted: PlantedSlide, levels: list[tuple[bytes, Dataset]], clean: Clean
) -> None:
    assert clean(planted.files[0])[0] == levels[0][0]


def test_the_stain_and_the_site_stay_with_meanings_of_dicom(levels: list[tuple[bytes, Dataset]]) -> None:
    specimen = levels[0][1].SpecimenDescriptionSequence[0]
    assert specimen.PrimaryAnatomicStructureSequence[0].CodeMeaning == "Breast structure (body structure)"
    steps = specimen.SpecimenPreparationSequence[0].SpecimenPreparationStepContentItemSequence
    codes = [step.ConceptCodeSequence[0] for step in steps if step.ValueType == "CODE"]
    assert [(code.CodeValue, code.CodeMeaning) for code in codes] == [(HEMATOXYLIN, "hematoxylin stain")]


def test_a_specimen_has_one_pseudonym_in_its_description_and_its_steps(clean: Clean) -> None:
    planted = planted_slide(sizes=((300, 250),))
    dataset = pydicom.dcmread(io.BytesIO(planted.files[0]))
    specimen = dataset.SpecimenDescriptionSequence[0]
    step = specimen.SpecimenPreparationSequence[0].SpecimenPreparationStepContentItemSequence[0]
    step.TextValue = specimen.SpecimenIdentifier
    file = io.BytesIO()
    dataset.save_as(file)
    kept = pydicom.dcmread(io.BytesIO(clean(file.getvalue())[0])).SpecimenDescriptionSequence[0]
    step = kept.SpecimenPreparationSequence[0].SpecimenPreparationStepContentItemSequence[0]
    assert step.TextValue == kept.SpecimenIdentifier != specimen.SpecimenIdentifier


def test_functional_groups_refer_to_the_optical_path_by_its_new_name(
    levels: list[tuple[bytes, Dataset]],
) -> None:
    dataset = levels[0][1]
    shared = dataset.SharedFunctionalGroupsSequence[0]
    assert (
        shared.OpticalPathIdentificationSequence[0].OpticalPathIdentifier
        == dataset.OpticalPathSequence[0].OpticalPathIdentifier
    )
    assert len(dataset.PerFrameFunctionalGroupsSequence) == dataset.NumberOfFrames


def test_it_says_that_it_was_deidentified_and_how(levels: list[tuple[bytes, Dataset]]) -> None:
    dataset = levels[0][1]
    assert dataset.PatientIdentityRemoved == "YES"
    assert dataset.LongitudinalTemporalInformationModified == "REMOVED"
    codes = [code.CodeValue for code in dataset.DeidentificationMethodCodeSequence]
    assert codes == ["113100", "113104", "113105"]


def test_what_is_left_out_is_counted_by_kind(planted: PlantedSlide, clean: Clean) -> None:
    removed = clean(planted.files[1])[1].removed
    assert (
        removed["private"] == 5
    )  # a block's creator, two attributes, and one in each of two functional groups
    assert removed["part of a frame"] == 2 * 5
    assert removed["wrong representation"] == 3
    assert planted.words.left_in(repr(removed)) == []


def test_the_mapping_leads_back_and_holds_nothing_else(planted: PlantedSlide, tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(planted.files[0])
    mapping = MappingFile.create(tmp_path / "mapping.sqlite", KEY)
    with (tmp_path / "target").open("wb") as target:
        found = Deidentifier(KEY, mapping).write(tmp_path / "source", target)
    words = planted.words.by_place
    assert [pair.original for pair in mapping.reverse(found.study)] == [words["StudyInstanceUID"]]
    dataset = pydicom.dcmread(tmp_path / "target")
    assert [pair.original for pair in mapping.reverse(dataset.PatientID)] == [words["PatientID"]]
    kept = {
        place for place, word in words.items() if word in {pair.original for pair in mapping.everything()}
    }
    assert kept == {
        "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID 0", "FrameOfReferenceUID", "PyramidUID",
        "DimensionOrganizationUID", "SpecimenUID", "PatientID", "ContainerIdentifier", "SpecimenIdentifier",
        "specimen identifier of a step", "DeviceSerialNumber", "OpticalPathIdentifier",
    }  # fmt: skip


def test_an_image_in_it_can_be_decoded_by_another_library(levels: list[tuple[bytes, Dataset]]) -> None:
    frame = next(generate_frames(levels[0][1].PixelData, number_of_frames=levels[0][1].NumberOfFrames))
    assert Image.open(io.BytesIO(frame)).size == (256, 256)
