"""The vendor's SDK as a client, and as a judge of anno2 files: ``python -m tests.support.slidescore_sdk``.

Run as a process of its own with the SDK's environment first on its path: it pins libraries that are older
than the service's.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import slidescore
from slidescore.lib.Decoder import Decoder

HEAT_MAP = {
    "type": "heatmap",
    "x": 128,
    "y": 32,
    "height": 64,
    "data": [[0, 16, 32, 48], [64, 80, 96, 112], [128, 144, 160, 176], [192, 208, 224, 255]],
}
POINTS = [{"x": 10, "y": 20}, {"x": 30, "y": 40}]
POLYGONS = [{"type": "polygon", "points": [{"x": 0, "y": 0}, {"x": 90, "y": 0}, {"x": 90, "y": 90}]}]


def use(server: str, token: str, folder: Path) -> dict[str, Any]:
    """Do what an analysis does with the SDK: metadata, tiles, three uploads, giving the token up."""
    client = slidescore.APIClient(server, token)
    metadata = client.perform_request("GetImageMetadata", {"imageid": 1}).json()
    client.base_url = server  # 1.5.4 asks for it and never sets it
    url, cookie = client.get_image_server_url(1)
    tile = client.get_raw_tile(7, 1, 0, 100, 200, 300, 150, 90)
    uploaded = {}
    for name, items in (("points", POINTS), ("polygons", POLYGONS), ("heatmap", [HEAT_MAP])):
        file = folder / f"{name}.zip"
        client.convert_to_anno2(items, {}, str(file))
        made = client.perform_request("CreateOrphanAnno2", {}, method="POST").json()
        client.upload_using_token(str(file), made["uploadToken"])
        uploaded[name] = made["annoUUID"]
    client.perform_request("GiveUpToken", {}, method="POST")
    return {
        "metadata": metadata,
        "url": url,
        "cookie": cookie,
        "tile": tile.content[:3].hex(),
        "uploaded": uploaded,
    }


def decoded(file: Path) -> dict[str, Any]:
    """What the SDK reads of a heat map."""
    with zipfile.ZipFile(file) as archive:
        decoder = Decoder(archive)
        decoder.decode()
        heat = decoder.items
        return {
            "x": heat.x_offset,
            "y": heat.y_offset,
            "size": heat.size_per_pixel,
            "data": [list(row) for row in heat.matrix],
            "items": decoder.system_metadata["numItems"] == len(heat),
        }


if __name__ == "__main__":
    with contextlib.redirect_stdout(io.StringIO()):  # the SDK prints
        if sys.argv[1] == "use":
            answer = use(sys.argv[2], sys.argv[3], Path(sys.argv[4]))
        else:
            answer = decoded(Path(sys.argv[2]))
    sys.stdout.write(json.dumps(answer))
