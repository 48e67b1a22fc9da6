"""Images in Cloud Storage: Google's emulator, and a proxy before it that checks tokens."""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Iterator

import numpy as np
import pytest

from dicom_io.colour.profiles import IccTarget, target_profile
from dicom_io.colour.transforms import IccTransform
from tests.support.app import App
from tests.support.asking import ask, assert_pixels, code_of, cut, error, predictions
from tests.support.checking import agreed, checked
from tests.support.gcs import BUCKET, PRIVATE, GcsEmulator
from tests.support.slides import CODINGS, MICROSCOPIC, Slide, pyramid, stained
from tests.support.store import Store
from tests.support.tissue import encode, instance, tissue

# Google's client leaves the connection of a download that it gives up to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


@pytest.fixture(scope="module")
def gcs() -> Iterator[GcsEmulator]:
    with GcsEmulator() as emulator:
        yield emulator


@pytest.fixture(autouse=True)
def untouched(gcs: GcsEmulator) -> Iterator[None]:
    gcs.requests.clear()
    gcs.tokens.clear()
    yield
    gcs.harm = None
    gc.collect()  # see pytestmark: not in another module's test


@pytest.fixture(scope="module")
def netrc(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file of credentials for this machine, which are nobody's here."""
    path = tmp_path_factory.mktemp("home") / "netrc"
    path.write_text("machine 127.0.0.1 login planted password planted\n")
    return str(path)


@pytest.fixture(scope="module", autouse=True)
def environment(gcs: GcsEmulator, netrc: str) -> Iterator[None]:
    """What Google's library and others read of this process's environment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NETRC", netrc)
        patch.setenv("STORAGE_EMULATOR_HOST", gcs.url)
        yield


@pytest.fixture(scope="module")
def service(environment: None) -> Iterator[App]:
    settings: dict[str, object] = {
        "PATHSERVE_MAX_OBJECT_BYTES": "3000000",
        "PATHSERVE_STORE_TIMEOUT_S": "5",
        "PATHSERVE_REQUEST_TIMEOUT_S": "60",
    }
    with App(settings) as running:
        yield running


def named(
    uri: str, *origins: tuple[int, int], token: str | None = None, **extensions: object
) -> dict[str, object]:
    asked: dict[str, object] = {
        "image_file_uri": uri,
        "patch_coordinates": [{"x_origin": x, "y_origin": y} for x, y in (origins or [(0, 0)])],
        "extensions": extensions,
    }
    if token is not None:
        asked["bearer_token"] = token
    return asked


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JXL"])
def test_an_object_gives_the_same_pixels_as_its_bytes_inlined(
    service: App, gcs: GcsEmulator, kind: str
) -> None:
    uri = gcs.put(
        f"a folder/image.{kind.lower()}",
        encode(tissue(), kind, **({"lossless": True} if kind == "JXL" else {})),
    )
    assert_pixels(service, named(uri, (7, 9), (288, 288)), cut(tissue(), (7, 9), (288, 288)))


def test_extensions_work_alike(service: App, gcs: GcsEmulator) -> None:
    profile = target_profile(IccTarget.ADOBERGB)
    uri = gcs.put("with-profile.png", encode(tissue(), "PNG", icc_profile=profile))
    expected = IccTransform(profile, IccTarget.SRGB, 3)(np.ascontiguousarray(tissue()[:224, :224]))
    assert_pixels(service, named(uri, transform_imaging_to_icc_profile="SRGB"), [expected])
    outside = named(uri, (-50, 400), require_patches_fully_in_source_image=False)
    assert_pixels(service, outside, cut(tissue(), (-50, 400)))


def test_an_object_that_several_instances_share_is_told_by_its_bytes(service: App, gcs: GcsEmulator) -> None:
    data = encode(tissue())
    uri = gcs.put("shared.png", data)
    gcs.requests.clear()
    plain, told = predictions(service, named(uri, (0, 0)), named(uri, (5, 5), provenance=True))

    assert "provenance" not in plain["result"]
    assert told["result"]["provenance"]["image"]["digest"] == f"sha256:{hashlib.sha256(data).hexdigest()}"
    assert gcs.downloads() == 1


def test_the_callers_token_is_what_reads_whatever_is_in_netrc(service: App, gcs: GcsEmulator) -> None:
    uri = gcs.put("private.png", encode(tissue()), PRIVATE)
    assert_pixels(service, named(uri, token="good-token"), cut(tissue(), (0, 0)))
    assert gcs.tokens == {"Bearer good-token"}
    for token in (None, "expired-token", "denied-token"):
        assert code_of(service, named(uri, token=token)) == "INVALID_CREDENTIALS_ERROR"
    for token in ("good-token", "expired-token", "denied-token"):
        assert token not in service.log()


def test_without_a_token_access_is_anonymous_whatever_is_in_netrc(service: App, gcs: GcsEmulator) -> None:
    uri = gcs.put("public.png", encode(tissue()))
    assert_pixels(service, named(uri), cut(tissue(), (0, 0)))
    assert gcs.tokens == {None}


def test_a_missing_object_or_bucket_is_an_http_error(service: App, gcs: GcsEmulator) -> None:
    for uri in (f"gs://{BUCKET}/nothing.png", "gs://no-such-bucket/nothing.png"):
        found = error(service, named(uri))
        assert found["code"] == "HTTP_ERROR"
        assert "404" in found["description"]


def test_what_cannot_be_decoded_is_an_image_error(service: App, gcs: GcsEmulator) -> None:
    assert code_of(service, named(gcs.put("notes.png", b"text"))) == "IMAGE_ERROR"
    assert code_of(service, named(gcs.put("cut.png", encode(tissue())[:5000]))) == "IMAGE_ERROR"


def test_an_object_that_is_too_large_is_refused_before_it_is_downloaded(
    service: App, gcs: GcsEmulator
) -> None:
    found = error(service, named(gcs.put("large.bin", bytes(3_000_001))))
    assert found["code"] == "IMAGE_DIMENSION_ERROR"
    assert gcs.downloads() == 0


def test_a_download_that_is_not_what_was_stored_is_an_http_error(service: App, gcs: GcsEmulator) -> None:
    uri = gcs.put("fine.png", encode(tissue()))
    gcs.harm = lambda path, body: body[:-1] + b"\0" if "alt=media" in path else body
    found = error(service, named(uri))
    assert found["code"] == "HTTP_ERROR"
    assert "crc32c" in found["description"]


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "x",
        "gs://",
        "gs://slides",
        "gs://slides/",
        "gs:///a.png",
        "s3://slides/a.png",
        "GS://slides/a.png",
        "gs://slides/folder/",
        "gs://slides/a\nb.png",
        "gs://slides/a\u0000.png",
        "gs://slides/../a.png",
        "gs://UP/a.png",
        "gs://slides/" + "x" * 1025,
        "https://storage.googleapis.com/slides/a.png",
        "gs://user@slides/a.png",
    ],
)
def test_another_form_is_a_path_format_error(service: App, gcs: GcsEmulator, uri: str) -> None:
    assert code_of(service, named(uri)) == "GCS_IMAGE_PATH_FORMAT_ERROR"
    assert gcs.requests == []


def test_the_same_object_is_fetched_and_decoded_once(service: App, gcs: GcsEmulator) -> None:
    uri, other = gcs.put("one.png", encode(tissue())), gcs.put("two.png", encode(tissue()[::-1].copy()))
    asked: list[object] = []
    for x in range(0, 280, 14):
        asked += [named(uri, (x, 3)), named(other, (x, 3))]
    found = predictions(service, *asked)
    for index, prediction in enumerate(found):
        truth = tissue() if index % 2 == 0 else tissue()[::-1]
        (embedding,) = prediction["result"]["patch_embeddings"]
        from tests.support.models import TOLERANCE, probe

        expected = probe(np.stack(cut(truth, (14 * (index // 2), 3))))[0]
        np.testing.assert_allclose(embedding["embedding_vector"], expected, atol=TOLERANCE, rtol=0)
    assert gcs.downloads() == 2


def test_the_allow_list_admits_whole_names_only(gcs: GcsEmulator) -> None:
    gcs.put("cases/a.png", encode(tissue()))
    gcs.put("cases-evil/a.png", encode(tissue()))
    allowed = f"gs://{BUCKET}/cases, gs://{PRIVATE}"
    with App({"APPROVED_GCS_SOURCE_LIST": allowed}) as service:
        assert_pixels(service, named(f"gs://{BUCKET}/cases/a.png"), cut(tissue(), (0, 0)))
        gcs.requests.clear()
        for uri in (f"gs://{BUCKET}/cases-evil/a.png", f"gs://{BUCKET}/a.png", f"gs://{PRIVATE}-evil/a.png"):
            assert code_of(service, named(uri)) == "UNAPPROVED_GCS_BUCKET_ERROR"
        assert gcs.requests == []


@pytest.mark.parametrize("name", ["explicit", "JPEG", "native inverted gray", "JPEG 2000 lossless", "RLE"])
def test_a_dicom_file_of_a_single_image_is_decoded(service: App, gcs: GcsEmulator, name: str) -> None:
    image = Slide().add_single(stained(400, 300), CODINGS[name], MICROSCOPIC)
    uri = gcs.put("image.dcm", image.file())
    assert_pixels(service, named(uri, (176, 76)), cut(image.truth, (176, 76)))


def test_a_dicom_file_of_a_slide_is_refused_with_advice(service: App, gcs: GcsEmulator) -> None:
    (level,) = pyramid("JPEG", [(500, 350)]).instances
    found = error(service, named(gcs.put("slide.dcm", level.file())))
    assert found["code"] == "IMAGE_ERROR"
    assert "dicom_path" in found["description"]
    deflated = Slide().add_single(stained(400, 300), CODINGS["deflated"], MICROSCOPIC)
    assert code_of(service, named(gcs.put("deflated.dcm", deflated.file()))) == "IMAGE_ERROR"
    broken = Slide().add_single(stained(400, 300), CODINGS["JPEG"], MICROSCOPIC).file()
    assert code_of(service, named(gcs.put("broken.dcm", broken[: len(broken) // 2]))) == "IMAGE_ERROR"


def test_a_check_of_objects_comes_to_what_predictions_do(service: App, gcs: GcsEmulator) -> None:
    tokens = named(f"gs://{PRIVATE}/a.png"), named(f"gs://{PRIVATE}/a.png", token="denied-token")
    found = agreed(
        service,
        named(gcs.put("checked.png", encode(tissue())), (0, 0), (5, 5)),
        named(gcs.put("checked.png", encode(tissue())), (400, 400)),
        named(f"gs://{BUCKET}/nothing.png"),
        named(gcs.put("notes.png", b"text")),
        named(gcs.put("cut.png", encode(tissue())[:5000])),
        named(gcs.put("large.bin", bytes(3_000_001))),
        named(gcs.put("slide.dcm", pyramid("JPEG", [(500, 350)]).instances[0].file())),
        named("gs://slides/"),
        *tokens,
    )
    first = found["checks"][0]
    assert (first["patches"], first["frames"], first["bytes"]) == (2, None, len(encode(tissue())))
    assert "has fetched" in first["bytes_basis"]
    assert first["read"]["um_per_px"] is None
    assert first["magnification"]["verdict"] == "unknown"


def test_a_check_keeps_nothing_of_the_objects_that_it_has_fetched(service: App, gcs: GcsEmulator) -> None:
    asked = [named(gcs.put(f"{number}.png", encode(tissue()))) for number in range(3)]
    assert [check["ok"] for check in checked(service, *asked, *asked)["checks"]] == [True] * 6
    assert gcs.downloads() == 3


def test_a_request_mixes_all_sources_good_and_bad(service: App, gcs: GcsEmulator) -> None:
    uri = gcs.put("mixed.png", encode(tissue()))
    slide = pyramid("JPEG", [(500, 350)])
    (level,) = slide.instances
    with Store(slide) as store:
        found = predictions(
            service,
            instance(encode(tissue())),
            named(uri),
            ask(store, slide, [level.uid]),
            named(f"gs://{BUCKET}/missing.png"),
            ask(store, slide, ["1.2.3"]),
            instance("@@"),
            named(uri, (500, 500)),
        )
    codes = [p.get("error", {}).get("code") for p in found]
    assert codes == [
        None,
        None,
        None,
        "HTTP_ERROR",
        "LEVEL_NOT_FOUND_ERROR",
        "INVALID_REQUEST_FIELD_ERROR",
        "PATCH_OUTSIDE_OF_IMAGE_DIMENSIONS_ERROR",
    ]
