"""From a model's address to a local SavedModel folder: downloads are whole, checked and cached."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from model.encoder import Mend, ModelError, reason_of
from model.golden.file import FILE_NAME
from model.weights.cache import Cache, cache_folder, folder_digest

if TYPE_CHECKING:
    from google.cloud import storage  # takes a second to import, and few models need it


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A SavedModel on this machine, and the name by which clients know it."""

    path: Path
    name: str

    def digest(self) -> str:
        """Return a hash over all files of the model: a golden file beside the weights is none of them."""
        return folder_digest(self.path, but=FILE_NAME)


def fetch_model(
    spec: str, cache: Path | None, connect: Callable[[], storage.Client] | None = None
) -> ModelFolder:
    """Return the folder of a model, downloaded unless it is there already.

    Parameters
    ----------
    spec:
        A local folder, ``gs://bucket/folder`` or ``hf://organisation/name[@revision]``.
    cache:
        Folder that keeps downloads; by default the user's.
    connect:
        Makes the client for Cloud Storage; without it, models there are refused.

    Raises
    ------
    ModelError
    """
    if "://" not in spec:
        return _local(spec)
    if not spec.isprintable():
        raise ModelError(f"{spec!a} is not a model address: it has characters that no address may have.")
    if spec.startswith("gs://"):
        if connect is None:
            raise ModelError(f"{spec} cannot be fetched: there is no client for Cloud Storage.")
        from model.weights.gcs import from_gcs

        return ModelFolder(*from_gcs(spec, _swept(cache, "gcs"), connect))
    if spec.startswith("hf://"):
        from model.weights.hub import from_hub

        return ModelFolder(*from_hub(spec, _swept(cache, "hub")))
    raise ModelError(f"{spec} is not a model address: use a folder, gs://BUCKET/FOLDER or hf://ORG/NAME.")


def require_savedmodel(folder: Path) -> None:
    """Require that a folder is a SavedModel's.

    Raises
    ------
    ModelError
        When it is not.
    """
    if not (folder / "saved_model.pb").is_file():
        raise ModelError(f"{folder} is not a SavedModel folder: it has no saved_model.pb.")


def _swept(cache: Path | None, kind: str) -> Cache:
    found = Cache(cache_folder(cache), kind)
    found.sweep()
    return found


def _local(spec: str) -> ModelFolder:
    folder = Path(spec)
    try:
        found = folder.is_dir()
    except OSError as error:
        raise ModelError(f"The model {spec} cannot be read: {reason_of(error)}.") from error
    if not found:
        raise ModelError(f"The model {spec} is not a folder on this machine.", Mend.MODEL)
    name = os.fsencode(folder.resolve().name).decode("utf-8", "replace")
    return ModelFolder(folder, "".join(c if c.isprintable() else "\ufffd" for c in name))
