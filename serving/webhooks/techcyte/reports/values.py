"""The values that reports are made of."""

from __future__ import annotations

import math
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue


class Record(BaseModel):
    """A record; a field that is not known is a fault, as it could be a known one misspelt."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _number(value: Any) -> int | float:
    """Return a finite number, also one of numpy's, as Python's, which JSON knows."""
    plain = value.item() if isinstance(value, np.generic) else value
    if isinstance(plain, bool) or not isinstance(plain, int | float):
        raise ValueError("Input should be a number")
    if not math.isfinite(plain):
        raise ValueError("Input should be a finite number")
    return plain


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
Free = dict[str, JsonValue]
"""JSON of any form, with finite numbers."""
