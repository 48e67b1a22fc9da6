"""An output in Google Cloud Storage; its library's exceptions are translated here."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from google.api_core.exceptions import GoogleAPICallError, NotFound, PreconditionFailed
from google.auth.exceptions import GoogleAuthError
from google.cloud import storage
from google.cloud.storage.exceptions import InvalidResponse
from google.cloud.storage.retry import DEFAULT_RETRY
from requests import RequestException

from dicom_io.web.gcs import GcsUri
from dicom_io.web.google_session import writing_storage
from serving.output.files import OutputError

_TIMEOUT_S = 60.0
_CHUNK = 1 << 20
_RETRY = DEFAULT_RETRY.with_timeout(600.0)
"""A condition on the generation makes a second attempt safe: what the first has written is left alone."""


class BucketStore:
    """See ``OutputStore``: an upload with ``ifGenerationMatch=0`` happens once, and whole.

    Parameters
    ----------
    uri:
        The bucket, and the folder in it.
    """

    def __init__(self, uri: GcsUri) -> None:
        self.address = str(uri)
        self._prefix = f"{uri.name}/" if uri.name else ""
        with self._translated(""):
            self._bucket = writing_storage().bucket(uri.bucket)

    def read(self, name: str) -> bytes | None:
        """Return an object."""
        return self._download(name, None)

    def head(self, name: str, size: int) -> bytes | None:
        """Return an object's first bytes."""
        found = self._download(name, size - 1)
        return None if found is None else found[:size]

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """Yield an object as a file."""
        with self._translated(name), self._blob(name).open("rb", chunk_size=_CHUNK) as file:
            yield cast(BinaryIO, file)

    def exists(self, name: str) -> bool:
        """Return whether there is such an object."""
        with self._translated(name):
            return bool(self._blob(name).exists(timeout=_TIMEOUT_S, retry=_RETRY))

    def names(self, folder: str) -> Iterator[str]:
        """Yield the names of all objects below a folder."""
        prefix = f"{self._prefix}{folder}/"
        with self._translated(folder):
            for blob in self._bucket.list_blobs(prefix=prefix, timeout=_TIMEOUT_S, retry=_RETRY):
                yield str(blob.name).removeprefix(self._prefix)

    def add(self, name: str, data: bytes) -> bool:
        """Write an object unless there is one."""
        try:
            with self._translated(name):
                self._blob(name).upload_from_string(
                    data, "application/octet-stream", if_generation_match=0, timeout=_TIMEOUT_S, retry=_RETRY
                )
        except _Taken:
            return False
        return True

    def add_file(self, name: str, path: Path) -> bool:
        """Write an object from a file unless there is one."""
        try:
            with self._translated(name):
                self._blob(name).upload_from_filename(
                    str(path), if_generation_match=0, timeout=_TIMEOUT_S, retry=_RETRY
                )
        except _Taken:
            return False
        return True

    def put(self, name: str, data: bytes) -> None:
        """Write an object in place of what there is."""
        with self._translated(name):
            self._blob(name).upload_from_string(
                data, "application/octet-stream", timeout=_TIMEOUT_S, retry=_RETRY
            )

    def put_file(self, name: str, path: Path) -> None:
        """Write an object from a file in place of what there is."""
        with self._translated(name):
            self._blob(name).upload_from_filename(str(path), timeout=_TIMEOUT_S, retry=_RETRY)

    def remove(self, name: str) -> None:
        """Remove an object."""
        with self._translated(name), contextlib.suppress(NotFound):
            self._blob(name).delete(timeout=_TIMEOUT_S, retry=_RETRY)

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """Yield a folder of this machine."""
        with tempfile.TemporaryDirectory(prefix="pathserve-") as folder:
            yield Path(folder)

    def sweep(self) -> None:
        """Do nothing: an upload that has not ended is no object."""

    def _blob(self, name: str) -> storage.Blob:
        return self._bucket.blob(self._prefix + name)

    def _download(self, name: str, end: int | None) -> bytes | None:
        with self._translated(name), contextlib.suppress(NotFound):
            return bytes(self._blob(name).download_as_bytes(end=end, timeout=_TIMEOUT_S, retry=_RETRY))
        return None

    @contextlib.contextmanager
    def _translated(self, name: str) -> Iterator[None]:
        try:
            yield
        except PreconditionFailed as error:
            raise _Taken from error
        except (GoogleAPICallError, GoogleAuthError, InvalidResponse, RequestException, OSError) as error:
            place = f"{self.address.removesuffix('/')}/{name}"
            raise OutputError(f"{place} cannot be read or written: {_said(error)}") from error


class _Taken(Exception):
    """The name has been taken before."""


def _said(error: Exception) -> str:
    """Return what is wrong, without the address that was asked: it may have a signature."""
    code = getattr(error, "code", None)
    if isinstance(error, GoogleAuthError):
        return "there are no credentials of Google's, or they are refused."
    return f"Cloud Storage answered {int(code)}." if code else f"it was not reached ({type(error).__name__})."
