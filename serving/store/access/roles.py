"""What a token allows: roles, and the studies that they hold for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What somebody may do.

    ``READ`` searches and retrieves; ``WRITE`` adds, and sees nothing; ``SHARE`` reads, and gives others
    tokens to read; ``ADMIN`` may do everything, and alone deletes, and sees the audit trail and the mapping.
    """

    READ = "read"
    WRITE = "write"
    SHARE = "share"
    ADMIN = "admin"


_INCLUDED = {Role.SHARE: {Role.READ}, Role.ADMIN: set(Role)}


def with_included(roles: Iterable[Role]) -> frozenset[Role]:
    """Return roles with those that they include."""
    given = frozenset(roles)
    return given.union(*(_INCLUDED.get(role, set()) for role in given))


SCOPED = frozenset({Role.READ, Role.SHARE})
"""Roles that may hold for some studies only. Who stores cannot say what a study will be called here, and who
administers sees more than studies."""


@dataclass(frozen=True, slots=True)
class Permission:
    """The studies that somebody's roles hold for.

    Attributes
    ----------
    studies:
        Study Instance UIDs; ``None`` are all.
    """

    studies: frozenset[str] | None = None

    def allows(self, study: str) -> bool:
        """Return whether it holds for a study. What it does not hold for is not there: 404, never 403."""
        return self.studies is None or study in self.studies

    def covers(self, other: Permission) -> bool:
        """Return whether all that another one holds for is in this one."""
        if self.studies is None:
            return True
        return other.studies is not None and other.studies <= self.studies


EVERYTHING = Permission()
"""All studies."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks.

    Attributes
    ----------
    token_id:
        What the audit trail calls the token; tells nothing about the token itself. Doors without tokens have
        names of their own, as ``watch`` and ``dimse:AE_TITLE``.
    roles:
        With those that they include.
    """

    token_id: str
    roles: frozenset[Role] = frozenset()
    permission: Permission = EVERYTHING


NOBODY = Caller("-", frozenset(), Permission(frozenset()))
"""Who sent no token, or one that is not known."""
