"""Stores as they are: what the standard allows, what it does not, and what is out there all the same."""

from __future__ import annotations

import json
import math
import re
import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import imagecodecs
import numpy as np
import pytest

from dicom_io.colour.profiles import IccTarget, target_profile
from tests.support.app import App
from tests.support.asking import ask, assert_pixels, code_of, cut, error, predictions
from tests.support.slides import CODINGS, EXPLICIT, JPEG, Coding, Slide, StoredInstance, pyramid, stained
from tests.support.store import Answer, Request, Store

JSON = {"Content-Type": "application/dicom+json"}
PROFILE = target_profile(IccTarget.ADOBERGB)
PATCH = (200, 100)
JPEG_LOSSLESS = "1.2.840.10008.1.2.4.70"

Documents = list[dict[str, Any]]


def as_json(document: object) -> Answer:
    return 200, JSON, json.dumps(document).encode()


def documents(store: Store, slide: Slide) -> Documents:
    return [store.metadata(instance, slide) for instance in slide.instances]


def is_series_metadata(request: Request) -> bool:
    return re.search(r"/series/[0-9.]+/metadata$", request.path) is not None


def numbers_of(request: Request) -> list[int]:
    return [int(n) for n in request.path.rsplit("/", 1)[1].split(",")] if "/frames/" in request.path else []


def assert_reads(
    service: App,
    store: Store,
    slide: Slide,
    level: StoredInstance,
    tolerance: float = 0,
    **extensions: Any,
) -> None:
    asked = ask(store, slide, [level.uid], PATCH, (0, 0), **extensions)
    assert_pixels(service, asked, cut(level.truth, PATCH, (0, 0)), tolerance)


@pytest.mark.parametrize("metadata", [404, 204])
@pytest.mark.parametrize("search", [204, 404])
def test_no_content_is_no_such_series(probe_app: App, metadata: int, search: int) -> None:
    slide = pyramid()

    def override(request: Request) -> Answer:
        return (metadata if request.path.endswith("/metadata") else search), {}, b""

    with Store(slide) as store:
        store.behaviour.override = override
        assert code_of(probe_app, ask(store, slide, ["1.2"])) == "DICOM_PATH_ERROR"


def paging(store: Store, slide: Slide, page: int) -> Callable[[Request], Answer | None]:
    """Return what makes a store without series metadata that searches a few instances at a time."""

    def override(request: Request) -> Answer | None:
        if is_series_metadata(request):
            return 404, {}, b""
        path, _, query = request.path.partition("?")
        if path.endswith("/instances"):
            asked = parse_qs(query)
            start = int(asked["offset"][0])
            found = documents(store, slide)[start : start + min(page, int(asked["limit"][0]))]
            kept = ("00080018", *asked.get("includefield", []))
            return as_json([{tag: item[tag] for tag in kept if tag in item} for item in found])
        return None

    return override


def test_without_series_metadata_the_named_instance_is_asked_for_alone(probe_app: App) -> None:
    slide = pyramid("explicit", [(260, 240)] * 30 + [(500, 350)])
    with Store(slide) as store:
        store.behaviour.override = paging(store, slide, 12)
        assert_reads(probe_app, store, slide, slide.instances[-1])
        assert len([r for r in store.requests if not numbers_of(r)]) == 2
        unknown = ask(store, slide, ["1.2.3.4"])
        assert code_of(probe_app, unknown) == "LEVEL_NOT_FOUND_ERROR"


def test_without_series_metadata_the_parts_of_a_concatenation_are_found_page_by_page(
    probe_app: App,
) -> None:
    slide = pyramid("explicit", [(260, 240)] * 30)
    parts = slide.add_level(stained(500, 350), CODINGS["explicit"], parts=2)
    with Store(slide) as store:
        store.behaviour.override = paging(store, slide, 12)
        assert_reads(probe_app, store, slide, parts[0])
        asked_of = [r for r in store.requests if re.search("/instances/[0-9.]+/metadata$", r.path)]
        assert len(asked_of) == 2
        pages = [r for r in store.requests if "/instances?" in r.path]
        assert len(pages) == 4  # the last one tells nothing new


@pytest.mark.parametrize("parts", [1, 2])
def test_a_summary_of_a_series_means_ask_the_instance(probe_app: App, parts: int) -> None:
    slide = pyramid("explicit", [(260, 240)], ICCProfile=PROFILE)
    level = slide.add_level(stained(500, 350), CODINGS["explicit"], parts=parts)[0]
    kept = ("00080018", "00080060", "0020000D", "0020000E", "00280008")
    with Store(slide) as store:

        def override(request: Request) -> Answer | None:
            if not is_series_metadata(request):
                return None
            return as_json([{k: v for k, v in item.items() if k in kept} for item in documents(store, slide)])

        store.behaviour.override = override
        assert_reads(probe_app, store, slide, level)


@pytest.mark.parametrize(
    "tail",
    [
        "bulk?imageSetId=0a1b",
        "bulk?path=00480105%2F1%2F00282000",
        "bulk/00480105%5B1%5D/x",
        "/bulk//00282000",
    ],
)
def test_bulk_data_at_the_store_may_be_at_any_of_its_addresses(probe_app: App, tail: str) -> None:
    slide = pyramid("explicit", [(500, 350)], ICCProfile=PROFILE)
    (level,) = slide.instances
    asked = list[str]()
    with Store(slide) as store:

        def override(request: Request) -> Answer | None:
            if request.path.endswith("/metadata"):
                found = documents(store, slide)
                holder = found[0]["00480105"]["Value"][0]["00282000"]
                holder["BulkDataURI"] = f"{store.series_path(slide)}/instances/{level.uid}/{tail}"
                return as_json(found)
            if "/frames/" not in request.path:
                asked.append(request.path)
                return store.multipart([("application/octet-stream", PROFILE)])
            return None

        store.behaviour.override = override
        wanted = ask(store, slide, [level.uid], PATCH, transform_imaging_to_icc_profile="ADOBERGB")
        assert_pixels(probe_app, wanted, cut(level.truth, PATCH), 2)
    assert [path.endswith(tail) for path in asked] == [True]


def test_profiles_of_many_levels_are_fetched_together_and_once_an_address(probe_app: App) -> None:
    slide = pyramid("explicit", [(500, 350)] + [(260, 240)] * 39, ICCProfile=PROFILE)
    lock, now, most, asked = threading.Lock(), 0, 0, list[str]()
    with Store(slide) as store:

        def override(request: Request) -> Answer | None:
            nonlocal now, most
            if request.path.endswith("/metadata"):
                found = documents(store, slide)
                for number, item in enumerate(found):
                    holder = item["00480105"]["Value"][0]["00282000"]
                    holder["BulkDataURI"] = f"bulk/{number % 20}"
                return as_json(found)
            if "/bulk/" not in request.path:
                return None
            with lock:
                asked.append(request.path)
                now += 1
                most = max(most, now)
            time.sleep(0.03)
            with lock:
                now -= 1
            return store.multipart([("application/octet-stream", PROFILE)])

        store.behaviour.override = override
        wanted = ask(
            store, slide, [slide.instances[0].uid], PATCH, transform_imaging_to_icc_profile="ADOBERGB"
        )
        assert_pixels(probe_app, wanted, cut(slide.instances[0].truth, PATCH), 2)
    assert len(asked) == len(set(asked)) == 20
    assert most > 2


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"ICCProfile": PROFILE + b"\0"}, None),
        ({"ImageType": ["DERIVED", "PRIMARY", "THUMBNAIL", "RESAMPLED"]}, None),
        ({}, "DICOM_ERROR"),
        ({"ICCProfile": PROFILE[:-1] + b"\1"}, "DICOM_ERROR"),
    ],
    ids=["padded", "a thumbnail without", "a level without", "another"],
)
def test_which_profiles_of_siblings_are_the_same(
    probe_app: App, changes: dict[str, Any], code: str | None
) -> None:
    slide = pyramid("explicit", [(500, 350)], ICCProfile=PROFILE)
    slide.add_level(stained(260, 240), CODINGS["explicit"], **changes)
    with Store(slide) as store:
        asked = ask(store, slide, [slide.instances[0].uid], transform_imaging_to_icc_profile="SRGB")
        (found,) = predictions(probe_app, asked)
        assert found.get("error", {}).get("code") == code


def test_spaces_around_an_image_type_hide_no_level(probe_app: App) -> None:
    kind = ["DERIVED", "PRIMARY", "THUMBNAIL", "RESAMPLED"]
    slide = pyramid("explicit", [(500, 350)])
    with Store(slide) as store:

        def override(request: Request) -> Answer | None:
            found = documents(store, slide)
            found[0]["00080008"]["Value"] = [*kind[:2], "THUMBNAIL ", " RESAMPLED\0"]
            return as_json(found) if request.path.endswith("/metadata") else None

        store.behaviour.override = override
        assert_reads(probe_app, store, slide, slide.instances[0])


def malformed(kind: str, found: Documents) -> bytes:
    text = json.dumps(found).encode()
    if kind == "a byte order mark":
        return b"\xef\xbb\xbf" + text
    values: dict[str, object] = {"NaN": math.nan, "infinity": [math.inf, -math.inf], "half a pair": "x\ud83d"}
    if kind in values:
        return json.dumps(
            [item | {"00231018": {"vr": "UN", "Value": [values[kind]]}} for item in found]
        ).encode()
    return text.replace(b"planted-id", b"planted-\xe4\xff")


@pytest.mark.parametrize("kind", ["a byte order mark", "NaN", "infinity", "half a pair", "broken UTF-8"])
def test_a_malformed_value_that_nobody_reads_does_no_harm(probe_app: App, kind: str) -> None:
    slide = pyramid("explicit", [(500, 350)])
    with Store(slide) as store:

        def override(request: Request) -> Answer | None:
            if request.path.endswith("/metadata"):
                return 200, JSON, malformed(kind, documents(store, slide))
            return None

        store.behaviour.override = override
        assert_reads(probe_app, store, slide, slide.instances[0])


@pytest.mark.parametrize("kind", ["application/octet-stream; transfer-syntax=" + JPEG, "image/jpeg"])
@pytest.mark.parametrize("many", [404, 400, "the first"])
def test_a_frame_may_come_without_being_a_part(probe_app: App, kind: str, many: int | str) -> None:
    slide = pyramid("JPEG", [(500, 350)])
    (level,) = slide.instances

    def override(request: Request) -> Answer | None:
        numbers = numbers_of(request)
        if not numbers:
            return None
        if len(numbers) > 1 and isinstance(many, int):
            return many, {}, b""
        return 200, {"Content-Type": kind}, level.frames[numbers[0] - 1]

    with Store(slide) as store:
        store.behaviour.override = override
        assert_reads(probe_app, store, slide, level, CODINGS["JPEG"].tolerance)


def test_frames_are_put_where_their_content_location_says(probe_app: App) -> None:
    slide = pyramid("JPEG", [(500, 350)])
    (level,) = slide.instances
    wrong = 0

    def override(request: Request) -> Answer | None:
        body = b""
        for n in reversed(numbers_of(request)):
            where = f"{store.series_path(slide)}/instances/{level.uid}/frames/{n + wrong}"
            head = f"\r\n--b\r\nContent-Type: image/jpeg\r\nContent-Location: {where}\r\n\r\n"
            body += head.encode() + level.frames[n - 1]
        header = {"Content-Type": "multipart/related; boundary=b"}
        return (200, header, body + b"\r\n--b--") if body else None

    with Store(slide) as store:
        store.behaviour.override = override
        assert_reads(probe_app, store, slide, level)
        wrong = 100
        found = error(probe_app, ask(store, slide, [level.uid], token="another"))
        assert found["code"] == "DICOM_ERROR"
        assert "frame 10" in found["description"]


MEDIA_TYPES = {
    "JPEG": "image/jpeg",
    "JPEG-LS": "image/jls",
    "JPEG 2000 lossless": "image/jp2",
    "HTJ2K lossless": "image/jphc",
    "JPEG XL lossless": "image/jxl",
    "RLE": "image/dicom-rle",
}


@pytest.mark.parametrize("says_syntax", [True, False])
@pytest.mark.parametrize("name", MEDIA_TYPES)
def test_stores_that_serve_frames_by_their_media_type_alone_are_asked_for_it(
    probe_app: App, name: str, says_syntax: bool
) -> None:
    kind = MEDIA_TYPES[name]
    slide = pyramid(name, [(500, 350)])
    (level,) = slide.instances
    with Store(slide) as store:
        store.behaviour.says_syntax = says_syntax

        def override(request: Request) -> Answer | None:
            numbers = numbers_of(request)
            if not numbers:
                return None
            if kind not in request.headers["accept"]:
                return 406, {}, b""
            return store.multipart([(kind, level.frames[n - 1]) for n in numbers])

        store.behaviour.override = override
        assert_reads(probe_app, store, slide, level, CODINGS[name].tolerance)
        assert len(store.frame_requests()) == 2


@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL", "YBR_FULL_422"])
@pytest.mark.parametrize("named", [True, False])
def test_frames_that_a_store_decompresses_never_have_their_colours_turned_twice(
    probe_app: App, photometric: str, named: bool
) -> None:
    slide = pyramid("JPEG RGB" if photometric == "RGB" else "JPEG", [(500, 350)])
    (level,) = slide.instances
    level.dataset.PhotometricInterpretation = photometric
    has_jpeg = True
    native = "application/octet-stream" + (f"; transfer-syntax={EXPLICIT}" if named else "")

    def override(request: Request) -> Answer | None:
        numbers = numbers_of(request)
        if not numbers:
            return None
        if "image/jpeg" in request.headers["accept"]:
            parts = [("image/jpeg", level.frames[n - 1]) for n in numbers]
            return store.multipart(parts) if has_jpeg else (406, {}, b"")
        decoded = [np.asarray(imagecodecs.jpeg8_decode(level.frames[n - 1])) for n in numbers]
        return store.multipart([(native, pixels.tobytes()) for pixels in decoded])

    with Store(slide) as store:
        store.behaviour.override = override
        assert_reads(probe_app, store, slide, level, 1)
        has_jpeg = False
        if photometric != "RGB":
            found = error(probe_app, ask(store, slide, [level.uid], token="another"))
            assert found["code"] == "DICOM_ERROR"


@pytest.mark.parametrize("named", [True, False])
def test_a_syntax_that_only_the_metadata_name_wins_over_what_the_bytes_look_like(
    probe_app: App, named: bool
) -> None:
    def encode(tile: Any) -> bytes:
        return bytes(imagecodecs.ljpeg_encode(np.ascontiguousarray(tile[:, :, 1])))

    native = CODINGS["native gray"]
    slide = Slide()
    (level,) = slide.add_level(
        stained(500, 350), Coding(JPEG_LOSSLESS, "MONOCHROME2", encode, native.truth, samples=1)
    )
    plain = Slide().add_level(stained(500, 350), native)[0].frames
    kind = "application/octet-stream" + (f"; transfer-syntax={JPEG_LOSSLESS}" if named else "")

    def override(request: Request) -> Answer | None:
        numbers = numbers_of(request)
        if not numbers or "transfer-syntax=*" not in request.headers["accept"]:
            return None
        return store.multipart([(kind, level.frames[n - 1]) for n in numbers])

    with Store(slide) as store:
        store.behaviour.override = override
        store.behaviour.transcodes[level.uid] = plain
        assert_reads(probe_app, store, slide, level)


def test_available_transfer_syntaxes_are_a_set(probe_app: App) -> None:
    slide = Slide()
    parts = slide.add_level(stained(500, 350), CODINGS["JPEG"], parts=2)
    sets = [[EXPLICIT, JPEG], [JPEG, EXPLICIT]]
    with Store(slide) as store:

        def override(request: Request) -> Answer | None:
            if request.path.endswith("/metadata"):
                found = documents(store, slide)
                for item, syntaxes in zip(found, sets, strict=True):
                    del item["00020010"]
                    item["00083002"]["Value"] = syntaxes
                return as_json(found)
            if numbers := numbers_of(request):
                part = next(p for p in parts if p.uid in request.path)
                return store.multipart([("application/octet-stream", part.frames[n - 1]) for n in numbers])
            return None

        store.behaviour.override = override
        assert_reads(probe_app, store, slide, parts[0])
        sets[1] = ["1.2.840.10008.1.2.4.90"]
        assert code_of(probe_app, ask(store, slide, [parts[0].uid], token="x")) == "DICOM_ERROR"


def test_a_lost_connection_is_asked_again_wherever_it_is_lost(probe_app: App) -> None:
    slide = pyramid("JPEG", [(500, 350)], ICCProfile=PROFILE)
    (level,) = slide.instances
    lost = set[str]()
    with Store(slide) as store:

        def override(request: Request) -> Answer | None:
            kind = request.path.rsplit("/", 1)[1] if "/frames/" not in request.path else "frames"
            if kind in lost:
                return None
            lost.add(kind)
            status, headers, body = store._route(request)
            return status, headers | {"content-length": str(len(body))}, body[: len(body) * 2 // 3]

        store.behaviour.override = override
        asked = ask(store, slide, [level.uid], PATCH, transform_imaging_to_icc_profile="ADOBERGB")
        assert_pixels(probe_app, asked, cut(level.truth, PATCH), 2)
        assert lost == {"metadata", "icc", "frames"}
        assert len(store.requests) == 6
        first, again = (numbers_of(r) for r in store.frame_requests())
        assert set(again) < set(first)  # what had come is not asked for again
