"""gunicorn: a master that forks workers, each of which runs the front in an event loop.

The master replaces workers that die or whose loop is stuck, and adds or ends them by signals.
"""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
from collections.abc import Callable
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.sock import ssl_context
from gunicorn.workers.base import Worker as BaseWorker
from prometheus_client import multiprocess

from serving.config.settings import Settings
from serving.front.application import HttpApplication
from serving.front.front import LOOK_S, HttpFront
from serving.telemetry.json_log import JsonLines

_EXIT_S = 2
"""Seconds that workers have to exit after the grace, before gunicorn kills them."""


class Worker(BaseWorker):  # type: ignore[misc]
    """gunicorn's worker around an event loop: what clients do, or leave undone, holds no thread.

    Of gunicorn's workers it keeps the heartbeat, the signals and the end with a parent that died; sockets
    are the front's. The loop that runs ``front.look`` also notifies the master, so a worker whose event
    loop is stuck is replaced after gunicorn's ``timeout``, however long a request may take.
    """

    def run(self) -> None:
        """Serve until SIGTERM."""
        if not asyncio.run(self._serve()):
            # The interpreter would join its threads first, and one may be at work for a client that was cut.
            os._exit(0)

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
        application.at_end()
        return finished

    def _stop(self) -> None:
        """End the loop of ``_serve``; replaces gunicorn's handlers, which raise in the main thread."""
        self.alive = False

    async def _notify(self) -> None:
        """Keep the heartbeat up while the worker drains: a drain may outlast gunicorn's timeout."""
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
    make:
        Makes the application; called in each worker, after the fork.
    """

    def __init__(self, settings: Settings, listener: int, make: Callable[[], HttpApplication]) -> None:
        self.settings = settings
        self._listener = listener
        self._make = make
        super().__init__()

    def load_config(self) -> None:
        """Translate our settings into gunicorn's."""
        settings = self.settings
        options: dict[str, Any] = {
            "bind": f"fd://{self._listener}",
            "workers": settings.http.workers,
            "worker_class": Worker,
            "timeout": 30,  # of the worker's event loop, not of a request
            "graceful_timeout": max(1, int(settings.http.grace_s)) + _EXIT_S,
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
        """Make the application in a worker."""
        return self._make()


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
