from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from dicom_io.colour.profiles import SRGB_CURVE, IccTarget, RgbSpace, target_profile, write_matrix_profile
from dicom_io.colour.transforms import ColourTransforms, IccTransform, to_rgb
from dicom_io.errors import ImageCode, ImageError
from tests.support.tissue import UInt8Array, tissue

SRGB = RgbSpace("sRGB", (0.64, 0.33), (0.30, 0.60), (0.15, 0.06), (0.3127, 0.3290), 3, SRGB_CURVE)
"""IEC 61966-2-1."""

SRGB_PROFILE = target_profile(IccTarget.SRGB)
COLOURS = np.array([[[255, 255, 255], [0, 0, 0], [128, 128, 128], [255, 0, 0], [0, 255, 0]]], np.uint8)

KNOWN = {
    # sRGB's white, black, mid gray, red and green in other spaces (published conversions)
    IccTarget.ADOBERGB: [[255, 255, 255], [0, 0, 0], [127, 127, 127], [219, 0, 0], [144, 255, 60]],
    IccTarget.DISPLAYP3: [[255, 255, 255], [0, 0, 0], [128, 128, 128], [234, 51, 35], [117, 251, 76]],
}


@pytest.mark.parametrize("target", KNOWN)
def test_targets_agree_with_published_conversions(target: IccTarget) -> None:
    converted = IccTransform(SRGB_PROFILE, target, 3)(COLOURS)
    assert np.abs(converted[0].astype(int) - KNOWN[target]).max() <= 1


@pytest.mark.parametrize("target", [IccTarget.ADOBERGB, IccTarget.ROMMRGB, IccTarget.DISPLAYP3])
def test_a_round_trip_through_a_wider_space_comes_back(target: IccTarget) -> None:
    there = IccTransform(SRGB_PROFILE, target, 3)(tissue())
    back = IccTransform(target_profile(target), IccTarget.SRGB, 3)(there)
    assert np.abs(there.astype(int) - tissue()).max() > 3
    assert np.abs(back.astype(int) - tissue()).max() <= 4


def test_the_profile_writer_agrees_with_the_librarys_srgb() -> None:
    converted = IccTransform(write_matrix_profile(SRGB), IccTarget.SRGB, 3)(tissue())
    assert np.abs(converted.astype(int) - tissue()).max() <= 1


def test_without_a_profile_or_a_wish_nothing_is_transformed() -> None:
    transforms = ColourTransforms()
    assert transforms.to_rgb(None, IccTarget.SRGB, 3) is to_rgb
    assert transforms.to_rgb(SRGB_PROFILE, IccTarget.NONE, 3) is to_rgb
    assert to_rgb(tissue()) is tissue()


def test_gray_becomes_three_equal_channels() -> None:
    rgb = to_rgb(tissue()[:, :, :1])
    np.testing.assert_array_equal(rgb, np.repeat(tissue()[:, :, :1], 3, axis=2))


def test_cmyk_becomes_rgb() -> None:
    inks = np.array(
        [[[0, 0, 0, 0], [255, 0, 0, 0], [0, 255, 0, 0], [0, 0, 255, 0], [0, 0, 0, 255]]], np.uint8
    )
    expected = [[255, 255, 255], [0, 255, 255], [255, 0, 255], [255, 255, 0], [0, 0, 0]]
    assert to_rgb(inks)[0].tolist() == expected


def gray_profile() -> bytes:
    """Return a gray profile with gamma 1.8, made from the sRGB one's bytes by the profile's own layout."""
    white, curve = (
        b"XYZ " + bytes(4) + b"\x00\x00\xf6\xd6\x00\x01\x00\x00\x00\x00\xd3\x2d",
        b"curv" + bytes(7) + b"\x01\x01\xcd",
    )
    text = b"mluc" + bytes(4) + (1).to_bytes(4, "big") + (12).to_bytes(4, "big") + b"enUS"
    text += (2).to_bytes(4, "big") + (28).to_bytes(4, "big") + b"\x00g" + b"\x00\x00"
    tags = [(b"desc", text), (b"cprt", text), (b"wtpt", white), (b"kTRC", curve)]
    table, data, offset = len(tags).to_bytes(4, "big"), b"", 128 + 4 + 12 * len(tags)
    for name, element in tags:
        table += name + (offset + len(data)).to_bytes(4, "big") + len(element).to_bytes(4, "big")
        data += element
    head = bytearray(write_matrix_profile(SRGB)[:128])
    head[:4] = (offset + len(data)).to_bytes(4, "big")
    head[16:20] = b"GRAY"
    return bytes(head) + table + data


def test_a_gray_profile_drives_a_gray_image() -> None:
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    rgb = IccTransform(gray_profile(), IccTarget.SRGB, 1)(ramp)
    linear = (np.arange(256) / 255) ** (0x1CD / 256)
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    assert np.abs(rgb.reshape(256, 3).astype(float) - 255 * srgb[:, None]).max() <= 2


def test_the_transform_is_what_the_colour_library_does() -> None:
    adobe = target_profile(IccTarget.ADOBERGB)
    expected = ImageCms.profileToProfile(
        Image.fromarray(tissue()),
        ImageCms.ImageCmsProfile(io.BytesIO(adobe)),
        ImageCms.ImageCmsProfile(io.BytesIO(SRGB_PROFILE)),
        ImageCms.Intent.PERCEPTUAL,
    )
    assert expected is not None
    np.testing.assert_array_equal(IccTransform(adobe, IccTarget.SRGB, 3)(tissue()), np.asarray(expected))


def broken_profiles() -> dict[str, tuple[bytes, int]]:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    return {
        "no profile at all": (b"junk", 3),
        "cut off": (SRGB_PROFILE[:200], 3),
        "for another kind of image": (SRGB_PROFILE, 1),
        "for Lab": (lab, 3),
        "what stands for damage": (b"", 3),
        "a little cut off": (SRGB_PROFILE[:-4], 3),
        "empty table": (SRGB_PROFILE[:128] + bytes(400), 3),
    }


@pytest.mark.parametrize("name", broken_profiles())
def test_a_profile_that_cannot_be_used_is_an_icc_error(name: str) -> None:
    profile, channels = broken_profiles()[name]
    with pytest.raises(ImageError) as caught:
        ColourTransforms().to_rgb(profile, IccTarget.SRGB, channels)
    assert caught.value.code is ImageCode.INVALID_ICC_PROFILE_TRANSFORM_ERROR


def test_a_profile_that_cannot_be_used_is_no_matter_where_no_transform_is_asked_for() -> None:
    assert ColourTransforms().to_rgb(b"", IccTarget.NONE, 3) is to_rgb


def test_transforms_are_shared_and_bounded() -> None:
    transforms = ColourTransforms(max_bytes=2_500_000)
    first = transforms.to_rgb(SRGB_PROFILE, IccTarget.ADOBERGB, 3)
    assert transforms.to_rgb(SRGB_PROFILE, IccTarget.ADOBERGB, 3) is first
    transforms.to_rgb(SRGB_PROFILE, IccTarget.ROMMRGB, 3)
    transforms.to_rgb(SRGB_PROFILE, IccTarget.DISPLAYP3, 3)
    assert transforms.to_rgb(SRGB_PROFILE, IccTarget.ADOBERGB, 3) is not first


def test_a_large_profile_counts_with_its_transform() -> None:
    transforms = ColourTransforms(max_bytes=4_000_000)
    first = transforms.to_rgb(SRGB_PROFILE, IccTarget.ADOBERGB, 3)
    large = bytearray(SRGB_PROFILE.ljust(1_200_000, b"\0"))
    large[:4] = len(large).to_bytes(4, "big")  # bytes that no tag names are part of a profile, too
    transforms.to_rgb(bytes(large), IccTarget.ADOBERGB, 3)
    assert transforms.to_rgb(SRGB_PROFILE, IccTarget.ADOBERGB, 3) is not first


def test_one_transform_serves_many_threads() -> None:
    from concurrent.futures import ThreadPoolExecutor

    transform = IccTransform(target_profile(IccTarget.ADOBERGB), IccTarget.SRGB, 3)
    crops: list[UInt8Array] = [tissue()[i : i + 224, i : i + 224] for i in range(0, 288, 9)]
    expected = [transform(crop) for crop in crops]
    with ThreadPoolExecutor(4) as pool:
        for one, other in zip(expected, pool.map(transform, crops), strict=True):
            np.testing.assert_array_equal(one, other)
