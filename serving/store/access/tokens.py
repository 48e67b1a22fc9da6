"""Tokens: made, given out once, known by their digests, and asked for at each request."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Iterable

from pydantic import SecretStr

from serving.errors import Code, ServiceError
from serving.store.access.roles import EVERYTHING, SCOPED, Caller, Permission, Role, with_included
from serving.store.access.token_file import TokenFile
from serving.store.access.token_table import TokenRow, TokenTable

PREFIX = "pss_"
"""What a token begins with, so that tools which look for secrets in texts find it."""

COMMAND = "command"
"""Who runs commands on the store's folder, as rows and the audit trail call them."""

_BYTES = 32
_MAX_TOKEN = 200
_MAX_NAME = 100


class Tokens:
    """The tokens of a store: those of its table, and those of a file that its operator writes.

    Parameters
    ----------
    table:
        Where tokens are kept that commands and shares make.
    file:
        Further ones.
    """

    def __init__(self, table: TokenTable, file: TokenFile | None = None) -> None:
        self._table = table
        self._file = file

    def authorise(self, header: str | None, needed: Role | None) -> Caller:
        """Return who asks, by the text of an Authorization header.

        Parameters
        ----------
        needed:
            The role that the caller must have; with ``None`` any valid token will do.

        Raises
        ------
        ServiceError
            API_KEY_ERROR (401) without a token, or with one that is unknown, expired or revoked: the answer
            does not say which. FORBIDDEN_ERROR (403) when it lacks the role.
        """
        row = self._row_of(header)
        if row is None or not self._is_open(row, time.time()):
            raise ServiceError(
                Code.API_KEY_ERROR, "Send a token of this store that is valid: Authorization: Bearer TOKEN."
            )
        roles = _roles_of(row)
        if needed is not None and needed not in roles:
            raise ServiceError(
                Code.FORBIDDEN_ERROR, f"This token has not the right to {needed}; ask for one that has."
            )
        return Caller(row.id, roles, row.permission)

    def make(
        self,
        name: str,
        roles: Iterable[Role],
        permission: Permission = EVERYTHING,
        *,
        lasts_s: float | None = None,
        made_by: str = COMMAND,
        is_share: bool = False,
    ) -> tuple[SecretStr, TokenRow]:
        """Make a token; return it, which is kept nowhere, and what is kept.

        Parameters
        ----------
        name:
            Whom it is for; shown in lists, never in the audit trail.
        permission:
            For some studies only the roles of ``SCOPED`` hold.
        lasts_s:
            Seconds after which it is no longer valid; without, it is until it is revoked.
        """
        token = PREFIX + secrets.token_urlsafe(_BYTES)
        now = time.time()
        row = TokenRow(
            secrets.token_hex(6),
            digest_of(token),
            name[:_MAX_NAME],
            frozenset(roles),
            permission,
            now,
            None if lasts_s is None else now + lasts_s,
            made_by=made_by,
            is_share=is_share,
        )
        self._table.add(row)
        return SecretStr(token), row

    def all(self) -> list[TokenRow]:
        """Return what is known of all tokens, those of the file last."""
        return [*self._table.all(), *(self._file.rows() if self._file else ())]

    def revoke(self, token_id: str) -> bool:
        """End a token of the table from the next request on, and the shares that it made.

        Returns
        -------
        Whether there was a valid one.
        """
        return self._table.revoke(token_id)

    def by_id(self, token_id: str) -> TokenRow | None:
        """Return what is known of a token."""
        of_file = self._file.rows() if self._file is not None else ()
        return self._table.by_id(token_id) or next((row for row in of_file if row.id == token_id), None)

    def _is_open(self, row: TokenRow, now: float) -> bool:
        """Return whether a token opens anything; a share does as long as who made it could still make it."""
        if not row.is_valid(now):
            return False
        if not row.is_share or row.made_by == COMMAND:
            return True
        maker = self.by_id(row.made_by)
        return (
            maker is not None
            and maker.is_valid(now)
            and Role.SHARE in _roles_of(maker)
            and maker.permission.covers(row.permission)
        )

    def _row_of(self, header: str | None) -> TokenRow | None:
        scheme, _, given = (header or "").partition(" ")
        given = given.strip()
        if scheme.lower() != "bearer" or not given or len(given) > _MAX_TOKEN:
            return None
        digest = digest_of(given)
        row = self._table.by_digest(digest)
        if row is None and self._file is not None:
            row = self._file.by_digest(digest)
        # A token is found by its digest, so a clock tells at most about digests, from which no token follows.
        return row if row is not None and hmac.compare_digest(row.digest, digest) else None


def _roles_of(row: TokenRow) -> frozenset[Role]:
    roles = with_included(row.roles)
    return roles if row.permission.studies is None else roles & SCOPED


def digest_of(token: str) -> bytes:
    """Return the digest by which a token is known."""
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()
