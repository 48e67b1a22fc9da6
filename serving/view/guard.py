"""Who may ask: the page itself, under a name that is its own. Browsers only; keys are the gate's matter."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from urllib.parse import urlsplit

from werkzeug.datastructures import Headers

from serving.errors import Code, ServiceError

_SAME = ("same-origin", "none")
"""Sec-Fetch-Site of what the page asks itself, and of an address that a person typed or opened."""


class Guard:
    """Refuses requests that another site's page has a browser send.

    A name that an attacker owns may resolve to this machine (DNS rebinding); then the browser takes the
    attacker's page for ours. Its ``Host`` says so.

    Parameters
    ----------
    names:
        By which the service may be reached, besides ``localhost`` and addresses in numbers.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = frozenset(name.lower().rstrip(".") for name in ("localhost", *names))

    def require(self, headers: Headers, *, is_page: bool) -> None:
        """Let a request in by its headers.

        Parameters
        ----------
        is_page:
            Whether it is for the page alone, which has nothing of anybody: other sites may link to it.

        Raises
        ------
        ServiceError
            FORBIDDEN_ERROR
        """
        if not self._is_ours(headers.get("Host", "")):
            raise ServiceError(
                Code.FORBIDDEN_ERROR,
                "The page is not reached by this name; its operator sets PATHSERVE_VIEW_HOSTS.",
            )
        site = headers.get("Sec-Fetch-Site", "none").lower()
        is_link = is_page and (headers.get("Sec-Fetch-Mode"), headers.get("Sec-Fetch-Dest")) == (
            "navigate",
            "document",
        )
        if site not in _SAME and not is_link:
            raise ServiceError(Code.FORBIDDEN_ERROR, "Another site's page may not ask this.")

    def _is_ours(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if name.rstrip(".") in self._names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True
