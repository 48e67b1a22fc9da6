"""What the page at ``/store`` shows, by the settings."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from serving.config.settings import Settings, SettingsError
from serving.errors import Code, ServiceError
from serving.store.browse.door import Browsed
from serving.store.peers.peer import BadPeers, Peer, read_peers
from serving.store.service.parts import Parts


def browsed(settings: Settings, parts: Parts) -> Browsed:
    """Return what the page shows.

    Raises
    ------
    SettingsError
        When the address of the page of embeddings is none.
    """

    def peers() -> Mapping[str, Peer]:
        """Read the peers anew: their file may be edited while the store runs."""
        path = settings.slide_store.peers_file
        if path is None:
            return {}
        try:
            return read_peers(path, allow_http=settings.stores.allow_http)
        except BadPeers as error:
            raise ServiceError(
                Code.INTERNAL_ERROR, "The file of peers cannot be used; `pathserve store send` says why."
            ) from error

    return Browsed(
        parts.folder,
        parts.index,
        parts.tokens,
        parts.audit,
        peers,
        (settings.slide_store.url or "").rstrip("/"),
        _page_address(settings.slide_store.view_url),
    )


def _page_address(text: str | None) -> str:
    """Return the address that slides link to: never one that a browser would run, as ``javascript:``."""
    if text is None:
        return ""
    try:
        parts = urlsplit(text)
        is_page = parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc
    except ValueError:
        is_page = False
    if not is_page or parts.fragment:
        raise SettingsError(
            f"bad setting: PATHSERVE_STORE_VIEW_URL: {text!r} is no address of a page; write it as "
            "https://embed.example.org/view"
        )
    return text
