"""What the front serves: the seam between sockets and whatever answers requests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from serving.errors import ServiceError
from serving.front.head import Head
from serving.front.wsgi_bridge import Answer, Application


class HeadGate(Protocol):
    """Decides by a request's head alone, in the event loop: it must not block.

    Attributes
    ----------
    limit:
        Most bytes of a body.
    """

    @property
    def limit(self) -> int: ...

    def wants_body(self, head: Head) -> bool:
        """Return whether the body is to be read.

        Raises
        ------
        ServiceError
            When the request is refused whatever its body holds.
        """

    def reads(self, head: Head) -> bool:
        """Return whether a request without a body reads images; any other one waits for no turn."""


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
    """

    wsgi: Application
    gate: HeadGate
    refusal: Callable[[ServiceError], Answer]
