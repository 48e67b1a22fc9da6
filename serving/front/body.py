"""A request's body as it arrives: bounded in bytes, and unfolded where it is compressed."""

from __future__ import annotations

import zlib

from serving.errors import TABLE, Code, ServiceError

_GZIP = 31
"""zlib's number for a gzip header and trailer (RFC 1952)."""

_RATIO = 50
_FREE_BYTES = 1 << 20
"""Below this many bytes nobody asks how well they were compressed."""


def is_gzip(content_encoding: str | None) -> bool:
    """Return whether a body is compressed.

    Raises
    ------
    ServiceError
        CONTENT_ENCODING_ERROR when it is compressed in a way that is not read here.
    """
    coding = (content_encoding or "identity").strip().lower()
    if coding not in ("identity", "gzip", "x-gzip"):
        raise ServiceError(
            Code.CONTENT_ENCODING_ERROR,
            f"Content-Encoding: {coding[:40]} is not read here; send the body plain or as gzip.",
        )
    return coding != "identity"


class Body:
    """Bytes of one body.

    Parameters
    ----------
    limit:
        Most bytes to accept, unfolded.
    """

    def __init__(self, limit: int, *, gzip: bool) -> None:
        self._limit = limit
        self._bytes = bytearray()
        self._inflater = zlib.decompressobj(_GZIP) if gzip else None
        self._folded = 0

    @property
    def size(self) -> int:
        """Bytes that it holds."""
        return len(self._bytes)

    def add(self, piece: bytes | memoryview) -> None:
        """Take in what arrived.

        Raises
        ------
        ServiceError
            REQUEST_TOO_LARGE_ERROR beyond the limit, or when few bytes unfold into very many;
            INVALID_REQUEST_FIELD_ERROR when they are not gzip.
        """
        if self._inflater is None:
            self._bytes += piece
        else:
            self._folded += len(piece)
            self._unfold(piece)
        if len(self._bytes) > self._limit:
            raise too_large()

    def end(self) -> bytearray:
        """Return the whole body.

        Raises
        ------
        ServiceError
            INVALID_REQUEST_FIELD_ERROR when the compressed bytes do not come to their end.
        """
        if self._inflater is not None and not self._inflater.eof:
            raise _no_gzip()
        return self._bytes

    def _unfold(self, piece: bytes | memoryview) -> None:
        # One byte more than is allowed shows that there is more, and is all that gets unfolded.
        room = min(self._limit, max(_FREE_BYTES, _RATIO * self._folded)) + 1
        while piece:
            assert self._inflater is not None
            if self._inflater.eof:  # gzip files may follow each other
                self._inflater = zlib.decompressobj(_GZIP)
            try:
                self._bytes += self._inflater.decompress(piece, room - len(self._bytes))
            except zlib.error as error:
                raise _no_gzip() from error
            if len(self._bytes) >= room:
                raise too_large() if room > self._limit else _bomb()
            piece = self._inflater.unconsumed_tail or self._inflater.unused_data


def too_large() -> ServiceError:
    """Return the refusal of a body beyond the limit."""
    return ServiceError(Code.REQUEST_TOO_LARGE_ERROR, TABLE[Code.REQUEST_TOO_LARGE_ERROR].meaning)


def incomplete() -> ServiceError:
    """Return the refusal of a body whose sender stopped."""
    return ServiceError(
        Code.INVALID_REQUEST_FIELD_ERROR, "The request's body did not arrive completely; send it again."
    )


def too_slow(description: str) -> ServiceError:
    """Return the refusal of a request that did not arrive in time."""
    return ServiceError(Code.REQUEST_TIMEOUT_ERROR, description)


def _no_gzip() -> ServiceError:
    return ServiceError(
        Code.INVALID_REQUEST_FIELD_ERROR,
        "The body is not the gzip that Content-Encoding says, or is cut off.",
    )


def _bomb() -> ServiceError:
    return ServiceError(
        Code.REQUEST_TOO_LARGE_ERROR,
        f"The body unfolds into more than {_RATIO} times its size; send it without Content-Encoding.",
    )
