"""States as Google's ez_wsi library sends them."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.support.slides import Slide
from tests.support.store import Store
from tests.support.tissue import base64_text, encode

PLACEHOLDER = "gs:///placeholder.png"


def slide_state(store: Store, slide: Slide) -> dict[str, Any]:
    """Return a state as the library makes it of a slide's first level."""
    first = slide.instances[0]
    parts = [i for i in slide.instances if i.truth is first.truth]
    instances, offset = {}, 0
    for part in parts:
        tags = store.metadata(part, slide)
        tags.pop("00280006", None)  # which the library does not ask for
        frames = len(part.frames)
        instances[str(offset)] = {
            "frame_offset": offset,
            "frame_count": frames,
            "dicom_object": {"path": {}, "dicom_tags": tags, "icc_profile_bulkdata_url": ""},
        }
        offset += frames
    height, width = first.truth.shape[:2]
    level = {"level_index": 1, "width": width, "height": height, "instances": instances}
    return {
        "sop_class_uid": "1.2.840.10008.5.1.4.1.1.77.1.6",
        "slide_path": {"study_uid": slide.study, "series_uid": slide.series},
        "level_map": {
            "level_map": {"1": level},
            "icc_profile": {"icc_profile_bytes_as_b64_encoded_str": "", "metadata_state": 0},
        },
    }


def tags_of(state: dict[str, Any], part: str = "0") -> dict[str, Any]:
    found: dict[str, Any] = state["level_map"]["level_map"]["1"]["instances"][part]["dicom_object"][
        "dicom_tags"
    ]
    return found


def client_image(
    state: object, *origins: tuple[int, int], uri: str = PLACEHOLDER, **extensions: Any
) -> dict[str, object]:
    return {
        "image_file_uri": uri,
        "patch_coordinates": [{"x_origin": x, "y_origin": y} for x, y in (origins or [(0, 0)])],
        "extensions": {"ez_wsi_state": state, **extensions},
    }


def patches_state(
    *patches: np.ndarray, size: tuple[int, int] = (512, 512), **more: object
) -> dict[str, object]:
    return {
        "patches": [base64_text(encode(patch)) for patch in patches],
        "source_image_width_px": size[0],
        "source_image_height_px": size[1],
        **more,
    }
