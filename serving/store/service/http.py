"""The HTTP side of the store: gunicorn and its workers (``python -m serving.store.service.http``).

What has threads or sockets (connections to the index) is made after the fork, in each worker.
"""

from __future__ import annotations

from dataclasses import replace

from serving.front.application import HttpApplication
from serving.front.workers import GunicornApplication
from serving.processes.child import begin
from serving.processes.tracing import require_traces, spans_to_send
from serving.store.service.app import store_application
from serving.store.service.parts import open_ingest, open_parts
from serving.store.service.starts import HttpStart
from serving.telemetry.json_log import log_as_json

_CONTROLS = 8
"""Connections to the index for what waits for no turn."""


def main() -> None:
    """Serve until SIGTERM."""
    start = begin(HttpStart)
    settings = start.settings
    log_as_json(settings.log.level, process="http")
    require_traces(settings)  # the launcher has found it; loaded here, workers share its memory

    def make() -> HttpApplication:
        parts = open_parts(settings, connections=settings.http.predict_slots + _CONTROLS)
        spans = spans_to_send(settings, "pathserve-store")
        application = store_application(settings, parts, open_ingest(parts, settings), spans)
        return application if spans is None else replace(application, at_end=spans.close)

    GunicornApplication(settings, start.listener, make).run()


if __name__ == "__main__":
    main()
