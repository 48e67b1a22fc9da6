"""The store of this machine among those that a request may name."""

from __future__ import annotations

from dataclasses import dataclass, field

from dicom_io.errors import ImageCode, ImageError, Remedy
from dicom_io.io_threads import IoThreads
from dicom_io.slides.series import Series
from dicom_io.sources.session import NamedSeries, SeriesList, SeriesStores
from dicom_io.waiting import Cancellation
from dicom_io.web.credentials import BearerToken
from dicom_io.web.series_path import SeriesPath
from dicom_io.web.urls import StoreUrl
from serving.errors import Code, ServiceError
from serving.store.access.audit import Audit, Event, Result
from serving.store.access.roles import Caller, Role
from serving.store.access.tokens import Tokens
from serving.store.index.attributes import ATTRIBUTES, Level
from serving.store.index.query import Found, Match, Query
from serving.store.index.store_index import StoreIndex
from serving.store.reader import StoreReader
from serving.store.stored_series import Profiles, StoredSeries, profile_cache

MOST_LISTED = 1000
"""Series of a list: more are no use to a person."""

_SLIDES = Query(
    matches=tuple(Match(a, ("SM",)) for a in ATTRIBUTES if a.column == "modality"), limit=MOST_LISTED
)
_NAMED_BY = ("patientid", "studydate", "studydescription", "seriesdescription")


@dataclass(frozen=True, slots=True)
class OwnStore:
    """Opens series of the store in files, for callers that its tokens let in, and writes down who did.

    Attributes
    ----------
    url:
        Address of its DICOMweb.
    """

    url: StoreUrl
    index: StoreIndex
    reader: StoreReader
    tokens: Tokens
    audit: Audit
    io: IoThreads
    profiles: Profiles = field(default_factory=profile_cache)

    def series(self, path: SeriesPath, token: BearerToken | None, waits: Cancellation) -> Series:
        """Open a series.

        Raises
        ------
        ImageError
            INVALID_CREDENTIALS_ERROR for a token that may not read, or none; DICOM_PATH_ERROR for a study
            that is not one of its; INTERNAL_ERROR when that cannot be looked up.
        """
        study, series = path.study_uid, path.series_uid
        try:
            caller = self._let_in(token)
            if not caller.permission.allows(study):
                # What a token does not hold for is not there.
                self._note(caller.token_id, (), Result.FAILED)
                raise ImageError(
                    ImageCode.DICOM_PATH_ERROR, f"The slide store has no series {series} in study {study}."
                )
            self._note(caller.token_id, (study, series), Result.SUCCESS)
        except (ServiceError, OSError) as error:
            raise _unreadable() from error
        # Whoever comes so far may read the study: what is cached of it is for all of them.
        key = ("own store", study, series)
        return StoredSeries(
            self.index, self.reader, study, series, key, self.io.at(key), waits, self.profiles
        )

    def listed(self, token: BearerToken | None) -> SeriesList:
        """Return the series of slides that a token lets its holder read, in the order of arrival.

        Raises
        ------
        ImageError
            INVALID_CREDENTIALS_ERROR for a token that may not read, or none; INTERNAL_ERROR when that cannot
            be looked up.
        """
        try:
            caller = self._let_in(token)
            self._note(caller.token_id, (), Result.SUCCESS, Event.QUERY)
            page = self.index.search(Level.SERIES, _SLIDES, caller.permission)
        except (ServiceError, OSError) as error:
            raise _unreadable() from error
        return SeriesList(tuple(self._named(found) for found in page.rows), page.remaining)

    def _named(self, found: Found) -> NamedSeries:
        texts = [found.values[column] for column in _NAMED_BY if column in found.values]
        path = SeriesPath(self.url, found.study, found.series)
        return NamedSeries(path, " · ".join([*texts, found.series]))

    def _let_in(self, token: BearerToken | None) -> Caller:
        try:
            return self.tokens.authorise(None if token is None else token.authorization(), Role.READ)
        except ServiceError as error:
            if error.code not in (Code.API_KEY_ERROR, Code.FORBIDDEN_ERROR):
                raise
            self._note("-", (), Result.REFUSED)
            raise ImageError(
                ImageCode.INVALID_CREDENTIALS_ERROR,
                "The slide store refused the bearer token, or requires one.",
                Remedy.A_TOKEN,
            ) from error

    def _note(self, who: str, uids: tuple[str, ...], result: Result, event: Event = Event.ACCESSED) -> None:
        self.audit.write(event, who, uids, result, door="predict")


def _unreadable() -> ImageError:
    return ImageError(
        ImageCode.INTERNAL_ERROR, "The slide store cannot be read at the moment; try again soon."
    )


@dataclass(frozen=True, slots=True)
class OwnOrOthers:
    """Stores of which one is in files here: an address is of that one when its parts are the same."""

    own: OwnStore
    others: SeriesStores

    def series(self, path: SeriesPath, token: BearerToken | None, waits: Cancellation) -> Series:
        """Open a series; see ``SeriesStores``."""
        of = self.own if path.store == self.own.url else self.others
        return of.series(path, token, waits)
