"""A worker's own tokens for the slides' store: fetched here, renewed here, told to nobody else."""

from __future__ import annotations

import subprocess
import threading
import time
from typing import Protocol

from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import Request

from dicom_io.web.credentials import BearerToken
from dicom_io.web.google_session import service_credentials
from dicom_io.web.sessions import plain_session
from serving.archive.job import Credentials, Job
from serving.archive.records import Refused
from serving.config.group import revealed
from serving.config.settings import Settings

_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_COMMAND_DEADLINE_S = 60.0
_COMMAND_LIFE_S = 600.0
"""How long a token is used before another is fetched: what a command prints may be about to expire."""


class Tokens(Protocol):
    """Gives a token that is fresh, as far as can be known."""

    def current(self) -> BearerToken | None:
        """Return a token; ``None`` where stores are read without.

        Raises
        ------
        Refused
            When there is none to be had.
        """

    def renew(self, refused: BearerToken | None) -> BearerToken | None:
        """Return another token than one that a store has refused; ``None`` where there is no other."""


class FixedToken:
    """The token of the environment."""

    def __init__(self, token: BearerToken | None) -> None:
        self._token = token

    def current(self) -> BearerToken | None:
        """Return it."""
        return self._token

    def renew(self, _: BearerToken | None) -> BearerToken | None:
        """Return nothing: there is no other."""
        return None


class FetchedTokens:
    """Tokens that are fetched, kept for a while, and fetched again when a store refuses them; thread-safe."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._lock = threading.Lock()
        self._token: BearerToken | None = None
        self._until = 0.0

    def current(self) -> BearerToken | None:
        """Return a token."""
        with self._lock:
            return self._fresh()

    def renew(self, refused: BearerToken | None) -> BearerToken | None:
        """Return another token; many threads that were refused the same one fetch it once."""
        with self._lock:
            if refused is not None and self._token is refused:
                self._token = None
            token = self._fresh()
            same = refused is not None and token.fingerprint() == refused.fingerprint()
            return None if same else token

    def _fresh(self) -> BearerToken:
        if self._token is None or time.monotonic() >= self._until:
            text, life_s = self._fetch()
            self._token, self._until = BearerToken(text), time.monotonic() + life_s
        return self._token


class Fetch(Protocol):
    """Returns a token's text, and how many seconds it may be used."""

    def __call__(self) -> tuple[str, float]: ...


def tokens_of(job: Job, settings: Settings) -> Tokens:
    """Return the tokens that a job's workers use."""
    if job.credentials is Credentials.GOOGLE:
        return FetchedTokens(_GoogleFetch())
    if job.credentials is Credentials.COMMAND:
        return FetchedTokens(_CommandFetch(job.token_command))
    text = revealed(settings.command.store_token)
    return FixedToken(None if text is None else BearerToken(text))


class _GoogleFetch:
    """Application default credentials."""

    def __call__(self) -> tuple[str, float]:
        try:
            # Made anew: by its clock google-auth would keep a token that a store has refused.
            credentials = service_credentials(_SCOPE)
            credentials.refresh(Request(plain_session(follows_proxies=True)))
        except GoogleAuthError as error:
            raise Refused(
                "There are no credentials of Google's on this worker, or they are refused: give it a service "
                "account, or run gcloud auth application-default login."
            ) from error
        return str(credentials.token), _COMMAND_LIFE_S


class _CommandFetch:
    """What a command prints."""

    def __init__(self, command: tuple[str, ...]) -> None:
        self._command = command

    def __call__(self) -> tuple[str, float]:
        try:
            run = subprocess.run(  # noqa: S603 - the user's own command, without a shell
                self._command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_COMMAND_DEADLINE_S,
                check=False,
            )
        except (OSError, ValueError, subprocess.TimeoutExpired) as error:  # ValueError: not text
            raise Refused(
                f"The token command {self._command[0]} did not run: {type(error).__name__}."
            ) from error
        token = run.stdout.strip()
        if run.returncode or not token:  # what it printed is not shown: a token may be in it
            raise Refused(
                f"The token command {self._command[0]} ended with status {run.returncode} and "
                f"{'a' if token else 'no'} token; run it on a worker to see why."
            )
        return token, _COMMAND_LIFE_S
