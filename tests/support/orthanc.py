"""A real Orthanc with its DICOMweb plug-in, on loopback, in a folder of its own."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests

from tests.support.service import wait_until
from tests.support.slides import Slide

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
BOUNDARY = "stow-boundary"


def missing() -> str:
    """Return why Orthanc cannot be started here; empty when it can."""
    if shutil.which("Orthanc") is None:
        return "Orthanc is not installed (Debian packages orthanc and orthanc-dicomweb)"
    return "" if PLUGIN.exists() else f"Orthanc's DICOMweb plug-in is not at {PLUGIN}"


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class Orthanc:
    """The server; use it as a context manager.

    Parameters
    ----------
    changes:
        What its configuration has beside the usual, or in its place; ``DicomPort`` opens its DICOM node, too.
    """

    def __init__(self, folder: Path, changes: Mapping[str, Any] | None = None) -> None:
        self.port = free_port()
        configuration = {
            "HttpPort": self.port,
            "HttpBindAddresses": ["127.0.0.1"],
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "DicomServerEnabled": False,
            "Plugins": [str(PLUGIN)],
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
            "StorageDirectory": str(folder / "storage"),
            "IndexDirectory": str(folder / "index"),
        } | dict(changes or {})
        path = folder / "orthanc.json"
        path.write_text(json.dumps(configuration), encoding="ascii")
        self._log = (folder / "orthanc.log").open("wb")
        self._process = subprocess.Popen(["Orthanc", str(path)], stdout=self._log, stderr=self._log)

    def __enter__(self) -> Self:
        wait_until(self._answers, "Orthanc", 60)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait(30)
        self._log.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def rest(self) -> str:
        """Address of Orthanc's own API."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/dicom-web"

    def series_path(self, slide: Slide) -> str:
        return f"{self.url}/studies/{slide.study}/series/{slide.series}"

    def store(self, slide: Slide) -> None:
        """STOW a slide's instances (PS3.18, 10.5)."""
        for instance in slide.instances:
            body = (
                f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
                + instance.file()
                + f"\r\n--{BOUNDARY}--".encode()
            )
            answer = requests.post(
                f"{self.url}/studies",
                data=body,
                headers={
                    "Content-Type": f'multipart/related; type="application/dicom"; boundary={BOUNDARY}',
                    "Accept": "application/dicom+json",
                },
                timeout=60,
            )
            answer.raise_for_status()

    def _answers(self) -> bool:
        try:
            return requests.get(f"http://127.0.0.1:{self.port}/system", timeout=5).status_code == 200
        except requests.ConnectionError:
            return False
