"""What the API knows of a kind of source."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dicom_io.geometry import Patch
from dicom_io.sources.session import Source
from dicom_io.web.credentials import BearerToken
from serving.api.fields import JsonObject, bad, kind
from serving.api.json_schema import Schema


@dataclass(frozen=True, slots=True)
class SourceKind:
    """A kind of source, as JSON.

    Attributes
    ----------
    field:
        The field of an instance that names a source of this kind.
    parse:
        Returns the source of an instance in which the field is not null, given the instance, its patches and
        its ``extensions.ez_wsi_state``, if any. Raises ServiceError or ImageError.
    write:
        Returns the fields of an instance that name a source, the inverse of ``parse``; ``None`` for a source
        of another kind.
    schema:
        Returns the field's schema.
    """

    field: str
    parse: Callable[[JsonObject, tuple[Patch, ...], object], Source]
    write: Callable[[Source], JsonObject | None]
    schema: Callable[[], Schema]


def parse_token(instance: JsonObject) -> BearerToken | None:
    """Return the caller's token for a store."""
    token = instance.get("bearer_token")
    if token is None or token == "":
        return None
    if not isinstance(token, str):
        raise bad(f"bearer_token must be a string, not {kind(token)}.")
    return BearerToken(token)


def write_token(token: BearerToken | None) -> JsonObject:
    """Return the field of a token."""
    return {} if token is None else {"bearer_token": token.reveal()}
