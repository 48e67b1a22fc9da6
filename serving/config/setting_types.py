"""Types of settings that pydantic does not have."""

from __future__ import annotations

import json
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, SecretStr
from pydantic_settings import NoDecode

_SHORTEST_KEY = 16


def _is_route(value: str) -> str:
    if not value.startswith("/") or any(c in value for c in "<>?# \t\n"):
        raise ValueError("must be a path that begins with '/' and has no spaces, '?', '#', '<', '>'")
    return value


def _string_list(value: object) -> object:
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except ValueError:
            raise ValueError("must be a JSON list of strings, or strings separated by commas") from None
    return [item.strip() for item in value.split(",") if item.strip()]


def _secret_list(value: object) -> object:
    keys = _string_list(value)
    if isinstance(keys, list) and not all(isinstance(k, str) and len(k) >= _SHORTEST_KEY for k in keys):
        raise ValueError(f"each key must have at least {_SHORTEST_KEY} characters")
    return keys


StringList = Annotated[list[str] | None, NoDecode, BeforeValidator(_string_list)]
"""A JSON list of strings, or strings separated by commas."""

SecretList = Annotated[list[SecretStr] | None, NoDecode, BeforeValidator(_secret_list)]
"""The same, of secrets that are not shown; each is long enough not to be guessed."""

Route = Annotated[str, AfterValidator(_is_route)]
"""A path of this service."""
