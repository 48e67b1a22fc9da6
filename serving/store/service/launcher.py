"""Starts and supervises the store: gunicorn with its HTTP workers, the DICOM node, the keeper of folders."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

from serving.config.exit_status import ExitStatus
from serving.config.groups import SharedFolders
from serving.config.settings import Settings, SettingsError
from serving.processes.child import END
from serving.processes.child_environment import http_environment
from serving.processes.handover import without_command
from serving.processes.launcher import KILL_AFTER_S, WORKERS_ALLOCATION, Launcher
from serving.processes.restarts import History
from serving.processes.supervised import Supervised
from serving.processes.tracing import require_traces
from serving.store.access.audit import Event, Result
from serving.store.doors.watch import require_watchable
from serving.store.service.cors import Cors
from serving.store.service.parts import folder_of, open_ingest, open_parts
from serving.store.service.starts import HttpStart, StoreStart

log = logging.getLogger(__name__)

_ROOM = "serving.store.service"
_SLOTS = 4
"""Of PATHSERVE_THREADS, the share that runs at once; see ``HttpSettings.predict_slots``."""


class StoreLauncher(Launcher):
    """Runs the store until SIGTERM or SIGINT.

    Raises
    ------
    SettingsError
        When the folder, the index, the key, a file of tokens or an origin cannot be used.
    OSError
        When it cannot listen on its port.
    """

    def __init__(self, settings: Settings) -> None:
        _require_usable(settings)
        super().__init__(_of_store(settings))

    def _plan(self, small_files: Path, tables: Path) -> None:
        self._metrics = small_files / "metrics"
        self._metrics.mkdir()
        shared = SharedFolders(metrics=self._metrics, tables=tables)
        own = without_command(self._settings).model_copy(update={"shared": shared})
        libraries = {"PROMETHEUS_MULTIPROC_DIR": str(self._metrics), "TMPDIR": str(small_files)}
        environment = WORKERS_ALLOCATION | http_environment(os.environ) | libraries
        fd = self._listener.fileno()
        self._http = Supervised(
            "http",
            environment,
            lambda: HttpStart(os.getpid(), own, fd),
            History(runs_model=False),
            passed_fds=(fd,),
            room=_ROOM,
        )
        others = []
        if own.ingest.dimse_port is not None:
            others.append("dimse")
        if own.ingest.watch is not None or own.slide_store.retention_days is not None:
            others.append("keeper")
        self._others = tuple(
            Supervised(
                name,
                environment,
                lambda: StoreStart(os.getpid(), own),
                History(runs_model=False),
                end=END,
                room=_ROOM,
            )
            for name in others
        )
        self._children = (self._http, *self._others)

    def _start(self, child: Supervised) -> None:
        child.launch()

    def _end_if_stuck(self) -> None:
        """None of these is looked after: gunicorn looks after its workers, the others wait by deadlines."""

    def _has_run(self, child: Supervised) -> bool:
        return self._has_lived(child)

    def _drain(self) -> ExitStatus:
        """Stop accepting; finish what is coming in, through whichever door."""
        log.info("draining")
        self._listener.close()
        deadline = time.monotonic() + self._settings.http.grace_s + KILL_AFTER_S
        for other in self._others:
            other.signal(END)
        for child in (self._http, *self._others):  # they end side by side, whoever is waited for first
            self._end(child, max(0.0, deadline - time.monotonic()))
        log.info("stopped")
        return ExitStatus.OK


def _of_store(settings: Settings) -> Settings:
    """Return the settings with the store's own port, workers and threads in the service's place."""
    store = settings.slide_store
    own = {"port": store.port, "workers": store.http_workers, "threads": _SLOTS * store.threads}
    return settings.model_copy(update={"http": settings.http.model_copy(update=own)})


def _require_usable(settings: Settings) -> None:
    """Refuse at the start what would fail at the first request."""
    own = settings.ingest
    if own.dimse_port is not None and not (own.ae_peers or own.ae_finders):
        raise SettingsError(
            "PATHSERVE_STORE_DIMSE_PORT needs PATHSERVE_STORE_AE_PEERS, the AE titles that may send, or "
            "PATHSERVE_STORE_AE_FINDERS, those that may query"
        )
    require_traces(settings)
    Cors(settings.slide_store.cors_origins or ())
    if settings.ingest.watch is not None:
        require_watchable(settings.ingest.watch, folder_of(settings))
    parts = open_parts(settings)
    try:
        open_ingest(parts, settings).close()
        if not parts.tokens.all():
            log.warning("no token exists, so nobody is let in: make one by `pathserve store token add`")
        parts.audit.write(Event.APPLICATION, "command", (), Result.SUCCESS, "the store was started")
    finally:
        parts.close()
