"""Models in Cloud Storage. google-cloud-storage's exceptions are translated here.

The caller makes the client, so that the product decides in one place with whose rights it reads, and what it
takes from the environment.
"""

from __future__ import annotations

import itertools
import json
import logging
import re
import shutil
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from google.api_core.exceptions import Forbidden, GoogleAPICallError, NotFound, RetryError, Unauthorized
from google.auth.exceptions import GoogleAuthError, TransportError
from google.cloud import storage
from google.cloud.storage.exceptions import DataCorruption
from google.cloud.storage.retry import DEFAULT_RETRY
from requests import RequestException

from model.encoder import Mend, ModelError
from model.weights.cache import Cache, hash_of
from model.weights.file_names import MAX_FILES, require_file_names

_ADDRESS = re.compile(r"gs://([a-z0-9][a-z0-9._-]+)(?:/(.*))?")
_MEGABYTE = 1e6
_PATIENCE_S = 15.0

log = logging.getLogger(__name__)


def from_gcs(spec: str, cache: Cache, connect: Callable[[], storage.Client]) -> tuple[Path, str]:
    """Return the folder and the name of the model in ``gs://bucket/folder``.

    Parameters
    ----------
    connect:
        Makes the client that reads the bucket; may raise what google-auth raises.

    Raises
    ------
    ModelError
    """
    match = _ADDRESS.fullmatch(spec.rstrip("/"))
    if match is None or {"", ".", ".."} & set((match[2] or "model").split("/")):
        raise ModelError(f"{spec} is not a model address: use gs://BUCKET/FOLDER.")
    bucket, folder = match[1], match[2] or ""
    name = PurePosixPath(folder or bucket).name
    try:
        return _fetch(spec, bucket, f"{folder}/" if folder else "", cache, connect()), name
    except (NotFound, Forbidden, Unauthorized) as error:
        raise ModelError(
            f"{spec} cannot be read: Cloud Storage answered {error.code}; "
            "check the address and the service account's rights."
        ) from error
    except DataCorruption as error:
        raise ModelError(f"{spec} arrived damaged: a file does not match its crc32c; start again.") from error
    except (TransportError, RetryError, RequestException) as error:
        path = cache.recall(spec)
        if path is None:
            raise ModelError(f"{spec} cannot be fetched: Cloud Storage cannot be reached.") from error
        log.warning("Cloud Storage cannot be reached; using the cached model", extra={"model": name})
        return path, name
    except GoogleAuthError as error:
        raise ModelError(
            f"{spec} cannot be read: no credentials; run as a service account that may read it."
        ) from error
    except GoogleAPICallError as error:
        raise ModelError(f"{spec} cannot be fetched: Cloud Storage answered {error.code}.") from error
    except OSError as error:
        raise ModelError(
            f"{spec} cannot be kept in {cache.folder}: {error.strerror or error}.", Mend.CACHE_FOLDER
        ) from error


def _fetch(spec: str, bucket: str, below: str, cache: Cache, client: storage.Client) -> Path:
    retry = DEFAULT_RETRY.with_timeout(_PATIENCE_S)
    listed = client.list_blobs(bucket, prefix=below or None, timeout=_PATIENCE_S, retry=retry)
    blobs = {
        blob.name.removeprefix(below): blob
        for blob in itertools.islice(listed, 2 * MAX_FILES)
        if blob.name.startswith(below) and not blob.name.endswith("/")
    }
    require_file_names(blobs, spec)
    listing = sorted((name, str(blob.generation), str(blob.crc32c)) for name, blob in blobs.items())
    entry = hash_of(json.dumps([spec, listing]))
    found = cache.find(entry)
    if found is not None:
        log.info("model is in the cache", extra={"model": spec})
    else:
        found = cache.put(entry, lambda folder: _download(blobs, folder, spec))
    cache.remember(spec, entry)
    return found


def _download(blobs: dict[str, storage.Blob], folder: Path, spec: str) -> None:
    total = sum(blob.size or 0 for blob in blobs.values())
    require_space(folder, total, spec)
    done = 0
    for name, blob in sorted(blobs.items()):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        blob.download_to_filename(str(path), checksum="crc32c", if_generation_match=blob.generation)
        done += blob.size or 0
        log.info("downloading model: %.0f of %.0f MB", done / _MEGABYTE, total / _MEGABYTE)


def require_space(folder: Path, size: int, spec: str) -> None:
    """Raise ModelError unless the folder's disk has room for so many bytes."""
    free = shutil.disk_usage(folder).free
    if free < size:
        raise ModelError(
            f"{spec} needs {size / _MEGABYTE:.0f} MB, but the disk of {folder} has "
            f"{free / _MEGABYTE:.0f} MB left.",
            Mend.CACHE_FOLDER,
        )
