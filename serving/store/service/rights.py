"""The rights of all views: no route without one."""

from __future__ import annotations

from collections.abc import Sequence

from flask import Flask

from serving.store.access.roles import Role
from serving.store.door import Right, StoreDoor


class Rights:
    """Who may call which view, by the names that the application has for them.

    Parameters
    ----------
    doors:
        All doors of the application.

    Attributes
    ----------
    with_body, streamed:
        Views that read a body, small or of any size.
    """

    def __init__(self, doors: Sequence[StoreDoor]) -> None:
        def named(door: StoreDoor, view: str) -> str:
            return f"{door.routes.name}.{view}"

        self._rights = {named(door, view): right for door in doors for view, right in door.rights.items()}
        self.with_body = frozenset(named(door, view) for door in doors for view in door.with_body)
        self.streamed = frozenset(named(door, view) for door in doors for view in door.streamed)

    def of(self, endpoint: str) -> Right:
        """Return the right of a view."""
        return self._rights[endpoint]

    def require_complete(self, app: Flask) -> None:
        """Refuse an application with a route that nobody has given a right, or a right without a route.

        Raises
        ------
        AssertionError
        """
        routes = {rule.endpoint for rule in app.url_map.iter_rules()}
        assert routes == set(self._rights), f"views and rights differ: {routes ^ set(self._rights)}"
        for endpoint in self.with_body | self.streamed:
            assert endpoint in routes, f"{endpoint} is no view"

    def needing(self, role: Role | None) -> frozenset[str]:
        """Return the views that need a role."""
        return frozenset(view for view, right in self._rights.items() if right.role is role)
