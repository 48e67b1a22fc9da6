"""The kinds of sources that there are."""

from __future__ import annotations

from dicom_io.sources.session import Source
from serving.api.fields import JsonObject, bad
from serving.api.sources.dicomweb import DICOMWEB
from serving.api.sources.gcs import GCS
from serving.api.sources.inline import INLINE
from serving.api.sources.kind import SourceKind

KINDS = (DICOMWEB, GCS, INLINE)

FIELDS = tuple(kind.field for kind in KINDS)


def kind_of(instance: JsonObject, kinds: tuple[SourceKind, ...] = KINDS) -> SourceKind:
    """Return the kind of the one source that an instance names.

    Raises
    ------
    ServiceError
        INVALID_REQUEST_FIELD_ERROR when it names none, or several.
    """
    given = [kind for kind in kinds if instance.get(kind.field) is not None]
    if len(given) != 1:
        raise bad(
            f"Exactly one of {', '.join(kind.field for kind in kinds)} must be given; "
            f"this instance has {' and '.join(kind.field for kind in given) or 'none'}."
        )
    return given[0]


def write_source(source: Source) -> JsonObject:
    """Return the fields of an instance that name a source.

    Raises
    ------
    TypeError
        When the API has no field for it.
    """
    for kind in KINDS:
        if (fields := kind.write(source)) is not None:
            return fields
    raise TypeError(f"the API cannot name a {type(source).__name__}")
