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
    """

    routes: Blueprint
    with_body: frozenset[str] = frozenset()

    @property
    def endpoints_with_body(self) -> frozenset[str]:
        """The views' names as the application knows them."""
        return frozenset(f"{self.routes.name}.{view}" for view in self.with_body)
