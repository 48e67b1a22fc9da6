"""A DICOMweb level through the service: cold and warm, with and without ICC, beside decoding alone."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Iterator

from dicom_io.codecs.frame import decode_frame
from dicom_io.codecs.frame_format import FrameFormat
from dicom_io.colour.profiles import IccTarget, target_profile
from tests.benchmarks.bare import Bare
from tests.benchmarks.load import cpu_seconds
from tests.support.service import Service
from tests.support.slides import CODINGS, TILE, Slide, StoredInstance, stained
from tests.support.store import Store

SIDE = 10
"""Patches along a side: 100 patches, aligned to nothing, as clients ask for them."""

PATCHES = SIDE * SIDE
REPEATS = 8


def jpeg_level() -> tuple[Slide, StoredInstance]:
    """Return a slide with one JPEG baseline level and a colour profile."""
    slide = Slide()
    (level,) = slide.add_level(
        stained(4096, 4096), CODINGS["JPEG"], ICCProfile=target_profile(IccTarget.ADOBERGB)
    )
    return slide, level


def bench_dicom(service: Service, bare: Bare) -> None:
    """Measure a JPEG baseline level and print the table."""
    slide, level = jpeg_level()
    decode_ms = _decode_ms(level)
    tokens = (f"token-{number}" for number in itertools.count())
    print(
        "| 100 patches of a JPEG level | patches/s | CPU ms/patch | ÷ bare parts | GETs of frames "
        "| frames fetched |"
    )
    print("|---|---|---|---|---|---|")
    with Store(slide) as store:
        for icc in ("NONE", "SRGB"):
            _heat(service, store, slide, level, icc)
            warm = next(tokens)
            for name, names in (("cold", tokens), ("warm", itertools.repeat(warm))):
                embed_ms = bare.embed_ms(1.0)
                parts_ms = embed_ms + (decode_ms if name == "cold" else 0.0)
                request = dicom_request(store, slide, level, icc)
                _row(service, store, request, f"ICC {icc}, {name}", names, parts_ms)
    print(
        f"\nBare parts: decoding a frame, {decode_ms:.2f} ms of CPU a patch, where it is cold, and the "
        f"probe, {embed_ms:.2f}. The store's CPU is in neither figure. With ICC the transform's table is hot."
    )


def _decode_ms(level: StoredInstance) -> float:
    frames = level.frames[:100]
    form = FrameFormat(TILE, TILE, 3, "YBR_FULL_422", 0)
    started = time.process_time()
    for frame in frames:
        decode_frame(frame, level.syntax, form)
    return 1000 * (time.process_time() - started) / len(frames)


def _heat(service: Service, store: Store, slide: Slide, level: StoredInstance, icc: str) -> None:
    """Use a transform until both workers look it up in a table."""
    request = dicom_request(store, slide, level, icc)
    for _ in range(0 if icc == "NONE" else 60):
        service.predict(request)


def dicom_request(store: Store, slide: Slide, level: StoredInstance, icc: str) -> dict[str, object]:
    """Return an instance of a level's patches."""
    return {
        "dicom_path": {"series_path": store.series_path(slide), "instance_uids": [level.uid]},
        "patch_coordinates": [
            {"x_origin": 100 + 224 * x, "y_origin": 100 + 224 * y} for y in range(SIDE) for x in range(SIDE)
        ],
        "extensions": {"transform_imaging_to_icc_profile": icc},
    }


def _row(
    service: Service,
    store: Store,
    request: dict[str, object],
    name: str,
    tokens: Iterator[str],
    parts_ms: float,
) -> None:
    seconds, used, gets, fetched = [], [], 0, 0
    for _ in range(REPEATS + 1):
        request["bearer_token"] = next(tokens)
        store.requests.clear()
        before, started = cpu_seconds(service), time.perf_counter()
        answer = service.predict(request).json()
        seconds.append(time.perf_counter() - started)
        used.append(1000 * (cpu_seconds(service) - before) / PATCHES)
        if "result" not in answer["predictions"][0]:
            raise RuntimeError(str(answer["predictions"][0]))
        gets = len(store.frame_requests())
        fetched = sum(r.path.count(",") + 1 for r in store.frame_requests())
    rate, cpu_ms = PATCHES / statistics.median(seconds[1:]), statistics.fmean(used[1:])
    print(
        f"| {name} | {rate:.0f} | {cpu_ms:.2f} | {cpu_ms / parts_ms:.2f} of {parts_ms:.2f} | {gets} "
        f"| {fetched} |",
        flush=True,
    )
