"""``make demo-webhooks``: an analysis as a user of Slide Score has it, from the click to the heat map.

Slide Score itself is not here: a stand-in, which ships with the tests, serves a slide of real tissue.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import requests

from dicom_io.geometry import Rect
from serving.webhooks.analyses.heatmap import HeatMap
from serving.webhooks.analyses.picture import under_heat_map
from tests.support.service import Service
from tests.support.slidescore import SlideScore, clicked, rect
from tests.support.tiled_slide import StoredSlide

SECRET = "only-for-this-demonstration"
REGION = Rect(1200, 900, 4480, 3584)
EXEMPLAR = Rect(2544, 2244, 448, 448)
PICTURE_HALVINGS = 2


def main() -> int:
    """Run the demo; return an exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("build/demo-webhooks.png"))
    out: Path = parser.parse_args().out
    slide = StoredSlide(8000, 6000, where=Rect(900, 700, 6200, 4600))
    with tempfile.TemporaryDirectory() as folder, SlideScore({1: slide}) as server:
        print(f"A stand-in for Slide Score serves a slide of 8000x6000 pixels at {server.origin}")
        print("Starting pathserve webhooks with the built-in, untrained encoder …", flush=True)
        with _webhooks(server, Path(folder)) as service:
            wait_until_ready(service)
            print(f"Ready at {service.url}; its settings are its address and a secret.\n")
            output = _analysis(service, server)
        _print_results(output)
        heat = _heat_map(server, output)
        _save_picture(slide, heat, out)
    print(f"\nThe region under its heat map, with the exemplar in white: {out}")
    return 0


def _webhooks(server: SlideScore, folder: Path) -> Service:
    return Service(
        {
            "PATHSERVE_WEBHOOKS_PORT": "0",
            "PATHSERVE_JOBS_DATABASE": f"sqlite:///{folder / 'jobs.sqlite'}",
            "PATHSERVE_SLIDESCORE_ORIGINS": server.origin,
            "PATHSERVE_SLIDESCORE_SECRET": SECRET,
        },
        command=(sys.executable, "-m", "serving", "webhooks"),
    )


def wait_until_ready(service: Service) -> None:
    """Wait for TensorFlow and the encoder, which take a minute on a busy machine."""
    while service.health() != requests.codes.ok:
        if service.process.poll() is not None:
            sys.exit(f"The webhooks ended before they were ready:\n{service.log()}")
        time.sleep(0.5)


def _analysis(service: Service, server: SlideScore) -> list[dict[str, Any]]:
    """Click, and poll as Slide Score does."""
    print("A user marks a region and an exemplar, and starts the analysis.")
    answers = {"ROI": _drawn(REGION), "Exemplar": _drawn(EXEMPLAR), "Magnification": "20x"}
    body = clicked(server, SECRET, answers)
    started = time.monotonic()
    posted = _checked(service.session.post(f"{service.url}/slidescore/similar", json=body, timeout=30))
    print(f"Answered in {time.monotonic() - started:.2f} s: {json.dumps(posted)}")
    last = ""
    while True:
        answer = _checked(service.session.get(f"{service.url}/slidescore/status/{posted['id']}", timeout=30))
        if "output" in answer:
            print(f"After {time.monotonic() - started:.1f} s: {answer['status']}\n")
            if answer["status"] == "error":
                sys.exit(f"The analysis failed: {answer['message']}")
            return list(answer["output"])
        if answer["status"] != last:
            last = answer["status"]
            print(f"  {last}", flush=True)
        time.sleep(0.5)


def _drawn(area: Rect) -> str:
    return rect(area.x, area.y, area.width, area.height)


def _checked(answer: requests.Response) -> dict[str, Any]:
    if answer.status_code != requests.codes.ok:
        sys.exit(f"HTTP {answer.status_code}: {answer.text}")
    return dict(answer.json())


def _print_results(output: list[dict[str, Any]]) -> None:
    print("What Slide Score shows:")
    for result in output:
        value = result["value"]
        if result["type"] == "text":
            print(f"  text      {result['name']}:")
            print("            " + str(value).replace("\n", "\n            "))
        else:
            what = value if isinstance(value, str) else f"{len(value)} of them"
            print(f"  {result['type']:<9} {result['name']}, {result['color']}: {what}")


def _heat_map(server: SlideScore, output: list[dict[str, Any]]) -> HeatMap:
    """Return what was uploaded."""
    uuid = next(result["value"] for result in output if result["type"] == "anno2")
    with zipfile.ZipFile(io.BytesIO(server.anno2[uuid])) as archive:
        place = json.loads(archive.read("heatmap_metadata.json"))
        png = np.frombuffer(archive.read("heatmap.png"), np.uint8)
    values = np.asarray(cv2.imdecode(png, cv2.IMREAD_GRAYSCALE), np.uint8)
    return HeatMap(place["x"], place["y"], place["sizePerPixel"], values)


def _save_picture(slide: StoredSlide, heat: HeatMap, out: Path) -> None:
    by = 1 << PICTURE_HALVINGS
    around = Rect(REGION.x - 200, REGION.y - 200, REGION.width + 400, REGION.height + 400)
    seen = Rect(around.x // by, around.y // by, around.width // by, around.height // by)
    pixels = slide.pixels(PICTURE_HALVINGS, seen)
    shown = under_heat_map(pixels, Rect(seen.x * by, seen.y * by, seen.width * by, seen.height * by), heat)
    picture = np.asarray(cv2.imdecode(np.frombuffer(shown, np.uint8), cv2.IMREAD_COLOR), np.uint8)
    left, top = (EXEMPLAR.x // by - seen.x, EXEMPLAR.y // by - seen.y)
    end = (left + EXEMPLAR.width // by, top + EXEMPLAR.height // by)
    picture = np.asarray(cv2.rectangle(picture, (left, top), end, (255, 255, 255), 3), np.uint8)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(cv2.imencode(".png", picture)[1].tobytes())


if __name__ == "__main__":
    sys.exit(main())
