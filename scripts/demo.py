"""``make demo``: start the service, embed real tissue, show what came back, stop everything."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from scripts.example import encode, tissue
from serving.client import Fault, Image, PathserveClient, Vectors

ROW = "{:<34} {:<12} {:>6}  {}"


def main() -> int:
    """Run the demo; return an exit status."""
    print("Starting the service with the built-in, untrained encoder …", flush=True)
    started = time.monotonic()
    with _service() as url:
        print(f"Ready after {time.monotonic() - started:.1f} s at {url}\n")
        names, images = zip(*_images(), strict=True)
        sent = time.monotonic()
        with PathserveClient(url) as client:
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


@contextmanager
def _service() -> Iterator[str]:
    """Run the service with default settings on a free port; yield its address once the encoder is ready."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PATHSERVE_", "AIP_"))}
    process = subprocess.Popen(
        [sys.executable, "-m", "serving", "serve"],
        env=inherited | {"AIP_HTTP_PORT": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield f"http://127.0.0.1:{_port_when_ready(process)}"
    finally:
        process.terminate()
        process.communicate()  # drains the pipe: the service logs its shutdown, too


def _port_when_ready(process: subprocess.Popen[str]) -> int:
    """Read the log up to the line of the encoder; the few lines that follow fit in the pipe."""
    assert process.stdout is not None
    port, log = 0, list[str]()
    for line in process.stdout:
        log.append(line)
        fields = json.loads(line) if line.startswith("{") else {}
        port = int(fields.get("port", port))
        if fields.get("message", "").startswith("encoder ready"):
            return port
    sys.exit(f"The service ended before it was ready:\n{''.join(log)}")


def _images() -> list[tuple[str, Image]]:
    whole = encode(tissue(), "PNG")
    return [
        ("IHC tissue, 512x512 PNG", Image.of_bytes(whole, [(0, 0), (288, 0), (0, 288), (288, 288)])),
        ("its middle, a PNG of its own", Image.of_bytes(encode(tissue()[144:368, 144:368], "PNG"), [(0, 0)])),
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
