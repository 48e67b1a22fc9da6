"""Models on the Hugging Face hub. huggingface_hub's exceptions are translated here."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import shutil
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from model.encoder import Mend, ModelError
from model.weights.cache import Cache, hash_of
from model.weights.file_names import require_file_names

# Read when the library is imported.
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

from huggingface_hub import HfApi, errors, hf_hub_download

_ADDRESS = re.compile(r"hf://([\w.-]+/[\w.-]+?)(?:@([\w./-]+))?/?")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_MEGABYTE = 1e6
_PATIENCE_S = 15.0
_SERVER_ERROR = 500

log = logging.getLogger(__name__)


def from_hub(spec: str, cache: Cache) -> tuple[Path, str]:
    """Return the folder and the name of the model in ``hf://organisation/name[@revision]``.

    Raises
    ------
    ModelError
    """
    match = _ADDRESS.fullmatch(spec)
    if match is None:
        raise ModelError(f"{spec} is not a model address: use hf://ORGANISATION/NAME or hf://…@REVISION.")
    repository, revision = match.groups()
    try:
        return _fetch(spec, repository, revision, cache), repository
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
        raise ModelError(f"{spec} cannot be fetched: the hub cannot be reached.") from error
    except errors.HfHubHTTPError as error:
        status = getattr(error.response, "status_code", "an error")
        raise ModelError(f"{spec} cannot be fetched: the hub answered {status}.") from error
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ModelError(f"{spec} cannot be kept in {cache.folder}: {reason}.", Mend.CACHE_FOLDER) from error
    except Exception as error:  # the hub's transport raises errors of its own library
        raise ModelError(f"{spec} cannot be fetched: {type(error).__name__}.") from error


def _fetch(spec: str, repository: str, revision: str | None, cache: Cache) -> Path:
    if revision is not None and _COMMIT.fullmatch(revision):
        found = cache.find(_entry(repository, revision))
        if found is not None:  # a commit does not change: the hub need not be asked
            return found
    log.info("looking for the model on the hub", extra={"model": spec})
    try:
        about = HfApi().model_info(repository, revision=revision, timeout=_PATIENCE_S)
    except Exception as error:
        return _known(spec, cache, error)
    if about.sha is None or not _COMMIT.fullmatch(about.sha):
        raise ModelError(f"{spec} cannot be fetched: the hub names no commit of it.")
    commit, names = about.sha, [file.rfilename for file in about.siblings or []]
    entry = _entry(repository, commit)
    found = cache.find(entry)
    if found is None:
        require_file_names(names, spec)
        found = cache.put(entry, lambda folder: _download(repository, commit, names, folder))
        log.info("model downloaded", extra={"model": spec})
    cache.remember(spec, entry)
    return found


def _entry(repository: str, commit: str) -> str:
    return hash_of(json.dumps([repository, commit]))


def _known(spec: str, cache: Cache, error: Exception) -> Path:
    """Return the model as of the hub's last answer; raise the error where that is an answer itself."""
    if isinstance(error, errors.HfHubHTTPError):
        status = int(getattr(error.response, "status_code", _SERVER_ERROR))
        if status < _SERVER_ERROR:
            raise error
    path = cache.recall(spec)
    if path is None:
        raise ModelError(
            f"{spec} cannot be fetched: the hub cannot be reached, and it is not cached."
        ) from error
    log.warning("the hub cannot be reached; using the cached model", extra={"model": spec})
    return path


def _download(repository: str, commit: str, names: Sequence[str], folder: Path) -> None:
    with progress(folder, repository):
        for name in names:
            hf_hub_download(repository, name, revision=commit, local_dir=folder)
    shutil.rmtree(folder / ".cache", ignore_errors=True)  # the library's records of the download
    for name in names:
        if not (folder / name).is_file():
            raise ModelError(f"hf://{repository} cannot be fetched: {name} is missing; start again.")


@contextlib.contextmanager
def progress(folder: Path, spec: str, every_s: float = 5.0) -> Iterator[None]:
    """Log how much has arrived in a folder, every few seconds of a ``with`` block."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(every_s):
            arrived = _size(folder) / _MEGABYTE
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
        with contextlib.suppress(OSError):  # it may just have been renamed
            total += 0 if path.is_symlink() or path.is_dir() else path.stat().st_size
    return total
