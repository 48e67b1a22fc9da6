"""``pathserve store token`` and ``share``: a token is printed once, and kept nowhere."""

from __future__ import annotations

import argparse
import sys

import orjson

from serving.config.exit_status import ExitStatus
from serving.config.settings import Settings
from serving.errors import Code, ServiceError
from serving.store.access.audit import Event, Result
from serving.store.access.roles import EVERYTHING, SCOPED, Caller, Permission, Role
from serving.store.access.token_table import TokenRow
from serving.store.access.tokens import COMMAND
from serving.store.service import shares
from serving.store.service.parts import Parts
from serving.store.uids import is_uid

WHO = COMMAND

_DAY_S = 86_400.0


def token(options: argparse.Namespace, _: Settings, parts: Parts) -> ExitStatus:
    """Make, list or revoke tokens."""
    if options.what == "list":
        for row in parts.tokens.all():
            print(orjson.dumps(shares.shown(row)).decode())
        return ExitStatus.OK
    if options.what == "revoke":
        return _revoke(options.id, parts)
    roles = frozenset(Role(role) for role in options.roles)
    if options.studies is not None and not roles <= SCOPED:
        raise ServiceError(
            Code.INVALID_REQUEST_FIELD_ERROR,
            f"--study goes with {' and '.join(sorted(SCOPED))} only: who stores cannot know what a study "
            "will be called here, and who administers sees more than studies.",
        )
    lasts_s = None if options.days is None else _days(options.days) * _DAY_S
    made, row = parts.tokens.make(
        options.name, roles, _permission(options.studies), lasts_s=lasts_s, made_by=WHO
    )
    _note(parts, "a token was made", row)
    print(f"token {row.id} for {', '.join(sorted(roles))}; it is shown this once:", file=sys.stderr)
    print(made.get_secret_value())
    return ExitStatus.OK


def share(options: argparse.Namespace, _: Settings, parts: Parts) -> ExitStatus:
    """Make a token to read some studies."""
    everybody = Caller(WHO, frozenset(Role), EVERYTHING)
    studies = _permission(options.studies).studies
    assert studies, "one is required"
    made, row = shares.share(parts, everybody, studies, options.name, _days(options.days))
    print(f"share {row.id}, valid for {options.days:g} days; it is shown this once:", file=sys.stderr)
    print(made.get_secret_value())
    return ExitStatus.OK


def _revoke(token_id: str, parts: Parts) -> ExitStatus:
    if not parts.tokens.revoke(token_id):
        print(
            f"pathserve: no valid token has the id {token_id!r}; `pathserve store token list` lists them. "
            "Those of PATHSERVE_STORE_TOKENS_FILE end when they are removed from it.",
            file=sys.stderr,
        )
        return ExitStatus.FAULT
    row = parts.tokens.by_id(token_id)
    assert row is not None, "it has just been revoked"
    _note(parts, "a token was revoked", row)
    return ExitStatus.OK


def _note(parts: Parts, what: str, row: TokenRow) -> None:
    parts.audit.write(
        Event.SECURITY_ALERT, WHO, sorted(row.permission.studies or ()), Result.SUCCESS, what, token=row.id
    )


def _permission(studies: list[str] | None) -> Permission:
    if studies is None:
        return EVERYTHING
    if bad := [uid for uid in studies if not is_uid(uid)]:
        raise ServiceError(Code.INVALID_REQUEST_FIELD_ERROR, f"{bad[0]!r} is not a Study Instance UID.")
    return Permission(frozenset(studies))


def _days(days: float) -> float:
    if not 0 < days <= 36_600:
        raise ServiceError(Code.INVALID_REQUEST_FIELD_ERROR, "--days must be above 0 and at most 36600.")
    return days
