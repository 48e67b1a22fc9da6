"""HTTP to a peer: one place that knows how long to wait, what is sent along, and what a failure means."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from types import TracebackType
from typing import Any, Protocol, Self

import orjson
import requests
from requests.auth import HTTPBasicAuth

from dicom_io.web.sessions import PlainSession, plain_session
from serving.config.group import revealed
from serving.store.peers.peer import WebPeer

_CONNECT_S = 10.0
_SILENCE_S = 120.0
"""A peer that has sent or taken nothing for so long is given up; it may be busy writing gigabytes."""

_MAX_SMALL = 64 << 20
_PIECE = 1 << 20
_AGAIN = frozenset({408, 429, 500, 502, 503, 504})
_ABSENT = frozenset({404, 410})


class PeerFailed(Exception):
    """A peer does not answer as it should; the message says what to do.

    Attributes
    ----------
    may_pass:
        Whether trying again may help.
    is_absence:
        Whether the peer has nothing of that name, which is no failure where that is what was asked.
    is_of_instance:
        Whether the peer refuses one instance, and may take others.
    """

    def __init__(
        self,
        message: str,
        *,
        may_pass: bool = False,
        is_absence: bool = False,
        is_of_instance: bool = False,
    ) -> None:
        super().__init__(message)
        self.may_pass = may_pass
        self.is_absence = is_absence
        self.is_of_instance = is_of_instance


class SizedBody(Protocol):
    """A body whose length is known and which is not held in memory."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[bytes]: ...


class Web:
    """A peer's HTTP; use it as a context manager, in one thread."""

    def __init__(self, peer: WebPeer) -> None:
        self._peer = peer
        self._session: PlainSession = plain_session(follows_proxies=False)
        if peer.token is not None:
            self._session.headers["Authorization"] = f"Bearer {revealed(peer.token)}"
        elif peer.user is not None:
            self._session.auth = HTTPBasicAuth(peer.user, revealed(peer.password) or "")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session.close()

    def json(self, method: str, path: str, **options: Any) -> Any:
        """Return the JSON that an answer is; ``None`` of an empty one.

        Raises
        ------
        PeerFailed
        """
        headers = {"Accept": "application/dicom+json, application/json", **options.pop("headers", {})}
        with self.answer(method, path, headers=headers, **options) as answer:
            body = b"".join(_bounded(self.pieces(answer)))
        if not body:
            return None
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError:
            raise PeerFailed(f"{self._peer.name} answered with something that is no JSON.") from None

    def answer(
        self,
        method: str,
        path: str,
        *,
        accepted: Iterable[int] = (),
        body: SizedBody | None = None,
        json: object = None,
        params: Mapping[str, str | int] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Return an answer, whose body is read by the caller.

        Parameters
        ----------
        path:
            Below the peer's address.
        accepted:
            Statuses beside those below 300 that the caller understands.

        Raises
        ------
        PeerFailed
        """
        data: Any = body  # requests takes what has a length and can be iterated
        try:
            answer = self._session.request(
                method,
                f"{self._peer.url}{path}",
                data=data,
                json=json,
                params=params,
                headers=headers,
                stream=True,
                timeout=(_CONNECT_S, _SILENCE_S),
                allow_redirects=False,
            )
        except (requests.RequestException, OSError) as error:
            raise self._lost(error) from None
        if answer.status_code < 300 or answer.status_code in accepted:
            return answer
        answer.close()
        raise self._refused(answer.status_code)

    def pieces(self, answer: requests.Response) -> Iterator[bytes]:
        """Yield the bytes of an answer as they come.

        Raises
        ------
        PeerFailed
        """
        try:
            yield from answer.iter_content(_PIECE)
        except (requests.RequestException, OSError) as error:
            raise self._lost(error) from None

    def _lost(self, error: Exception) -> PeerFailed:
        return PeerFailed(
            f"{self._peer.name} cannot be reached, or broke off ({type(error).__name__}).", may_pass=True
        )

    def _refused(self, status: int) -> PeerFailed:
        why = {
            401: "it wants a token, or another one: see token_file and password_file",
            403: "the token has not the right for it",
            404: "it has nothing of that name",
            413: "the instance is too large for it",
            507: "its disk is full",
        }.get(status, "its log says why")
        return PeerFailed(
            f"{self._peer.name} answered HTTP {status}: {why}.",
            may_pass=status in _AGAIN,
            is_absence=status in _ABSENT,
            is_of_instance=status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        )


def _bounded(pieces: Iterable[bytes]) -> Iterator[bytes]:
    size = 0
    for piece in pieces:
        size += len(piece)
        if size > _MAX_SMALL:
            raise PeerFailed("The peer's answer is larger than any answer of this kind.")
        yield piece
