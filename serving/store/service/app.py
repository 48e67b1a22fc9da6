"""The WSGI application of the store: all doors, behind one guard."""

from __future__ import annotations

from flask import request

from serving.config.settings import Settings
from serving.front.application import HttpApplication
from serving.http.answers import refusal
from serving.http.app import create_app
from serving.http.route_telemetry import RouteTelemetry
from serving.processes.assembly import read_context
from serving.store.browse.door import browse_door
from serving.store.dicomweb.door import dicomweb_door
from serving.store.dicomweb.library import Library
from serving.store.dicomweb.rendered import Renderer
from serving.store.dicomweb.stow import stow_door
from serving.store.door import StoreDoor
from serving.store.ingest.ingest import Ingest
from serving.store.service.browsing import browsed
from serving.store.service.cors import Cors
from serving.store.service.gate import StoreGate
from serving.store.service.guard import Guard
from serving.store.service.mapping import mapping_door
from serving.store.service.parts import Parts
from serving.store.service.rights import Rights
from serving.store.service.shares import shares_door
from serving.store.service.status import StoreGauges, status_door
from serving.telemetry.spans import Spans

DICOMWEB = "/dicomweb"
"""Where DICOMweb's routes begin."""


def store_application(
    settings: Settings, parts: Parts, ingest: Ingest, spans: Spans | None = None
) -> HttpApplication:
    """Return the application for the front.

    Parameters
    ----------
    spans:
        Where spans of requests go, where they are wanted.

    Raises
    ------
    SettingsError
        When an origin is none, or the address of a page is none.
    """
    telemetry = RouteTelemetry("pathserve_store", settings.shared.metrics, StoreGauges(parts), spans=spans)
    cors = Cors(settings.slide_store.cors_origins or ())
    at_root = [
        status_door(parts, telemetry, settings.http.api_keys),
        shares_door(parts),
        mapping_door(parts),
        browse_door(browsed(settings, parts)),
    ]
    dicomweb = dicomweb_doors(settings, parts, ingest)
    rights = Rights([*at_root, *dicomweb])
    app = create_app([])
    for door in at_root:
        app.register_blueprint(door.routes)
    for door in dicomweb:
        app.register_blueprint(door.routes, url_prefix=DICOMWEB)
    rights.require_complete(app)
    telemetry.watch(app)
    Guard(rights, parts.tokens, parts.audit).watch(app)
    app.after_request(cors.finish)
    return HttpApplication(app, StoreGate(app.url_map, rights, parts.tokens), refusal)


def dicomweb_doors(settings: Settings, parts: Parts, ingest: Ingest) -> list[StoreDoor]:
    """Return the doors of DICOMweb."""
    url = settings.slide_store.url

    def base() -> str:
        """Return the address of DICOMweb, as the present request's client names it when none is set."""
        return url.rstrip("/") if url else request.host_url.rstrip("/") + DICOMWEB

    library = Library(parts.index, parts.files, base)
    renderer = Renderer(library, read_context(settings))
    return [dicomweb_door(library, renderer), stow_door(ingest, base)]
