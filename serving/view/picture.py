"""A picture that is dropped on the page: what the page is told of it. The bytes stay with the page."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np

from dicom_io.geometry import Rect
from dicom_io.reading import ReadOptions, read_here
from dicom_io.slides.slide import grid
from dicom_io.slides.tissue import find_tissue
from dicom_io.sources.encoded import EncodedSource
from dicom_io.sources.session import ReadContext, ReadSession
from dicom_io.sources.shared_raster import RasterRegistry
from dicom_io.waiting import Cancellation
from model.encoder import PATCH_SIDE, EncoderFacts
from serving.errors import Code, ServiceError
from serving.view.opening import described_model, packed
from serving.view.plan import LEAST_TISSUE


def described_picture(
    data: bytes, context: ReadContext, waits: Cancellation, facts: EncoderFacts
) -> dict[str, object]:
    """Return a picture as JSON: its size, and which of its patches show tissue.

    Raises
    ------
    ServiceError
        IMAGE_DIMENSION_ERROR when not one patch fits.
    ImageError
        When it cannot be decoded.
    """
    session = ReadSession(context, waits, RasterRegistry({}), lambda _: nullcontext())
    image = EncodedSource(lambda: data).open(ReadOptions(), session)
    width, height = image.width, image.height
    (pixels,) = read_here(image, [Rect(0, 0, width, height)])
    columns, rows = width // PATCH_SIDE, height // PATCH_SIDE
    if not columns or not rows:
        raise ServiceError(
            Code.IMAGE_DIMENSION_ERROR,
            f"The picture has {width}x{height} pixels, less than a patch of {PATCH_SIDE}x{PATCH_SIDE}.",
        )
    tissue = find_tissue(pixels, width, height)
    patches = grid(Rect(0, 0, width, height), PATCH_SIDE, PATCH_SIDE)
    shown = np.array([tissue.share(patch) for patch in patches]) >= LEAST_TISSUE
    return {
        "width": width,
        "height": height,
        "grid": {
            "level": 0,
            "width": width,
            "height": height,
            "mpp": None,
            "image_dimensions": None,
            "side": PATCH_SIDE,
            "columns": columns,
            "rows": rows,
            "tissue": packed(shown) if shown.any() else None,
            "why_all": "" if shown.any() else "No patch looks like tissue.",
        },
        "model": described_model(facts),
    }
