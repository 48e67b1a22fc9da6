"""States that Google's library would not send: unknown, malformed, contradicting, lying."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from dicom_io.colour.profiles import IccTarget, target_profile
from dicom_io.colour.transforms import IccTransform
from tests.support.app import App
from tests.support.asking import ask, assert_pixels, cut, error
from tests.support.checking import agreed
from tests.support.client_states import client_image, patches_state, slide_state, tags_of
from tests.support.models import TOLERANCE, probe
from tests.support.slides import pyramid
from tests.support.store import Store
from tests.support.tissue import base64_text, encode, tissue

PROFILE = target_profile(IccTarget.ADOBERGB)


def test_a_slides_state_saves_its_metadata_with_every_number_a_double(probe_app: App) -> None:
    def doubles(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: doubles(v) for k, v in value.items()}
        if isinstance(value, list):
            return [doubles(v) for v in value]
        return float(value) if isinstance(value, int) else value

    slide = pyramid("JPEG", [(1000, 700)])
    with Store(slide) as store:
        asked = ask(
            store,
            slide,
            [slide.instances[0].uid],
            (300, 200),
            ez_wsi_state=doubles(slide_state(store, slide)),
        )
        assert_pixels(probe_app, asked, cut(slide.instances[0].truth, (300, 200)))
        assert [r.path.rpartition("/")[0][-6:] for r in store.requests] == ["frames"]


def test_a_profile_in_the_state_is_used_and_one_that_is_unknown_is_asked_for(probe_app: App) -> None:
    slide = pyramid("JPEG", [(300, 300)], ICCProfile=PROFILE)
    (level,) = slide.instances
    truth = cut(IccTransform(PROFILE, IccTarget.SRGB, 3)(level.truth), (9, 8))
    with Store(slide) as store:
        state = slide_state(store, slide)
        asked = ask(
            store, slide, [level.uid], (9, 8), transform_imaging_to_icc_profile="SRGB", ez_wsi_state=state
        )
        assert_pixels(probe_app, asked, truth)
        assert any(r.path.endswith("/metadata") for r in store.requests)
        assert any(r.path.endswith("/bulkdata/icc") for r in store.requests)
    with Store(slide) as store:
        icc = {"icc_profile_bytes_as_b64_encoded_str": base64_text(PROFILE), "metadata_state": 1}
        state["level_map"]["icc_profile"] = icc
        asked = ask(
            store, slide, [level.uid], (9, 8), transform_imaging_to_icc_profile="SRGB", ez_wsi_state=state
        )
        assert_pixels(probe_app, asked, truth)
        assert not any(r.path.endswith(("/metadata", "/icc")) for r in store.requests)


@pytest.mark.parametrize(
    "lie",
    [
        {"00280008": {"vr": "IS", "Value": [999]}},
        {"00280010": {"vr": "US", "Value": [1]}, "00280011": {"vr": "US", "Value": [1]}},
        {"00280004": {"vr": "CS", "Value": ["PALETTE COLOR"]}},
        {"00080008": {"vr": "CS", "Value": ["ORIGINAL", "PRIMARY", "LABEL"]}},
        {"00080018": {"vr": "UI", "Value": ["1.2.3/../../../../elsewhere"]}},
        {"00083002": {}, "00020010": {}},
        {"00480006": "no element"},
    ],
)
def test_a_state_that_cannot_be_true_is_not_believed(probe_app: App, lie: dict[str, object]) -> None:
    slide = pyramid("JPEG", [(1000, 700)])
    with Store(slide) as store:
        state = slide_state(store, slide)
        tags_of(state).update(lie)
        asked = ask(store, slide, [slide.instances[0].uid], (300, 200), ez_wsi_state=state)
        assert_pixels(probe_app, asked, cut(slide.instances[0].truth, (300, 200)))
        assert any(r.path.endswith("/metadata") for r in store.requests)


def test_a_check_believes_a_state_as_far_as_a_prediction_does(probe_app: App) -> None:
    slide = pyramid("JPEG", [(1000, 700)])
    uids = [slide.instances[0].uid]
    with Store(slide) as store:
        state, lie = slide_state(store, slide), slide_state(store, slide)
        tags_of(lie).update({"00280008": {"vr": "IS", "Value": [999]}})
        client = client_image(patches_state(tissue()[:224, :224]))
        found = agreed(probe_app, ask(store, slide, uids, (300, 200), ez_wsi_state=state))
        assert not any(r.path.endswith("/metadata") for r in store.requests)
        found = agreed(probe_app, ask(store, slide, uids, (300, 200), ez_wsi_state=lie))
        assert [level["instance_uids"] for level in found["levels"]] == [uids]
        assert any(r.path.endswith("/metadata") for r in store.requests)
    found = agreed(probe_app, client)
    assert found["checks"][0]["bytes"] == 0


def test_native_frames_without_planar_configuration_are_looked_up(probe_app: App) -> None:
    slide = pyramid("planar", [(300, 300)])
    with Store(slide) as store:
        asked = ask(store, slide, [slide.instances[0].uid], (9, 8), ez_wsi_state=slide_state(store, slide))
        assert_pixels(probe_app, asked, cut(slide.instances[0].truth, (9, 8)))


def test_one_callers_lie_does_not_reach_the_pixels_of_another(probe_app: App) -> None:
    """Whoever names the same series with the same token shares frames: but not how they are read."""
    slide = pyramid("explicit", [(500, 400)], parts=2)
    uids, truth = [i.uid for i in slide.instances], cut(slide.instances[0].truth, (9, 8))
    with Store(slide) as store:
        state = slide_state(store, slide)
        for part in ("0", "2"):
            tags_of(state, part)["00280006"] = {"vr": "US", "Value": [1]}
        lying = ask(store, slide, uids, (9, 8), ez_wsi_state=state)
        (prediction,) = probe_app.predict(lying).json()["predictions"]
        (wrong,) = prediction["result"]["patch_embeddings"]
        assert np.abs(np.array(wrong["embedding_vector"]) - probe(np.stack(truth))[0]).max() > 0.01
        assert_pixels(probe_app, ask(store, slide, uids, (9, 8)), truth)

        exchanged = slide_state(store, slide)
        for part, offset in (("0", 2), ("2", 0)):
            tags_of(exchanged, part)["00280006"] = {"vr": "US", "Value": [0]}
            tags_of(exchanged, part)["00209228"] = {"vr": "UL", "Value": [offset]}
        probe_app.predict(ask(store, slide, uids, (9, 8), ez_wsi_state=exchanged))
        assert_pixels(probe_app, ask(store, slide, uids, (9, 8)), truth)


def test_a_state_opens_no_instance_that_the_request_does_not_name(probe_app: App) -> None:
    slide = pyramid("JPEG", [(500, 400)], parts=2)
    with Store(slide) as store:
        asked = ask(store, slide, [slide.instances[0].uid], (9, 8), ez_wsi_state=slide_state(store, slide))
        assert_pixels(probe_app, asked, cut(slide.instances[0].truth, (9, 8)))
        assert any(r.path.endswith("/metadata") for r in store.requests)  # which say what belongs together


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s["slide_path"].update(series_uid="1.2.3"),
        lambda s: s.update(slide_path=None),
        lambda s: s.update(level_map=[]),
        lambda s: s["level_map"].update(level_map="all"),
        lambda s: s["level_map"].update(level_map={"1": 7}),
        lambda s: s["level_map"]["level_map"]["1"].update(instances=[]),
        lambda s: s["level_map"]["level_map"]["1"].update(width=999),
        lambda s: s["level_map"]["level_map"]["1"].update(height=-1),
        lambda s: s["level_map"]["level_map"]["1"]["instances"].update(x={"dicom_object": {}}),
        lambda s: s["level_map"]["icc_profile"].update(icc_profile_bytes_as_b64_encoded_str="?"),
        lambda s: tags_of(s).update({"0020000E": {"vr": "UI", "Value": ["1.2.3"]}}),
    ],
)
def test_a_slides_state_that_contradicts_or_is_malformed_is_refused(probe_app: App, change: Any) -> None:
    slide = pyramid("JPEG", [(300, 300)])
    with Store(slide) as store:
        state = copy.deepcopy(slide_state(store, slide))
        change(state)
        asked = ask(store, slide, [slide.instances[0].uid], ez_wsi_state=state)
        assert error(probe_app, asked)["code"] == "EZ_WSI_STATE_ERROR"
        assert store.requests == []


@pytest.mark.parametrize("state", [{}, None, {"a newer": "kind"}, {"dicom_file_paths": ["/etc/passwd"]}])
def test_a_slides_state_of_an_unknown_kind_is_ignored(probe_app: App, state: object) -> None:
    slide = pyramid("JPEG", [(300, 300)])
    with Store(slide) as store:
        asked = ask(store, slide, [slide.instances[0].uid], ez_wsi_state=state)
        assert_pixels(probe_app, asked, cut(slide.instances[0].truth, (0, 0)))


def test_pixels_in_the_state_are_used(probe_app: App) -> None:
    some = [(0, 0), (100, 50), (0, 0)]
    truth = cut(tissue(), *some)
    assert_pixels(probe_app, client_image(patches_state(*truth), *some), truth)
    whole = {"image": base64_text(encode(tissue())), "icc_profile_metadata_normalization": "NONE"}
    assert_pixels(probe_app, client_image(whole, *some), truth)
    sized = whole | {"source_image_width_px": 512.0, "source_image_height_px": 512}
    assert_pixels(probe_app, client_image(sized, *some, uri="gs://bucket/object.png"), truth)


def test_colours_are_transformed_once(probe_app: App) -> None:
    pixels = tissue()[:224, :224]
    truth = IccTransform(PROFILE, IccTarget.SRGB, 3)(pixels)
    own = {"image": base64_text(encode(pixels, icc_profile=PROFILE))}
    assert_pixels(probe_app, client_image(own, transform_imaging_to_icc_profile="SRGB"), [truth])
    done = own | {"icc_profile_metadata_normalization": "srgb"}
    assert_pixels(probe_app, client_image(done, transform_imaging_to_icc_profile="SRGB"), [pixels])


PATCH = tissue()[:224, :224]


@pytest.mark.parametrize(
    ("state", "extensions"),
    [
        ({"image": base64_text(encode(PATCH)), "patches": []}, {}),
        ({"image": 7}, {}),
        ({"image": "no base64!"}, {}),
        ({"image": base64_text(encode(PATCH)), "source_image_width_px": 224}, {}),
        ({"image": base64_text(encode(PATCH)), "source_image_width_px": 9, "source_image_height_px": 9}, {}),
        (patches_state(), {}),
        (patches_state(PATCH, PATCH), {}),
        (patches_state(tissue()[:100, :224]), {}),
        ({"patches": [base64_text(encode(PATCH))]}, {}),
        (patches_state(PATCH, size=(0, 224)), {}),
        (patches_state(PATCH) | {"patches": "all"}, {}),
        (patches_state(PATCH) | {"patches": ["no base64!"]}, {}),
        (patches_state(PATCH), {"image_dimensions": {"width_px": 300, "height_px": 512}}),
        (patches_state(PATCH, icc_profile_metadata_normalization="SRGB"), {}),
        (patches_state(PATCH, icc_profile_metadata_normalization="SRGB"),
         {"transform_imaging_to_icc_profile": "ADOBERGB"}),
        (patches_state(PATCH, icc_profile_metadata_normalization="PURPLE"), {}),
        (["a list"], {}),
    ],
)  # fmt: skip
def test_an_images_state_that_contradicts_or_is_malformed_is_refused(
    probe_app: App, state: object, extensions: dict[str, Any]
) -> None:
    assert error(probe_app, client_image(state, **extensions))["code"] == "EZ_WSI_STATE_ERROR"


def test_other_faults_of_an_images_state_have_their_own_codes(probe_app: App) -> None:
    outside = client_image(patches_state(PATCH, size=(300, 300)), (200, 0))
    assert error(probe_app, outside)["code"] == "PATCH_OUTSIDE_OF_IMAGE_DIMENSIONS_ERROR"
    broken = patches_state(PATCH) | {"patches": [base64_text(encode(PATCH)[:5000])]}
    assert error(probe_app, client_image(broken))["code"] == "IMAGE_ERROR"
    assert error(probe_app, client_image({"new": 1}))["code"] == "GCS_IMAGE_PATH_FORMAT_ERROR"
    twice = client_image(patches_state(PATCH, tissue()[1:225, :224]), (0, 0), (0, 0))
    assert error(probe_app, twice)["code"] == "EZ_WSI_STATE_ERROR"


def test_patches_of_the_state_keep_their_order(probe_app: App) -> None:
    origins = [(x, 0) for x in range(0, 280, 7)]
    truth = cut(tissue(), *origins)
    (prediction,) = probe_app.predict(client_image(patches_state(*truth), *origins)).json()["predictions"]
    found = [e["embedding_vector"] for e in prediction["result"]["patch_embeddings"]]
    np.testing.assert_allclose(found, probe(np.stack(truth)), atol=TOLERANCE, rtol=0)
