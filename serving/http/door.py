"""A door: the routes of one of the service's abilities."""

from __future__ import annotations

from dataclasses import dataclass

from flask import Blueprint


@dataclass(frozen=True, slots=True)
class Door:
    """One way into the service.

    Attributes
    ----------
    routes:
        What it answers.
    with_body:
        Views whose requests have a body. Only for these the front reads one, and gives out turns.
    reading:
        Views without one that wait for a store or decode: they have turns of their own, so that neither
        predictions nor health wait for them.
    """

    routes: Blueprint
    with_body: frozenset[str] = frozenset()
    reading: frozenset[str] = frozenset()

    @property
    def endpoints_with_body(self) -> frozenset[str]:
        """The names, as the application knows them, of views with a body."""
        return frozenset(f"{self.routes.name}.{view}" for view in self.with_body)

    @property
    def endpoints_that_read(self) -> frozenset[str]:
        """The names, as the application knows them, of views that read."""
        return frozenset(f"{self.routes.name}.{view}" for view in self.reading)
