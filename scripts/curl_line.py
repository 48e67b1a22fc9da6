"""Prints a curl line that works against ``make serve`` when it is pasted into another terminal."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from scripts.example import encode, tissue
from serving.client import Image


def main() -> None:
    """Write an example request and print the line that sends it."""
    image = Image.of_bytes(encode(tissue(), "JPEG"), [(0, 0), (224, 224)])
    body = {"instances": [image.instance()]}
    path = Path(tempfile.gettempdir()) / "pathserve-example.json"
    path.write_text(json.dumps(body), encoding="ascii")
    port = os.environ.get("AIP_HTTP_PORT") or "8080"
    route = os.environ.get("AIP_PREDICT_ROUTE") or "/predict"
    print("When the log says that the encoder is ready, paste this into another terminal:\n")
    print(f"  curl -s -H 'Content-Type: application/json' -d @{path} http://127.0.0.1:{port}{route}\n")
    print("Ctrl-C stops the service.\n", flush=True)


if __name__ == "__main__":
    main()
