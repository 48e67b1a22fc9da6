"""The client of the service, against a service."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.client import Fault, Image, PathserveClient, ServiceFault
from tests.support.app import ServedApp
from tests.support.loopback import Handler, Loopback
from tests.support.models import TOLERANCE, probe
from tests.support.slides import pyramid
from tests.support.store import Store
from tests.support.tissue import encode, tissue

GRID = [(x, y) for y in range(0, 280, 9) for x in range(0, 280, 9)]


def truth(origins: list[tuple[int, int]]) -> np.ndarray:
    return probe(np.stack([tissue()[y : y + 224, x : x + 224] for x, y in origins]))


def vectors(found: object) -> np.ndarray:
    assert isinstance(found, np.ndarray), found
    assert found.dtype == np.float32
    return found


def test_images_are_split_over_requests_and_put_together(served_app: ServedApp) -> None:
    data = encode(tissue()[:504, :504], "JPEG")
    small = encode(tissue()[:224, :224])
    before = served_app.metrics()
    with PathserveClient(served_app.url, max_patches=100, max_request_bytes=400_000) as client:
        images = [
            Image.of_bytes(encode(tissue()), GRID[:150]),
            Image.of_bytes(small[:999], [(0, 0)]),
            Image.of_bytes(small, [(0, 0), (1, 0)], require_patches_fully_in_source_image=False),
            Image.of_bytes(data, []),
        ]
        big = PathserveClient(served_app.url, max_patches=100)
        whole, fault, outside, none = big.embed(images)
        np.testing.assert_allclose(vectors(whole), truth(GRID[:150]), atol=TOLERANCE)
        assert isinstance(fault, Fault)
        assert fault.code == "IMAGE_ERROR"
        assert vectors(outside).shape == (2, 384)
        assert vectors(none).shape[0] == 0
        assert big.metadata["untrained"] is False
        np.testing.assert_allclose(
            client.embed_patches(np.stack([tissue()[:224, :224]] * 9)), truth([(0, 0)] * 9), atol=TOLERANCE
        )
    requests = sum(v for k, v in served_app.metrics().items() if k.startswith("pathserve_requests_total"))
    requests -= sum(v for k, v in before.items() if k.startswith("pathserve_requests_total"))
    assert requests >= 2 + 3  # 153 patches at 100 each; nine PNGs of 100 kB at 400 kB each


def test_arrays_must_be_patches(served_app: ServedApp) -> None:
    client = PathserveClient(served_app.url)
    wrongs: list[Any] = [np.zeros((1, 224, 224, 3), np.float32), np.zeros((1, 200, 224, 3), np.uint8)]
    for wrong in wrongs:
        with pytest.raises(ValueError, match="uint8"):
            client.embed_patches(wrong)


def test_series_and_their_tokens(served_app: ServedApp) -> None:
    slide = pyramid("JPEG", [(500, 400)])
    with Store(slide) as store:
        store.behaviour.tokens = {"good"}
        level = slide.instances[0]
        client = PathserveClient(served_app.url)
        images = [
            Image.of_series(store.series_path(slide), [level.uid], [(1, 2)], token)
            for token in ("good", "bad")
        ]
        assert "good" not in repr(images)
        good, refused = client.embed(images)
        np.testing.assert_allclose(
            vectors(good), probe(level.truth[np.newaxis, 2:226, 1:225]), atol=TOLERANCE
        )
        assert isinstance(refused, Fault)
        assert refused.code == "INVALID_CREDENTIALS_ERROR"


def test_a_refused_request_raises_with_its_code(served_app: ServedApp) -> None:
    client = PathserveClient(served_app.url + "/elsewhere")
    with pytest.raises(ServiceFault, match="NOT_FOUND_ERROR") as caught:
        client.embed([Image.of_bytes(b"x", [(0, 0)])])
    assert caught.value.status == 404


class Busy:
    """A service that is overloaded a few times, then answers."""

    def __init__(self, answers: list[tuple[int, str]]) -> None:
        self.answers = answers
        busy = self

        class BusyHandler(Handler):
            def respond(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                status, after = busy.answers.pop(0) if busy.answers else (200, "0")
                body = json.dumps(
                    {"predictions": [{"error": {"code": "IMAGE_ERROR", "description": "x"}}], "metadata": {}}
                    if status == 200
                    else {"error": {"code": "SERVICE_UNAVAILABLE_ERROR", "description": "busy"}}
                ).encode()
                self.answer(status, [("Retry-After", after)], body)

        self.server = Loopback(BusyHandler)
        self.url = self.server.origin


@pytest.fixture
def busy() -> Iterator[Busy]:
    server = Busy([(503, "0"), (503, "not a number")])
    yield server
    server.server.end()


def test_overload_is_waited_out_but_not_for_ever(busy: Busy) -> None:
    images = [Image.of_bytes(b"x", [(0, 0)])]
    (fault,) = PathserveClient(busy.url).embed(images)
    assert fault == Fault("IMAGE_ERROR", "x")
    assert busy.answers == []
    busy.answers[:] = [(503, "20")] * 3
    with pytest.raises(ServiceFault, match="SERVICE_UNAVAILABLE"):
        PathserveClient(busy.url, retry_for_s=5).embed(images)
    assert len(busy.answers) == 2  # it was told to wait longer than it may


def test_a_service_that_is_not_there_is_said_to_be_so() -> None:
    with pytest.raises(ServiceFault, match="CONNECTION_ERROR"):
        PathserveClient("http://127.0.0.1:9", retry_for_s=0).embed([Image.of_bytes(b"x", [(0, 0)])])


def test_a_service_that_does_not_answer_is_said_to_be_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        client = PathserveClient(url, timeout_s=0.2, retry_for_s=0)
        with pytest.raises(ServiceFault, match="CONNECTION_ERROR: ReadTimeout"):
            client.embed([Image.of_bytes(b"x", [(0, 0)])])


class Echo(Handler):
    """Answers with what it was sent."""

    def respond(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        said = f"{self.headers.get('Authorization')} {self.path}"
        error = {"code": "IMAGE_ERROR", "description": said}
        self.answer(200, [], json.dumps({"predictions": [{"error": error}], "metadata": {}}).encode())


def test_nothing_but_the_clients_own_key_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login planted password planted\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    images = [Image.of_bytes(b"x", [(0, 0)])]
    echo = Loopback(Echo)
    try:
        for key, sent in ((None, "None /predict"), ("key", "Bearer key /predict")):
            assert PathserveClient(echo.origin, api_key=key).embed(images) == [Fault("IMAGE_ERROR", sent)]
    finally:
        echo.end()


def test_a_proxy_is_gone_through_only_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = Loopback(Echo)
    monkeypatch.setenv("HTTP_PROXY", proxy.origin)
    monkeypatch.setenv("NO_PROXY", "inside.invalid")
    images = [Image.of_bytes(b"x", [(0, 0)])]
    try:
        (fault,) = PathserveClient("http://outside.invalid", use_proxy=True).embed(images)
        assert fault == Fault("IMAGE_ERROR", "None http://outside.invalid/predict")
        for url, use_proxy in (("http://outside.invalid", False), ("http://inside.invalid", True)):
            with pytest.raises(ServiceFault, match="CONNECTION_ERROR"):
                PathserveClient(url, use_proxy=use_proxy, retry_for_s=0).embed(images)
    finally:
        proxy.end()


@pytest.mark.parametrize(
    "url", ["localhost:8080", "", "ftp://host", "http://", "http://h:x", "http://h:70000"]
)
def test_what_is_no_address_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match="not the address of a service"):
        PathserveClient(url)


def test_a_key_that_cannot_be_sent_is_refused_and_not_shown() -> None:
    for key in ("schl\u00fcssel", "key\r\n"):
        with pytest.raises(ValueError, match="printable ASCII") as caught:
            PathserveClient("http://127.0.0.1:9", api_key=key)
        assert key not in str(caught.value)
