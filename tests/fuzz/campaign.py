"""Campaigns of bad input against a running service, and what must hold after each request."""

from __future__ import annotations

import json
import random
import time
from typing import Any

import jsonschema
import numpy as np
from requests import Response, Session

from scripts.schemata import plain
from serving.api import schema as api_schema
from serving.errors import TABLE
from tests.fuzz.corpus import image_instance, images, instances
from tests.fuzz.mutate import mutated_bytes, mutated_json
from tests.fuzz.structures import repair_of, structured
from tests.support.models import TOLERANCE, probe
from tests.support.service import Service
from tests.support.slides import Slide
from tests.support.store import Answer, Request, Store
from tests.support.tissue import encode, instance, tissue

SLOWEST_S = 30.0
IMAGES_AT_ONCE = 40
_VALIDATE_ONE_IN = 10

GOOD = instance(encode(tissue()[:224, :224], "JPEG", quality=95), (0, 0))
_RESPONSE = jsonschema.Draft202012Validator(plain(api_schema.predict_response()))
_FAILED = jsonschema.Draft202012Validator(plain(api_schema.failed_request()))


class Campaign:
    """Sends mutated input to one service and judges every answer.

    Attributes
    ----------
    outcomes:
        How often each code came; ``ok`` for vectors.
    """

    def __init__(self, service: Service, seed: int) -> None:
        self._service = service
        self._chance = random.Random(seed)
        self._session = Session()
        self._session.trust_env = False
        self.outcomes: dict[str, int] = {}
        self.slowest_s = 0.0
        answer = self._post(json.dumps({"instances": [GOOD]}).encode())
        self._truth = self._vector(answer.json()["predictions"][0])

    def requests(self, count: int) -> None:
        """Send mutated requests; where the good instance among them is still there, its vector must be."""
        chance = self._chance
        for _ in range(count):
            chosen: list[Any] = [chance.choice(instances()) for _ in range(chance.choice((1, 1, 2)))]
            document = mutated_json(chance, {"instances": chosen, "parameters": {"encoding": "json"}})
            place = None
            if isinstance(document.get("instances"), list) and chance.random() < 0.7:
                place = chance.randrange(len(document["instances"]) + 1)
                document["instances"].insert(place, GOOD)
            body = json.dumps(document).encode()
            if chance.random() < 0.25:
                body, place = mutated_bytes(chance, body, body), None
            self._judge(self._post(body), place, document)

    def images(self, count: int) -> None:
        """Send mutated images, many in a request, with a good one among them."""
        chance = self._chance
        for _ in range(0, count, IMAGES_AT_ONCE):
            damaged = [self._damaged_image() for _ in range(IMAGES_AT_ONCE)]
            items = [image_instance(data) for data in damaged]
            place = chance.randrange(len(items) + 1)
            items.insert(place, GOOD)
            self._judge(self._post(json.dumps({"instances": items}).encode()), place, items)

    def _damaged_image(self) -> bytes:
        chance, good = self._chance, self._chance.choice(images())
        if chance.random() < 0.5:
            return structured(chance, good, repair_of(good))
        return mutated_bytes(chance, good, chance.choice(images()))

    def frames(self, count: int, store: Store, slide: Slide) -> None:
        """Let a store damage its frames, its multipart answers or its metadata."""
        chance, level = self._chance, slide.instances[0]
        for number in range(count):
            part = chance.choice(("frames", "multipart", "metadata", "dataset"))
            store.behaviour.override = lambda request, part=part: self._damaged(store, request, part)
            asked = {
                "dicom_path": {"series_path": store.series_path(slide), "instance_uids": [level.uid]},
                "bearer_token": f"token-{number}",
                "patch_coordinates": [{"x_origin": 100, "y_origin": 90}],
                "extensions": {"transform_imaging_to_icc_profile": chance.choice(("NONE", "SRGB"))},
            }
            body = json.dumps({"instances": [asked, GOOD]}).encode()
            self._judge(self._post(body), 1, asked)

    def _damaged(self, store: Store, request: Request, part: str) -> Answer | None:
        override, store.behaviour.override = store.behaviour.override, None
        status, headers, body = store.answer(request)
        store.behaviour.override = override
        metadata = request.path.partition("?")[0].endswith("metadata")
        if metadata and part == "dataset":
            body = json.dumps(mutated_json(self._chance, json.loads(body))).encode()
        elif (metadata and part == "metadata") or (not metadata and part == "multipart"):
            body = mutated_bytes(self._chance, body, body)
        elif not metadata and part == "frames":
            start = body.find(b"\r\n\r\n") + 4
            end = body.rfind(b"\r\n--")
            frame = body[start:end]
            if self._chance.random() < 0.5:
                frame = structured(self._chance, frame, repair_of(frame))
            else:
                frame = mutated_bytes(self._chance, frame, body)
            body = body[:start] + frame + body[end:]
        return status, headers, body

    def _post(self, body: bytes) -> Response:
        started = time.monotonic()
        answer = self._session.post(f"{self._service.url}/predict", data=body, timeout=2 * SLOWEST_S)
        self.slowest_s = max(self.slowest_s, time.monotonic() - started)
        return answer

    def _judge(self, answer: Response, place: int | None, sent: object) -> None:
        assert answer.status_code in (200, 400, 413), (
            answer.status_code,
            answer.text[:300],
            str(sent)[:2000],
        )
        assert self.slowest_s < SLOWEST_S, str(sent)[:2000]
        document = answer.json()
        validate = self._chance.random() < 1 / _VALIDATE_ONE_IN
        if answer.status_code != 200:
            self._count(document["error"]["code"])
            if validate:
                _FAILED.validate(document)
            return
        if validate:
            _RESPONSE.validate(document)
        for prediction in document["predictions"]:
            self._count(prediction["error"]["code"] if "error" in prediction else "ok")
        if place is not None and document["metadata"]["encoding"] == "json":
            found = self._vector(document["predictions"][place])
            np.testing.assert_array_equal(found, self._truth)

    def _count(self, code: str) -> None:
        assert code == "ok" or code in TABLE, code
        assert code != "INTERNAL_ERROR", "an instance met a fault of the service; see its log"
        self.outcomes[code] = self.outcomes.get(code, 0) + 1

    @staticmethod
    def _vector(prediction: dict[str, Any]) -> np.ndarray:
        assert "result" in prediction, prediction
        return np.array(prediction["result"]["patch_embeddings"][0]["embedding_vector"])

    def require_true(self) -> None:
        """Hold the vector that all the others were compared with to the pixels."""
        pixels = encode(tissue()[:224, :224], "JPEG", quality=95)
        import simplejpeg

        truth = probe(simplejpeg.decode_jpeg(pixels, "RGB")[np.newaxis])[0]
        np.testing.assert_allclose(self._truth, truth, atol=TOLERANCE)


ENVIRONMENT = {
    "APPROVED_GCS_SOURCE_LIST": "gs://none-of-these",
    "PATHSERVE_STORE_TIMEOUT_S": "5",
    "PATHSERVE_FRAME_CACHE_BYTES": "8000000",  # soon full, so that memory shows what is not given back
}
"""Settings of a service that is to be fuzzed: nothing leaves this machine."""
