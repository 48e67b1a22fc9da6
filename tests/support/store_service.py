"""The slide store as a user starts it: its process group, its commands, and clients of it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import psutil
import requests

from serving.store.access.roles import Permission, Role
from serving.store.access.token_table import TokenTable
from serving.store.access.tokens import Tokens
from tests.support.service import Service
from tests.support.slides import Slide, pyramid

BOUNDARY = "stow-boundary"
STOW = {
    "Content-Type": f'multipart/related; type="application/dicom"; boundary={BOUNDARY}',
    "Accept": "application/dicom+json",
}


def shareable(name: str = "JPEG", sizes: tuple[tuple[int, int], ...] = ((700, 500),)) -> Slide:
    """Return a slide that says of itself what the store wants to read before it takes a slide in."""
    return pyramid(name, list(sizes), BurnedInAnnotation="NO", SpecimenLabelInImage="NO")


def multipart(*files: bytes) -> bytes:
    """Return instances as the body of a STOW request."""
    head = f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    return b"".join(head + file + b"\r\n" for file in files) + f"--{BOUNDARY}--\r\n".encode()


class StoreService(Service):
    """``pathserve store serve`` in a folder, with an administrator's token.

    Attributes
    ----------
    token:
        Of an administrator.
    """

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.settings = {
            "PATHSERVE_STORE_DIR": str(folder),
            "PATHSERVE_STORE_PORT": "0",
            "PATHSERVE_STORE_MIN_FREE_BYTES": "0",
            **settings,
        }
        self.tokens = Tokens(TokenTable(folder / "tokens.sqlite"))
        self.token = self.token_of(Role.ADMIN)
        command = (sys.executable, "-m", "serving", "store", "serve")
        super().__init__(self.settings, command=command)

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the store beside the service."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PATHSERVE_", "AIP_"))}
        return subprocess.run(
            [sys.executable, "-m", "serving", "store", *arguments],
            env=inherited | self.settings,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def made(self, *arguments: str) -> str:
        """Return the token that a command makes."""
        run = self.command(*arguments)
        assert run.returncode == 0, run.stderr
        return run.stdout.strip()

    def token_of(self, *roles: Role, studies: Iterable[str] | None = None) -> str:
        """Return a new token: a command takes seconds to start."""
        permission = Permission(None if studies is None else frozenset(studies))
        return self.tokens.make("tests", roles, permission)[0].get_secret_value()

    @property
    def dicomweb(self) -> str:
        """Address of its DICOMweb."""
        return f"{self.url}/dicomweb"

    def ask(self, method: str, path: str, token: str | None = "", **options: object) -> requests.Response:
        """Send a request with a token: by default the administrator's."""
        headers = dict(options.pop("headers", {}))  # type: ignore[call-overload]
        if token is not None:
            headers["Authorization"] = f"Bearer {token or self.token}"
        answer: requests.Response = self.session.request(
            method,
            f"{self.url}{path}",
            headers=headers,
            timeout=120,
            **options,  # type: ignore[arg-type]
        )
        return answer

    def store(self, slide: Slide) -> list[dict[str, str]]:
        """Store a slide's instances; return the new UIDs of each."""
        answer = self.ask(
            "POST",
            "/dicomweb/studies",
            data=multipart(*(instance.file() for instance in slide.instances)),
            headers=STOW,
        )
        assert answer.status_code in (200, 202), answer.text
        items = answer.json()["00081199"]["Value"]
        return [uids_of(item["00081190"]["Value"][0]) for item in items]

    def gunicorn(self) -> psutil.Process:
        """gunicorn's master process."""
        return next(p for p in self._children() if "serving.store.service.http" in p.cmdline())

    def dimse_port(self) -> int:
        """The port of the DICOM node."""
        node = next(p for p in self._children() if "serving.store.service.dimse" in p.cmdline())
        listening = [c.laddr.port for c in node.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
        return int(listening[0])


def uids_of(address: str) -> dict[str, str]:
    """Return the UIDs in the address of an instance."""
    parts = address.split("/")
    return dict(zip(("study", "series", "instance"), parts[-5::2], strict=True))
