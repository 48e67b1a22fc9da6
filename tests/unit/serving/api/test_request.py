from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_io.colour.profiles import IccTarget
from dicom_io.geometry import Patch
from serving.api.fields import integer, size
from serving.api.request import parse_request
from serving.errors import Code, Fault, ServiceError
from serving.pipeline.types import Instance

GOOD: dict[str, Any] = {"raw_image_bytes": "AAAA", "patch_coordinates": [{"x_origin": 1, "y_origin": 2}]}
FIELD = Code.INVALID_REQUEST_FIELD_ERROR


def parse(*instances: object, limit: int = 4000) -> tuple[Instance | Fault, ...]:
    return parse_request(json.dumps({"instances": list(instances)}).encode(), limit).items


def parse_good(**changes: object) -> Instance:
    (item,) = parse(GOOD | changes)
    assert isinstance(item, Instance), item
    return item


def code_of(instance: object) -> Code:
    """Return the code that an instance earns between two good ones, which must stay good."""
    before, item, after = parse(GOOD, instance, GOOD)
    assert isinstance(before, Instance)
    assert isinstance(after, Instance)
    assert isinstance(item, Fault), item
    return Code(item.code)


def patched(**changes: object) -> dict[str, object]:
    return GOOD | {"patch_coordinates": [{"x_origin": 1, "y_origin": 2} | changes]}


def extended(**extensions: object) -> dict[str, object]:
    return GOOD | {"extensions": extensions}


def test_a_patch_is_224_pixels_unless_it_says_so() -> None:
    assert parse_good().patches == (Patch(1, 2, 224, 224),)


def test_integers_may_come_as_doubles() -> None:
    item = parse_good(patch_coordinates=[{"x_origin": -3.0, "y_origin": 2e3, "width": 224.0, "height": 224}])
    assert item.patches == (Patch(-3, 2000, 224, 224),)
    assert all(isinstance(n, int) for n in (item.patches[0].x, item.patches[0].width))


NUMBERS: st.SearchStrategy[object] = st.one_of(
    st.sampled_from(
        [None, True, False, 0, 1, -1, 223, 224, 225, 224.0, -0.0, 1.5, 2**31, -(2**31), "224", [], {}]
    ),
    st.integers(-(2**70), 2**70),
    st.floats(),
)


@given(
    st.fixed_dictionaries({}, optional=dict.fromkeys(("x_origin", "y_origin", "width", "height"), NUMBERS))
)
def test_a_patch_is_the_same_whether_it_is_looked_at_closely_or_not(sent: dict[str, object]) -> None:
    def closely() -> Patch | Code:
        try:
            x, y = (integer(sent, key, "a patch") for key in ("x_origin", "y_origin"))
            width, height = (size(sent, key, "a patch", 224) for key in ("width", "height"))
        except ServiceError as error:
            return error.code
        fits = (width, height) == (224, 224)
        return Patch(x, y, width, height) if fits else Code.INCOMPATIBLE_PATCH_DIMENSIONS_ERROR

    (item,) = parse(GOOD | {"patch_coordinates": [sent]})
    assert (Code(item.code) if isinstance(item, Fault) else item.patches[0]) == closely()


@pytest.mark.parametrize(
    "value",
    [True, False, "1", "", None, [], {}, 1.5, float("nan"), float("inf"), -float("inf"), 2**63, -(2**65)],
)
def test_a_malformed_origin_fails_its_instance(value: object) -> None:
    assert code_of(patched(x_origin=value)) is FIELD


def test_a_number_beyond_a_double_fails_its_instance_alone() -> None:
    body = json.dumps({"instances": [GOOD, patched(x_origin=12345), GOOD]}).replace("12345", "1e400")
    first, second, third = parse_request(body.encode(), 10).items
    assert isinstance(first, Instance)
    assert isinstance(third, Instance)
    assert isinstance(second, Fault)
    assert second.code is FIELD


@pytest.mark.parametrize("value", [-224, 0, True, "224", 224.5, float("nan")])
def test_a_malformed_size_fails_its_instance(value: object) -> None:
    assert code_of(patched(width=value)) is FIELD
    assert code_of(patched(height=value)) is FIELD


@pytest.mark.parametrize("size", [{"width": 256}, {"height": 223}, {"width": 512.0, "height": 512}])
def test_another_patch_size_is_incompatible(size: dict[str, object]) -> None:
    assert code_of(patched(**size)) is Code.INCOMPATIBLE_PATCH_DIMENSIONS_ERROR


@pytest.mark.parametrize("value", [None, 5, "text", True, [], [GOOD]])
def test_an_instance_must_be_an_object(value: object) -> None:
    assert code_of(value) is FIELD


@pytest.mark.parametrize("value", [None, [], {}, "text", 3, [5], [None], [[]]])
def test_patch_coordinates_must_be_a_list_of_patches(value: object) -> None:
    assert code_of(GOOD | {"patch_coordinates": value}) is FIELD


def test_exactly_one_source_must_be_there() -> None:
    assert code_of({"patch_coordinates": GOOD["patch_coordinates"]}) is FIELD
    assert code_of(GOOD | {"image_file_uri": "gs://a/b"}) is FIELD
    assert code_of(GOOD | {"raw_image_bytes": 5}) is FIELD
    assert code_of(GOOD | {"raw_image_bytes": {"b64": "AAAA"}}) is FIELD


def test_a_token_has_no_use_with_inlined_bytes() -> None:
    assert code_of(GOOD | {"bearer_token": "secret"}) is FIELD
    assert isinstance(parse(GOOD | {"bearer_token": ""})[0], Instance)


def test_a_token_is_in_no_error_and_no_repr() -> None:
    (item,) = parse(GOOD | {"bearer_token": "s3cr3t", "raw_image_bytes": "QUJDRA=="})
    assert "s3cr3t" not in str(item)
    assert "QUJDRA" not in repr(parse_good(raw_image_bytes="QUJDRA=="))


@pytest.mark.parametrize("name", ["srgb", "SRGB", "sRgb"])
def test_colour_spaces_are_named_in_any_case(name: str) -> None:
    assert (
        parse_good(extensions={"transform_imaging_to_icc_profile": name}).options.icc_target is IccTarget.SRGB
    )


@pytest.mark.parametrize("value", [None, "", "none", "NONE"])
def test_no_colour_space_is_none(value: object) -> None:
    item = parse_good(extensions={"transform_imaging_to_icc_profile": value})
    assert item.options.icc_target is IccTarget.NONE


@pytest.mark.parametrize("value", ["CMYK", 5, True, ["SRGB"], {}])
def test_an_unknown_colour_space_is_an_icc_error(value: object) -> None:
    expected = Code.INVALID_ICC_PROFILE_TRANSFORM_ERROR
    assert code_of(extended(transform_imaging_to_icc_profile=value)) is expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(True, True), ("True", True), ("False", False), (False, False), ("false", False), (None, True)],
)
def test_require_inside_is_a_boolean_or_its_name(value: object, expected: bool) -> None:
    item = parse_good(extensions={"require_patches_fully_in_source_image": value})
    assert item.options.require_inside is expected


@pytest.mark.parametrize("value", ["yes", 1, 0.0, [], {}])
def test_anything_else_is_no_boolean(value: object) -> None:
    assert code_of(extended(require_patches_fully_in_source_image=value)) is FIELD


def test_image_dimensions_are_two_positive_integers() -> None:
    item = parse_good(extensions={"image_dimensions": {"width_px": 300.0, "height_px": 400}})
    assert item.options.image_dimensions == (300, 400)
    faults: list[object] = [
        5,
        [],
        {"width_px": 3},
        {"width_px": 0, "height_px": 3},
        {"width_px": "3", "height_px": 3},
    ]
    for value in faults:
        assert code_of(extended(image_dimensions=value)) is FIELD


def test_unknown_extensions_are_ignored() -> None:
    assert parse_good(extensions={"tomorrow": {"x": 1}}).options == parse_good().options
    assert parse_good(extensions=None).options == parse_good().options
    assert code_of(GOOD | {"extensions": "text"}) is FIELD


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"not json",
        b"\xff\xfe",
        b"[]",
        b"5",
        b"null",
        b"{}",
        b'{"instances": {}}',
        b'{"instances": []}',
        b'{"instances": null}',
        b"[" * 100_000,
        b'{"instances": ["\\ud800"}',
    ],
)
def test_a_body_without_readable_instances_fails_the_request(body: bytes) -> None:
    with pytest.raises(ServiceError) as caught:
        parse_request(body, 10)
    assert caught.value.code is FIELD


def test_too_many_patches_fail_the_request() -> None:
    five = GOOD | {"patch_coordinates": [{"x_origin": 0, "y_origin": 0}] * 5}
    assert len(parse(five, five, limit=10)) == 2
    for instances in ([five, five, GOOD], [5] * 11, [five, five, {"patch_coordinates": [None]}]):
        with pytest.raises(ServiceError) as caught:
            parse(*instances, limit=10)
        assert caught.value.code is Code.TOO_MANY_PATCHES_ERROR


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "instances",
                    "raw_image_bytes",
                    "patch_coordinates",
                    "extensions",
                    "x_origin",
                    "y_origin",
                    "width",
                    "height",
                    "image_dimensions",
                    "width_px",
                    "height_px",
                    "bearer_token",
                    "dicom_path",
                    "image_file_uri",
                    "transform_imaging_to_icc_profile",
                    "require_patches_fully_in_source_image",
                ]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=30,
)


@given(st.lists(json_values, min_size=1, max_size=4))
def test_any_json_is_an_instance_or_a_coded_error(instances: list[object]) -> None:
    body = json.dumps({"instances": instances}).encode()
    try:
        items = parse_request(body, 100).items
    except ServiceError as error:
        assert error.code in (FIELD, Code.TOO_MANY_PATCHES_ERROR)
    else:
        assert len(items) == len(instances)
        assert all(isinstance(item, (Instance, Fault)) for item in items)
