"""The door of DICOMweb: which address leads to what. Storing is a door of its own.

Addresses are relative to that of the store's DICOMweb.
"""

from __future__ import annotations

from collections.abc import Callable

from flask import Blueprint, Response

from serving.store.access.audit import Event
from serving.store.access.roles import Role
from serving.store.dicomweb import delete, frames, rendered, retrieve, search
from serving.store.dicomweb.library import Library
from serving.store.door import Right, StoreDoor
from serving.store.index.attributes import Level

_STUDY = "/studies/<study>"
_SERIES = f"{_STUDY}/series/<series>"
_INSTANCE = f"{_SERIES}/instances/<instance>"


def dicomweb_door(library: Library, renderer: rendered.Renderer) -> StoreDoor:
    """Return the door of searching, retrieving, rendering and deleting."""
    routes = Blueprint("dicomweb", __name__)
    rights: dict[str, Right] = {}

    def add(name: str, rule: str, view: Callable[..., Response], right: Right, method: str = "GET") -> None:
        # ez-wsi-dicomweb 6.0 searches below ``instances/``.
        routes.add_url_rule(rule, name, view, methods=[method], strict_slashes=False)
        rights[name] = right

    query = Right(Role.READ, Event.QUERY)
    for rule, level in (
        ("/studies", Level.STUDY),
        ("/series", Level.SERIES),
        ("/instances", Level.INSTANCE),
        (f"{_STUDY}/series", Level.SERIES),
        (f"{_STUDY}/instances", Level.INSTANCE),
        (f"{_SERIES}/instances", Level.INSTANCE),
    ):
        name = f"search_{rule.replace('/', '_').replace('<', '').replace('>', '').strip('_')}"
        add(name, rule, _bound(search.search, library, level), query)

    read = Right(Role.READ, Event.ACCESSED)
    for rule in (_STUDY, _SERIES, _INSTANCE):
        what = rule.rsplit("<", 1)[1].rstrip(">")
        add(
            f"retrieve_{what}", rule, _bound(retrieve.instances, library), Right(Role.READ, Event.TRANSFERRED)
        )
        add(f"metadata_{what}", f"{rule}/metadata", _bound(retrieve.metadata, library), read)
        add(f"rendered_{what}", f"{rule}/rendered", renderer.level, read)
        add(f"thumbnail_{what}", f"{rule}/thumbnail", renderer.thumbnail, read)
        gone = Right(Role.ADMIN, Event.DELETED)
        add(f"delete_{what}", rule, _bound(delete.delete, library), gone, "DELETE")
    add("bulk_data", f"{_INSTANCE}/bulkdata/<int:number>", _bound(retrieve.bulk_data, library), read)
    add("frames", f"{_INSTANCE}/frames/<numbers>", _bound(frames.frames, library), read)
    add("rendered_frame", f"{_INSTANCE}/frames/<numbers>/rendered", renderer.frame, read)
    add("thumbnail_frame", f"{_INSTANCE}/frames/<numbers>/thumbnail", renderer.frame_thumbnail, read)
    return StoreDoor(routes, rights)


def _bound(view: Callable[..., Response], *given: object) -> Callable[..., Response]:
    def call(**uids: str) -> Response:
        return view(*given, **uids)

    return call
