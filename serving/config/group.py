"""What groups of settings are made of: base class, fields, and types that pydantic does not have."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr
from pydantic.fields import FieldInfo

_SHORTEST_KEY = 16
_MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}")


class Group(BaseModel):
    """Settings that belong together, frozen. Each field has a variable, a default and a help text."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_name=True, protected_namespaces=())


def setting(
    variable: str,
    default: Any,
    description: str,
    *,
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    pattern: str | None = None,
) -> Any:
    """Return a field of a group.

    Parameters
    ----------
    variable:
        Name of the environment variable that sets it.
    default:
        Its value where the variable is unset or empty.
    description:
        The help text, also found in the table of settings.
    ge, gt, le:
        Bounds of a number.
    pattern:
        Of a text.
    """
    return Field(
        default,
        validation_alias=variable,
        description=description,
        ge=ge,
        gt=gt,
        le=le,
        pattern=pattern,
    )


def variable_of(field: FieldInfo) -> str:
    """Return the name of the variable that sets a field."""
    return str(field.validation_alias)


def is_secret(field: FieldInfo) -> bool:
    """Return whether a field's value must not be shown, not even in a message about a bad value."""
    return any(mark is _SECRET for mark in field.metadata)


def revealed(secret: SecretStr | None) -> str | None:
    """Return the text of a secret, for whom it is meant."""
    return None if secret is None else secret.get_secret_value()


def _is_route(value: str) -> str:
    if not value.startswith("/") or any(c in value for c in "<>?# \t\n"):
        raise ValueError("must be a path that begins with '/' and has no spaces, '?', '#', '<', '>'")
    return value


def _is_model_name(value: str) -> str:
    if not _MODEL_NAME.fullmatch(value):
        raise ValueError("must be letters, digits, '-', '_' and '.', beginning with a letter or digit")
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


_SECRET = object()

StringList = Annotated[list[str] | None, BeforeValidator(_string_list)]
"""A JSON list of strings, or strings separated by commas."""

SecretList = Annotated[list[SecretStr] | None, BeforeValidator(_secret_list), _SECRET]
"""The same, of secrets that are not shown; each is long enough not to be guessed."""

Secret = Annotated[SecretStr | None, _SECRET]
"""A secret that is not shown."""

Route = Annotated[str, AfterValidator(_is_route)]
"""A path of this service."""

ModelName = Annotated[str, AfterValidator(_is_model_name)]
"""A name that may stand in a path as it is."""
