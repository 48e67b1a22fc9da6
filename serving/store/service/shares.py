"""The door of shares: tokens to read some studies for some time, given out by who may read them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson
from flask import Blueprint, Response
from pydantic import SecretStr

from serving.errors import Code, ServiceError
from serving.store.access.audit import Audit, Event, Result
from serving.store.access.roles import Caller, Permission, Role
from serving.store.access.token_table import TokenRow
from serving.store.access.tokens import Tokens
from serving.store.door import JSON, Right, StoreDoor, caller, small_body
from serving.store.index.store_index import StoreIndex
from serving.store.service.parts import Parts
from serving.store.uids import is_uid

MAX_DAYS = 366.0
_MAX_STUDIES = 1000
_DAY_S = 86_400.0
_FIELDS = frozenset({"studies", "name", "days"})


def shares_door(parts: Parts) -> StoreDoor:
    """Return the door."""
    routes = Blueprint("shares", __name__)

    def make() -> Response:
        studies, name, days = parsed(small_body())
        token, row = share(parts, caller(), studies, name, days)
        answer = {"token": token.get_secret_value(), **shown(row)}
        return Response(orjson.dumps(answer), status=201, content_type=JSON)

    def list_all() -> Response:
        rows = [shown(row) for row in parts.tokens.all() if _is_of(row, caller())]
        return Response(orjson.dumps({"shares": rows}), content_type=JSON)

    def revoke(share_id: str) -> Response:
        row = parts.tokens.by_id(share_id)
        if row is None or not _is_of(row, caller()) or not parts.tokens.revoke(share_id):
            raise ServiceError(Code.NOT_FOUND_ERROR, "There is no such share of yours that is valid.")
        parts.audit.write(
            Event.SECURITY_ALERT, caller().token_id, (), Result.SUCCESS, "a share was revoked", token=share_id
        )
        return Response(status=204)

    routes.add_url_rule("/shares", "make", make, methods=["POST"])
    routes.add_url_rule("/shares", "list", list_all)
    routes.add_url_rule("/shares/<share_id>", "revoke", revoke, methods=["DELETE"])
    right = Right(Role.SHARE)  # each writes a row that says more than the path does
    return StoreDoor(routes, {"make": right, "list": right, "revoke": right}, with_body=frozenset({"make"}))


def share(
    parts: Parts, asks: Caller, studies: frozenset[str], name: str, days: float
) -> tuple[SecretStr, TokenRow]:
    """Give out a token to read studies.

    Raises
    ------
    ServiceError
        NOT_FOUND_ERROR when one of them is not here, or not for who asks.
    """
    require_studies(parts.index, asks.permission, studies)
    return given_out(parts.tokens, parts.audit, asks, studies, name, days)


def require_studies(index: StoreIndex, permission: Permission, studies: frozenset[str]) -> None:
    """Refuse studies that are not here, or not for who asks: neither says which it is."""
    for study in sorted(studies):
        if not index.instances(study, permission=permission):
            raise ServiceError(Code.NOT_FOUND_ERROR, f"There is no study {study} in this store.")


def given_out(
    tokens: Tokens, audit: Audit, asks: Caller, studies: frozenset[str], name: str, days: float
) -> tuple[SecretStr, TokenRow]:
    """Make the token of a share, and write the row of it."""
    token, row = tokens.make(
        name,
        [Role.READ],
        Permission(studies),
        lasts_s=days * _DAY_S,
        made_by=asks.token_id,
        is_share=True,
    )
    audit.write(
        Event.SECURITY_ALERT, asks.token_id, sorted(studies), Result.SUCCESS, "a share was made", token=row.id
    )
    return token, row


def parsed(body: bytes | bytearray) -> tuple[frozenset[str], str, float]:
    """Return studies, name and days of a request's body.

    Raises
    ------
    ServiceError
        INVALID_REQUEST_FIELD_ERROR
    """
    try:
        given = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise _bad("The body must be JSON.") from None
    if not isinstance(given, dict) or set(given) - _FIELDS:
        raise _bad("The body must be an object of `studies`, `name` and `days`.")
    studies = given.get("studies")
    is_list = isinstance(studies, list) and all(isinstance(uid, str) and is_uid(uid) for uid in studies)
    if not is_list or not studies or len(studies) > _MAX_STUDIES:
        raise _bad(f"`studies` must be a list of 1 to {_MAX_STUDIES} Study Instance UIDs.")
    name, days = given.get("name", ""), given.get("days")
    if not isinstance(name, str):
        raise _bad("`name` must be text: whom the share is for.")
    if isinstance(days, bool) or not isinstance(days, int | float) or not 0 < days <= MAX_DAYS:
        raise _bad(
            f"`days` must be a number above 0 and at most {MAX_DAYS:.0f}: how long the share is valid."
        )
    return frozenset(studies), name, float(days)


def shown(row: TokenRow) -> Mapping[str, Any]:
    """Return what is shown of a token; nothing of it follows from that."""
    return {
        "id": row.id,
        "name": row.name,
        "roles": sorted(row.roles),
        "studies": None if row.permission.studies is None else sorted(row.permission.studies),
        "created": _when(row.created),
        "expires": _when(row.expires),
        "revoked": _when(row.revoked),
        "valid": row.is_valid(time.time()),
        "made_by": row.made_by,
    }


def _when(seconds: float | None) -> str | None:
    return None if not seconds else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _is_of(row: TokenRow, asks: Caller) -> bool:
    """Return whether somebody may see, and end, a share: who made it, and administrators."""
    return row.is_share and (row.made_by == asks.token_id or Role.ADMIN in asks.roles)


def _bad(description: str) -> ServiceError:
    return ServiceError(Code.INVALID_REQUEST_FIELD_ERROR, description)
