"""Answers that are rounded, an Arrow table, or compressed, as clients ask for them."""

from __future__ import annotations

import base64
import io
import json
import subprocess
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from model.encoder import EncoderFacts, PixelBatch, Vectors
from serving.api import schema as api_schema
from serving.api.encodings import NUMBERS, Coded, Encoding, decoded
from serving.client import Image, PathserveClient
from tests.support.app import App, AppResponse, ServedApp
from tests.support.encoders import facts
from tests.support.encodings import cosine_error, error_bound
from tests.support.service import wait_until
from tests.support.tissue import base64_text, encode, instance, tissue
from tests.support.vertex import CUT_OFF, validate, vectors

ARROW = "application/vnd.apache.arrow.stream"
ORIGINS = [(x, y) for y in range(0, 280, 40) for x in range(0, 280, 40)]
IMAGE = instance(encode(tissue()), *ORIGINS)
SLACK = 1e-7
"""Of float32's own rounding."""


@pytest.fixture(scope="module")
def exact(probe_app: App) -> Vectors:
    return vectors(probe_app.predict(IMAGE).json()["predictions"][0]).astype(np.float32)


@pytest.fixture(scope="module")
def compressing() -> Iterator[ServedApp]:
    """A service that compresses answers to this machine, too."""
    with App({"PATHSERVE_COMPRESS_ANSWERS": "all"}) as app, ServedApp(app) as served:
        yield served


def ask(
    app: App, encoding: str = "json", *instances: object, accept: str | None = None, **headers: str
) -> AppResponse:
    body = {"instances": list(instances or [IMAGE]), "parameters": {"encoding": encoding}}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return app.post("/predict", body, headers=named | ({} if accept is None else {"Accept": accept}))


def table(answer: AppResponse) -> pa.Table:
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == ARROW
    found = pa.ipc.open_stream(answer.content).read_all()
    found.validate(full=True)
    return found


def read(prediction: dict[str, Any], encoding: Encoding) -> Vectors:
    """Read a prediction as docs/api.md says."""
    embeddings = prediction["result"]["patch_embeddings"]
    rows = [np.frombuffer(base64.b64decode(e["embedding_vector"]), NUMBERS[encoding]) for e in embeddings]
    scales = [e.get("embedding_scale", 1) for e in embeddings]
    return np.stack(rows).astype(np.float32) * np.array(scales, np.float32)[:, None]


@pytest.mark.parametrize(
    ("encoding", "bytes_a_patch"), [(Encoding.BASE64_FLOAT16, 1170), (Encoding.BASE64_INT8, 700)]
)
def test_rounded_vectors_keep_what_is_promised(
    probe_app: App, exact: Vectors, encoding: Encoding, bytes_a_patch: int
) -> None:
    answer = ask(probe_app, encoding, IMAGE, CUT_OFF)
    body = answer.json()
    found = read(body["predictions"][0], encoding)
    assert (cosine_error(exact, found) <= error_bound(exact, encoding) + SLACK).all()
    assert body["metadata"]["encoding"] == encoding
    assert body["predictions"][1]["error"]["code"] == "IMAGE_ERROR"
    assert len(answer.content) < bytes_a_patch * len(ORIGINS)
    validate(body, api_schema.predict_response())


@pytest.mark.parametrize("encoding", Encoding)
def test_the_client_reads_every_encoding(served_app: ServedApp, exact: Vectors, encoding: Encoding) -> None:
    image = Image.of_bytes(encode(tissue()), ORIGINS)
    with PathserveClient(served_app.url, encoding=str(encoding)) as client:
        (found,) = client.embed([image])
    assert isinstance(found, np.ndarray)
    assert found.dtype == np.float32
    if encoding in (Encoding.JSON, Encoding.BASE64_FLOAT32):
        np.testing.assert_array_equal(found, exact)
    else:
        assert (cosine_error(exact, found) <= error_bound(exact, encoding) + SLACK).all()
    with pytest.raises(ValueError, match="float8"):
        PathserveClient(served_app.url, encoding="float8")


class HugeEncoder:
    """Gives numbers that float16 does not have for every patch that is not black."""

    facts: EncoderFacts = facts()

    def embed(self, patches: PixelBatch) -> Vectors:
        """Map uint8 ``[n, 224, 224, 3]`` to float32 ``[n, 4]``."""
        found = np.ones((len(patches), 4), np.float32)
        found[patches.any(axis=(1, 2, 3)), 1] = 65536
        return found


def test_a_number_that_float16_does_not_have_is_an_error_not_infinity() -> None:
    white, black = (encode(np.full((224, 224, 3), level, np.uint8)) for level in (255, 0))
    with App(load=HugeEncoder) as app:
        wait_until(lambda: app.get("/health").status_code == 200, "the encoder")
        asked = [instance(white), instance(black)]
        failed, good = ask(app, "base64-float16", *asked).json()["predictions"]
        assert failed["error"]["code"] == "INVALID_REQUEST_FIELD_ERROR"
        assert "base64-int8" in failed["error"]["description"]
        np.testing.assert_array_equal(read(good, Encoding.BASE64_FLOAT16), 1)
        found = read(ask(app, "base64-int8", *asked).json()["predictions"][0], Encoding.BASE64_INT8)
        np.testing.assert_allclose(found[0, 1], 65536)
        rows = table(ask(app, "base64-float16", *asked, accept=ARROW)).to_pylist()
        assert [row["error_code"] for row in rows] == ["INVALID_REQUEST_FIELD_ERROR", None]


@pytest.mark.parametrize("encoding", Encoding)
def test_an_arrow_answer_is_one_table_of_what_the_json_says(
    probe_app: App, exact: Vectors, encoding: Encoding
) -> None:
    plain = ask(probe_app, encoding, CUT_OFF, IMAGE).json()
    found = table(ask(probe_app, encoding, CUT_OFF, IMAGE, accept=ARROW))
    assert len(found.to_batches()) == 1
    failed, *rows = found.to_pylist()
    error = plain["predictions"][0]["error"]
    assert (failed["error_code"], failed["error_description"]) == (error["code"], error["description"])
    empty = ("patch", "x_origin", "y_origin", "embedding_vector")
    assert (failed["instance"], *(failed[name] for name in empty)) == (0, None, None, None, None)
    assert [(row["instance"], row["patch"]) for row in rows] == [(1, n) for n in range(len(ORIGINS))]
    assert [(row["x_origin"], row["y_origin"]) for row in rows] == ORIGINS
    assert {row["error_code"] for row in rows} == {None}

    whole = found.slice(1)
    numbers = np.stack([np.asarray(row.values) for row in whole["embedding_vector"]])
    assert numbers.dtype == NUMBERS[encoding]
    assert ("embedding_scale" in found.column_names) == (encoding is Encoding.BASE64_INT8)
    scales = np.asarray(whole["embedding_scale"]) if "embedding_scale" in found.column_names else None
    bound = 0 if numbers.dtype == np.float32 else error_bound(exact, encoding)
    assert (cosine_error(exact, decoded(Coded(numbers, scales))) <= bound + SLACK).all()

    said = {key.decode(): value.decode() for key, value in found.schema.metadata.items()}
    metadata = plain["metadata"]
    assert (said["model"], said["deployedModelId"]) == (plain["model"], plain["deployedModelId"])
    assert (said["digest"], said["precision"]) == (metadata["digest"], metadata["precision"])
    assert (said["runtime"], said["encoding"]) == (metadata["runtime"], encoding)
    assert (said["untrained"], said["dimension"], said["patch_size"]) == ("false", "384", "224")


def test_an_arrow_answer_may_hold_nothing_but_errors(probe_app: App) -> None:
    found = table(ask(probe_app, "base64-int8", CUT_OFF, accept=ARROW))
    assert found["error_code"].to_pylist() == ["IMAGE_ERROR"]
    assert found["embedding_vector"].null_count == 1


def test_an_arrow_answer_has_columns_of_quality_where_it_is_asked_for(probe_app: App) -> None:
    extensions: dict[str, object] = {"patch_quality": True, "per_patch_errors": True}
    measured = instance(encode(tissue()), (0, 0), (9999, 0), (50, 60), extensions=extensions)
    plain = instance(encode(tissue()), (7, 7))
    rows = ask(probe_app, "json", measured).json()["predictions"][0]["result"]["patch_embeddings"]
    found = table(ask(probe_app, "json", measured, plain, accept=ARROW)).to_pylist()
    for name in ("tissue", "blur", "white"):
        values = [row[f"quality_{name}"] for row in found]
        assert [value is None for value in values] == [False, True, False, True]
        assert values[0] == pytest.approx(rows[0]["quality"][name], abs=6e-5)
        assert values[2] == pytest.approx(rows[2]["quality"][name], abs=6e-5)
    assert "quality_blur" not in table(ask(probe_app, "json", plain, accept=ARROW)).column_names


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, "application/json"),
        ("", "application/json"),
        ("*/*", "application/json"),
        ("application/*", "application/json"),
        ("text/html", "application/json"),
        (f"{ARROW};q=0", "application/json"),
        (f"{ARROW}, application/json", "application/json"),
        (f"{ARROW};q=0.5, application/json", "application/json"),
        (ARROW, ARROW),
        (ARROW.upper(), ARROW),
        (f"{ARROW}, application/json;q=0.9", ARROW),
        (f"{ARROW}, */*;q=0.1", ARROW),
        ("application/json;q=0, */*", ARROW),
    ],
)
def test_accept_chooses_the_form_and_who_names_no_form_gets_json(
    probe_app: App, accept: str | None, expected: str
) -> None:
    answer = ask(probe_app, "json", CUT_OFF, accept=accept)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == expected
    assert answer.headers["Vary"] == "Accept, Accept-Encoding"


def test_an_error_of_a_whole_request_is_json_whatever_is_accepted(probe_app: App) -> None:
    answer = ask(probe_app, "zip", accept=ARROW)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "INVALID_REQUEST_FIELD_ERROR"
    assert "base64-int8" in answer.json()["error"]["description"]


def test_google_s_wrapping_says_what_is_in_it(probe_app: App) -> None:
    data = base64_text(json.dumps({"instances": [IMAGE]}).encode())
    url = "/v1/projects/1/locations/us-central1/endpoints/7:rawPredict?$alt=json;enum-encoding=int"
    body = {"httpBody": {"contentType": "application/json", "data": data}}
    answer = probe_app.post(url, body, headers={"Accept": ARROW})
    assert answer.headers["Content-Type"] == "application/json"
    wrapped = answer.json()
    assert wrapped["contentType"] == ARROW
    assert pa.ipc.open_stream(base64.b64decode(wrapped["data"])).read_all().num_rows == len(ORIGINS)


def test_clients_on_this_machine_get_answers_as_they_are_and_others_compressed(
    served_app: ServedApp, probe_app: App
) -> None:
    here = served_app.predict(IMAGE)
    assert "gzip" in here.request.headers["Accept-Encoding"]
    assert "Content-Encoding" not in here.headers
    there = ask(probe_app, Accept_Encoding="gzip")
    assert there.headers["Content-Encoding"] == "gzip"
    assert len(there.content) < 0.6 * len(here.content)


def test_requests_and_the_client_read_gzip(compressing: ServedApp, exact: Vectors) -> None:
    answer = compressing.predict(IMAGE)
    assert answer.headers["Content-Encoding"] == "gzip"
    np.testing.assert_array_equal(vectors(answer.json()["predictions"][0]).astype(np.float32), exact)
    with PathserveClient(compressing.url) as client:
        (found,) = client.embed([Image.of_bytes(encode(tissue()), ORIGINS)])
    np.testing.assert_array_equal(found, exact)


def test_zstd_is_what_other_decoders_read(compressing: ServedApp, exact: Vectors) -> None:
    headers = {"Accept-Encoding": "gzip;q=0.5, zstd"}
    answer = compressing.session.post(
        f"{compressing.url}/predict", json={"instances": [IMAGE]}, headers=headers, timeout=300, stream=True
    )
    assert answer.headers["Content-Encoding"] == "zstd"
    sent = answer.raw.read(decode_content=False)
    assert int(answer.headers["Content-Length"]) == len(sent)
    body = pa.CompressedInputStream(io.BytesIO(sent), "zstd").read()
    np.testing.assert_array_equal(vectors(json.loads(body)["predictions"][0]).astype(np.float32), exact)


def test_curl_reads_what_it_accepts(compressing: ServedApp, exact: Vectors) -> None:
    command = ["curl", "-s", "--compressed", "-H", "Content-Type: application/json", "-d", "@-"]
    body = json.dumps({"instances": [IMAGE]}).encode()
    run = subprocess.run(
        [*command, f"{compressing.url}/predict"], input=body, capture_output=True, check=True
    )
    found = json.loads(run.stdout)["predictions"][0]
    np.testing.assert_array_equal(vectors(found).astype(np.float32), exact)


def test_who_accepts_no_form_that_there_is_is_told_before_any_work_is_done(probe_app: App) -> None:
    answer = ask(probe_app, Accept_Encoding="br, identity;q=0")
    assert answer.status_code == 406
    assert answer.json()["error"]["code"] == "NOT_ACCEPTABLE_ERROR"


def test_a_key_is_asked_for_before_a_form() -> None:
    with App({"PATHSERVE_API_KEYS": "k" * 20}) as app:
        assert ask(app, Accept_Encoding="identity;q=0").status_code == 401
