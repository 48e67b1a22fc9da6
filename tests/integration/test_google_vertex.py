"""Vertex AI: its client library."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.models import DIMENSION, TOLERANCE
from tests.support.service import Service
from tests.support.vertex import CUT_OFF, GOOD, TRUTH, vectors


@pytest.fixture(scope="module")
def answers(probe_service: Service) -> dict[str, Any]:
    told = GOOD | {"extensions": {"provenance": True, "source_um_per_px": {"x": 0.5, "y": 0.5}}}
    asked = {"instances": [GOOD, CUT_OFF, told], "parameters": {"encoding": "json"}}
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.vertex_client", probe_service.url],
        cwd=Path(__file__).parents[2],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("way", ["endpoint", "service", "endpoint, raw", "raw", "service, raw"])
def test_vertexs_client_predicts(answers: dict[str, Any], way: str) -> None:
    good, failed, told = answers[way]["predictions"]
    np.testing.assert_allclose(vectors(good), TRUTH, atol=TOLERANCE)
    np.testing.assert_allclose(vectors(told), TRUTH, atol=TOLERANCE)
    assert told["result"]["provenance"]["read"]["um_per_px"] == [0.5, 0.5]
    assert failed["error"]["code"] == "IMAGE_ERROR"
    at = good["result"]["patch_embeddings"][0]["patch_coordinate"]
    assert at == {"x_origin": 7, "y_origin": 9, "width": 224, "height": 224}
    assert answers[way]["metadata"]["dimension"] == DIMENSION


def test_vertexs_types_hold_the_model(answers: dict[str, Any]) -> None:
    for way in ("endpoint", "service", "endpoint, raw"):
        assert answers[way]["deployed_model_id"] == "local"
        assert answers[way]["model"] == "poisonable"
        assert len(answers[way]["version"]) == 12
    assert answers["service"]["display_name"] == "poisonable"
