"""What vectors are made of: told by request, by a schema, and different wherever anything is."""

from __future__ import annotations

import copy
import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from dicom_io.colour.profiles import IccTarget, target_profile
from model.encoder import EncoderFacts, PixelBatch, Vectors
from serving.api import provenance_schema
from tests.support.app import App, ServedApp
from tests.support.asking import ask, predictions
from tests.support.client_states import client_image, patches_state, slide_state
from tests.support.encoders import ProbeEncoder
from tests.support.service import wait_until
from tests.support.slides import CODINGS, EXPLICIT, JPEG, Slide, pyramid, stained
from tests.support.store import Behaviour, Store
from tests.support.tissue import base64_text, encode, instance, tissue

MPEG2 = "1.2.840.10008.1.2.4.100"
ADOBE, P3 = target_profile(IccTarget.ADOBERGB), target_profile(IccTarget.DISPLAYP3)
SCHEMA = jsonschema.Draft202012Validator(
    provenance_schema.document(), format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
)

Record = dict[str, Any]


def sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@pytest.mark.parametrize("mm", [1e306, 5e-324])
def test_a_pixel_spacing_that_is_no_length_is_none(probe_app: App, mm: float) -> None:
    slide = pyramid("explicit", [(1000, 700)])
    measures = slide.instances[0].dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    measures.PixelSpacing = [mm, mm]
    with Store(slide) as store:
        ((record, _),) = told(probe_app, ask(store, slide, [slide.instances[0].uid], (0, 0)))
    assert record["image"]["um_per_px"] == pytest.approx([10, 80 / 7])  # by the imaged volume


def told(app: App | ServedApp, *asked: dict[str, Any]) -> list[tuple[Record, np.ndarray]]:
    """Return the record and the vectors of instances; every record is held to the schema."""
    wanted = []
    for one in copy.deepcopy(asked):
        one.setdefault("extensions", {})["provenance"] = True
        wanted.append(one)
    found = []
    for prediction in predictions(app, *wanted):
        assert "result" in prediction, prediction
        record = prediction["result"]["provenance"]
        SCHEMA.validate(record)
        vectors = [e["embedding_vector"] for e in prediction["result"]["patch_embeddings"]]
        found.append((record, np.array(vectors, np.float32)))
    return found


def record_of(app: App | ServedApp, asked: dict[str, Any]) -> Record:
    ((record, _),) = told(app, asked)
    return record


def differing(one: Record, other: Record) -> set[str]:
    """Return the names of what differs between two records, but for when they were made."""
    return {
        f"{part}.{name}"
        for part in ("image", "read", "model", "service")
        for name in {*one[part], *other[part]}
        if (part, name) != ("service", "time") and one[part].get(name) != other[part].get(name)
    }


@pytest.fixture(scope="module")
def slide() -> Slide:
    return pyramid("explicit", [(1000, 700), (500, 350)], ICCProfile=ADOBE)


@pytest.fixture(scope="module")
def store(slide: Slide) -> Iterator[Store]:
    with Store(slide) as store:
        yield store


def asked_of(store: Store, slide: Slide, level: int = 0, **extensions: Any) -> dict[str, Any]:
    return ask(store, slide, [slide.instances[level].uid], (0, 0), (30, 40), **extensions)


def test_nothing_is_told_unless_it_is_asked_for(probe_app: App) -> None:
    sent = instance(encode(tissue()), extensions={"provenance": "false"})
    plain, other = predictions(probe_app, instance(encode(tissue())), sent)

    assert plain["result"].keys() == other["result"].keys() == {"patch_embeddings"}


def test_a_level_of_a_store_says_all_that_its_vectors_are_made_of(
    probe_app: App, slide: Slide, store: Store
) -> None:
    before = datetime.now().astimezone().replace(microsecond=0)
    record = record_of(
        probe_app,
        asked_of(
            store,
            slide,
            image_dimensions={"width_px": 500, "height_px": 350},
            transform_imaging_to_icc_profile="SRGB",
        ),
    )

    image, read = record["image"], record["read"]
    assert image["sop_instance_uids"] == [slide.instances[0].uid]
    assert (image["study_instance_uid"], image["series_instance_uid"]) == (slide.study, slide.series)
    assert (image["width"], image["height"], image["um_per_px"]) == (1000, 700, [10.0, 10.0])
    assert (read["width"], read["height"], read["um_per_px"]) == (500, 350, [20.0, 20.0])
    assert (read["resampling"], read["transfer_syntaxes"]) == ("area", [EXPLICIT])
    assert read["icc_profile"] == sha256(ADOBE)
    assert (read["transform"], read["rendering_intent"]) == ("SRGB", "perceptual")
    assert read["target_profile"] == sha256(target_profile(IccTarget.SRGB))
    facts = ProbeEncoder.facts
    assert record["model"]["digest"] == facts.digest
    assert (record["model"]["runtime"], record["model"]["precision"]) == (facts.runtime, facts.precision)
    assert before <= datetime.fromisoformat(record["service"]["time"]) <= datetime.now().astimezone()


def test_an_encoded_image_is_told_by_its_bytes_and_its_size_in_um_is_not_guessed(probe_app: App) -> None:
    data = encode(tissue(), "JPEG", quality=90, dpi=(300, 300), icc_profile=P3)
    record = record_of(probe_app, instance(data, (7, 9)))

    assert (record["image"]["format"], record["image"]["digest"]) == ("JPEG", sha256(data))
    assert record["image"]["um_per_px"] is None is record["read"]["um_per_px"]
    assert (record["read"]["icc_profile"], record["read"]["transform"]) == (sha256(P3), "NONE")
    assert any(decoder.startswith("libjpeg-turbo") for decoder in record["read"]["decoders"])


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "WEBP", "JPEG2000", "JXL"])
def test_every_format_names_its_decoder_with_a_version(probe_app: App, kind: str) -> None:
    record = record_of(probe_app, instance(encode(tissue(), kind)))

    assert all(any(c.isdigit() for c in decoder) for decoder in record["read"]["decoders"])
    assert record["read"]["decoders"]


@pytest.mark.parametrize("name", CODINGS)
def test_every_transfer_syntax_names_its_decoder_with_a_version(probe_app: App, name: str) -> None:
    stored = pyramid(name, [(500, 350)])
    with Store(stored) as store:
        read = record_of(probe_app, asked_of(store, stored))["read"]

    assert len(read["transfer_syntaxes"]) == len(read["decoders"]) == 1
    assert any(c.isdigit() for c in read["decoders"][0])


def test_the_syntax_is_that_in_which_frames_came_also_from_the_cache(probe_app: App) -> None:
    stored = pyramid("JPEG", [(500, 350)])
    with Store(stored, behaviour=Behaviour(says_syntax=False)) as store:
        first = record_of(probe_app, asked_of(store, stored))
        fetched = len(store.frame_requests())
        again = record_of(probe_app, asked_of(store, stored))
        assert len(store.frame_requests()) == fetched

    assert first["read"]["transfer_syntaxes"] == again["read"]["transfer_syntaxes"] == [JPEG]
    assert differing(first, again) == set()


def test_a_store_that_transcodes_is_told_by_what_it_sends(probe_app: App) -> None:
    stored = pyramid("explicit", [(500, 350)])
    (level,) = stored.instances
    level.syntax = MPEG2
    with Store(stored) as store:
        store.behaviour.transcodes[level.uid] = level.frames
        read = record_of(probe_app, asked_of(store, stored))["read"]

    assert read["transfer_syntaxes"] == [EXPLICIT]


def test_a_concatenation_names_all_of_its_parts(probe_app: App) -> None:
    stored = Slide()
    parts = stored.add_level(stained(1000, 700), CODINGS["explicit"], parts=3)
    with Store(stored) as store:
        record = record_of(probe_app, asked_of(store, stored, 1))

    assert record["image"]["sop_instance_uids"] == [part.uid for part in parts]


@pytest.mark.parametrize("bulk", [True, False])
def test_a_profile_that_nothing_is_transformed_by_is_told_all_the_same(probe_app: App, bulk: bool) -> None:
    stored = pyramid("explicit", [(500, 350)], ICCProfile=P3 + bytes(1))
    with Store(stored, behaviour=Behaviour(bulk_icc=bulk)) as store:
        assert not any(r.path.endswith("/icc") for r in store.requests)
        read = record_of(probe_app, asked_of(store, stored))["read"]

    assert (read["icc_profile"], read["transform"], read["target_profile"]) == (sha256(P3), "NONE", None)


def test_a_profile_that_cannot_be_fetched_is_unread_where_nothing_needs_it(probe_app: App) -> None:
    stored = pyramid("explicit", [(500, 350)], ICCProfile=P3)

    with Store(stored) as store:
        store.behaviour.override = lambda request: (404, {}, b"") if request.path.endswith("/icc") else None
        assert record_of(probe_app, asked_of(store, stored))["read"]["icc_profile"] == "unread"


def test_what_a_clients_state_does_not_tell_is_unread(probe_app: App) -> None:
    stored = pyramid("JPEG", [(500, 350)])
    with Store(stored) as store:
        state = slide_state(store, stored)
        record = record_of(probe_app, asked_of(store, stored, ez_wsi_state=state))

    assert record["image"]["study_instance_uid"] == stored.study
    assert record["read"]["icc_profile"] in ("unread", None)


# Equal records, equal vectors; and whatever is changed, changes the record


def variants(store: Store, slide: Slide) -> dict[str, tuple[dict[str, Any], set[str]]]:
    """Return ways to ask for a slide, and what of the record differs from asking for it plainly."""
    resized = {"read.width", "read.height", "read.um_per_px", "read.resampling", "read.resizer"}
    transformed = {
        *("read.transform", "read.target_profile", "read.rendering_intent"),
        *("read.colour_engine", "read.transformed_by"),
    }
    level = {
        *("image.sop_instance_uids", "image.width", "image.height", "image.um_per_px"),
        *("read.width", "read.height", "read.um_per_px"),
    }

    def to(target: str) -> dict[str, Any]:
        return asked_of(store, slide, transform_imaging_to_icc_profile=target)

    return {
        "plain": (asked_of(store, slide), set()),
        "another level": (asked_of(store, slide, 1), level),
        "shrunk": (asked_of(store, slide, image_dimensions={"width_px": 500, "height_px": 350}), resized),
        "enlarged": (asked_of(store, slide, image_dimensions={"width_px": 1500, "height_px": 1050}), resized),
        "stretched": (
            asked_of(store, slide, image_dimensions={"width_px": 500, "height_px": 1400}),
            resized,
        ),
        "to sRGB": (to("SRGB"), transformed),
        "to ROMM RGB": (to("ROMMRGB"), transformed),
        "black outside": (
            asked_of(store, slide, require_patches_fully_in_source_image=False),
            {"read.outside"},
        ),
    }


def test_equal_records_mean_equal_vectors_and_what_is_changed_changes_the_record(
    probe_app: App, slide: Slide, store: Store
) -> None:
    asked = variants(store, slide)
    first, second = (told(probe_app, *(one for one, _ in asked.values())) for _ in range(2))
    plain, _ = first[0]

    for (name, (_, changed)), (record, vectors), (again, vectors_again) in zip(
        asked.items(), first, second, strict=True
    ):
        assert differing(record, plain) == changed, name
        assert differing(record, again) == set(), name
        assert np.array_equal(vectors, vectors_again), name
    assert len({json.dumps(r | {"service": 0}, sort_keys=True) for r, _ in first}) == len(asked)


@pytest.mark.parametrize(
    ("coding", "changes", "changed"),
    [
        ("explicit", {"ICCProfile": P3}, {"read.icc_profile"}),
        ("explicit", {"ICCProfile": None}, {"read.icc_profile"}),
        ("explicit", {"ImagedVolumeWidth": 5.0}, set()),  # Pixel Spacing comes first
        ("JPEG 2000 lossless", {"ICCProfile": ADOBE}, {"read.transfer_syntaxes", "read.decoders"}),
        ("JPEG-LS", {"ICCProfile": ADOBE}, {"read.transfer_syntaxes", "read.decoders"}),
        ("RLE", {"ICCProfile": ADOBE}, {"read.transfer_syntaxes", "read.decoders"}),
    ],
)
def test_the_same_pixels_stored_in_another_way_have_another_record(
    probe_app: App, slide: Slide, store: Store, coding: str, changes: dict[str, Any], changed: set[str]
) -> None:
    names = {"image.sop_instance_uids", "image.study_instance_uid", "image.series_instance_uid"}
    changes = {"ICCProfile": ADOBE} | changes
    other = Slide(slide.study, slide.series)
    for level in slide.instances[:1]:
        height, width = level.truth.shape[:2]
        (added,) = other.add_level(stained(width, height), CODINGS[coding], **changes)
        added.dataset.SOPInstanceUID = level.uid
    with Store(other) as there:
        found = record_of(probe_app, asked_of(there, other))

    assert differing(found, record_of(probe_app, asked_of(store, slide))) - names == changed


def test_another_image_or_another_format_of_it_is_another_record(probe_app: App) -> None:
    png = record_of(probe_app, instance(encode(tissue())))
    bmp = record_of(probe_app, instance(encode(tissue(), "BMP")))
    other = record_of(probe_app, instance(encode(np.ascontiguousarray(tissue()[::-1]))))

    assert differing(png, bmp) == {"image.format", "image.digest", "read.decoders"}
    assert differing(png, other) == {"image.digest"}


def test_an_operators_target_profile_is_told_apart_from_the_built_in_one(
    probe_app: App, slide: Slide, store: Store, tmp_path: Path
) -> None:
    (tmp_path / "srgb.icc").write_bytes(P3)
    asked = asked_of(store, slide, transform_imaging_to_icc_profile="SRGB")
    with App({"PATHSERVE_ICC_FOLDER": str(tmp_path)}) as other:
        found = record_of(other, asked)

    assert differing(found, record_of(probe_app, asked)) == {"read.target_profile"}
    assert found["read"]["target_profile"] == sha256(P3)


class WeightedEncoder:
    """A linear model whose digest is that of its weights, computed in a precision."""

    def __init__(self, seed: int, precision: str = "float32", **changes: Any) -> None:
        weights = np.random.default_rng(seed).standard_normal((3, 8)).astype(np.float32)
        self._weights = weights if precision == "float32" else weights.astype(np.float16)
        digest = hashlib.sha256(weights.tobytes()).hexdigest()
        facts = EncoderFacts("linear", False, 8, "CPU", precision, "", f"sha256:{digest}", "NumPy 2", 16)
        self.facts = replace(facts, **changes)

    def embed(self, patches: PixelBatch) -> Vectors:
        """Map uint8 ``[n, 224, 224, 3]`` to float32 ``[n, 8]``."""
        means = patches.mean(axis=(1, 2)).astype(self._weights.dtype)
        return np.asarray(means @ self._weights, np.float32)


@pytest.mark.parametrize(
    ("encoder", "changed"),
    [
        (WeightedEncoder(0), set()),
        (WeightedEncoder(1), {"model.digest"}),
        (WeightedEncoder(0, "bfloat16"), {"model.precision"}),
        (WeightedEncoder(0, runtime="NumPy 3"), {"model.runtime"}),
        (WeightedEncoder(0, device="GPU: one"), {"model.device"}),
        (WeightedEncoder(0, model="other"), {"model.name"}),
        (WeightedEncoder(0, untrained=True), {"model.untrained"}),
        (WeightedEncoder(0, reproducible=True), {"model.reproducible"}),
    ],
)
def test_another_model_is_another_record(encoder: WeightedEncoder, changed: set[str]) -> None:
    sent = instance(encode(tissue()))
    with App(load=lambda: WeightedEncoder(0)) as one, App(load=lambda: encoder) as other:
        for app in (one, other):
            wait_until(partial(getattr, app.encoder, "facts"), "the encoder")
        (record, vectors), (found, others) = told(one, sent)[0], told(other, sent)[0]

    assert differing(record, found) == changed
    assert changed or np.array_equal(vectors, others)


def in_another_process(sent: dict[str, Any], *folders: Path) -> tuple[Record, np.ndarray]:
    command = [sys.executable, "-m", "tests.support.provenance_run", *map(str, folders)]
    done = subprocess.run(command, input=json.dumps([sent]), capture_output=True, text=True, check=True)
    (prediction,) = json.loads(done.stdout)
    vectors = [e["embedding_vector"] for e in prediction["result"]["patch_embeddings"]]
    return prediction["result"]["provenance"], np.array(vectors, np.float32)


def test_another_process_gives_the_same_record_and_other_versions_another(
    probe_app: App, tmp_path: Path
) -> None:
    sent = instance(
        encode(tissue(), "JPEG", icc_profile=P3),
        extensions={"transform_imaging_to_icc_profile": "SRGB", "provenance": True},
    )
    for package in ("pathserve", "simplejpeg", "pillow"):
        folder = tmp_path / f"{package}-0.0.1.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 0.0.1\n")
    (here, vectors), (there, others) = told(probe_app, sent)[0], in_another_process(sent)
    changed, _ = in_another_process(sent, tmp_path)

    assert differing(here, there) == set()
    assert np.array_equal(vectors, others)
    assert differing(here, changed) == {
        *("read.reader", "read.decoders", "read.colour_engine", "service.version")
    }


# Pixels that a client has sent along


def test_pixels_that_a_client_has_transformed_are_said_to_be_its(probe_app: App) -> None:
    data = encode(tissue(), "JPEG")
    state = {"image": base64_text(data), "icc_profile_metadata_normalization": "SRGB"}
    asked = client_image(state, transform_imaging_to_icc_profile="SRGB")
    record = record_of(probe_app, asked)

    assert record["image"]["digest"] == sha256(data)
    assert (record["read"]["transform"], record["read"]["transformed_by"]) == ("SRGB", "client")
    assert (record["read"]["icc_profile"], record["read"]["rendering_intent"]) == ("unread", None)


def test_patches_that_came_each_by_itself_have_one_digest(probe_app: App) -> None:
    one, other = (np.ascontiguousarray(tissue()[y : y + 224, :224]) for y in (0, 100))

    def asked(*patches: np.ndarray) -> dict[str, object]:
        return client_image(patches_state(*patches), (0, 0), (0, 100))

    first, swapped = record_of(probe_app, asked(one, other)), record_of(probe_app, asked(other, one))
    assert (first["image"]["kind"], first["image"]["format"]) == ("patches", "PNG")
    assert differing(first, swapped) == {"image.digest"}


# The schema, and the whole of it over a socket


def test_the_published_schema_is_that_of_the_code_and_closed(probe_app: App) -> None:
    published = json.loads(Path("docs/provenance.schema.json").read_text(encoding="utf-8"))
    served = probe_app.request("GET", "/openapi.json").json()["components"]["schemas"]["Provenance"]

    assert published == json.loads(json.dumps(provenance_schema.document()))
    assert served == {name: value for name, value in published.items() if name != "$schema"}
    record = record_of(probe_app, instance(encode(tissue())))
    with pytest.raises(jsonschema.ValidationError):
        SCHEMA.validate(record | {"patient": "somebody"})


def test_it_is_told_over_http(served_app: ServedApp) -> None:
    assert record_of(served_app, instance(encode(tissue())))["image"]["kind"] == "image"
