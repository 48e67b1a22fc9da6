"""A golden file: JSON of a stated format and version, signed by its own SHA-256; reading one runs nothing.

Pixels are kept as what differs from the pixel at their left, compressed by zlib; vectors as they are. Both
are then base64.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from model.encoder import PATCH_BYTES, PATCH_SHAPE, PixelBatch, Vectors
from model.golden.golden import Golden, GoldenError
from model.golden.patches import Pixels

FILE_NAME = "golden.json"
"""What the file is called beside a model's weights."""

FORMAT, VERSION = "pathserve-golden", 1

MAX_BYTES = 32_000_000
MAX_PATCHES = 64
NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"
"""What a patch may be called: it stands in logs and answers."""

_MAX_DIMENSION = 16_384

_Text = Annotated[str, Field(min_length=1, max_length=200)]
_Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, protected_namespaces=())


class _Patch(_Record):
    name: Annotated[str, Field(pattern=NAME)]
    pixels: Annotated[str, Field(max_length=2 * PATCH_BYTES)]
    vector: Annotated[str, Field(max_length=6 * _MAX_DIMENSION)]


class _File(_Record):
    """What a file holds; ``docs/trust.md`` describes it."""

    format: Literal["pathserve-golden"]
    version: Literal[1]
    digest: _Digest
    model: _Text
    model_digest: _Text
    untrained: bool
    runtime: _Text
    device: _Text
    precision: Literal["float32", "bfloat16", "int8"]
    made: _Text
    made_by: _Text
    patches: Annotated[list[_Patch], Field(min_length=1, max_length=MAX_PATCHES)]


def read_golden(path: Path) -> tuple[Golden, str]:
    """Read a golden file; return what it holds, and its digest.

    Raises
    ------
    GoldenError
        When it cannot be read, is too large, is not whole, or was changed since it was made.
    """
    try:
        content = json.loads(_read(path))
    except (ValueError, RecursionError) as error:
        raise GoldenError(f"{path} is not a golden file: it is not JSON.") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise GoldenError(f'{path} is not a golden file: its "format" is not "{FORMAT}".')
    if content.get("version") != VERSION:
        raise GoldenError(
            f"{path} is of version {content.get('version')!r:.20}; this pathserve reads version {VERSION}."
        )
    if content.get("digest") != (digest := _digest(content)):
        raise GoldenError(
            f"{path} was changed since it was made: its SHA-256 is {digest}, and it is signed "
            f"{content.get('digest')!r:.80}. Fetch the file again, or make another (pathserve golden make)."
        )
    try:
        return _golden(content), digest
    except ValueError as error:
        raise GoldenError(f"{path} cannot be used: {error}.") from error


def write_golden(path: Path, golden: Golden) -> str:
    """Write a golden file, whole or not at all; return its digest.

    Raises
    ------
    GoldenError
        When the file is there already, cannot be written, or could not be read again.
    """
    content: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "model": golden.model,
        "model_digest": golden.model_digest,
        "untrained": golden.untrained,
        "runtime": golden.runtime,
        "device": golden.device,
        "precision": golden.precision,
        "made": golden.made,
        "made_by": golden.made_by,
        "patches": [
            {"name": name, "pixels": _packed(pixels), "vector": _base64(vector.astype("<f4").tobytes())}
            for name, pixels, vector in zip(golden.names, golden.patches, golden.vectors, strict=True)
        ],
    }
    content = {"format": FORMAT, "version": VERSION, "digest": _digest(content)} | content
    try:
        _golden(content)  # what could not be read again is not written
    except ValueError as error:
        raise GoldenError(f"{path} is not written: {error}.") from error
    if path.exists():
        raise GoldenError(f"{path} is there already; name another file, or remove it.")
    temporary = path.with_name(path.name + ".tmp")
    try:
        try:
            temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise GoldenError(f"{path} cannot be written: {error.strerror}.") from error
    return str(content["digest"])


def _read(path: Path) -> bytes:
    try:
        # Without waiting: a named pipe would be read until somebody writes to it.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            data = file.read(MAX_BYTES + 1) or b""
    except OSError as error:
        raise GoldenError(f"{path} cannot be read: {error.strerror}.") from error
    if len(data) > MAX_BYTES:
        raise GoldenError(f"{path} is not a golden file: it has more than {MAX_BYTES:,} bytes.")
    return data


def _digest(content: Mapping[str, object]) -> str:
    """Return the hash of all that a file holds but its digest, however it is indented and ordered."""
    signed = {name: value for name, value in content.items() if name != "digest"}
    text = json.dumps(signed, sort_keys=True, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def _golden(content: Mapping[str, object]) -> Golden:
    """Return what a file holds; raise ValueError that names the first field that is wrong."""
    try:
        file = _File.model_validate(content)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in fault["loc"])
        raise ValueError(f"{where}: {fault['msg']}") from error
    names = tuple(patch.name for patch in file.patches)
    if len(set(names)) < len(names):
        raise ValueError("two patches have one name")
    return Golden(
        names=names,
        patches=_patches(file),
        vectors=_vectors(file),
        model=file.model,
        model_digest=file.model_digest,
        untrained=file.untrained,
        runtime=file.runtime,
        device=file.device,
        precision=file.precision,
        made=file.made,
        made_by=file.made_by,
    )


def _patches(file: _File) -> PixelBatch:
    return np.stack([_unpacked(patch.pixels, patch.name) for patch in file.patches])


def _vectors(file: _File) -> Vectors:
    data = [base64.b64decode(patch.vector, validate=True) for patch in file.patches]
    if len({len(vector) for vector in data}) > 1 or not data[0] or len(data[0]) % 4:
        raise ValueError("its vectors differ in length, or are not of float32")
    vectors = np.stack([np.frombuffer(vector, "<f4") for vector in data]).astype(np.float32)
    if not np.isfinite(vectors).all() or not vectors.any(axis=1).all():
        raise ValueError("a vector is not finite, or is zero")
    return vectors


def _packed(pixels: Pixels) -> str:
    differences = pixels.copy()
    differences[:, 1:] -= pixels[:, :-1]  # modulo 256
    return _base64(zlib.compress(differences.tobytes(), 9))


def _unpacked(packed: str, name: str) -> Pixels:
    inflating = zlib.decompressobj()
    try:
        data = inflating.decompress(base64.b64decode(packed, validate=True), PATCH_BYTES + 1)
    except zlib.error as error:
        raise ValueError(f"the pixels of {name} are damaged") from error
    if len(data) != PATCH_BYTES or not inflating.eof:
        raise ValueError(f"the pixels of {name} are not those of one patch")
    differences = np.frombuffer(data, np.uint8).reshape(PATCH_SHAPE)
    return np.add.accumulate(differences, axis=1, dtype=np.uint8)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
