"""The HTTP side of a service that has a store of its own (``python -m serving.store.predict.http``)."""

from __future__ import annotations

from dataclasses import replace

from dicom_io.sources.session import ReadContext
from dicom_io.web.urls import StoreUrl, UrlError, parse_url
from serving.config.settings import Settings, SettingsError
from serving.processes.assembly import read_context, require_usable
from serving.processes.http import serve
from serving.store.predict.own_store import OwnOrOthers, OwnStore
from serving.store.reader import StoreReader
from serving.store.service.parts import folder_of, open_parts


def main() -> None:
    """Serve until SIGTERM."""
    serve(context_with_store, require_usable_store)


def require_usable_store(settings: Settings) -> None:
    """Be sure that the settings can be used.

    Raises
    ------
    SettingsError
    """
    require_usable(settings)
    _url(settings)
    if not folder_of(settings).is_dir():
        raise SettingsError("bad setting: PATHSERVE_STORE_DIR: there is no such folder")
    open_parts(settings).close()


def context_with_store(settings: Settings) -> ReadContext:
    """Return what the sources of images share, the store in files among it."""
    context = read_context(settings)
    parts = open_parts(settings, connections=settings.http.predict_slots + 8)
    own = OwnStore(
        _url(settings), parts.index, StoreReader(parts.folder), parts.tokens, parts.audit, context.io
    )
    return replace(context, dicomweb=OwnOrOthers(own, context.dicomweb), lister=own)


def _url(settings: Settings) -> StoreUrl:
    try:
        return parse_url(settings.slide_store.url or "")
    except UrlError as error:
        raise SettingsError(f"bad setting: PATHSERVE_STORE_URL: {error}") from error


if __name__ == "__main__":
    main()
