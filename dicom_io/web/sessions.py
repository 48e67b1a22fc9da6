"""HTTP sessions that take no credentials from where nobody looks for them.

This file is a leaf, as ``serving.errors`` is: every room sends requests with it. ``requests`` reads
``~/.netrc`` when it may trust the environment, and puts what it finds in the place of a caller's token.
"""

from __future__ import annotations

import os
from typing import Any

import requests
from requests.utils import get_environ_proxies


class PlainSession(requests.Session):
    """A session that sends the credentials it was given, or none.

    Attributes
    ----------
    follows_proxies:
        Whether requests go through HTTPS_PROXY and HTTP_PROXY, but for the hosts in NO_PROXY.
    """

    follows_proxies = False

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.trust_env = False

    def merge_environment_settings(self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any) -> Any:
        """Add the two things of the environment that are no credentials: proxies and trust anchors."""
        if self.follows_proxies:
            proxies = {**get_environ_proxies(url), **(proxies or {})}
        if verify is None or verify is True:
            verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or verify
        return super().merge_environment_settings(url, proxies, stream, verify, cert)


def plain_session(*, follows_proxies: bool) -> PlainSession:
    """Return a session; see ``PlainSession``."""
    session = PlainSession()
    session.follows_proxies = follows_proxies
    return session
