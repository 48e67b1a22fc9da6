"""``make demo-store``: from a scanner's folder to embeddings, by way of the slide store.

A folder of slides is taken in, shown, one of them shared, and that one embedded by who has the share.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import requests

from serving.client import Fault, Image, PathserveClient
from tests.support.service import Service
from tests.support.store_service import StoreService, shareable

ROW = "{:<46} {:<10} {:>7} {:>12}"
SIZES = ((2400, 1600), (1200, 800), (600, 400))
SLIDES = 2
SIDE = 224
PATCHES = 6

Row = dict[str, Any]


def main() -> int:
    """Run the demo; return an exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slides", type=Path, help="a folder of DICOM slides, in place of made-up ones")
    parser.add_argument("--out", type=Path, default=Path("build/demo-store.jpg"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder: Path = options.slides or _write_slides(Path(temporary) / "scanner")
        print("Starting pathserve store, and the service beside it …", flush=True)
        with StoreService(Path(temporary) / "store") as store, _embedding_service(store) as service:
            store.wait_healthy()
            print(f"Ready at {store.dicomweb}; the page is at {store.url}/store\n")
            _take_in(store, folder)
            series = _show(store, options.out)
            token = _share(store, series)
            service.wait_healthy()
            _embed(service, store, series[0], token)
    print("Stopped; the store and its key are gone.")
    return 0


def _write_slides(folder: Path) -> Path:
    """Write slides of real tissue, as a scanner leaves them."""
    folder.mkdir()
    for number in range(1, SLIDES + 1):
        for level, instance in enumerate(shareable(sizes=SIZES[number - 1 :]).instances):
            (folder / f"slide-{number}-{level}.dcm").write_bytes(instance.file())
    return folder


def _embedding_service(store: StoreService) -> Service:
    """Start the service beside the store, whose slides it reads from the files."""
    own = {"PATHSERVE_STORE_DIR": str(store.folder), "PATHSERVE_STORE_URL": store.dicomweb}
    return Service(own)


def _take_in(store: StoreService, folder: Path) -> None:
    print(f"$ pathserve store add {folder}")
    run = store.command("add", str(folder))
    if run.returncode != 0:
        sys.exit(f"{run.stdout}{run.stderr}")
    print(f"{run.stderr.strip()}; de-identified, under UIDs of the store's own\n")


def _show(store: StoreService, out: Path) -> Sequence[Row]:
    """Print what a search finds; save a small picture; return the series."""
    found: list[Row] = _checked(store.ask("GET", "/dicomweb/series")).json()
    print(ROW.format("study", "modality", "levels", "pixels"))
    for row in found:
        levels = _levels(store, row)
        pixels = f"{_first(levels[0], '00480006')}x{_first(levels[0], '00480007')}"
        modality = _first(row, "00080060")
        print(ROW.format(_first(row, "0020000D"), modality, len(levels), pixels))
    thumbnail = _checked(store.ask("GET", f"{_path(found[0])}/thumbnail", headers={"Accept": "image/jpeg"}))
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(thumbnail.content)
    print(f"\nA small picture of the first: {out}\n")
    return found


def _share(store: StoreService, series: Sequence[Row]) -> str:
    """Share the first study; show what the share opens, and what it does not."""
    study = _first(series[0], "0020000D")
    body = {"studies": [study], "name": "a colleague", "days": 14}
    token = str(_checked(store.ask("POST", "/shares", json=body), requests.codes.created).json()["token"])
    print("The first study is shared for 14 days. With the share's token:")
    for row in series:
        answer = store.ask("GET", f"/dicomweb/studies/{_first(row, '0020000D')}/metadata", token)
        meaning = "may be read" if answer.ok else "is not there"
        print(f"  {_first(row, '0020000D')}  HTTP {answer.status_code}: {meaning}")
    print()
    return token


def _embed(service: Service, store: StoreService, row: Row, token: str) -> None:
    """Embed patches of the shared slide's largest level with the share's token."""
    largest = _levels(store, row)[0]
    columns = int(_first(largest, "00480006")) // SIDE
    origins = [(at % columns * SIDE, at // columns * SIDE) for at in range(PATCHES)]
    image = Image.of_series(f"{store.url}{_path(row)}", [_first(largest, "00080018")], origins, token)
    started = time.monotonic()
    with PathserveClient(service.url) as client:
        (vectors,) = client.embed([image])
        untrained = " UNTRAINED: the vectors mean nothing." if client.metadata["untrained"] else ""
    if isinstance(vectors, Fault):
        sys.exit(f"{vectors.code}: {vectors.description}")
    print(f"{len(vectors)} patches of it, embedded in {time.monotonic() - started:.2f} s.{untrained}")
    for (x, y), vector in zip(origins, vectors, strict=True):
        numbers = " ".join(f"{number:+.3f}" for number in vector[:4])
        print(f"  ({x}, {y})  {numbers} …  norm {np.linalg.norm(vector):.3f}")


def _levels(store: StoreService, row: Row) -> list[Row]:
    """Return the levels of a series, the largest first."""
    found: list[Row] = _checked(store.ask("GET", f"{_path(row)}/instances")).json()
    return sorted(found, key=lambda level: -int(_first(level, "00480006")))


def _path(row: Row) -> str:
    return f"/dicomweb/studies/{_first(row, '0020000D')}/series/{_first(row, '0020000E')}"


def _first(row: Row, tag: str) -> str:
    return str(row[tag]["Value"][0])


def _checked(answer: requests.Response, expected: int = requests.codes.ok) -> requests.Response:
    if answer.status_code != expected:
        sys.exit(f"HTTP {answer.status_code}: {answer.text}")
    return answer


if __name__ == "__main__":
    sys.exit(main())
