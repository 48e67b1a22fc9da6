"""The pseudonyms of one instance."""

from __future__ import annotations

from collections.abc import Callable

from dicom_io.web.series_path import is_uid
from serving.store.deidentify.key import Key
from serving.store.deidentify.mapping import Pair
from serving.store.deidentify.refused import damaged

_MOST = 10_000
"""An instance of a slide names some ten."""

UID, PATIENT, SPECIMEN, CONTAINER, DEVICE, OPTICAL_PATH = (
    "uid", "patient", "specimen", "container", "device", "optical path",
)  # fmt: skip


class Pseudonyms:
    """Gives pseudonyms, and remembers which, for the mapping."""

    def __init__(self, key: Key) -> None:
        self._key = key
        self._given: dict[tuple[str, bytes], str] = {}

    def uid(self, value: bytes) -> str | None:
        """Return the UID that stands for another; ``None`` when the value is no UID."""
        text = value.rstrip(b"\0 ").decode("ascii", "replace")
        if not is_uid(text):
            return None
        return self._remember(UID, text.encode(), lambda: self._key.uid(text))

    def identifier(self, kind: str, value: bytes) -> str:
        """Return what stands for an identifier: nothing for nothing."""
        text = value.strip(b"\0 ")
        return self._remember(kind, text, lambda: self._key.identifier(kind, text)) if text else ""

    def pairs(self) -> list[Pair]:
        """Return all that were given."""
        return [
            Pair(kind, _readable(original), pseudonym) for (kind, original), pseudonym in self._given.items()
        ]

    def _remember(self, kind: str, original: bytes, make: Callable[[], str]) -> str:
        known = self._given.get((kind, original))
        if known is None:
            if len(self._given) >= _MOST:
                raise damaged(f"it names more than {_MOST} UIDs and identifiers")
            known = self._given[kind, original] = make()
        return known


def _readable(original: bytes) -> str:
    """Return an identifier as text: UTF-8, or else the set that old archives use most."""
    try:
        return original.decode("utf-8")
    except UnicodeDecodeError:
        return original.decode("latin-1")
