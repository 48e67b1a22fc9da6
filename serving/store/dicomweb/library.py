"""What the views read: instances that the caller may see, and the addresses of things."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import TypeVar

from serving.errors import Code, ServiceError
from serving.store.door import caller
from serving.store.files import StoreFiles
from serving.store.index.query import Stored
from serving.store.index.store_index import StoreIndex
from serving.store.reader import GoneMeanwhile, StoreReader
from serving.store.uids import is_uid

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Addresses:
    """The addresses of things: a value, since answers are made after their requests are gone.

    Attributes
    ----------
    base:
        Of the store's DICOMweb, without a slash at its end.
    """

    base: str

    def of(self, *uids: str) -> str:
        """Return the address of a study, of one of its series, or of an instance."""
        names = ("studies", "series", "instances")
        return "/".join((self.base, *(part for pair in zip(names, uids, strict=False) for part in pair)))

    def of_instance(self, stored: Stored) -> str:
        """Return the address of an instance."""
        return self.of(stored.study, stored.series, stored.sop)


@dataclass(frozen=True, slots=True)
class Library:
    """The index and the files, as far as the one who asks may see them.

    Attributes
    ----------
    address:
        Returns the address of the store's DICOMweb as the client of the present request names it.
    """

    index: StoreIndex
    files: StoreFiles
    address: Callable[[], str]

    @property
    def reader(self) -> StoreReader:
        """What reads the files."""
        return StoreReader(self.files.folder)

    def addresses(self) -> Addresses:
        """Return the addresses of things, for the request that is being answered."""
        return Addresses(self.address().rstrip("/"))

    def instance(self, study: str, series: str, sop: str) -> Stored:
        """Return an instance.

        Raises
        ------
        ServiceError
            NOT_FOUND_ERROR, INVALID_REQUEST_FIELD_ERROR
        """
        require_uids(study, series, sop)
        stored = self.index.instance(study, series, sop, caller().permission)
        if stored is None:
            raise ServiceError(Code.NOT_FOUND_ERROR, "The store has no such instance.")
        return stored

    def instances(self, study: str, series: str | None = None, sop: str | None = None) -> list[Stored]:
        """Return the instances of a study or a series, or one alone.

        Raises
        ------
        ServiceError
            NOT_FOUND_ERROR when there are none, INVALID_REQUEST_FIELD_ERROR.
        """
        if series is not None and sop is not None:
            return [self.instance(study, series, sop)]
        require_uids(study, *(() if series is None else (series,)))
        found = self.index.instances(study, series, caller().permission)
        if not found:
            raise ServiceError(
                Code.NOT_FOUND_ERROR, f"The store has no such {'study' if series is None else 'series'}."
            )
        return found


def begun(pieces: Iterator[T]) -> Iterator[T]:
    """Return pieces of a file, the first of which is read already: an answer that has begun cannot be 404.

    Raises
    ------
    ServiceError
        NOT_FOUND_ERROR when the file is gone.
    """
    try:
        first = next(pieces)
    except GoneMeanwhile as error:
        raise ServiceError(Code.NOT_FOUND_ERROR, "The instance has just been deleted.") from error
    return chain((first,), pieces)


def require_uids(*uids: str) -> None:
    """Refuse what is not a UID.

    Raises
    ------
    ServiceError
        INVALID_REQUEST_FIELD_ERROR
    """
    if not all(map(is_uid, uids)):
        raise ServiceError(
            Code.INVALID_REQUEST_FIELD_ERROR,
            "A UID in the address is not one of digits and dots, at most 64.",
        )
