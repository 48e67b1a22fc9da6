"""``make demo``: start the service, embed real tissue, show what came back, stop everything."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

import numpy as np

from serving.client import Fault, Image, PathserveClient, Vectors
from tests.support.service import Service
from tests.support.tissue import encode, tissue

ROW = "{:<34} {:<12} {:>6}  {}"


def main() -> int:
    """Run the demo; return an exit status."""
    print("Starting the service with the built-in, untrained encoder …", flush=True)
    started = time.monotonic()
    with Service({}) as service:
        service.wait_healthy()
        print(f"Healthy after {time.monotonic() - started:.1f} s at {service.url}\n")
        names, images = zip(*_images(), strict=True)
        sent = time.monotonic()
        with PathserveClient(service.url) as client:
            found = client.embed(images)
        seconds = time.monotonic() - sent
        _print_table(names, images, found)
        patches = sum(len(vectors) for vectors in found if not isinstance(vectors, Fault))
        facts = client.metadata
        untrained = ", UNTRAINED: its vectors mean nothing" if facts["untrained"] else ""
        print(
            f"\n{patches} patches in {seconds:.2f} s on {facts['device']}, {facts['precision']}{untrained}."
        )
    print("Stopped.")
    return 0


def _images() -> list[tuple[str, Image]]:
    whole = encode(tissue())
    return [
        ("IHC tissue, 512x512 PNG", Image.of_bytes(whole, [(0, 0), (288, 0), (0, 288), (288, 288)])),
        ("its middle, a PNG of its own", Image.of_bytes(encode(tissue()[144:368, 144:368]), [(0, 0)])),
        ("the first, cut off (a fault)", Image.of_bytes(whole[: len(whole) // 2], [(0, 0)])),
    ]


def _print_table(names: Sequence[str], images: Sequence[Image], found: Sequence[Vectors | Fault]) -> None:
    print(ROW.format("image", "patch", "length", "vector, or what is wrong"))
    for name, image, vectors in zip(names, images, found, strict=True):
        if isinstance(vectors, Fault):
            print(ROW.format(name, "-", "-", f"{vectors.code}: {vectors.description}"))
            continue
        for (x, y), vector in zip(image.origins, vectors, strict=True):
            numbers = " ".join(f"{number:+.3f}" for number in vector[:4])
            norm = f"{numbers} …  norm {np.linalg.norm(vector):.3f}"
            print(ROW.format(name, f"({x}, {y})", len(vector), norm))


if __name__ == "__main__":
    sys.exit(main())
