"""Sessions and credentials for Google's client libraries."""

from __future__ import annotations

import os
from typing import Any

import google.auth
import requests
from google.auth.credentials import AnonymousCredentials, Credentials
from google.auth.transport.requests import AuthorizedSession, Request
from google.cloud import storage

from dicom_io.web.sessions import PlainSession, plain_session


class _GoogleSession(PlainSession, AuthorizedSession):  # type: ignore[misc]
    pass


READ_STORAGE = "https://www.googleapis.com/auth/devstorage.read_only"
_WRITE_STORAGE = "https://www.googleapis.com/auth/devstorage.read_write"


def service_credentials(scope: str = READ_STORAGE) -> Credentials:
    """Return this process's own credentials (application default credentials).

    Parameters
    ----------
    scope:
        What they are for, by default to read from Cloud Storage.

    Raises
    ------
    google.auth.exceptions.GoogleAuthError
        When there are none.
    """
    # The metadata server, which is asked for them, is on this machine: never by a proxy.
    request = Request(plain_session(follows_proxies=False))
    credentials, _ = google.auth.default(scopes=[scope], request=request)
    return credentials


def service_storage() -> storage.Client:
    """Return a client that reads Cloud Storage as the service itself; an emulator gets no credentials.

    Raises
    ------
    google.auth.exceptions.GoogleAuthError
        When the service has no credentials.
    """
    return _storage(READ_STORAGE)


def writing_storage() -> storage.Client:
    """Return a client that reads and writes Cloud Storage as this process itself; see ``service_storage``."""
    return _storage(_WRITE_STORAGE)


def _storage(scope: str) -> storage.Client:
    emulated = bool(os.environ.get("STORAGE_EMULATOR_HOST"))
    credentials = AnonymousCredentials() if emulated else service_credentials(scope)
    session = google_session(credentials, follows_proxies=True)
    return storage.Client(project="pathserve", credentials=credentials, _http=session)


def google_session(credentials: Any, *, follows_proxies: bool) -> requests.Session:
    """Return a session that authorises its requests with credentials of google-auth, and with nothing else.

    Parameters
    ----------
    credentials:
        ``google.auth.credentials.Credentials``.
    follows_proxies:
        See ``PlainSession``.
    """
    refresh = Request(plain_session(follows_proxies=follows_proxies))
    session = _GoogleSession(credentials, auth_request=refresh)
    session.follows_proxies = follows_proxies
    return session
