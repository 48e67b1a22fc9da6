"""The store of this machine among those that a request may name."""

from __future__ import annotations

from dataclasses import dataclass, field

from dicom_io.errors import ImageCode, ImageError, Remedy
from dicom_io.io_threads import IoThreads
from dicom_io.slides.series import Series
from dicom_io.sources.session import SeriesStores
from dicom_io.waiting import Cancellation
from dicom_io.web.credentials import BearerToken
from dicom_io.web.series_path import SeriesPath
from dicom_io.web.urls import StoreUrl
from serving.errors import Code, ServiceError
from serving.store.access.audit import Audit, Event, Result
from serving.store.access.roles import Caller, Role
from serving.store.access.tokens import Tokens
from serving.store.index.store_index import StoreIndex
from serving.store.reader import StoreReader
from serving.store.stored_series import Profiles, StoredSeries, profile_cache


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
            raise ImageError(
                ImageCode.INTERNAL_ERROR, "The slide store cannot be read at the moment; try again soon."
            ) from error
        # Whoever comes so far may read the study: what is cached of it is for all of them.
        key = ("own store", study, series)
        return StoredSeries(
            self.index, self.reader, study, series, key, self.io.at(key), waits, self.profiles
        )

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

    def _note(self, who: str, uids: tuple[str, ...], result: Result) -> None:
        self.audit.write(Event.ACCESSED, who, uids, result, door="predict")


@dataclass(frozen=True, slots=True)
class OwnOrOthers:
    """Stores of which one is in files here: an address is of that one when its parts are the same."""

    own: OwnStore
    others: SeriesStores

    def series(self, path: SeriesPath, token: BearerToken | None, waits: Cancellation) -> Series:
        """Open a series; see ``SeriesStores``."""
        of = self.own if path.store == self.own.url else self.others
        return of.series(path, token, waits)
