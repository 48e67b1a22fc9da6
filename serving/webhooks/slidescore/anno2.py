"""A heat map as Slide Score's anno2: the one form in which it takes heat maps.

Source: version 0.2.0 of the format as slidescore-sdk 1.5.4 reads and writes it. A stored ZIP of a gray PNG,
one pixel a cell, and three small JSON files.
"""

from __future__ import annotations

import io
import zipfile

import cv2
import orjson

from serving.webhooks.analyses.heatmap import HeatMap

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""ZIP's first moment: the same heat map gives the same bytes."""


def heat_map_anno2(heat: HeatMap, about: str) -> bytes:
    """Return a heat map as an anno2 file.

    Parameters
    ----------
    about:
        A remark that is stored with it.
    """
    encoded, png = cv2.imencode(".png", heat.values)
    assert encoded  # a gray image of at least one pixel always is
    documents: dict[str, object] = {
        "system_metadata.json": {"version": "0.2.0", "type": "heatmap", "numItems": int(heat.values.size)},
        "user_metadata.json": {"comment": about},
        "heatmap_metadata.json": {"x": heat.x, "y": heat.y, "sizePerPixel": heat.size},
    }
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, document in documents.items():
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), orjson.dumps(document))
        archive.writestr(zipfile.ZipInfo("heatmap.png", _EPOCH), png.tobytes())
    return file.getvalue()
