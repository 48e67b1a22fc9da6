"""The HTTP side of the service: a gunicorn master and its workers (``python -m serving.http_server``).

The launcher starts it with the listening socket already open. Modules are imported here, before the
fork, so that workers share their memory; TensorFlow is not among them.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import socket
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import cv2
from flask import Flask
from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger
from gunicorn.workers.gthread import _DEFER, ThreadWorker
from prometheus_client import multiprocess

from model.child import end_with_parent
from model.client import EncoderClient
from model.json_log import JsonLines, log_as_json
from serving.app import SLOTS_PER_REQUEST, create_app
from serving.kept_sockets import KeptSockets, State
from serving.read_context import read_context
from serving.settings import EXIT_BAD_SETTING, Settings, SettingsError, load_settings
from serving.telemetry import multiprocess_folder

_SILENCE_S = 0.05


class Worker(ThreadWorker):  # type: ignore[misc]
    """gunicorn's threaded worker, made not to wait for clients in its main loop.

    Upstream lingers up to two seconds in the main loop for each connection that it closes with bytes
    left unread, and keeps a thread for five seconds for each new connection that stays silent. Either
    way a few clients could keep health and metrics from being answered.

    It also lets the launcher answer in its place when it is killed.
    """

    def init_process(self) -> None:
        """Begin, after the fork."""
        self._kept = KeptSockets(self.app.keeper_address)
        super().init_process()

    def load_wsgi(self) -> None:
        """Make the application, and have it noted when an answer begins."""
        super().load_wsgi()
        application: Callable[..., Any] = self.wsgi

        def noting(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
            def start(*arguments: Any) -> Any:
                self._kept.note(environ["gunicorn.socket"], State.ANSWERING)
                return start_response(*arguments)

            return application(environ, start)

        self.wsgi: Callable[..., Any] = noting

    def enqueue_req(self, conn: Any) -> None:
        """Hand a connection to a thread; a new one is enlisted with the launcher first."""
        if not hasattr(conn, "close_upstream"):
            self._kept.enlist(conn.sock)
            conn.close_upstream, conn.close = conn.close, partial(self._close, conn)
        super().enqueue_req(conn)

    def _close(self, conn: Any, graceful: bool = False) -> None:
        self._kept.forget(conn.sock)
        if not graceful:  # the launcher's duplicate keeps the connection open for a moment
            with contextlib.suppress(OSError):
                conn.sock.shutdown(socket.SHUT_RDWR)
        conn.close_upstream(graceful)

    def handle(self, conn: Any) -> Any:
        """Serve one request in a thread; say whether the connection stays open."""
        if not conn.initialized and not conn.data_ready and not conn.wait_for_data(_SILENCE_S):
            return _DEFER  # back to the poller, which wakes a thread when there is something to read
        self._kept.note(conn.sock, State.BUSY)
        keep = super().handle(conn)
        if keep:
            self._kept.note(conn.sock, State.IDLE)
        else:
            conn.close(graceful=True)
            conn.close = lambda graceful=False: None  # the main loop closes it once more
        return keep


class NoAccessLog(Logger):  # type: ignore[misc]
    """gunicorn's logger without its access log, for which it would format every request in vain."""

    def access(self, *_: object) -> None:
        """Do nothing: each prediction has a line of its own."""


class NoRequestText(logging.Filter):
    """Cuts what gunicorn quotes of a malformed request: it may hold a token."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass, without the quotation."""
        message = record.getMessage()
        if message.startswith("Invalid request"):
            record.msg, record.args = message.partition(":")[0], None
        return True


class GunicornApplication(BaseApplication):  # type: ignore[misc]
    """gunicorn with our settings.

    Parameters
    ----------
    listener:
        File descriptor of the listening socket.
    encoder_address:
        Path of the encoder's Unix socket.
    keeper_address:
        Path of the launcher's socket for connections; ``None`` where they cannot be kept.
    """

    def __init__(self, settings: Settings, listener: int, encoder_address: str, keeper_address: str) -> None:
        # What TLS encrypts, the launcher could not go on with.
        self.keeper_address = None if settings.tls_certificate else keeper_address
        self._settings = settings
        self._listener = listener
        self._encoder_address = encoder_address
        super().__init__()

    def load_config(self) -> None:
        """Tell gunicorn what our settings mean to it."""
        settings = self._settings
        options: dict[str, Any] = {
            "bind": f"fd://{self._listener}",
            "workers": settings.workers,
            "worker_class": Worker,
            "threads": settings.threads,
            "timeout": 30,  # of the worker's main loop, not of a request
            "graceful_timeout": max(1, int(settings.grace_s)),
            "keepalive": 75,
            "control_socket_disable": True,
            "proc_name": "pathserve",
            "logger_class": NoAccessLog,
            "logconfig_dict": _log_config(settings.log_level),
            "child_exit": _child_exit,
        }
        if settings.tls_certificate is not None:
            options |= {"certfile": str(settings.tls_certificate), "keyfile": str(settings.tls_key)}
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        """Make the application; called in each worker, after the fork."""
        cv2.setNumThreads(1)  # images are resized in a pool that has a thread for each core already
        encoder = EncoderClient(
            self._encoder_address, streams=self._settings.predict_slots, quota=SLOTS_PER_REQUEST
        )
        encoder.start()
        return create_app(self._settings, encoder)


def _log_config(level: str) -> dict[str, Any]:
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": JsonLines, "process": "http"}},
        "filters": {"quiet": {"()": NoRequestText}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json", "filters": ["quiet"]}},
        "loggers": {
            # At DEBUG it would log the paths of requests, which may hold anything.
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
    if multiprocess_folder():
        multiprocess.mark_process_dead(worker.pid)


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--listener", type=int, required=True, help="descriptor of the listening socket")
    parser.add_argument("--encoder", required=True, help="path of the encoder's Unix socket")
    parser.add_argument("--keeper", required=True, help="path of the launcher's socket for connections")
    parser.add_argument("--parent", type=int, required=True, help="process id of the launcher")
    options = parser.parse_args()
    end_with_parent(options.parent)
    settings = load_settings()
    log_as_json(settings.log_level, process="http")
    try:
        read_context(settings)
    except SettingsError as error:
        print(f"pathserve: {error}", file=sys.stderr, flush=True)
        sys.exit(EXIT_BAD_SETTING)
    GunicornApplication(settings, options.listener, options.encoder, options.keeper).run()


if __name__ == "__main__":
    main()
