"""Who may use the service, how it is reached, and what it will not connect to."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from dicom_io.web.public_connection import is_public
from serving.client import Image, PathserveClient
from serving.config.settings import SettingsError, load_settings
from tests.support.app import App, ServedApp
from tests.support.asking import ask, code_of
from tests.support.models import TOLERANCE, probe
from tests.support.service import wait_until
from tests.support.slides import pyramid
from tests.support.store import Store
from tests.support.tissue import encode, instance, tissue

KEYS = ("first-key-of-the-service", "second-key-of-the-service")
GOOD = instance(encode(tissue()[:224, :224]))


@pytest.fixture(scope="module")
def locked() -> Iterator[ServedApp]:
    """An application with keys that refuses private stores."""
    settings: dict[str, object] = {
        "PATHSERVE_API_KEYS": ",".join(KEYS),
        "PATHSERVE_REFUSE_PRIVATE_STORES": "true",
        "PATHSERVE_ALLOW_HTTP_STORES": "true",
    }
    with App(settings) as app, ServedApp(app) as served:
        yield served


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", "Bearer wrong", f"Basic {KEYS[0]}", KEYS[0], f"Bearer {KEYS[0]}x", "Bearer é"],
)
def test_without_a_key_nothing_is_predicted_or_told(locked: ServedApp, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header.encode()}
    endpoint = "/v1/projects/p/locations/l/endpoints/1"
    posts = ("/predict", f"{endpoint}:predict", f"{endpoint}:rawPredict")
    for method, path in [("post", path) for path in posts] + [("get", endpoint), ("get", "/metrics")]:
        answer = locked.session.request(
            method,
            locked.url + path,
            json={"instances": [GOOD]} if method == "post" else None,
            headers=headers,
            timeout=30,
        )
        assert answer.status_code == 401, path
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert answer.json()["error"]["code"] == "API_KEY_ERROR"
        assert not any(key in answer.text for key in KEYS)


def test_every_key_opens_and_health_needs_none(locked: ServedApp) -> None:
    for key in KEYS:
        with PathserveClient(locked.url, api_key=key) as client:
            (found,) = client.embed([Image.of_bytes(encode(tissue()), [(3, 4)])])
        assert isinstance(found, np.ndarray)
        np.testing.assert_allclose(found, probe(tissue()[np.newaxis, 4:228, 3:227]), atol=TOLERANCE)
    assert locked.health() == 200
    assert not any(key in locked.app.log() for key in KEYS)


def test_a_refused_request_is_refused_before_its_body_is_read(locked: ServedApp) -> None:
    with socket.create_connection(("127.0.0.1", locked.port), 20) as sock:
        sock.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 200000000\r\n\r\n")
        sock.shutdown(socket.SHUT_WR)
        assert b" 401 " in b"".join(iter(lambda: sock.recv(4096), b""))


def test_a_short_key_is_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATHSERVE_API_KEYS", "tooshort")
    with pytest.raises(SettingsError, match=r"PATHSERVE_API_KEYS.*16 characters") as caught:
        load_settings()
    assert "tooshort" not in str(caught.value)
    monkeypatch.setenv("PATHSERVE_API_KEYS", KEYS[0])
    assert KEYS[0] not in repr(load_settings())


def test_answers_have_security_headers(probe_app: App) -> None:
    for path in ("/health", "/metrics", "/openapi.json", "/nowhere", "/docs"):
        headers = probe_app.get(path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-store"
        assert "default-src 'none'" in headers["Content-Security-Policy"]


def test_there_are_no_debug_routes(probe_app: App) -> None:
    for path in (
        "/console",
        "/debug",
        "/static/x",
        "/__debugger__",
    ):
        assert probe_app.get(path).status_code == 404
    assert probe_app.get("/?__debugger__=yes&cmd=resource&f=style.css").json() == {"status": "alive"}


@pytest.mark.parametrize(
    ("address", "public"),
    [
        *((a, True) for a in ("8.8.8.8", "2001:4860:4860::8888", "::ffff:8.8.8.8")),
        *((a, False) for a in ("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254")),
        *((a, False) for a in ("0.0.0.0", "100.64.0.1", "224.0.0.1", "255.255.255.255", "::1", "::")),
        *((a, False) for a in ("fe80::1%eth0", "fd00:ec2::254", "::ffff:10.0.0.1", "ff02::1")),
        *(
            (a, False)
            for a in ("64:ff9b::a9fe:a9fe", "2002:7f00:1::", "168.63.129.16", "::ffff:168.63.129.16")
        ),
        *(
            (a, False)
            for a in ("192.0.0.192", "192.0.0.9", "198.18.0.1", "fec0::1", "::8.8.8.8", "::10.0.0.1")
        ),
        *(
            (a, False)
            for a in ("64:ff9b:1::808:808", "5f00::1", "3fff::1", "2001:db8::1", "100::1", "4000::1")
        ),
    ],
)
def test_which_addresses_are_public(address: str, public: bool) -> None:
    assert is_public(address) is public


def test_private_stores_are_refused_by_address_and_by_name(locked: ServedApp) -> None:
    slide = pyramid("JPEG", [(300, 300)])
    with Store(slide) as store, PathserveClient(locked.url, api_key=KEYS[0]) as client:
        for host in ("127.0.0.1", "localhost", "[::1]", "169.254.169.254", "10.0.0.1"):
            path = store.series_path(slide).replace("127.0.0.1", host)
            (fault,) = client.embed([Image.of_series(path, [slide.instances[0].uid], [(0, 0)])])
            assert getattr(fault, "code", None) == "UNAPPROVED_DICOM_STORE_ERROR", (host, fault)
        assert store.requests == []


def test_a_public_stores_redirect_or_bulk_data_do_not_lead_to_other_places(probe_app: App) -> None:
    """The store is allowed; what it points to is held to the same rules (plain http beyond this machine)."""
    slide = pyramid("JPEG", [(300, 300)])
    with Store(slide) as store:
        store.behaviour.override = lambda r: (
            302,
            {"Location": "http://169.254.169.254/latest/meta-data"},
            b"",
        )
        assert code_of(probe_app, ask(store, slide, [slide.instances[0].uid])) == "DICOM_PATH_ERROR"


def test_a_body_that_drips_gives_up_its_turn(served_app: ServedApp) -> None:
    """Twenty clients that send a byte now and then keep neither health nor predictions waiting for long."""
    stop = threading.Event()
    socks = [socket.create_connection(("127.0.0.1", served_app.port), 60) for _ in range(20)]
    try:
        for sock in socks:
            sock.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n{")

        def drip() -> None:
            while not stop.wait(1):
                for sock in socks:
                    try:
                        sock.sendall(b" ")
                    except OSError:
                        continue

        threading.Thread(target=drip, daemon=True).start()
        assert served_app.health() == 200
        wait_until(lambda: served_app.predict(GOOD).status_code == 200, "a turn", 60)
        for sock in socks:
            sock.settimeout(60)
            assert sock.recv(4096)[9:12] == b"408"
    finally:
        stop.set()
        for sock in socks:
            sock.close()


@pytest.mark.parametrize("text", [b"[" * 600_000, b'{"instances":[' + b"{}," * 600_000 + b"{}]}",
                                  b'{"instances":[' + b"1," * 5_000_000 + b"1]}"])  # fmt: skip
def test_small_bodies_that_unfold_into_very_much_are_refused_unparsed(probe_app: App, text: bytes) -> None:
    answer = probe_app.post("/predict", text)
    assert answer.status_code == 400
    assert "JSON objects and lists" in answer.json()["error"]["description"]


def test_tiles_of_a_pixel_are_refused(probe_app: App) -> None:
    slide = pyramid("JPEG", [(300, 300)])
    level = slide.instances[0]
    level.dataset.Rows = level.dataset.Columns = 1
    level.dataset.NumberOfFrames = 90_000
    with Store(slide) as store:
        origins = [(x, 0) for x in range(70)]
        assert code_of(probe_app, ask(store, slide, [level.uid], *origins)) == "DICOM_ERROR"
        assert store.frame_requests() == []
