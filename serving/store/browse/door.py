"""The door of the page: its files, who the caller is, attributes, and what administrators see."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import orjson
from flask import Blueprint, Response, request

from serving.errors import Code, ServiceError
from serving.http.static_files import PageFiles
from serving.store.access.audit import Audit, Event
from serving.store.access.roles import Role
from serving.store.access.tokens import Tokens
from serving.store.browse.attributes import MOST_ROWS, rows_of
from serving.store.door import JSON, Right, StoreDoor, caller
from serving.store.index.store_index import StoreIndex
from serving.store.peers.peer import NodePeer, Peer

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Scripts and data from here alone: what a slide's text says can neither run nor be sent elsewhere."""

MOST_IMPORTS = 500
"""Rows of the import log that are shown; ``pathserve store audit`` has all."""

_STATIC = Path(__file__).parent / "static"
_PAGE = "index.html"


@dataclass(frozen=True, slots=True)
class Browsed:
    """What the page shows.

    Attributes
    ----------
    folder:
        Of the store.
    peers:
        Returns the peers, by name.
    url:
        Address of DICOMweb as clients name it; empty: below the page's own.
    view:
        Address of a page that shows embeddings of a slide; empty where there is none.
    """

    folder: Path
    index: StoreIndex
    tokens: Tokens
    audit: Audit
    peers: Callable[[], Mapping[str, Peer]]
    url: str = ""
    view: str = ""


def browse_door(browsed: Browsed) -> StoreDoor:
    """Return the door."""
    routes = Blueprint("browse", __name__)
    files = PageFiles(_STATIC, _PAGE, POLICY)
    views = _Views(browsed)
    routes.add_url_rule("/store", "page", files.page)
    routes.add_url_rule("/store/static/<path:name>", "static", files.static)
    routes.add_url_rule("/store/me", "me", views.me)
    routes.add_url_rule("/store/attributes/<study>/<series>/<instance>", "attributes", views.attributes)
    routes.add_url_rule("/store/usage", "usage", views.usage)
    routes.add_url_rule("/store/imports", "imports", views.imports)
    routes.add_url_rule("/store/peers", "peers", views.peers)
    open_to_all = Right(None, is_at_once=True)
    rights = {
        "page": open_to_all,
        "static": open_to_all,
        "me": Right(None),  # any valid token will do, and the view asks for one
        "attributes": Right(Role.READ, Event.ACCESSED),
        "usage": Right(Role.ADMIN),
        "imports": Right(Role.ADMIN, Event.AUDIT_USED),
        "peers": Right(Role.ADMIN),
    }
    return StoreDoor(routes, rights)


class _Views:
    def __init__(self, browsed: Browsed) -> None:
        self._browsed = browsed

    def me(self) -> Response:
        """Answer what the caller's token allows."""
        asks = self._browsed.tokens.authorise(request.headers.get("Authorization"), None)
        return _json(
            {
                "roles": sorted(asks.roles),
                "dicomweb": self._browsed.url,
                "view": self._browsed.view,
            }
        )

    def attributes(self, study: str, series: str, instance: str) -> Response:
        """Answer all attributes of an instance, as rows."""
        index = self._browsed.index
        stored = index.instance(study, series, instance, caller().permission)
        found = next(index.metadata([instance]), None) if stored is not None else None
        if stored is None or found is None:
            raise ServiceError(Code.NOT_FOUND_ERROR, "There is no such instance in this store.")
        rows = [asdict(row) for row in islice(rows_of(orjson.loads(found[1])), MOST_ROWS + 1)]
        return _json(
            {
                "rows": rows[:MOST_ROWS],
                "is_cut": len(rows) > MOST_ROWS,
                "size": stored.size,
                "sha256": stored.sha256,
                "origin": stored.origin,
                "added_at": stored.added_at,
            }
        )

    def usage(self) -> Response:
        """Answer how much there is, and how much room."""
        disk = shutil.disk_usage(self._browsed.folder)
        usage = asdict(self._browsed.index.usage())
        return _json(usage | {"disk_free": disk.free, "disk_total": disk.total})

    def imports(self) -> Response:
        """Answer the newest rows of the audit trail that are about imports."""
        return _json({"rows": self._browsed.audit.newest(Event.IMPORT, MOST_IMPORTS)})

    def peers(self) -> Response:
        """Answer the peers, without what opens them."""
        peers = self._browsed.peers()
        return _json({"peers": [shown_peer(peer) for _, peer in sorted(peers.items())]})


def shown_peer(peer: Peer) -> dict[str, str]:
    """Return what is shown of a peer; nothing of it opens anything."""
    if isinstance(peer, NodePeer):
        return {"name": peer.name, "kind": "dicom", "address": f"{peer.ae_title}@{peer.host}:{peer.port}"}
    return {"name": peer.name, "kind": peer.kind, "address": peer.url}


def _json(value: object) -> Response:
    return Response(orjson.dumps(value), content_type=JSON)
