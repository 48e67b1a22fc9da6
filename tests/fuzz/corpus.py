"""What is mutated: good requests, and an image of every format."""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.support.slides import CODINGS, MICROSCOPIC, Slide, stained
from tests.support.tissue import base64_text, encode, tissue

SMALL = 72


@functools.cache
def images() -> tuple[bytes, ...]:
    """Return encoded images of every format that is read, and some that are not."""
    pixels = tissue()[:SMALL, :SMALL]
    image = Image.fromarray(pixels)
    gray16 = Image.fromarray(pixels[:, :, 0].astype(np.uint16) * 257)
    slide = Slide()
    dicom = slide.add_single(stained(SMALL, SMALL), CODINGS["JPEG"], MICROSCOPIC).file()
    native = slide.add_single(stained(SMALL, SMALL), CODINGS["planar"], MICROSCOPIC).file()
    return (
        encode(pixels),
        encode(image.convert("P")),
        encode(image.convert("LA")),
        encode(gray16),
        encode(image, "PNG", dpi=(9, 9)),
        encode(pixels, "JPEG"),
        encode(pixels, "JPEG", progressive=True),
        encode(image.convert("CMYK"), "JPEG"),
        encode(pixels, "TIFF"),
        encode(pixels, "TIFF", compression="tiff_lzw"),
        encode(pixels, "TIFF", compression="jpeg"),
        encode(pixels, "WEBP"),
        encode(pixels, "WEBP", lossless=True),
        encode(pixels, "BMP"),
        encode(image.convert("P"), "BMP"),
        encode(pixels, "JPEG2000"),
        encode(pixels, "JXL"),
        encode(pixels, "JXL", lossless=True),
        encode(pixels, "GIF"),
        dicom,
        native,
    )


def image_instance(data: bytes) -> dict[str, Any]:
    """Return an instance of one patch that may reach beyond the image."""
    return {
        "raw_image_bytes": base64_text(data),
        "patch_coordinates": [{"x_origin": 0, "y_origin": 0}],
        "extensions": {
            "require_patches_fully_in_source_image": False,
            "transform_imaging_to_icc_profile": "SRGB",
        },
    }


@functools.cache
def instances() -> tuple[dict[str, Any], ...]:
    """Return good instances of every kind; stores and buckets are not there, or not allowed."""
    jpeg = encode(tissue()[:224, :224], "JPEG", quality=30)
    patch = {"x_origin": 0, "y_origin": 0, "width": 224, "height": 224}
    tags = {"00080018": {"vr": "UI", "Value": ["1.2.3"]}, "00280010": {"vr": "US", "Value": [256]}}
    state = {
        "slide_path": {"study_uid": "1.2", "series_uid": "3.4"},
        "level_map": {
            "level_map": {"1": {"width": 9, "instances": {"0": {"dicom_object": {"dicom_tags": tags}}}}}
        },
    }
    sizes = {"source_image_width_px": 224, "source_image_height_px": 224}
    options = {
        "image_dimensions": {"width_px": 300, "height_px": 250},
        "transform_imaging_to_icc_profile": "SRGB",
        "require_patches_fully_in_source_image": "False",
    }
    return (
        {"raw_image_bytes": base64_text(jpeg), "patch_coordinates": [patch]},
        {"raw_image_bytes": base64_text(jpeg), "patch_coordinates": [patch, patch], "extensions": options},
        {"image_file_uri": "gs://bucket/a/b.png", "bearer_token": "token", "patch_coordinates": [patch]},
        {
            "image_file_uri": "gs:///placeholder.png",
            "patch_coordinates": [patch],
            "extensions": {"ez_wsi_state": {"patches": [base64_text(jpeg)], **sizes}},
        },
        {
            "image_file_uri": "gs:///placeholder.png",
            "patch_coordinates": [patch],
            "extensions": {
                "ez_wsi_state": {"image": base64_text(jpeg), "icc_profile_metadata_normalization": "NONE"}
            },
        },
        {
            "dicom_path": {
                "series_path": "http://127.0.0.1:9/studies/1.2/series/3.4",
                "instance_uids": ["1.2.3"],
            },
            "bearer_token": "token",
            "patch_coordinates": [patch],
            "extensions": options | {"ez_wsi_state": state},
        },
    )


if __name__ == "__main__":
    for number, data in enumerate(images()):
        (Path(sys.argv[1]) / f"image-{number}").write_bytes(data)
