"""Sessions for Google's client libraries: a leaf, as ``serving.sessions`` is."""

from __future__ import annotations

from typing import Any

import requests
from google.auth.transport.requests import AuthorizedSession, Request

from serving.sessions import PlainSession, plain_session


class _GoogleSession(PlainSession, AuthorizedSession):  # type: ignore[misc]
    pass


def plain_request(*, follows_proxies: bool) -> Request:
    """Return what google-auth fetches the service's own credentials with."""
    return Request(plain_session(follows_proxies=follows_proxies))


def google_session(credentials: Any, *, follows_proxies: bool) -> requests.Session:
    """Return a session that authorises its requests with credentials of google-auth, and with nothing else.

    Parameters
    ----------
    credentials:
        ``google.auth.credentials.Credentials``.
    follows_proxies:
        See ``PlainSession``.
    """
    session = _GoogleSession(credentials, auth_request=plain_request(follows_proxies=follows_proxies))
    session.follows_proxies = follows_proxies
    return session
