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

REPEATS = 8


def bench_dicom(service: Service, bare: Bare) -> None:
    """Measure a JPEG baseline level and print the table."""
    slide = Slide()
    (level,) = slide.add_level(
        stained(4096, 4096), CODINGS["JPEG"], ICCProfile=target_profile(IccTarget.ADOBERGB)
    )
    tokens = (f"token-{number}" for number in itertools.count())
    print("| 100 patches of a JPEG level | patches/s | CPU ms/patch | GETs of frames | frames fetched |")
    print("|---|---|---|---|---|")
    with Store(slide) as store:
        for icc in ("NONE", "SRGB"):
            _heat(service, store, slide, level, icc)
            warm = next(tokens)
            for name, names in (("cold", tokens), ("warm", itertools.repeat(warm))):
                _row(service, store, _request(store, slide, level, icc), f"ICC {icc}, {name}", names)
    frames = level.frames[:100]
    form = FrameFormat(TILE, TILE, 3, "YBR_FULL_422", 0)
    started = time.process_time()
    for frame in frames:
        decode_frame(frame, level.syntax, form)
    alone = 1000 * (time.process_time() - started) / len(frames)
    embed = bare.embed_ms(2.0)
    print(
        f"\nThe bare parts take {alone + embed:.2f} ms of CPU a patch: decoding a frame {alone:.2f}, the "
        f"probe {embed:.2f}. With ICC the transform's table is hot."
    )


def _heat(service: Service, store: Store, slide: Slide, level: StoredInstance, icc: str) -> None:
    """Use a transform until both workers look it up in a table."""
    request = _request(store, slide, level, icc)
    for _ in range(0 if icc == "NONE" else 60):
        service.predict(request)


def _request(store: Store, slide: Slide, level: StoredInstance, icc: str) -> dict[str, object]:
    return {
        "dicom_path": {"series_path": store.series_path(slide), "instance_uids": [level.uid]},
        "patch_coordinates": [
            {"x_origin": 100 + 224 * x, "y_origin": 100 + 224 * y} for y in range(SIDE) for x in range(SIDE)
        ],
        "extensions": {"transform_imaging_to_icc_profile": icc},
    }


def _row(
    service: Service, store: Store, request: dict[str, object], name: str, tokens: Iterator[str]
) -> None:
    seconds, cpu, gets, fetched = [], 0.0, 0, 0
    for _ in range(REPEATS + 1):
        request["bearer_token"] = next(tokens)
        store.requests.clear()
        before, started = cpu_seconds(service), time.perf_counter()
        answer = service.predict(request).json()
        seconds.append(time.perf_counter() - started)
        cpu = cpu_seconds(service) - before
        if "result" not in answer["predictions"][0]:
            raise RuntimeError(str(answer["predictions"][0]))
        gets = len(store.frame_requests())
        fetched = sum(r.path.count(",") + 1 for r in store.frame_requests())
    rate = SIDE * SIDE / statistics.median(seconds[1:])
    print(f"| {name} | {rate:.0f} | {1000 * cpu / SIDE**2:.2f} | {gets} | {fetched} |", flush=True)
