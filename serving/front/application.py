"""What the front serves: the seam between sockets and whatever answers requests."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from serving.errors import ServiceError
from serving.front.head import Head
from serving.front.wsgi_bridge import Answer, Application


class Course(enum.Enum):
    """How a request is served.

    ``AT_ONCE``: without waiting for others; a body is not read. ``WHOLE``: when all of its body is here and
    its turn has come. ``BODILESS``: when its turn has come; a body is not read. ``READING``: the same, with
    turns of its own, so that who looks at images and who has them embedded do not wait for each other.
    ``STREAMED``: when its turn has come; its body is read while it comes, and may be of any size.
    """

    AT_ONCE = enum.auto()
    WHOLE = enum.auto()
    BODILESS = enum.auto()
    READING = enum.auto()
    STREAMED = enum.auto()


class HeadGate(Protocol):
    """Decides by a request's head alone, in the event loop: it must not block.

    Attributes
    ----------
    limit:
        Most bytes of a body that is kept in memory.
    """

    @property
    def limit(self) -> int: ...

    def course(self, head: Head) -> Course:
        """Return how a request is served.

        Raises
        ------
        ServiceError
            When the request is refused whatever its body holds.
        """


@dataclass(frozen=True, slots=True)
class HttpApplication:
    """What the HTTP front serves.

    Attributes
    ----------
    wsgi:
        Answers requests that have arrived completely.
    gate:
        Decides by the head which requests are read to their end.
    refusal:
        Answers what never became a request.
    at_end:
        Called once the last request has been answered; takes a second at most.
    """

    wsgi: Application
    gate: HeadGate
    refusal: Callable[[ServiceError], Answer]
    at_end: Callable[[], None] = lambda: None
