"""The HTTP side of the service: a gunicorn master and its workers (``python -m serving.processes.http``).

The launcher starts it with the listening socket already open. Modules are imported here, before the
fork, so that workers share their memory; TensorFlow is not among them.
"""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
import sys
from typing import Any

import cv2
from gunicorn.app.base import BaseApplication
from gunicorn.sock import ssl_context
from gunicorn.workers.base import Worker as BaseWorker
from prometheus_client import multiprocess

from serving.config.exit_status import ExitStatus
from serving.config.settings import Settings, SettingsError
from serving.front.front import LOOK_S, HttpFront
from serving.http.app import HttpApplication, create_app
from serving.processes.assembly import encoder_client, predictor, require_usable
from serving.processes.child import begin
from serving.processes.handover import HttpStart
from serving.telemetry.json_log import JsonLines, log_as_json


class Worker(BaseWorker):  # type: ignore[misc]
    """gunicorn's worker around an event loop: what clients do, or leave undone, holds no thread."""

    def run(self) -> None:
        """Serve until SIGTERM."""
        if not asyncio.run(self._serve()):
            os._exit(0)  # a thread at work for somebody who was cut must not hold the process

    async def _serve(self) -> bool:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            loop.add_signal_handler(number, self._stop)
        tls = self._tls()
        application: HttpApplication = self.wsgi
        front = HttpFront(application, self.app.settings, tls)
        front.listen(self.sockets[0].sock)
        while self.alive and self.ppid == os.getppid():
            self.notify()
            front.look()
            await asyncio.sleep(LOOK_S)
        notifying = loop.create_task(self._notify())
        finished = await front.drain()
        notifying.cancel()
        return finished

    def _stop(self) -> None:
        self.alive = False

    async def _notify(self) -> None:
        """Go on telling the master that this process lives, while it drains."""
        while True:
            self.notify()
            await asyncio.sleep(1.0)

    def _tls(self) -> ssl.SSLContext | None:
        if not self.cfg.is_ssl:
            return None
        context: ssl.SSLContext = ssl_context(self.cfg)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context


class GunicornApplication(BaseApplication):  # type: ignore[misc]
    """gunicorn with our settings.

    Parameters
    ----------
    listener:
        File descriptor of the listening socket.
    encoder_address:
        Path of the encoder's Unix socket.
    """

    def __init__(self, settings: Settings, listener: int, encoder_address: str) -> None:
        self.settings = settings
        self._listener = listener
        self._encoder_address = encoder_address
        super().__init__()

    def load_config(self) -> None:
        """Tell gunicorn what our settings mean to it."""
        settings = self.settings
        options: dict[str, Any] = {
            "bind": f"fd://{self._listener}",
            "workers": settings.http.workers,
            "worker_class": Worker,
            "timeout": 30,  # of the worker's event loop, not of a request
            "graceful_timeout": max(1, int(settings.http.grace_s)) + _FAREWELL_S,
            "control_socket_disable": True,
            "proc_name": "pathserve",
            "logconfig_dict": _log_config(settings.log.level),
            "child_exit": _child_exit,
            "when_ready": _when_ready,
        }
        if settings.http.tls_certificate is not None:
            options |= {"certfile": str(settings.http.tls_certificate), "keyfile": str(settings.http.tls_key)}
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> HttpApplication:
        """Make the application; called in each worker, after the fork."""
        cv2.setNumThreads(1)  # images are resized in a pool that has a thread for each core already
        encoder = encoder_client(self.settings, self._encoder_address)
        encoder.start()
        return create_app(self.settings, encoder, predictor(self.settings, encoder))


_FAREWELL_S = 2
"""Seconds that workers have for going, after the grace."""


def _log_config(level: str) -> dict[str, Any]:
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": JsonLines, "process": "http"}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
        "loggers": {
            "gunicorn.error": {
                "level": "INFO" if level == "DEBUG" else level,
                "handlers": ["stderr"],
                "propagate": False,
            },
            "gunicorn.access": {"level": "WARNING", "handlers": ["stderr"], "propagate": False},
        },
        "root": {"level": level, "handlers": ["stderr"]},
    }


def _child_exit(_: object, worker: Any) -> None:
    multiprocess.mark_process_dead(worker.pid)


def _when_ready(_: object) -> None:
    """Let SIGINT be the launcher's alone: one that reaches all processes would cut what is in flight."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def main() -> None:
    """Serve until SIGTERM."""
    start = begin(HttpStart)
    log_as_json(start.settings.log.level, process="http")
    try:
        require_usable(start.settings)
    except SettingsError as error:
        print(f"pathserve: {error}", file=sys.stderr, flush=True)
        sys.exit(ExitStatus.MISCONFIGURED)
    GunicornApplication(start.settings, start.listener, start.encoder_address).run()


if __name__ == "__main__":
    main()
