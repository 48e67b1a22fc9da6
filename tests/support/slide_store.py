"""A slide store's folder with slides in it, and its DICOMweb in this process."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from flask import Flask, g, request
from werkzeug.test import Client

from serving.config.settings import load_settings
from serving.http.app import create_app
from serving.processes.assembly import read_context
from serving.store.access.roles import EVERYTHING, Caller, Permission, Role
from serving.store.dicomweb.door import dicomweb_door
from serving.store.dicomweb.library import Library
from serving.store.dicomweb.rendered import Renderer
from serving.store.files import StoreFiles, place_of
from serving.store.index.frames import FrameTable, Layout
from serving.store.index.record import InstanceRecord, record_of
from serving.store.index.store_index import Added, StoreIndex
from serving.store.service.app import store_application
from serving.store.service.parts import open_ingest, open_parts
from serving.store.uids import InstanceUids
from tests.support.front import Front
from tests.support.slides import EXPLICIT, WHOLE_SLIDE, Slide, StoredInstance

DICOMWEB = "/dicomweb"


class StoreFolder:
    """Files and index in a folder, filled without any door.

    Parameters
    ----------
    database:
        Address of the index; a file in the folder by default.
    """

    def __init__(self, folder: Path, database: str | None = None) -> None:
        self.folder = folder
        self.files = StoreFiles(folder)
        self.files.prepare()
        self.index = StoreIndex(database or f"sqlite:///{folder / 'index.sqlite'}")
        self.index.prepare()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.index.close()

    def add(self, data: bytes, origin: str = "test") -> tuple[InstanceRecord, Added]:
        """Add a file."""
        with self.files.temporary() as path:
            path.write_bytes(data)
            record = record_of(path, origin)
            self.files.keep(path, record.path)
        return record, self.index.add(record, lambda: self.files.require(record.path))

    def add_slide(self, slide: Slide) -> list[StoredInstance]:
        """Add all instances of a slide; return them."""
        for instance in slide.instances:
            self.add(instance.file())
        return slide.instances

    def app(self, permission: Permission = EVERYTHING) -> Flask:
        """Return an application with the store's DICOMweb, for callers with a permission."""
        library = Library(self.index, self.files, lambda: request.host_url.rstrip("/") + DICOMWEB)
        door = dicomweb_door(library, Renderer(library, read_context(load_settings({}, {}))))
        app = create_app([])
        app.register_blueprint(door.routes, url_prefix=DICOMWEB)

        def admit() -> None:
            g.caller = Caller("test", permission=permission)

        app.before_request(admit)
        return app

    def client(self, permission: Permission = EVERYTHING) -> Client:
        """Return a client of that application."""
        return self.app(permission).test_client()


def made_up(study: str, series: str, sop: str, digest: str = "0" * 64, **attributes: str) -> InstanceRecord:
    """Return a record of an instance that has no file, with attributes by keyword."""
    uids = InstanceUids(study, series, sop)
    values = {keyword.lower(): value for keyword, value in attributes.items()}
    return InstanceRecord(
        *(study, series, sop, WHOLE_SLIDE, EXPLICIT, 1000, digest, place_of(uids, digest), "test"),
        attributes={"sopclassuid": WHOLE_SLIDE, "modality": "SM"} | values,
        frames=FrameTable(Layout.NATIVE, 1, b"\0" * 12),
        metadata=b"{}",
    )


class ServedStore:
    """A store as its settings make it, its DICOMweb behind the front on a free port; no processes.

    Attributes
    ----------
    url:
        Address of its DICOMweb.
    """

    def __init__(self, folder: Path, more: Mapping[str, object] | None = None) -> None:
        own = {"PATHSERVE_STORE_DIR": str(folder), "PATHSERVE_STORE_MIN_FREE_BYTES": 0}
        self.settings = load_settings({**own, **(more or {})}, {})
        self.parts = open_parts(self.settings)
        application = store_application(self.settings, self.parts, open_ingest(self.parts, self.settings))
        self.front = Front(application=application, configured=self.settings)
        self.url = f"http://127.0.0.1:{self.front.port}{DICOMWEB}"

    def __enter__(self) -> Self:
        self.front.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.front.__exit__(kind, error, trace)
        self.parts.close()

    def add_slide(self, slide: Slide) -> None:
        """Add all instances of a slide as they are, without any door."""
        for instance in slide.instances:
            with self.parts.files.temporary() as path:
                path.write_bytes(instance.file())
                record = record_of(path, "test")
                self.parts.files.keep(path, record.path)
            assert self.parts.index.add(record) is Added.NEW

    def token(
        self, permission: Permission = EVERYTHING, role: Role = Role.READ, lasts_s: float | None = None
    ) -> str:
        """Return a new token."""
        secret, _ = self.parts.tokens.make("test", [role], permission, lasts_s=lasts_s)
        return secret.get_secret_value()

    def series_path(self, slide: Slide) -> str:
        """Return the address of a slide's series."""
        return f"{self.url}/studies/{slide.study}/series/{slide.series}"
