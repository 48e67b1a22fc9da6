"""The values that reports are made of."""

from __future__ import annotations

import math
from typing import Annotated, Any

import numpy as np
import orjson
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, JsonValue

_LARGEST = 1 << 63
"""Beyond it, whole numbers are not written as JSON, nor read everywhere."""


class Record(BaseModel):
    """A record; a field that is not known is a fault, as it could be a known one misspelt."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _number(value: Any) -> int | float:
    """Return a finite number, also one of numpy's, as Python's, which JSON knows."""
    plain = value.item() if isinstance(value, np.generic) else value
    if isinstance(plain, bool) or not isinstance(plain, int | float):
        raise ValueError("Input should be a number")
    if isinstance(plain, int):
        if not -_LARGEST <= plain < _LARGEST:
            raise ValueError("Input should be a number of at most 64 bits")
    elif not math.isfinite(plain):
        raise ValueError("Input should be a finite number")
    return plain


def _writable(value: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Refuse what is JSON to pydantic, and cannot be sent as such: half characters, endless numbers."""
    try:
        orjson.dumps(value)
    except orjson.JSONEncodeError as error:
        raise ValueError(f"cannot be written as JSON: {error}") from error
    return value


def _shown(value: Any) -> Any:
    """Return a number as a text: where it is shown, Techcyte takes texts only."""
    try:
        number = _number(value)
    except ValueError:
        return value
    return str(int(number)) if float(number).is_integer() else repr(number)


Number = Annotated[int | float, BeforeValidator(_number)]
"""A finite number; a whole one stays one."""

Share = Annotated[Number, Field(ge=0, le=1)]
Amount = Annotated[Number, Field(ge=0)]
Whole = Annotated[int, BeforeValidator(_number), Field(ge=0)]
Name = Annotated[str, Field(min_length=1, max_length=500)]
Shown = Annotated[str, BeforeValidator(_shown)]
Scores = dict[Name, Number]
Free = Annotated[dict[str, JsonValue], AfterValidator(_writable)]
"""JSON of any form, with finite numbers."""
