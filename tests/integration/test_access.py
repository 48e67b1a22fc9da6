"""A service that speaks TLS; a service that does not start."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

import pytest
import requests

from serving.config.settings import SettingsError, load_settings
from tests.conftest import ModelFolders
from tests.integration.test_lifecycle import start_and_fail
from tests.support.certificate import self_signed
from tests.support.service import Service, wait_until
from tests.support.tissue import encode, instance, tissue

KEYS = ("first-key-of-the-service", "second-key-of-the-service")
GOOD = instance(encode(tissue()[:224, :224]))


def test_keys_are_in_no_childs_arguments_environment_or_open_files(model_folders: ModelFolders) -> None:
    environment = {"PATHSERVE_MODEL": model_folders["probe"], "PATHSERVE_API_KEYS": ",".join(KEYS)}
    with Service(environment) as service:
        children = service.wait_healthy().launcher().children(recursive=True)
        assert len(children) >= 3
        for child in children:
            shown = [*child.cmdline(), *child.environ().values()]
            assert not any(key in text for key in KEYS for text in shown)
            assert not any(name.startswith("PATHSERVE_") for name in child.environ())
            opened = [os.readlink(path) for path in Path(f"/proc/{child.pid}/fd").iterdir()]
            assert opened
            assert not any("pathserve-start" in name for name in opened)


def test_tls(model_folders: ModelFolders, tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    environment = {
        "PATHSERVE_MODEL": model_folders["probe"],
        "PATHSERVE_TLS_CERTIFICATE": str(certificate),
        "PATHSERVE_TLS_KEY": str(key),
    }
    with Service(environment) as service:
        session = requests.Session()
        session.trust_env, session.verify = False, str(certificate)
        url = f"https://127.0.0.1:{service.port}"

        def healthy() -> bool:
            try:
                return session.get(f"{url}/health", timeout=10).status_code == 200
            except requests.ConnectionError:
                return False

        wait_until(healthy, "health over TLS", 60)
        for _ in range(3):
            answer = session.post(f"{url}/predict", json={"instances": [GOOD]}, timeout=60).json()
            assert "result" in answer["predictions"][0]
        with pytest.raises(requests.ConnectionError):
            requests.get(f"http://127.0.0.1:{service.port}/health", timeout=10)
        stuck = [socket.create_connection(("127.0.0.1", service.port), 30) for _ in range(100)]
        for sock in stuck:
            sock.sendall(b"\x16")
        assert requests.get(f"{url}/health", timeout=10, verify=str(certificate)).status_code == 200
        large = GOOD | {"patch_coordinates": [{"x_origin": 0, "y_origin": 0}] * 2000}
        answer = session.post(f"{url}/predict", json={"instances": [large]}, timeout=60).json()
        assert len(answer["predictions"][0]["result"]["patch_embeddings"]) == 2000
        for sock in stuck:  # a handshake has ten seconds
            with contextlib.suppress(ConnectionError):
                assert sock.recv(1) == b""
            sock.close()
        assert session.get(f"{url}/health", timeout=10).status_code == 200
    with pytest.raises(SettingsError, match="must be set together"):
        load_settings({"PATHSERVE_TLS_KEY": str(key)})


def test_a_bad_allow_list_stops_the_start(model_folders: ModelFolders) -> None:
    for name in ("APPROVED_GCS_SOURCE_LIST", "APPROVED_DICOM_STORE_SOURCE_LIST"):
        status, output = start_and_fail({"PATHSERVE_MODEL": model_folders["probe"], name: "hospital"})
        assert status != 0
        assert name in output
        assert "Traceback" not in output
