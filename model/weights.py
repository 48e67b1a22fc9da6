"""From where a model is to a local SavedModel folder: downloads are whole, checked and cached.

A half download is never used: files are fetched beside their place and renamed into it when all are
there. google-cloud-storage's and huggingface_hub's exceptions are translated here and nowhere else.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from model.encoder import ModelError

if TYPE_CHECKING:
    from google.cloud.storage import Blob

_GCS = re.compile(r"gs://([a-z0-9][a-z0-9._-]+)/?(.*)")
_HUB = re.compile(r"hf://([\w.-]+/[\w.-]+?)(?:@([\w./-]+))?/?")
_MEGABYTE = 1e6
_PATIENCE_S = 15.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A SavedModel on this machine, and the name by which clients know it."""

    path: Path
    name: str


def fetch_model(spec: str, cache: Path) -> ModelFolder:
    """Return the folder of a model, downloaded unless it is there already.

    Parameters
    ----------
    spec:
        A local folder, ``gs://bucket/folder`` or ``hf://organisation/name[@revision]``.
    cache:
        Folder that keeps downloads.

    Raises
    ------
    ModelError
        With one sentence that says what is wrong.
    """
    if spec.startswith("gs://"):
        return _from_gcs(spec, cache / "gcs")
    if spec.startswith("hf://"):
        return _from_hub(spec, cache / "hub")
    if "://" in spec:
        raise ModelError(f"{spec} is no model address: use a folder, gs://BUCKET/FOLDER or hf://ORG/NAME.")
    if not Path(spec).is_dir():
        raise ModelError(f"The model {spec} is no folder on this machine (PATHSERVE_MODEL, AIP_STORAGE_URI).")
    return ModelFolder(Path(spec), Path(spec).resolve().name)


def default_cache() -> Path:
    """Return the user's cache folder (XDG Base Directory Specification)."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "pathserve"


def folder_digest(folder: Path) -> str:
    """Return a hash over the names and contents of all files of the folder."""
    total = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        total.update(f"{path.relative_to(folder).as_posix()}\n{content}\n".encode())
    return f"sha256:{total.hexdigest()}"


def _from_gcs(spec: str, cache: Path) -> ModelFolder:
    # Imported on demand: most services load a local folder.
    from google.api_core.exceptions import Forbidden, GoogleAPICallError, NotFound, RetryError, Unauthorized
    from google.auth.exceptions import GoogleAuthError, TransportError
    from google.cloud import storage
    from google.cloud.storage.exceptions import DataCorruption
    from google.cloud.storage.retry import DEFAULT_RETRY
    from requests import RequestException

    match = _GCS.fullmatch(spec.rstrip("/"))
    if match is None:
        raise ModelError(f"{spec} is no address of a model: use gs://BUCKET/FOLDER.")
    bucket, prefix = match.groups()
    name = PurePosixPath(prefix or bucket).name
    pointer = cache / f"{_hash(spec)}.json"
    try:
        client = storage.Client()
        retry = DEFAULT_RETRY.with_timeout(_PATIENCE_S)
        below = f"{prefix}/" if prefix else None
        blobs = list(client.list_blobs(bucket, prefix=below, timeout=_PATIENCE_S, retry=retry))
        folder = _download_blobs(blobs, prefix, spec, cache)
    except (NotFound, Forbidden, Unauthorized) as error:
        raise ModelError(
            f"{spec} cannot be read: Cloud Storage answered {error.code}; "
            "check the address and the service account's rights."
        ) from error
    except DataCorruption as error:
        raise ModelError(f"{spec} arrived damaged: a file does not match its crc32c; start again.") from error
    except (TransportError, RetryError, RequestException) as error:
        known = _pointed(pointer, cache)
        if known is not None:
            log.warning("Cloud Storage cannot be reached; using the cached model", extra={"model": name})
            return ModelFolder(known, name)
        raise ModelError(f"{spec} cannot be fetched: Cloud Storage cannot be reached.") from error
    except GoogleAuthError as error:
        raise ModelError(
            f"{spec} cannot be read: no credentials; run as a service account that may read it."
        ) from error
    except GoogleAPICallError as error:
        raise ModelError(f"{spec} cannot be fetched: Cloud Storage answered {error.code}.") from error
    except OSError as error:
        raise ModelError(f"{spec} cannot be kept in {cache}: {error.strerror or error}.") from error
    pointer.write_text(json.dumps({"folder": folder.name}), encoding="ascii")
    return ModelFolder(folder, name)


def _download_blobs(blobs: list[Blob], prefix: str, spec: str, cache: Path) -> Path:
    wanted = {blob.name[len(prefix) :].lstrip("/"): blob for blob in blobs if not blob.name.endswith("/")}
    if "saved_model.pb" not in wanted:
        raise ModelError(f"{spec} holds no SavedModel: there is no saved_model.pb.")
    if any({"..", "."} & set(name.split("/")) for name in wanted):
        raise ModelError(f"{spec} holds names with dot segments.")
    listing = sorted((name, str(blob.generation), str(blob.crc32c)) for name, blob in wanted.items())
    folder = cache / _hash(json.dumps([spec, listing]))
    if folder.is_dir():
        log.info("model is in the cache", extra={"model": spec})
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    total = sum(blob.size or 0 for blob in wanted.values())
    _require_space(cache, total, spec)
    with tempfile.TemporaryDirectory(dir=cache, prefix="partial-") as partial:
        done = 0
        for name, blob in sorted(wanted.items()):
            path = Path(partial, "model", name)
            path.parent.mkdir(parents=True, exist_ok=True)
            blob.download_to_filename(str(path), checksum="crc32c", if_generation_match=blob.generation)
            done += blob.size or 0
            log.info("downloading model: %.0f of %.0f MB", done / _MEGABYTE, total / _MEGABYTE)
        if not folder.is_dir():
            Path(partial, "model").rename(folder)
    return folder


def _pointed(pointer: Path, cache: Path) -> Path | None:
    try:
        folder = cache / str(json.loads(pointer.read_text(encoding="ascii"))["folder"])
    except (OSError, ValueError, KeyError):
        return None
    return folder if folder.is_dir() else None


def _from_hub(spec: str, cache: Path) -> ModelFolder:
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from huggingface_hub import HfApi, errors, snapshot_download

    match = _HUB.fullmatch(spec)
    if match is None:
        raise ModelError(f"{spec} is no address of a model: use hf://ORGANISATION/NAME or hf://…@REVISION.")
    repository, revision = match.groups()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        log.info("looking for the model on the hub", extra={"model": spec})
        with _progress(cache, spec):
            folder = Path(str(snapshot_download(repository, revision=revision, cache_dir=cache)))
        complete = cache / f"{folder.name}.complete"
        if not complete.exists():
            # Without network the library may return what an interrupted download left.
            _require_files(folder, HfApi().list_repo_files(repository, revision=folder.name), spec)
            complete.touch()
            log.info("model downloaded", extra={"model": spec})
    except ModelError:
        raise
    except errors.GatedRepoError as error:
        raise ModelError(
            f"{spec} is gated: accept its terms on the hub and set HF_TOKEN to a token of that account."
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise ModelError(f"{spec} is not on the hub, or HF_TOKEN may not read it.") from error
    except errors.RevisionNotFoundError as error:
        raise ModelError(f"{spec}: the hub has no such revision.") from error
    except errors.LocalEntryNotFoundError as error:
        raise ModelError(
            f"{spec} cannot be fetched: the hub cannot be reached, and it is not cached."
        ) from error
    except errors.HfHubHTTPError as error:
        status = getattr(error.response, "status_code", "an error")
        raise ModelError(f"{spec} cannot be fetched: the hub answered {status}.") from error
    except OSError as error:
        raise ModelError(
            f"{spec} cannot be kept in {cache}: {error.strerror or type(error).__name__}."
        ) from error
    except Exception as error:  # the hub's transport raises errors of its own library
        raise ModelError(f"{spec} cannot be fetched: {type(error).__name__}.") from error
    return ModelFolder(folder, repository)


@contextlib.contextmanager
def _progress(folder: Path, spec: str, every_s: float = 5.0) -> Iterator[None]:
    """Log how much has arrived in a folder, every few seconds of a ``with`` block."""
    before, done = _size(folder), threading.Event()

    def watch() -> None:
        while not done.wait(every_s):
            arrived = (_size(folder) - before) / _MEGABYTE
            log.info("downloading model: %.0f MB so far", arrived, extra={"model": spec})

    watcher = threading.Thread(target=watch, name="progress", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def _size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):  # it may be renamed just now
            total += 0 if path.is_symlink() or path.is_dir() else path.stat().st_size
    return total


def _require_files(folder: Path, names: Iterable[str], spec: str) -> None:
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise ModelError(f"{spec} is only partly in the cache: {missing[0]} is missing; start again online.")


def _require_space(folder: Path, size: int, spec: str) -> None:
    free = shutil.disk_usage(folder).free
    if free < size:
        raise ModelError(
            f"{spec} needs {size / _MEGABYTE:.0f} MB, but the disk of {folder} has "
            f"{free / _MEGABYTE:.0f} MB left (PATHSERVE_CACHE_DIR)."
        )


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
