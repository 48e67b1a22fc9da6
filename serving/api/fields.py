"""Typed access to the fields of a JSON request; a field of the wrong type is refused by name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeGuard

from serving.errors import Code, ServiceError

JsonObject = Mapping[str, object]

LEAST_UM, MOST_UM = 0.001, 1000.0
"""Sizes of a pixel that are taken, in µm."""


def bad(description: str) -> ServiceError:
    """Return INVALID_REQUEST_FIELD_ERROR."""
    return ServiceError(Code.INVALID_REQUEST_FIELD_ERROR, description)


def is_object(value: object) -> TypeGuard[JsonObject]:
    """Return whether a value is a JSON object."""
    return isinstance(value, dict)


def boolean(value: object, name: str, *, default: bool) -> bool:
    """Return a boolean; Google's client sends it as the string True or False."""
    if value is None:
        return default
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise bad(f"{name} must be true or false.")


def integer(fields: JsonObject, key: str, name: str) -> int:
    """Return an integer field; Google's client sends integers as doubles, so 224.0 is one."""
    value = fields.get(key)
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        if not -(2**63) <= value < 2**63:
            raise bad(f"{name}.{key} does not fit in 64 bits.")
        return value
    if value is None:
        raise bad(f"{name}.{key} is missing; give an integer.")
    raise bad(f"{name}.{key} must be an integer, not {kind(value)}.")


def size(fields: JsonObject, key: str, name: str, default: int | None = None) -> int:
    """Return a positive integer field."""
    if default is not None and fields.get(key) is None:
        return default
    value = integer(fields, key, name)
    if value <= 0:
        raise bad(f"{name}.{key} must be positive.")
    return value


def um(fields: JsonObject, key: str, name: str) -> float:
    """Return a field that is the size of a pixel in µm, ``LEAST_UM`` to ``MOST_UM``."""
    value = fields.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not LEAST_UM <= value <= MOST_UM:
        raise bad(f"{name}.{key} must be a number of µm, {LEAST_UM:g} to {MOST_UM:g}.")
    return float(value)


def kind(value: object) -> str:
    """Name a JSON value's type; the value itself may be an image or a patient's name."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN or infinity"
    if isinstance(value, (int, float)):
        return "a number"
    return "a string" if isinstance(value, str) else "a list" if isinstance(value, list) else "an object"
