"""The door of the mapping: what pseudonyms stand for, told to administrators alone, one by one."""

from __future__ import annotations

import orjson
from flask import Blueprint, Response

from serving.errors import Code, ServiceError
from serving.store.access.audit import Audit, Event, Result
from serving.store.access.roles import Role
from serving.store.deidentify.mapping import MappingFile
from serving.store.door import JSON, Right, StoreDoor, caller, small_body
from serving.store.service.parts import Parts, open_mapping

_MAX_AT_ONCE = 100
_MAX_CHARACTERS = 64


def mapping_door(parts: Parts) -> StoreDoor:
    """Return the door. What is asked for comes in a body: a path would be in the logs of proxies."""
    routes = Blueprint("mapping", __name__)

    def reverse() -> Response:
        pseudonyms = _parsed(small_body())
        found = reversed_by(open_mapping(parts), parts.audit, caller().token_id, pseudonyms)
        return Response(orjson.dumps({"mapping": found}), content_type=JSON)

    routes.add_url_rule("/mapping", "reverse", reverse, methods=["POST"])
    return StoreDoor(routes, {"reverse": Right(Role.ADMIN)}, with_body=frozenset({"reverse"}))


def reversed_by(
    mapping: MappingFile, audit: Audit, who: str, pseudonyms: list[str]
) -> dict[str, dict[str, str]]:
    """Return what pseudonyms stand for, by kind; the audit trail has who asked for which before they know."""
    audit.write(
        Event.SECURITY_ALERT, who, pseudonyms, Result.SUCCESS, "the mapping was asked", count=len(pseudonyms)
    )
    return {
        pseudonym: {pair.kind: pair.original for pair in mapping.reverse(pseudonym)}
        for pseudonym in pseudonyms
    }


def _parsed(body: bytes | bytearray) -> list[str]:
    try:
        given = orjson.loads(body)
    except orjson.JSONDecodeError:
        given = None
    wanted = given.get("pseudonyms") if isinstance(given, dict) else None
    is_list = isinstance(wanted, list) and all(
        isinstance(text, str) and 0 < len(text) <= _MAX_CHARACTERS for text in wanted
    )
    if not is_list or not wanted or len(wanted) > _MAX_AT_ONCE:
        raise ServiceError(
            Code.INVALID_REQUEST_FIELD_ERROR,
            f"The body must be an object whose `pseudonyms` is a list of 1 to {_MAX_AT_ONCE} UIDs or "
            "identifiers of this store.",
        )
    assert isinstance(wanted, list)
    return wanted
