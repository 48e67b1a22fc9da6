"""What clients are told by a service whose encoder misses its golden patches."""

from __future__ import annotations

import numpy as np
import pytest

from model.encoder import PixelBatch, Vectors
from model.golden.guard import GuardedEncoder
from tests.support.app import App
from tests.support.encoders import ProbeEncoder
from tests.support.golden import DIGEST, guard_of
from tests.support.service import wait_until
from tests.support.tissue import encode, instance, tissue


class Dimmed(ProbeEncoder):
    """The probe on a device that halves one number."""

    def embed(self, patches: PixelBatch) -> Vectors:
        """Map uint8 ``[n, 224, 224, 3]`` to float32 ``[n, 384]``."""
        vectors = super().embed(patches)
        vectors[:, 17] *= np.float32(0.5)
        return vectors


def test_a_service_that_misses_its_golden_patches_is_not_ready_and_predicts_nothing() -> None:
    with App(load=lambda: GuardedEncoder(Dimmed(), guard_of(ProbeEncoder()))) as app:
        wait_until(lambda: app.encoder.facts is not None, "the encoder")
        health, predict = app.get("/health"), app.predict(instance(encode(tissue(224, 224), "png")))
        for answer in (health, predict):
            assert answer.status_code == 503
            assert answer.headers["Retry-After"] == "60"
            error = answer.json()["error"]
            assert error["code"] == "SERVICE_UNAVAILABLE_ERROR"
            expected = (
                "No vectors are given, as they would be wrong: 8 of 8 golden patches are not reproduced; "
            )
            assert error["description"].startswith(f"{expected}furthest off is ")
            assert error["description"].endswith("the service's operator should look at its log.")
        (line,) = [line for line in app.log_lines() if line["level"] == "CRITICAL"]
        assert line["patches"] == 8
        assert line["patch"] in health.text


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # it ends, as it should
def test_between_an_encoder_that_drifted_and_a_fresh_one_every_door_says_so() -> None:
    with App(load=lambda: GuardedEncoder(Dimmed(), guard_of(ProbeEncoder(), last_words_s=0.05))) as app:
        wait_until(lambda: bool(app.encoder.fault) and app.encoder.facts is None, "the end of the encoder")
        for route in ("/health", "/ping", "/v1/models", "/v1/models/poisonable"):
            assert "golden patches are not reproduced; furthest off is " in app.get(route).text, route
        for route in ("/predict", "/invocations", "/v1/models/poisonable:predict"):
            answer = app.post(route, {"instances": [instance(encode(tissue(224, 224), "png"))]})
            assert "golden patches are not reproduced; furthest off is " in answer.text, route


def test_a_service_that_reproduces_its_golden_patches_names_their_file_by_its_digest() -> None:
    with App(load=lambda: GuardedEncoder(ProbeEncoder(), guard_of(ProbeEncoder()))) as app:
        wait_until(lambda: app.encoder.healthy, "the encoder")
        assert app.get("/health").json()["golden"] == DIGEST
    with App() as app:
        assert "golden" not in app.get("/health").json()
