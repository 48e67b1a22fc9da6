"""The Techcyte half of ``make demo-webhooks``: from the trigger to the report that Techcyte shows.

Techcyte itself is not here: a stand-in, which ships with the tests, serves a slide by presigned links and
takes the results.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import requests

from dicom_io.geometry import UInt8Array
from scripts.demo_webhooks import wait_until_ready
from tests.support.certificate import self_signed
from tests.support.service import Service
from tests.support.techcyte import Techcyte
from tests.support.techcyte_slides import FIRST, slide_pixels, write_slide

SECRET = "only-for-this-demonstration"
SCAN = "8946136"
UM_PER_PX = "1"
SHRUNK = 4
"""Level-0 pixels along a pixel of the picture."""


def main() -> int:
    """Run the demo; return an exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("build"), help="folder of the pictures and reports")
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pixels = slide_pixels(pen=True)
        slide = write_slide(folder / "slide.svs", pixels)
        reference = _reference(folder, slide)
        tls = self_signed(folder)
        with Techcyte(tls) as server, _webhooks(server, tls[0], reference, folder) as service:
            print(f"A stand-in for Techcyte is at {server.origin}; pathserve webhooks starts …", flush=True)
            wait_until_ready(service)
            for analysis in ("similar", "qc"):
                body = _analysis(service, server, slide, analysis)
                _print(body)
                _save(out / f"demo-techcyte-{analysis}", body, pixels)
    return 0


def _reference(folder: Path, slide: Path) -> Path:
    """Embed what is looked for: an area that somebody has outlined."""
    print("What is looked for is outlined on a slide (GeoJSON, as QuPath writes it) and embedded:")
    right, bottom = FIRST.right, FIRST.y + FIRST.height // 2
    ring = [[FIRST.x, FIRST.y], [right, FIRST.y], [right, bottom], [FIRST.x, bottom], [FIRST.x, FIRST.y]]
    geometry = {"type": "Polygon", "coordinates": [ring]}
    outlined = {"type": "Feature", "geometry": geometry, "properties": {}}
    (folder / "outlined.geojson").write_text(
        json.dumps({"type": "FeatureCollection", "features": [outlined]}), encoding="utf-8"
    )
    reference = folder / "outlined.parquet"
    command = ["embed", slide, "--mpp", UM_PER_PX, "--tissue", folder / "outlined.geojson"]
    shown = " ".join(str(word) for word in [*command, "--out", reference])
    print(f"  pathserve {shown}", flush=True)
    subprocess.run(
        [sys.executable, "-m", "serving", *map(str, command), "--no-overview", "--out", str(reference)],
        check=True,
        capture_output=True,
    )
    return reference


def _webhooks(server: Techcyte, certificate: Path, reference: Path, folder: Path) -> Service:
    return Service(
        {
            **server.settings(SECRET),
            "PATHSERVE_WEBHOOKS_PORT": "0",
            "PATHSERVE_JOBS_DATABASE": f"sqlite:///{folder / 'jobs.sqlite'}",
            "PATHSERVE_TECHCYTE_FOLDER": str(folder / "slides"),
            "PATHSERVE_TECHCYTE_REFERENCE": str(reference),
            "PATHSERVE_TECHCYTE_UM_PER_PX": UM_PER_PX,
            "PATHSERVE_TECHCYTE_MOST_SIMILAR": "6",
            "PATHSERVE_TECHCYTE_PROVIDER": "Our laboratory",
            "PATHSERVE_TECHCYTE_QC_REASONS": "empty=No tissue,blur=blurry,pen=Pen marks",
            "SSL_CERT_FILE": str(certificate),
        },
        command=(sys.executable, "-m", "serving", "webhooks"),
    )


def _analysis(service: Service, server: Techcyte, slide: Path, analysis: str) -> dict[str, Any]:
    """Trigger an analysis as Techcyte does, and return what it is posted in the end."""
    trigger = server.request({SCAN: [slide]})
    number = server.number_of(trigger)
    print(f"\nA user asks for {analysis} of scan {SCAN}: Techcyte posts task {number} with a presigned link.")
    started = time.monotonic()
    posted = service.session.post(f"{service.url}/techcyte/{analysis}/{SECRET}", json=trigger, timeout=30)
    if posted.status_code != requests.codes.ok:
        sys.exit(f"HTTP {posted.status_code}: {posted.text}")
    print(f"Answered in {time.monotonic() - started:.2f} s: {posted.text}")
    last = ""
    while number not in server.state.accepted:
        state = service.session.get(f"{service.url}/techcyte/status/{posted.json()['id']}", timeout=30).json()
        if state["state"] not in ("queued", "running", "finished"):
            sys.exit(f"The task failed: {state['message']}")
        if state["message"] and state["message"] != last:
            last = state["message"]
            print(f"  {last}", flush=True)
        time.sleep(0.2)
    print(f"After {time.monotonic() - started:.1f} s Techcyte has the results.\n")
    (body,) = server.state.accepted[number]
    return dict(body)


def _print(body: Mapping[str, Any]) -> None:
    (scan,) = body["scanResults"]
    workflow = scan["workflow"]
    print(f"What Techcyte shows: {workflow['model_name']}, by {workflow['provider']}")
    for row in workflow["report"]["results"]:
        print(f"  {row['name']}: {row['result']}")
    for segment in workflow["report"]["segments"]:
        count = len(segment["feature_collection"]["features"])
        print(f"  [{'x' if count else ' '}] {segment['name']}: {count} areas, {segment['result']}")
    for feature in scan.get("geojson", {}).get("features", []):
        print(f"  annotation: {feature['properties']['annotation_type']}, {feature['geometry']['type']}")
    if "qcFailReasons" in scan:
        print(f"  QC: {', '.join(scan['qcFailReasons']) or 'passed'}")
    print("  " + scan["results"]["summary"].replace("\n", "\n  "))


def _save(path: Path, body: Mapping[str, Any], pixels: UInt8Array) -> None:
    report, picture = path.with_suffix(".json"), path.with_suffix(".png")
    report.write_text(json.dumps(body, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    size = (pixels.shape[1] // SHRUNK, pixels.shape[0] // SHRUNK)
    shown = cv2.cvtColor(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2BGR)
    (scan,) = body["scanResults"]
    for rings, colour, is_filled in _polygons(scan):
        tinted = cv2.fillPoly(shown.copy(), rings, colour) if is_filled else shown
        shown = cv2.addWeighted(tinted, 0.35, shown, 0.65, 0)
        shown = cv2.polylines(shown, rings, True, colour, 2)
    picture.write_bytes(cv2.imencode(".png", shown)[1].tobytes())
    where = os.path.relpath(report), os.path.relpath(picture)
    print(f"The report as it was posted: {where[0]}; as a picture: {where[1]}")


def _polygons(scan: Mapping[str, Any]) -> Iterator[tuple[list[np.ndarray], tuple[int, ...], bool]]:
    """Yield rings, a colour and whether it is filled, of the contours and then of the segments."""
    for feature in scan.get("geojson", {}).get("features", []):
        if feature["geometry"]["type"] == "GeometryCollection":
            colours = feature["properties"]["contour_colors"]
            for geometry, colour in zip(feature["geometry"]["geometries"], colours, strict=True):
                yield _rings(geometry), _bgr(colour), True
    for segment in scan["workflow"]["report"]["segments"]:
        for feature in segment["feature_collection"]["features"]:
            yield _rings(feature["geometry"]), _bgr(feature["properties"]["color"]), False


def _rings(polygon: Mapping[str, Any]) -> list[np.ndarray]:
    return [np.array(ring).round().astype(np.int32) // SHRUNK for ring in polygon["coordinates"]]


def _bgr(colour: str) -> tuple[int, ...]:
    return tuple(int(colour[at : at + 2], 16) for at in (5, 3, 1))


if __name__ == "__main__":
    sys.exit(main())
