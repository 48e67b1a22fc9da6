"""Starts and supervises the group: gunicorn with its HTTP workers, and one runner."""

from __future__ import annotations

import dataclasses
import itertools
import logging
import os
import secrets
import signal
from pathlib import Path

from model.runtimes.allocation import ALLOCATION
from serving.config.exit_status import ExitStatus
from serving.config.groups import SharedFolders
from serving.config.settings import Settings, SettingsError
from serving.errors import ServiceError
from serving.processes.child import END
from serving.processes.child_environment import encoder_environment, http_environment
from serving.processes.handover import without_command
from serving.processes.launcher import KILL_AFTER_S, WORKERS_ALLOCATION, Launcher
from serving.processes.restarts import History
from serving.processes.supervised import Supervised
from serving.webhooks.jobs.seals import BadKey, JobKeys
from serving.webhooks.service.prepared import prepared_database
from serving.webhooks.service.starts import REGISTRY, GroupStart, HttpStart, RunnerStart
from serving.webhooks.service.status import RunnerStatus, read_status

log = logging.getLogger(__name__)

_ROOM = "serving.webhooks.service"
_STUCK_S = 60.0
"""A runner whose heartbeat has stood still for so long is ended."""

MAX_BODY_BYTES = 1 << 20
"""Largest body of a request to a webhook."""

_RUNNERS_LAST_S = 6.0
"""After its grace, how long a runner writes down what has become of its jobs."""


class WebhooksLauncher(Launcher):
    """Runs the group until SIGTERM or SIGINT.

    Parameters
    ----------
    registry:
        Module whose WEBHOOKS are mounted.

    Raises
    ------
    SettingsError
        When the keys or the database cannot be used.
    OSError
        When it cannot listen on its port.
    """

    def __init__(self, settings: Settings, registry: str = REGISTRY) -> None:
        self._registry = registry
        self._keys = _keys(settings)
        self._database = prepared_database(settings)
        super().__init__(_of_group(settings))
        self._own = settings

    def _plan(self, small_files: Path, tables: Path) -> None:
        self._metrics = small_files / "metrics"
        self._metrics.mkdir()
        self._status = small_files / "runner.json"
        shared = SharedFolders(metrics=self._metrics, tables=tables)
        group = GroupStart(
            os.getpid(),
            _of_workers(self._settings, shared),
            self._registry,
            self._database,
            self._keys,
            str(small_files / "runner.sock"),
            str(self._status),
        )
        libraries = {
            "PROMETHEUS_MULTIPROC_DIR": str(self._metrics),
            "TMPDIR": str(small_files),
            "TF_CPP_MIN_LOG_LEVEL": os.environ.get("TF_CPP_MIN_LOG_LEVEL", "3"),
        }
        fd = self._listener.fileno()
        self._http = Supervised(
            "http",
            WORKERS_ALLOCATION | http_environment(os.environ) | libraries,
            lambda: HttpStart(group, fd),
            History(runs_model=False),
            passed_fds=(fd,),
            room=_ROOM,
        )
        history = History(runs_model=True)
        name, numbers = secrets.token_hex(8), itertools.count(1)
        own = dataclasses.replace(group, settings=_of_runner(self._own, shared))
        self._runner = Supervised(
            "runner",
            ALLOCATION | encoder_environment(os.environ) | libraries,
            lambda: RunnerStart(own, name, next(numbers), restarted=history.has_died),
            history,
            end=END,
            room=_ROOM,
        )
        self._children = (self._runner, self._http)

    def _start(self, child: Supervised) -> None:
        child.launch()

    def _end_if_stuck(self) -> None:
        status = self._last_words()
        if status is not None and status.age_s > _STUCK_S:
            log.error("runner is stuck and is ended", extra={"pid": status.pid})
            self._runner.signal(signal.SIGKILL)
            self._status.unlink(missing_ok=True)

    def _has_run(self, child: Supervised) -> bool:
        if child is self._runner:
            status = self._last_words()
            return status is not None and status.is_ready
        return self._has_lived(child)

    def _last_words(self) -> RunnerStatus | None:
        """Return what the present runner has said last, if anything."""
        try:
            status = read_status(self._status)
        except ServiceError:
            return None
        process = self._runner.process
        return status if process is not None and process.pid == status.pid else None

    def _drain(self) -> ExitStatus:
        """Stop taking jobs and requests at the same time; finish what has begun of both."""
        log.info("draining")
        self._listener.close()
        grace = self._settings.http.grace_s
        self._runner.signal(END)
        self._end(self._http, grace + KILL_AFTER_S)
        self._end(self._runner, grace + _RUNNERS_LAST_S + KILL_AFTER_S)
        log.info("stopped")
        return ExitStatus.OK


def _of_group(settings: Settings) -> Settings:
    """Return the settings with the group's own port, workers and limit of bodies in the service's place."""
    own = {"port": settings.webhooks.port, "workers": settings.webhooks.http_workers}
    return settings.model_copy(
        update={
            "http": settings.http.model_copy(update=own),
            "requests": settings.requests.model_copy(update={"max_bytes": MAX_BODY_BYTES}),
        }
    )


def _of_workers(settings: Settings, shared: SharedFolders) -> Settings:
    """Return the settings without the credentials that HTTP workers do not use."""
    techcyte = settings.techcyte.model_copy(update={"key_secret": None})
    return without_command(settings).model_copy(update={"shared": shared, "techcyte": techcyte})


def _of_runner(settings: Settings, shared: SharedFolders) -> Settings:
    """Return the settings without the credentials that a runner does not use."""
    return settings.model_copy(
        update={
            "shared": shared,
            "command": settings.command.model_copy(update={"store_token": None}),
            "http": settings.http.model_copy(update={"api_keys": None}),
        }
    )


def _keys(settings: Settings) -> JobKeys:
    try:
        return JobKeys.of(settings.jobs.keys)
    except BadKey as error:
        raise SettingsError(f"bad setting: PATHSERVE_JOBS_KEY: {error}") from error
