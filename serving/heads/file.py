"""A head's file: JSON of a stated format and version, so that reading one runs nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import from_json

from serving.heads.head import Float32Array, Head, HeadError

FORMAT, VERSION = "pathserve-head", 1

MAX_BYTES = 32_000_000
"""A hundred classes of 16,384 numbers have room in it."""

_LARGEST = float(np.finfo(np.float32).max)

_Name = Annotated[str, Field(min_length=1, max_length=200)]
_Number = Annotated[float, Field(ge=-_LARGEST, le=_LARGEST)]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class _Class(_Record):
    name: _Name
    colour: Annotated[str, Field(pattern=r"^#[0-9A-Fa-f]{6}$")]


class _File(_Record):
    """What a file holds; ``docs/analyses.md`` describes it."""

    format: Literal["pathserve-head"]
    version: Literal[1]
    name: _Name
    encoder_digest: _Name
    untrained: bool
    um_per_px: Annotated[float, Field(ge=0.05, le=20)]
    classes: Annotated[list[_Class], Field(min_length=2, max_length=100)]
    weights: list[Annotated[list[_Number], Field(min_length=1, max_length=16384)]]
    bias: list[_Number]
    held_out: dict[str, Any] | None = None


def read_head(path: Path) -> Head:
    """Read a head.

    Raises
    ------
    HeadError
        When the file cannot be read, is too large, or is not a whole head of a known version; the text names
        the file and the field.
    """
    data = _read(path)
    try:
        found = from_json(data, allow_inf_nan=False)
    except ValueError as error:
        raise HeadError(f"{path} is not a head's file: it is not JSON ({error}).") from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise HeadError(f'{path} is not a head\'s file: its "format" is not "{FORMAT}".')
    if found.get("version") != VERSION:
        raise HeadError(
            f"{path} is of version {found.get('version')!r:.20}; this pathserve reads version {VERSION}."
        )
    try:
        return _head(found)
    except ValueError as error:
        raise HeadError(f"{path} cannot be used: {error}.") from error


def _read(path: Path) -> bytes:
    try:
        # Without waiting: a named pipe would be read until somebody writes to it.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise HeadError(f"{path} cannot be read: {error.strerror}.") from error
    if len(data or b"") > MAX_BYTES:
        raise HeadError(f"{path} is not a head's file: it has more than {MAX_BYTES:,} bytes.")
    return data or b""


def _head(content: Mapping[str, object]) -> Head:
    """Return a file's head; raise ValueError that names the first field that is wrong."""
    try:
        file = _File.model_validate(content)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in fault["loc"])
        raise ValueError(f"{where}: {fault['msg']}") from error
    names = tuple(one.name for one in file.classes)
    if len(set(names)) < len(names):
        raise ValueError("two classes have one name")
    if len(file.weights) != len(names) or len(file.bias) != len(names):
        raise ValueError(
            f"{len(names)} classes need as many rows of weights and numbers of bias, not {len(file.weights)} "
            f"and {len(file.bias)}"
        )
    if len({len(row) for row in file.weights}) > 1:
        raise ValueError("rows of weights differ in length")
    return Head(
        name=file.name,
        classes=names,
        colours=tuple(one.colour for one in file.classes),
        weights=np.array(file.weights, np.float32),
        bias=np.array(file.bias, np.float32),
        um_per_px=file.um_per_px,
        encoder_digest=file.encoder_digest,
        untrained=file.untrained,
    )


def write_head(path: Path, head: Head, held_out: Mapping[str, object] | None = None) -> None:
    """Write a head, whole or not at all.

    Parameters
    ----------
    held_out:
        How it did on patches that it was not trained on, for people who find the file.

    Raises
    ------
    HeadError
        When the file is there already, cannot be written, or could not be read again: a class without a name,
        a number that is not finite.
    """
    content = {
        "format": FORMAT,
        "version": VERSION,
        "name": head.name,
        "encoder_digest": head.encoder_digest,
        "untrained": head.untrained,
        "um_per_px": head.um_per_px,
        "classes": [
            {"name": name, "colour": colour} for name, colour in zip(head.classes, head.colours, strict=True)
        ],
        "held_out": held_out,
        "bias": _shortest(head.bias),
        "weights": [_shortest(row) for row in head.weights],
    }
    try:
        _head(content)  # what could not be read again is not written
    except ValueError as error:
        raise HeadError(f"{path} is not written: {error}.") from error
    if path.exists():
        raise HeadError(f"{path} is there already; name another file, or remove it.")
    temporary = path.with_name(path.name + ".tmp")
    try:
        try:
            temporary.write_text(json.dumps(content, ensure_ascii=False) + "\n", encoding="utf-8")
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise HeadError(f"{path} cannot be written: {error.strerror}.") from error


def _shortest(numbers: Float32Array) -> list[float]:
    """Return numbers with as few digits as give the same float32 again."""
    return [float(str(number)) for number in numbers]
