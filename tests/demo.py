"""``make demo``: start the service, embed real tissue, show what came back, stop everything."""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np

from tests.support.service import Service
from tests.support.tissue import encode, instance, tissue

ROW = "{:<34} {:<12} {:>6}  {}"


def main() -> int:
    """Run the demo; return an exit status."""
    print("Starting the service with the built-in, untrained encoder …", flush=True)
    started = time.monotonic()
    with Service({}) as service:
        service.wait_healthy()
        print(f"Healthy after {time.monotonic() - started:.1f} s at {service.url}\n")
        names, instances = zip(*_instances(), strict=True)
        sent = time.monotonic()
        response = service.predict(*instances)
        seconds = time.monotonic() - sent
        answer = response.json()
        if response.status_code != 200:
            print(f"HTTP {response.status_code}: {answer}")
            return 1
        _print_table(names, answer)
        patches = sum(len(p["result"]["patch_embeddings"]) for p in answer["predictions"] if "result" in p)
        print(f"\n{patches} patches in {seconds:.2f} s by {answer['modelDisplayName']}")
        print(f"on {answer['metadata']['device']}, {answer['metadata']['precision']}.")
    print("Stopped.")
    return 0


def _instances() -> list[tuple[str, dict[str, object]]]:
    whole = encode(tissue())
    return [
        ("IHC tissue, 512x512 PNG", instance(whole, (0, 0), (288, 0), (0, 288), (288, 288))),
        ("its middle, a PNG of its own", instance(encode(tissue()[144:368, 144:368]))),
        ("the first, cut off (a fault)", instance(whole[: len(whole) // 2])),
    ]


def _print_table(names: tuple[str, ...], answer: dict[str, Any]) -> None:
    print(ROW.format("instance", "patch", "length", "vector, or what is wrong"))
    for name, prediction in zip(names, answer["predictions"], strict=True):
        if "error" in prediction:
            error = prediction["error"]
            print(ROW.format(name, "-", "-", f"{error['code']}: {error['description']}"))
            continue
        for embedded in prediction["result"]["patch_embeddings"]:
            vector = np.asarray(embedded["embedding_vector"], np.float32)
            at = embedded["patch_coordinate"]
            numbers = " ".join(f"{number:+.3f}" for number in vector[:4])
            place = f"({at['x_origin']}, {at['y_origin']})"
            norm = f"{numbers} …  norm {np.linalg.norm(vector):.3f}"
            print(ROW.format(name, place, len(vector), norm))


if __name__ == "__main__":
    sys.exit(main())
