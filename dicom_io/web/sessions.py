"""HTTP sessions that take no credentials from unexpected places.

``requests`` reads ``~/.netrc`` when it may trust the environment, and replaces a caller's token by what it
finds there. All of the product's requests are sent with these sessions, the client library's too.
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
        """Add the two things of the environment that are not credentials: proxies and trust anchors."""
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
