"""KServe's SDK and SageMaker's client, unchanged; and what docs/platforms.md tells their platforms to run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from serving.config.settings import VARIABLES, load_settings
from tests.support.app import App, ServedApp
from tests.support.models import TOLERANCE
from tests.support.sagemaker import SageMaker
from tests.support.vertex import CUT_OFF, GOOD, TRUTH, vectors

ROOT = Path(__file__).parents[2]
CLIENTS = Path(sys.prefix) / "serving-clients"
"""Where ``make`` puts them, without touching the environment's own libraries."""

ASKED = {"instances": [GOOD, CUT_OFF]}


def run(asked: object, *arguments: str) -> dict[str, Any]:
    """Return what a client gets, in a process of its own."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    path = os.pathsep.join([str(CLIENTS), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.serving_clients", *arguments],
        cwd=ROOT,
        env=inherited | {"PYTHONPATH": path, "NO_PROXY": "*", "AWS_EC2_METADATA_DISABLED": "true"},
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=False,
        timeout=150,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def assert_predicted(answer: dict[str, Any]) -> None:
    good, failed = answer["predictions"]
    np.testing.assert_allclose(vectors(good), TRUTH, atol=TOLERANCE)
    assert failed["error"]["code"] == "IMAGE_ERROR"


def blocks(language: str) -> list[str]:
    """Return the examples of docs/platforms.md that are in a language."""
    text = (ROOT / "docs/platforms.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def manifest() -> dict[str, Any]:
    (text,) = blocks("yaml")
    return dict(yaml.safe_load(text))


@pytest.fixture(scope="module")
def of_aws() -> tuple[dict[str, Any], dict[str, Any]]:
    model, config = (json.loads(text) for text in blocks("json"))
    return model, config


def test_kserves_client_finds_the_model_ready_and_predicts(served_app: ServedApp) -> None:
    found = run(ASKED, "kserve", served_app.url, "poisonable")
    assert (found["alive"], found["ready"]) == (True, True)
    assert_predicted(found["predicted"])
    assert "INVALID_REQUEST_FIELD_ERROR" in found["bad"]
    assert "400" in found["bad"]
    for what in ("other ready", "other"):
        assert "NOT_FOUND_ERROR" in found[what]
        assert "404" in found[what]


def test_sagemakers_client_predicts_and_tracks_its_request(served_app: ServedApp) -> None:
    with SageMaker(served_app.url) as front:
        found = run(ASKED, "sagemaker", front.url, front.endpoint)
    assert_predicted(found["predicted"])
    assert (found["attributes"], found["type"]) == ("scan-7", "application/json")
    assert "scan-7" in [line.get("request_id") for line in served_app.app.log_lines()]
    assert found["failed"]["OriginalStatusCode"] == 400
    assert json.loads(found["failed"]["OriginalMessage"])["error"]["code"] == "INVALID_REQUEST_FIELD_ERROR"


def test_the_examples_are_what_the_platforms_take(
    manifest: dict[str, Any], of_aws: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    model, config = of_aws
    examples = {"InferenceService": manifest, "CreateModel": model, "CreateEndpointConfig": config}
    predictor = {"containers": [{"label": 1}], "volumes": []}
    service = {"sort": 1, "spec": {"predictor": predictor}}
    planted = {"InferenceService": service, "CreateModel": {"Label": "x"}}
    found = run({"examples": examples, "planted": planted}, "check")
    assert found["examples"] == {"InferenceService": [], "CreateModel": "", "CreateEndpointConfig": ""}
    unknown = ["InferenceService.sort", "InferenceService.spec.predictor.containers.label"]
    assert found["planted"]["InferenceService"] == unknown
    assert "Label" in found["planted"]["CreateModel"]
    assert config["ProductionVariants"][0]["ModelName"] == model["ModelName"]


def test_the_examples_set_what_the_service_reads(
    manifest: dict[str, Any], of_aws: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    (container,) = manifest["spec"]["predictor"]["containers"]
    assert container["name"] == "kserve-container"  # the one that KServe routes to
    environment = {entry["name"]: entry["value"] for entry in container["env"]}
    assert environment.pop("STORAGE_URI")  # of KServe
    probe = container["readinessProbe"]["httpGet"]
    assert [probe["port"]] == [port["containerPort"] for port in container["ports"]]
    with App(dict(environment)) as app:
        assert app.settings.http.model_name == manifest["metadata"]["name"]
        assert app.settings.http.listened_port == probe["port"]
        assert app.get(probe["path"]).json()["ready"] is True
    of_sagemaker = of_aws[0]["PrimaryContainer"]["Environment"]
    assert {*environment, *of_sagemaker} <= VARIABLES
    settings = load_settings(of_sagemaker, {})
    assert settings.encoder.spec == "/opt/ml/model"
    assert settings.requests.timeout_s < 60  # SageMaker's own limit
    assert settings.http.grace_s < 30  # and then it kills
