"""Deleting studies, series and instances; PS3.18 has no such transaction, but stores agree on its form."""

from __future__ import annotations

from flask import Response

from serving.errors import Code, ServiceError
from serving.store.dicomweb.library import Library, require_uids


def delete(library: Library, study: str, series: str | None = None, instance: str | None = None) -> Response:
    """Delete instances and their files; what is being sent is sent to its end.

    Raises
    ------
    ServiceError
        NOT_FOUND_ERROR when there are none.
    """
    require_uids(*(uid for uid in (study, series, instance) if uid is not None))
    gone = library.index.remove(study, series, instance, lambda one: library.files.remove(one.path))
    if not gone:
        raise ServiceError(Code.NOT_FOUND_ERROR, "The store has nothing of these UIDs.")
    return Response(status=204)
