"""The request path over HTTP: a real service, with a model that shows every wrong pixel."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import requests

from tests.support.models import DIMENSION, POISON, TOLERANCE, probe
from tests.support.predicting import embed, patch, vectors
from tests.support.service import Service
from tests.support.tissue import base64_text, encode, instance, tissue


def good() -> dict[str, object]:
    return instance(encode(tissue()[:224, :224]))


def faulty(**changes: object) -> dict[str, object]:
    return good() | changes


def test_the_answer_has_the_documented_shape(probe_service: Service) -> None:
    response = probe_service.predict(instance(encode(tissue()), (0, 0), (288, 100)))
    assert response.headers["Content-Type"] == "application/json"
    answer = response.json()
    keys = {"predictions", "deployedModelId", "model", "modelVersionId", "modelDisplayName", "metadata"}
    assert set(answer) == keys
    assert answer["metadata"]["device"] == "CPU"
    assert answer["metadata"]["precision"] == "float32"
    assert answer["metadata"]["digest"].startswith("sha256:")
    assert answer["metadata"]["untrained"] is False
    (prediction,) = answer["predictions"]
    first, second = prediction["result"]["patch_embeddings"]
    assert first["patch_coordinate"] == {"x_origin": 0, "y_origin": 0, "width": 224, "height": 224}
    assert second["patch_coordinate"] == {"x_origin": 288, "y_origin": 100, "width": 224, "height": 224}
    assert len(first["embedding_vector"]) == DIMENSION


def test_the_models_own_failure_fails_one_instance_of_a_batch(probe_service: Service) -> None:
    poison = tissue()[:224, :224].copy()
    poison[0, 0, 0] = POISON
    sent = [good() for _ in range(20)]
    sent[7] = instance(encode(poison))
    predictions = probe_service.predict(*sent).json()["predictions"]
    assert [i for i, p in enumerate(predictions) if "error" in p] == [7]
    assert predictions[7]["error"]["code"] == "IMAGE_ERROR"
    expected = probe(tissue()[np.newaxis, :224, :224])
    for index in (6, 8):
        np.testing.assert_allclose(vectors(predictions[index]), expected, atol=TOLERANCE, rtol=0)


def test_many_instances_and_patches_come_back_in_order(probe_service: Service) -> None:
    image = tissue(2240, 1120)
    origins = [(x, y) for y in range(0, 1120, 224) for x in range(0, 2240, 224)]
    single = [instance(encode(np.ascontiguousarray(patch(image, x, y)))) for x, y in origins[:30]]
    found = embed(probe_service, instance(encode(image, "TIFF"), *origins), *single)
    expected = probe(np.stack([patch(image, x, y) for x, y in origins]))
    np.testing.assert_allclose(found[0], expected, atol=TOLERANCE, rtol=0)
    np.testing.assert_allclose(np.concatenate(found[1:]), expected[:30], atol=TOLERANCE, rtol=0)


def test_the_request_id_comes_back_and_is_logged(probe_service: Service) -> None:
    response = probe_service.predict(good(), 5, headers={"X-Request-Id": "look-for-me"})
    assert response.headers["X-Request-Id"] == "look-for-me"
    (line,) = [entry for entry in probe_service.log_lines() if entry.get("request_id") == "look-for-me"]
    assert (line["instances"], line["instances_failed"], line["patches"]) == (2, 1, 1)
    assert line["codes"] == {"INVALID_REQUEST_FIELD_ERROR": 1}
    assert {"parse", "decode", "colour", "queue", "encode", "serialise"} <= set(line["stages_ms"])


def test_nothing_of_a_requests_content_is_logged(probe_service: Service) -> None:
    secret = "ya29.planted-token"
    text = base64_text(encode(tissue()[:224, :224]))
    probe_service.predict(faulty(bearer_token=secret), instance(text), instance(text[:-8]))
    probe_service.session.post(
        f"{probe_service.url}/predict?access_token={secret}",
        data=b'{"instances": [{"a": "planted-name"}]}',
        timeout=10,
    )
    log = probe_service.log()
    for planted in (secret, text[:40], "planted-name"):
        assert planted not in log


@pytest.mark.parametrize(
    "request_text",
    [
        b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"GET /planted-in-a-line\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
    ],
)
def test_what_is_no_http_is_a_400_and_not_logged(probe_service: Service, request_text: bytes) -> None:
    with socket.create_connection(("127.0.0.1", probe_service.port), timeout=20) as connection:
        connection.sendall(request_text)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(4096).startswith(b"HTTP/1.1 400")
    assert "planted-in-a-line" not in probe_service.log()


def test_silent_and_half_finished_connections_do_not_keep_health_waiting(probe_service: Service) -> None:
    openings = [
        b"",
        b"POST /predict HTTP/1.1\r\nHost: x\r\n",
        b"POST /predict HTTP/1.1\r\nContent-Length: 9\r\n\r\n",
    ]
    connections = []
    try:
        for opening in openings:
            for _ in range(60):
                connection = socket.create_connection(("127.0.0.1", probe_service.port), timeout=20)
                connection.sendall(opening)
                connections.append(connection)
        assert probe_service.health() == 200
    finally:
        for connection in connections:
            connection.close()


def test_concurrent_requests_get_their_own_vectors(probe_service: Service) -> None:
    image = encode(tissue(1024, 1024))

    def ask(number: int) -> bool:
        origins = [(number * 7 + 11 * i, 3 * number) for i in range(1 + number % 5)]
        session = requests.Session()
        session.trust_env = False
        sent = {"instances": [instance(image, *origins)]}
        response = session.post(f"{probe_service.url}/predict", json=sent, timeout=120)
        while response.status_code == 503:
            response = session.post(f"{probe_service.url}/predict", json=sent, timeout=120)
        expected = probe(np.stack([patch(tissue(1024, 1024), x, y) for x, y in origins]))
        found = vectors(response.json()["predictions"][0])
        return bool(np.abs(found - expected).max() < TOLERANCE)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(40)))
