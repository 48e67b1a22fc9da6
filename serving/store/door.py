"""A door of the store: routes, and for each view who may enter and what the audit trail calls it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from flask import Blueprint, g, request

from serving.front.wsgi_bridge import RECEIVED, Received
from serving.store.access.audit import Event
from serving.store.access.roles import Caller, Role

JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Right:
    """What a view needs, and leaves behind.

    Attributes
    ----------
    role:
        The role that a caller must have; ``None`` lets everybody in, without a token.
    event:
        What the audit trail calls a call of this view, with the UIDs in its path; ``None`` where the view
        writes rows of its own, or there is nothing to write.
    is_at_once:
        Whether it waits for no turn, as what says how the store is.
    """

    role: Role | None
    event: Event | None = None
    is_at_once: bool = False


@dataclass(frozen=True, slots=True)
class StoreDoor:
    """One way into the store.

    Attributes
    ----------
    routes:
        What it answers. Arguments of its rules that are UIDs are called ``study``, ``series`` and
        ``instance``. A view's answer may be a generator of bytes: it is sent at the client's pace. What it
        asks of a database or of ``flask.g`` it asks before: each piece may be made in another thread.
    rights:
        Of each of its views, by name; the application does not start when one is missing.
    with_body:
        Views whose requests have a small body, which is in memory when they are called: ``small_body``.
    streamed:
        Views that read a body of any size from ``request.stream`` while it comes.
    """

    routes: Blueprint
    rights: Mapping[str, Right]
    with_body: frozenset[str] = frozenset()
    streamed: frozenset[str] = frozenset()


def caller() -> Caller:
    """Return who sent the request that is being answered: known before a view is called."""
    asks: Caller = g.caller
    return asks


def small_body() -> bytearray:
    """Return the body of the request that is being answered, of a view in ``with_body``."""
    received: Received = request.environ[RECEIVED]
    return received.take_body()
