"""``pathserve webhooks parked``: what was sent and not answered, for a person to decide."""

from __future__ import annotations

import sys
from datetime import UTC, datetime

import orjson

from serving.config.exit_status import ExitStatus
from serving.config.settings import Settings
from serving.database import Database
from serving.errors import ServiceError
from serving.webhooks.jobs.endings import JobLimits
from serving.webhooks.jobs.entry import Entry, EntryState
from serving.webhooks.jobs.job import JobState, Posted
from serving.webhooks.jobs.parked import Parked, resend
from serving.webhooks.jobs.seals import JobKeys, Seals
from serving.webhooks.jobs.store import JobStore
from serving.webhooks.jobs.tables import JOBS
from serving.webhooks.service.prepared import prepared_database

_UNSAID = {
    EntryState.READY: "Its job ended before anything was sent.",
    EntryState.SENDING: "Its job ended before it was known whether it was taken.",
    EntryState.SENT: "It was taken; its job ended before what follows was done.",
}
"""What is known of those that no job has parked."""


def parked(what: str, beginning: str, wait_s: float, settings: Settings) -> ExitStatus:
    """List, show, resend or discard; return an exit status.

    Parameters
    ----------
    beginning:
        Of the id that is meant.
    wait_s:
        How long the end of a ``resend`` is waited for, in seconds.

    Raises
    ------
    SettingsError
        When the database cannot be used.
    """
    database = Database(prepared_database(settings), JOBS)
    try:
        rows = Parked(database)
        if what == "list":
            return _list(rows)
        entry = rows.get(beginning)
        if entry is None:
            print(f"pathserve: nothing, or more than one, is parked as {beginning!r}.", file=sys.stderr)
            return ExitStatus.FAULT
        if what == "show":
            return _show(entry)
        if what == "discard":
            return _discard(rows, entry)
        return _resend(entry, _store(database, settings), settings.jobs.timeout_s, wait_s)
    except ServiceError as error:
        print(f"pathserve: {error.description}", file=sys.stderr)
        return ExitStatus.FAULT
    finally:
        database.close()


def _list(rows: Parked) -> ExitStatus:
    found = rows.all()
    for entry in found:
        about = (entry.entry_id[:8], entry.service, entry.subject, _when(entry.changed_at), _note(entry))
        print("  ".join(about))
    if not found:
        print("Nothing is parked.")
    return ExitStatus.OK


def _show(entry: Entry) -> ExitStatus:
    facts = {
        "id": entry.entry_id,
        "service": entry.service,
        "task": entry.subject,
        "run": entry.marker,
        "since": _when(entry.created_at),
        "state": entry.state,
        "note": _note(entry),
        "sha256": entry.digest,
        "content": orjson.loads(entry.document),
    }
    print(orjson.dumps(facts, option=orjson.OPT_INDENT_2).decode("utf-8"))
    return ExitStatus.OK


def _discard(rows: Parked, entry: Entry) -> ExitStatus:
    if not rows.discard(entry):
        print("pathserve: it is not parked any more, or has changed; look at it again.", file=sys.stderr)
        return ExitStatus.FAULT
    print("It is discarded and will not be sent.")
    return ExitStatus.OK


def _resend(entry: Entry, store: JobStore, deadline_s: float, wait_s: float) -> ExitStatus:
    posted = resend(entry, store, deadline_s)
    if not isinstance(posted, Posted):
        raise posted.as_error()
    view = store.wait(posted.job_id, wait_s)
    if view is None or not view.state.is_final:
        print("It waits for the runner of `pathserve webhooks`, which sends it when it runs.")
        return ExitStatus.OK
    if view.state is JobState.FINISHED:
        print("The other side has it.")
        return ExitStatus.OK
    print(f"pathserve: {view.error}", file=sys.stderr)
    return ExitStatus.FAULT


def _store(database: Database, settings: Settings) -> JobStore:
    jobs = settings.jobs
    # Nothing is sealed here: what is parked keeps the seal that its runner can open.
    seals = Seals(JobKeys.of(None))
    return JobStore(database, seals, JobLimits(jobs.queue, jobs.retention_s, jobs.lease_s))


def _note(entry: Entry) -> str:
    return entry.note or _UNSAID.get(entry.state, "")


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
