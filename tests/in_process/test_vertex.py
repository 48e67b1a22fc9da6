"""Vertex AI's wrappings, batch predictions and schemata; the OpenAPI document and its page."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import yaml

from scripts.schemata import FOLDER, SCHEMATA, plain
from serving.api import schema as api_schema
from serving.errors import TABLE
from tests.support.app import App
from tests.support.models import TOLERANCE, probe
from tests.support.tissue import base64_text, encode, instance, tissue
from tests.support.vertex import CUT_OFF, GOOD, TRUTH, validate, vectors


def test_vectors_as_base64_are_the_same_float32(probe_app: App) -> None:
    body = {"instances": [GOOD, CUT_OFF], "parameters": {"encoding": "base64-float32"}}
    packed = probe_app.post("/predict", body).json()
    plain_answer = probe_app.predict(GOOD).json()
    texts = vectors(packed["predictions"][0])
    assert [len(text) for text in texts] == [2048, 2048]
    found = np.stack([np.frombuffer(base64.b64decode(text), "<f4") for text in texts])
    np.testing.assert_array_equal(found, vectors(plain_answer["predictions"][0]).astype(np.float32))
    assert packed["metadata"]["encoding"] == "base64-float32"
    assert plain_answer["metadata"]["encoding"] == "json"
    assert packed["predictions"][1]["error"]["code"] == "IMAGE_ERROR"
    validate(packed, api_schema.predict_response())


def test_a_wrapped_body_that_does_not_ask_for_a_wrapped_answer_gets_it_plain(probe_app: App) -> None:
    data = base64_text(json.dumps({"instances": [GOOD]}).encode())
    wrapped = {"httpBody": {"contentType": "application/json", "data": data}}
    url = "/v1/projects/1/locations/us-central1/endpoints/7:rawPredict"
    answer = probe_app.post(url, wrapped).json()
    np.testing.assert_allclose(vectors(answer["predictions"][0]), TRUTH, atol=TOLERANCE)


@pytest.mark.parametrize("parameters", [{"encoding": "zip"}, {"encoding": 7}, [], "json", 1])
def test_parameters_that_cannot_be_followed_fail_the_request(probe_app: App, parameters: object) -> None:
    body = {"instances": [GOOD], "parameters": parameters}
    answer = probe_app.post("/predict", body)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "INVALID_REQUEST_FIELD_ERROR"


@pytest.mark.parametrize("parameters", [None, {}, {"encoding": None}, {"of another": "model"}])
def test_other_parameters_are_let_through(probe_app: App, parameters: object) -> None:
    body = {"instances": [GOOD], "parameters": parameters}
    answer = probe_app.post("/predict", body).json()
    np.testing.assert_allclose(vectors(answer["predictions"][0]), TRUTH, atol=TOLERANCE)


def test_batch_prediction_keeps_order_and_errors(probe_app: App, tmp_path: Path) -> None:
    """A JSONL file, a line an instance, sent on in batches as Vertex AI does, in every wrapping it has."""
    lines: list[tuple[object, str]] = []
    for number in range(12):
        item = instance(encode(tissue()[number : number + 224, :224]))
        lines += [
            (item, "ok"),
            ({"instance": item, "key": f"patch {number}"}, "ok"),
            ({"b64": base64_text(json.dumps(item).encode())}, "ok"),
            (CUT_OFF, "IMAGE_ERROR"),
            ({"b64": base64_text(encode(tissue()))}, "INVALID_REQUEST_FIELD_ERROR"),
        ]
    file = tmp_path / "instances.jsonl"
    file.write_text("\n".join(json.dumps(line) for line, _ in lines))
    parsed = [json.loads(line) for line in file.read_text().splitlines()]
    found = []
    for start in range(0, len(parsed), 16):
        found += probe_app.predict(*parsed[start : start + 16]).json()["predictions"]
    assert len(found) == len(lines)
    for index, ((_, expected), prediction) in enumerate(zip(lines, found, strict=True)):
        if expected == "ok":
            number = index // 5
            truth = probe(tissue()[np.newaxis, number : number + 224, :224])
            np.testing.assert_allclose(vectors(prediction), truth, atol=TOLERANCE)
        else:
            assert prediction["error"]["code"] == expected


@pytest.mark.parametrize("name", SCHEMATA)
def test_the_schemata_are_those_of_the_code(name: str) -> None:
    document = yaml.safe_load((FOLDER / name).read_text())
    assert document == plain(SCHEMATA[name]()), "run `make schemata`"
    assert document["type"] == "object"
    assert "nullable" not in str(document)


def test_the_schemata_name_every_code_and_fit_what_is_sent(probe_app: App) -> None:
    prediction = yaml.safe_load((FOLDER / "prediction.yaml").read_text())
    assert set(prediction["properties"]["error"]["properties"]["code"]["enum"]) == set(TABLE)
    schema = yaml.safe_load((FOLDER / "instance.yaml").read_text())
    for sent in (GOOD, CUT_OFF):
        jsonschema.validate(sent, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(GOOD | {"image_file_uri": "gs://a/b"}, schema)
    for answered in probe_app.predict(GOOD, CUT_OFF).json()["predictions"]:
        jsonschema.validate(answered, prediction)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(answered | {"result": 1, "error": 2}, prediction)


def test_the_openapi_document_is_served_and_true(probe_app: App) -> None:
    document = probe_app.get("/openapi.json").json()
    assert document["openapi"] == "3.1.0"
    for path, methods in document["paths"].items():
        for method, described in methods.items():
            body = json.dumps({"instances": [GOOD]}).encode() if method == "post" else b""
            asked = probe_app.request(method.upper(), path, body)
            assert str(asked.status_code) in described["responses"]
    answer = probe_app.predict(GOOD, CUT_OFF).json()
    jsonschema.validate(answer, document["components"]["schemas"]["PredictResponse"])
    failed = probe_app.post("/predict", b"{")
    jsonschema.validate(failed.json(), document["components"]["schemas"]["FailedRequest"])


def test_the_docs_page_needs_nothing_from_outside(probe_app: App) -> None:
    answer = probe_app.get("/docs")
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert "<script" not in answer.text
    assert "src=" not in answer.text
    for word in ("patch_coordinates", "base64-float32", "/predict", *TABLE):
        assert word in answer.text
