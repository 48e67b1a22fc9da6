"""The handlers of the jobs: from a trigger to results that Techcyte has once."""

from __future__ import annotations

import contextlib
from functools import partial

import orjson
from pydantic import SecretBytes

from dicom_io.web.credentials import BearerToken
from serving.webhooks.jobs.entry import MAX_DOCUMENT_BYTES, Entry, NewEntry
from serving.webhooks.jobs.handler import JobContext, JobFailed, JobKind
from serving.webhooks.jobs.parked import resend_kind, take_seen
from serving.webhooks.techcyte import reports
from serving.webhooks.techcyte.analysis import kit_of, open_scan
from serving.webhooks.techcyte.client import TechcyteClient, api_key
from serving.webhooks.techcyte.download import limits_of
from serving.webhooks.techcyte.faults import ScanError
from serving.webhooks.techcyte.posting import Document, Poster
from serving.webhooks.techcyte.scratch import Scratch
from serving.webhooks.techcyte.server import transport_of
from serving.webhooks.techcyte.task import Task, failed
from serving.webhooks.techcyte.trigger import Trigger
from serving.webhooks.webhook import RunnerTools

SERVICE = "techcyte"
ANALYSE = f"{SERVICE}.analyse"
RESEND = resend_kind(SERVICE)
"""The two kinds of jobs: a task, and sending what a person says may be sent."""

_DAY_S = 86_400.0


class Jobs:
    """Handlers for one process; what a killed one has left on the disk is removed.

    Raises
    ------
    SettingsError
        When the settings cannot be used.
    """

    def __init__(self, tools: RunnerTools) -> None:
        self._settings = tools.settings.techcyte
        self._open_scan = partial(open_scan, context=tools.context)
        self._scratch = Scratch(tools.settings)
        with contextlib.suppress(OSError):  # the first task says so, if the folder cannot be used
            self._scratch.clear()
        self._limits = limits_of(tools.settings)
        self._kit = kit_of(tools.settings)
        self._transport = transport_of(tools.settings)
        self._key = api_key(self._settings)

    def kinds(self) -> dict[str, JobKind]:
        """Return the handlers by the names of their jobs."""
        return {ANALYSE: JobKind(self.analyse), RESEND: JobKind(self.resend)}

    def analyse(self, context: JobContext) -> bytes:
        """Do a task; go on from what the ledger says, where an earlier process has begun it."""
        if context.secret is None:
            raise JobFailed("The task's addresses are not known any more.")
        trigger = Trigger.of_job(context.payload, context.secret)
        entry = context.ledger.find(SERVICE, trigger.task_id)
        if entry is None:
            entry = context.ledger.open(self._entry(trigger, context))
        elif entry.job_id != context.job_id:
            raise JobFailed("The task was done before; nothing is sent twice.")
        return _output(self._poster(entry, context).post(entry))

    def resend(self, context: JobContext) -> bytes:
        """Send what was parked."""
        entry = take_seen(context)
        if entry is None:
            raise JobFailed("It is not parked any more, or has changed since it was looked at.")
        return _output(self._poster(entry, context).post_again(entry))

    def _entry(self, trigger: Trigger, context: JobContext) -> NewEntry:
        document = Document.of(self._posting(trigger, context), trigger.case_id).write()
        if len(document) > MAX_DOCUMENT_BYTES:
            raise failed([f"The results are larger than {MAX_DOCUMENT_BYTES >> 20} MiB."])
        token = None if trigger.token is None else SecretBytes(trigger.token.reveal().encode("ascii"))
        keep_s = self._settings.remember_days * _DAY_S
        return NewEntry(SERVICE, trigger.task_id, trigger.run_marker, document, token, keep_s)

    def _posting(self, trigger: Trigger, context: JobContext) -> reports.Posting:
        """Analyse all scans, and return what is to be posted: of all of them, or of none."""
        try:
            with self._scratch.task() as folder:
                task = Task(trigger, context, folder, self._open_scan)
                task.fetch(self._limits)
                results = task.results(self._kit)
            return reports.prepare(results, task.sizes, reports.Api(self._settings.api))
        except ScanError as error:
            raise failed([str(error)]) from error
        except reports.ReportError as error:
            raise failed(list(error.faults)) from error

    def _poster(self, entry: Entry, context: JobContext) -> Poster:
        secret = entry.secret
        token = None if secret is None else BearerToken(secret.get_secret_value().decode("ascii"))
        client = TechcyteClient(self._transport, entry.subject, token, self._key, context.waits)
        return Poster(client, context, self._settings)


def _output(note: str) -> bytes:
    return orjson.dumps({"note": note})
