"""Objects in Google Cloud Storage: named, allowed, fetched whole, with the caller's own rights.

google-cloud-storage's exceptions are translated here and nowhere else.
"""

from __future__ import annotations

import contextlib
import io
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import google.auth.credentials
import requests
from google.api_core.exceptions import GoogleAPICallError, NotFound, RetryError
from google.auth.exceptions import GoogleAuthError, InvalidOperation, RefreshError, TransportError
from google.cloud import storage
from google.cloud.storage.exceptions import DataCorruption, InvalidResponse
from google.cloud.storage.retry import DEFAULT_RETRY
from google.oauth2.credentials import Credentials
from requests.adapters import HTTPAdapter

from dicom_io.cache import SharedCache
from dicom_io.errors import ImageCode, ImageError, Remedy
from dicom_io.waiting import Cancellation
from dicom_io.web.at_once import AtOnce
from dicom_io.web.bounded_connection import Bounds, bounded, bounded_pool, hold_to_bounds
from dicom_io.web.credentials import BearerToken, fingerprint
from dicom_io.web.google_session import google_session, service_credentials

MAX_OBJECT_NAME_BYTES = 1024
"""Longest name of an object in UTF-8 (Cloud Storage, object naming)."""

_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")
_CLIENTS = 64
_CLIENT_LIFE_S = 600.0
_REFUSED = frozenset({401, 403})


@dataclass(frozen=True, slots=True)
class GcsUri:
    """A bucket, and the name of an object in it or, in an allow-list, of a folder."""

    bucket: str
    name: str

    @property
    def segments(self) -> tuple[str, ...]:
        """The name in parts between slashes."""
        return tuple(self.name.split("/")) if self.name else ()

    def __str__(self) -> str:
        return f"gs://{self.bucket}/{self.name}"


def parse_gcs_uri(text: str, *, folder: bool = False) -> GcsUri:
    """Parse ``gs://bucket/object``.

    Parameters
    ----------
    folder:
        Whether the name may be empty or end with a slash, as in an allow-list.

    Raises
    ------
    ValueError
        With what an address must be.
    """
    scheme, _, rest = text.partition("://")
    bucket, _, name = rest.partition("/")
    if folder:
        name = name.removesuffix("/")
    fault = ""
    if scheme != "gs":
        fault = "it must begin with gs://"
    elif not _BUCKET.fullmatch(bucket):
        fault = "it names no bucket"
    elif not name and not folder:
        fault = "it names no object"
    elif not name.isprintable() or len(name.encode("utf-8", "replace")) > MAX_OBJECT_NAME_BYTES:
        fault = "the object's name has control characters or is too long"
    elif not folder and name.endswith("/"):
        fault = "it names a folder"
    elif {".", ".."} & set(name.split("/")):
        fault = "the object's name must have no dot segments"
    if fault:
        raise ValueError(f"must be gs://BUCKET/OBJECT; {fault}")
    return GcsUri(bucket, name)


class GcsAllowList:
    """Buckets, or folders in them, that may be read; whole segments are compared.

    Parameters
    ----------
    entries:
        ``gs://bucket`` or ``gs://bucket/folder``; ``None`` admits every bucket.

    Raises
    ------
    ValueError
        For an entry of any other form.
    """

    def __init__(self, entries: Sequence[str] | None) -> None:
        self._entries: list[GcsUri] | None = None
        if entries is not None:
            try:
                self._entries = [parse_gcs_uri(entry, folder=True) for entry in entries]
            except ValueError as error:
                raise ValueError("entries must be gs://BUCKET or gs://BUCKET/FOLDER") from error

    def admits(self, uri: GcsUri) -> bool:
        """Return whether an object may be read."""
        return self._entries is None or any(
            entry.bucket == uri.bucket and uri.segments[: len(entry.segments)] == entry.segments
            for entry in self._entries
        )


@dataclass(frozen=True, slots=True)
class GcsPolicy:
    """What may be read, and within which bounds.

    Attributes
    ----------
    service_identity:
        Whether requests without a token use the service's own identity; otherwise they are anonymous.
    max_bytes:
        Larger objects are refused.
    timeout_s:
        Longest wait for each piece of an answer, in seconds.
    use_proxy:
        Whether requests go through the proxies that the environment names.
    """

    allowed: GcsAllowList
    service_identity: bool
    max_bytes: int
    timeout_s: float
    use_proxy: bool = False


class GcsStore:
    """Fetches objects; safe to use from many threads.

    Parameters
    ----------
    at_once:
        Bounds the objects that are fetched at the same time.
    """

    def __init__(self, policy: GcsPolicy, at_once: AtOnce | None = None) -> None:
        self._policy = policy
        self._at_once = at_once or AtOnce()
        self._clients: SharedCache[bytes, storage.Client] = SharedCache(_CLIENTS, _CLIENT_LIFE_S)

    def check(self, uri: GcsUri) -> None:
        """Raise unless the object may be read; called before anything is sent."""
        if not self._policy.allowed.admits(uri):
            raise ImageError(
                ImageCode.UNAPPROVED_GCS_BUCKET_ERROR,
                f"Bucket {uri.bucket} or the folder in it is not on this service's allow-list.",
                Remedy.APPROVE_BUCKET,
            )

    def fetch(self, uri: GcsUri, token: BearerToken | None, waits: Cancellation) -> bytes:
        """Return an object's bytes, checked against its crc32c.

        Parameters
        ----------
        waits:
            Ends it.

        Raises
        ------
        ImageError
            INVALID_CREDENTIALS_ERROR, or HTTP_ERROR for any other fault of the store.
        """
        self.check(uri)
        deadline = waits.deadline
        within = bounded(Bounds(deadline, self._policy.timeout_s, stop=waits.stop))
        with self._at_once.at("gs", deadline), _translated(uri), within:
            key = fingerprint(token)
            client = self._clients.get(key, lambda: (self._connect(token), 1), _left(deadline))
            blob = client.bucket(uri.bucket).blob(uri.name)
            retry = DEFAULT_RETRY.with_timeout(_left(deadline))
            timeout = (self._policy.timeout_s, self._policy.timeout_s)
            blob.reload(timeout=timeout, retry=retry)
            if (blob.size or 0) > self._policy.max_bytes:
                raise _too_large(uri, self._policy.max_bytes)
            file = _BoundedFile(self._policy.max_bytes, deadline, uri)
            blob.download_to_file(
                file,
                raw_download=True,
                checksum="crc32c",
                if_generation_match=blob.generation,
                timeout=timeout,
                retry=retry,
            )
            return file.getvalue()

    def _connect(self, token: BearerToken | None) -> storage.Client:
        use_proxy = self._policy.use_proxy
        credentials: google.auth.credentials.Credentials
        if token is not None:
            credentials = Credentials(token.reveal())
        elif self._policy.service_identity:
            credentials = service_credentials()
        else:
            credentials = google.auth.credentials.AnonymousCredentials()
        session = google_session(credentials, follows_proxies=use_proxy)
        for scheme in ("https://", "http://"):
            session.mount(scheme, _BoundedAdapter())
        return storage.Client(project="pathserve", credentials=credentials, _http=session)


class _BoundedAdapter(HTTPAdapter):
    """Sends a session's requests within ``bounded``."""

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **options: Any) -> None:
        self.poolmanager = bounded_pool(num_pools=connections, maxsize=maxsize, block=block, **options)

    def proxy_manager_for(self, proxy: Any, **options: Any) -> Any:
        return hold_to_bounds(super().proxy_manager_for(proxy, **options))


class _BoundedFile(io.BytesIO):
    """Receives a download, up to a number of bytes and a deadline."""

    def __init__(self, limit: int, deadline: float, uri: GcsUri) -> None:
        super().__init__()
        self._limit, self._deadline, self._uri = limit, deadline, uri

    def write(self, data: bytes) -> int:  # type: ignore[override]
        """Append, unless that is too much or too late."""
        if self.tell() + len(data) > self._limit:
            raise _too_large(self._uri, self._limit)
        if time.monotonic() > self._deadline:
            raise TimeoutError
        return super().write(data)


def _too_large(uri: GcsUri, limit: int) -> ImageError:
    return ImageError(
        ImageCode.IMAGE_DIMENSION_ERROR, f"{uri} is larger than this service's limit of {limit} bytes."
    )


def _left(deadline: float) -> float:
    return max(0.001, deadline - time.monotonic())


@contextlib.contextmanager
def _translated(uri: GcsUri) -> Iterator[None]:
    try:
        yield
    except NotFound as error:
        raise _http_error(uri, "the object does not exist (404)") from error
    except (TransportError, RetryError, requests.RequestException, TimeoutError, OSError) as error:
        raise _http_error(
            uri, f"Cloud Storage could not be reached in time ({type(error).__name__})"
        ) from error
    except (RefreshError, InvalidOperation, GoogleAuthError) as error:
        # google-auth answers a 401 by refreshing the token, which a caller's token does not support.
        raise _refused(uri) from error
    except (GoogleAPICallError, InvalidResponse) as error:
        status = _status(error)
        if status in _REFUSED:
            raise _refused(uri) from error
        raise _http_error(uri, f"Cloud Storage answered {status}") from error
    except DataCorruption as error:
        raise _http_error(uri, "the download does not match the object's crc32c") from error


def _status(error: GoogleAPICallError | InvalidResponse) -> int:
    if isinstance(error, InvalidResponse):
        return int(getattr(error.response, "status_code", 0))
    return int(error.code or 0)


def _refused(uri: GcsUri) -> ImageError:
    return ImageError(
        ImageCode.INVALID_CREDENTIALS_ERROR,
        f"Cloud Storage refused to read {uri}.",
        Remedy.A_TOKEN,
    )


def _http_error(uri: GcsUri, reason: str) -> ImageError:
    return ImageError(ImageCode.HTTP_ERROR, f"{uri} could not be read: {reason}.")
