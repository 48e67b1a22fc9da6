from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dicom_io.geometry import Patch
from dicom_io.reading import ReadOptions
from dicom_io.sources.encoded import EncodedSource
from model.encoder import EncoderFacts
from serving.api.encodings import Encoding
from serving.api.request import PredictRequest
from serving.api.response import error_body, prediction_body
from serving.errors import Code, Fault
from serving.pipeline.outcome import Embeddings
from serving.pipeline.types import Instance, Predictions
from tests.support.encoders import facts

FAULT = Fault(Code.IMAGE_ERROR, "The image is cut off.")
VECTORS = np.array([[0.1, 1.0, -2.5, 3e-9], [np.float32(1 / 3), 0, 7, 1e30]], np.float32)
PATCHES = (Patch(0, 0, 224, 224), Patch(-5, 9, 224, 224))


def answer(encoding: Encoding, encoder: EncoderFacts | None = None) -> dict[str, Any]:
    items = (FAULT, Instance(EncodedSource(bytes), PATCHES, ReadOptions()))
    predictions = Predictions([FAULT, Embeddings(VECTORS)], encoder or facts())
    request = PredictRequest(items, encoding)
    found: dict[str, Any] = json.loads(prediction_body(request, predictions, "seven"))
    return found


def test_outcomes_keep_the_order_of_the_instances() -> None:
    failed, good = answer(Encoding.JSON)["predictions"]
    assert failed == {"error": {"code": "IMAGE_ERROR", "description": "The image is cut off."}}
    at = [e["patch_coordinate"] for e in good["result"]["patch_embeddings"]]
    assert at == [
        {"x_origin": 0, "y_origin": 0, "width": 224, "height": 224},
        {"x_origin": -5, "y_origin": 9, "width": 224, "height": 224},
    ]


def test_numbers_are_written_so_that_the_same_float32_is_read() -> None:
    found = answer(Encoding.JSON)["predictions"][1]["result"]["patch_embeddings"]
    np.testing.assert_array_equal(np.array([e["embedding_vector"] for e in found], np.float32), VECTORS)
    assert found[0]["embedding_vector"][0] == 0.1, "with the fewest digits"


def test_base64_is_little_endian_float32() -> None:
    found = answer(Encoding.BASE64_FLOAT32)
    assert found["metadata"]["encoding"] == "base64-float32"
    for embedding, vector in zip(found["predictions"][1]["result"]["patch_embeddings"], VECTORS, strict=True):
        assert base64.b64decode(embedding["embedding_vector"]) == vector.astype("<f4").tobytes()


@pytest.mark.parametrize(("untrained", "name"), [(True, "corner (untrained)"), (False, "corner")])
def test_the_model_is_named_and_random_weights_are_called_so(untrained: bool, name: str) -> None:
    found = answer(Encoding.JSON, replace(facts(), untrained=untrained, digest="sha256:0123456789abcdef"))
    assert found["modelDisplayName"] == name
    assert found["metadata"]["untrained"] is untrained
    assert found["deployedModelId"] == "seven"
    assert found["modelVersionId"] == "0123456789ab"


def test_reproducible_mode_is_named_and_the_plain_answer_says_nothing_of_it() -> None:
    assert answer(Encoding.JSON, replace(facts(), reproducible=True))["metadata"]["reproducible"] is True
    assert "reproducible" not in answer(Encoding.JSON)["metadata"]


def test_a_failed_request_has_one_error() -> None:
    assert json.loads(error_body(FAULT)) == {"error": FAULT.as_json()}
