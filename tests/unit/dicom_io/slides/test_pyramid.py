from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_io.errors import ImageCode, ImageError
from dicom_io.geometry import Rect
from dicom_io.slides.instance import SopInstance, parse_instance
from dicom_io.slides.level import Level
from dicom_io.slides.pyramid import select_level
from dicom_io.slides.requirements import REQUIREMENTS, Grade, require_valid
from tests.support.slides import CODINGS, Slide, stained


def instances(slide: Slide) -> list[SopInstance]:
    return [parse_instance(i.dataset.to_json_dict()) for i in slide.instances]


def right() -> SopInstance:
    slide = Slide()
    slide.add_level(stained(500, 350), CODINGS["explicit"])
    return instances(slide)[0]


def level(width: int, height: int, tile_width: int, tile_height: int) -> Level:
    return Level(width, height, tile_width, tile_height, (right(),))


@given(
    st.integers(1, 70),
    st.integers(1, 70),
    st.integers(1, 30),
    st.integers(1, 30),
    st.integers(-20, 80),
    st.integers(-20, 80),
    st.integers(1, 60),
    st.integers(1, 60),
)
def test_tiles_cover_exactly_what_a_region_touches(
    width: int, height: int, tile_width: int, tile_height: int, x: int, y: int, w: int, h: int
) -> None:
    made = level(width, height, tile_width, tile_height)
    owner = np.full((height + 100, width + 100), -1)
    for row in range(height):
        for column in range(width):
            frame = (row // tile_height) * made.tiles_across + column // tile_width
            owner[row + 20, column + 20] = frame
    touched = {int(f) for f in owner[y + 20 : y + 20 + h, x + 20 : x + 20 + w].ravel() if f >= 0}
    found = list(made.tiles(Rect(x, y, w, h)))
    assert {frame for frame, _, _ in found} == touched
    assert len(found) == len(touched) == made.touched(Rect(x, y, w, h))
    assert made.frames_in(Rect(x, y, w, h)) == [frame for frame, _, _ in found]
    for frame, left, top in found:
        assert owner[top + 20, left + 20] == frame
        assert left % tile_width == top % tile_height == 0


def test_frames_of_a_concatenation_are_found_in_their_part() -> None:
    slide = Slide()
    slide.add_level(stained(1000, 700), CODINGS["explicit"], parts=4, ConcatenationUID="1.2.3.4")
    parsed = instances(slide)
    made = select_level(parsed[::-1], [str(parsed[3].sop_uid)], strict=True)
    assert made.frames == 12
    addresses = [made.address(frame) for frame in range(12)]
    assert [a.number for a in addresses] == [1, 2, 3] * 4
    assert [a.part for a in addresses[::3]] == [p.sop_uid for p in parsed]


def test_a_right_instance_meets_every_requirement() -> None:
    require_valid(right(), strict=True)


BROKEN: list[dict[str, Any]] = [
    {"sop_class": "1.2"},
    {"sop_uid": None},
    {"series_uid": None},
    {"study_uid": None},
    {"image_type": ()},
    {"rows": None},
    {"columns": 0},
    {"total_columns": None},
    {"total_rows": -1},
    {"imaged_width": None},
    {"imaged_height": 0.0},
    {"sop_class": "1.2.840.10008.5.1.4.1.1.77.1.2", "frames": 2},
    {"frames": 0},
    {"samples": 4},
    {"photometric": "PALETTE COLOR"},
    {"photometric": None},
    {"samples": 1},
    {"bits_allocated": 16},
    {"high_bit": 15},
    {"pixel_representation": 1},
    {"planar": 2},
    {"organization": "TILED_SPARSE"},
    {"focal_planes": 3},
    {"optical_paths": 2},
    {"modality": "CT"},
    {"bits_stored": 12},
    {"pixel_representation": None},
    {"has_optical_path_sequence": False},
    {"has_pixel_spacing": False},
    {"frame_of_reference_uid": None},
]
"""What breaks each requirement, in their order."""


def test_every_requirement_can_be_broken_and_says_what_it_wants() -> None:
    assert len(BROKEN) == len(REQUIREMENTS)
    for rule, changes in zip(REQUIREMENTS, BROKEN, strict=True):
        with pytest.raises(ImageError) as caught:
            require_valid(replace(right(), **changes), strict=True)
        assert caught.value.code is rule.code
        assert rule.keyword in caught.value.description
        if rule.grade is Grade.DOCUMENTED:
            require_valid(replace(right(), **changes), strict=False)


def test_only_needed_rules_have_codes_of_their_own() -> None:
    assert {rule.code for rule in REQUIREMENTS if rule.grade is Grade.DOCUMENTED} == {ImageCode.DICOM_ERROR}


@given(
    st.dictionaries(
        st.sampled_from(["00080016", "00280010", "00280008", "00480105", "00080008", "00282000"]),
        st.recursive(
            st.none() | st.integers() | st.text(max_size=5) | st.floats(),
            lambda x: (
                st.lists(x, max_size=3) | st.dictionaries(st.sampled_from(["vr", "Value", "InlineBinary"]), x)
            ),
        ),
    )
)
def test_any_json_is_a_data_set(document: dict[str, object]) -> None:
    assert isinstance(parse_instance(document), SopInstance)
