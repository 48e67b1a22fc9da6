"""An answer that is made while it is sent: no more of it is in memory than the client has room for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

PIECE_BYTES = 1 << 20
"""An answer that is not larger is made at once; of a larger one, about so much at a time."""


class Pieces:
    """What is left of an answer. Each call may be made in another thread, one after the other.

    Parameters
    ----------
    made:
        What the application has returned (PEP 3333); its ``close`` is called at the end.

    Attributes
    ----------
    has_ended:
        Whether nothing is left.
    """

    def __init__(self, made: Iterable[bytes]) -> None:
        self._made: Any = made
        self._rest: Iterator[bytes] = iter(made)
        self.has_ended = False

    def take(self) -> bytes:
        """Return the next bytes, of which there are none only at the end."""
        taken, size = [], 0
        try:
            while size < PIECE_BYTES:
                piece = next(self._rest, None)
                if piece is None:
                    self.close()
                    break
                taken.append(piece)
                size += len(piece)
        except BaseException:
            self.close()
            raise
        return taken[0] if len(taken) == 1 else b"".join(taken)

    def close(self) -> None:
        """Give back what the application holds for the answer."""
        if not self.has_ended:
            self.has_ended = True
            if hasattr(self._made, "close"):
                self._made.close()
