"""Names of a model's files, as a store lists them: an object's name may be anything, a file's may not."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import PurePosixPath

from model.encoder import ModelError

MAX_FILES = 1000
"""More files than any model has."""

_MAX_PART_BYTES, _MAX_NAME_BYTES = 255, 1024


def require_file_names(names: Collection[str], spec: str) -> None:
    """Raise unless the names are those of a SavedModel's files, each in its own place below a folder.

    Parameters
    ----------
    names:
        Relative, with slashes.
    spec:
        The model, for the message.

    Raises
    ------
    ModelError
    """
    if "saved_model.pb" not in names:
        raise ModelError(f"{spec} holds no SavedModel: there is no saved_model.pb.")
    if len(names) > MAX_FILES:
        raise ModelError(f"{spec} holds more than {MAX_FILES} files; name the folder of the model alone.")
    folded: set[str] = set()
    for name in names:
        if fault := _fault(name):
            raise ModelError(f"{spec} holds {name[:80]!a}, which {fault}; remove it there.")
        folded.add(name.casefold())
    if len(folded) < len(names):
        raise ModelError(f"{spec} holds names that differ in upper and lower case only; rename them there.")
    folders = {str(parent).casefold() for name in names for parent in PurePosixPath(name).parents}
    if both := folders & folded:
        raise ModelError(f"{spec} holds {min(both)!r} as a file and as a folder; remove one of them there.")


def _fault(name: str) -> str:
    parts = name.split("/")
    if not name.isprintable() or "\\" in name:
        return "is not a valid file name"
    if {"", ".", ".."} & set(parts):
        return "has an empty or a dot segment"
    encoded = [len(part.encode("utf-8", "replace")) for part in parts]
    if max(encoded) > _MAX_PART_BYTES or sum(encoded) + len(parts) > _MAX_NAME_BYTES:
        return "is too long"
    return ""
