"""Sessions for Google's client libraries: a leaf, as ``dicom_io.web.sessions`` is."""

from __future__ import annotations

from typing import Any

import requests
from google.auth.transport.requests import AuthorizedSession, Request

from dicom_io.web.sessions import PlainSession, plain_session


class _GoogleSession(PlainSession, AuthorizedSession):  # type: ignore[misc]
    pass


def plain_request() -> Request:
    """Return what google-auth looks for the service's own credentials with, here and never by a proxy."""
    return Request(plain_session(follows_proxies=False))


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
