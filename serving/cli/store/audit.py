"""``pathserve store audit``: the rows of the audit trail that fit."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from datetime import UTC, datetime

import orjson

from serving.cli.store.giving import WHO
from serving.config.exit_status import ExitStatus
from serving.config.settings import Settings
from serving.errors import Code, ServiceError
from serving.store.access.audit import Event, Result
from serving.store.service.parts import Parts


def audit(options: argparse.Namespace, _: Settings, parts: Parts) -> ExitStatus:
    """Print the rows that fit, the oldest first; the query itself becomes a row."""
    since, until = (_time(text) for text in (options.since, options.until))
    if options.event is not None and options.event not in list(Event):
        codes = ", ".join(f"{event} ({event.meaning})" for event in Event)
        raise ServiceError(Code.INVALID_REQUEST_FIELD_ERROR, f"--event must be one of {codes}.")
    rows = parts.audit.rows()
    for row in rows:
        if _fits(row, options, since, until):
            sys.stdout.write(orjson.dumps(row).decode() + "\n")
    parts.audit.write(Event.AUDIT_USED, WHO, (), Result.SUCCESS)
    return ExitStatus.OK


def _fits(
    row: Mapping[str, object], options: argparse.Namespace, since: datetime | None, until: datetime | None
) -> bool:
    uids = row.get("uids")
    when = datetime.fromisoformat(str(row["time"]))
    return (
        (since is None or when >= since)
        and (until is None or when < until)
        and options.who in (None, row.get("who"))
        and options.event in (None, row.get("event"))
        and options.outcome in (None, row.get("outcome"))
        and (options.uid is None or (isinstance(uids, list) and options.uid in uids))
    )


def _time(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise ServiceError(
            Code.INVALID_REQUEST_FIELD_ERROR, f"{text!r} is no time; write 2026-11-29 or 2026-11-29T14:00."
        ) from None
    return when if when.tzinfo else when.replace(tzinfo=UTC)
