"""The HTTP side of the service: a gunicorn master and its workers (``python -m serving.processes.http``).

The launcher starts it with the listening socket already open. Modules are imported here, before the
fork, so that workers share their memory; TensorFlow is not among them. What has threads or sockets
(the encoder's client, pools, caches) is made after the fork, in each worker.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from dataclasses import replace

import cv2

from dicom_io.sources.session import ReadContext
from serving.config.exit_status import ExitStatus
from serving.config.settings import Settings, SettingsError
from serving.front.application import HttpApplication
from serving.front.workers import GunicornApplication
from serving.http.app import http_application
from serving.processes.assembly import additions, encoder_client, predictor, read_context, require_usable
from serving.processes.child import begin
from serving.processes.handover import HttpStart
from serving.processes.tracing import require_traces, spans_to_send
from serving.telemetry.json_log import log_as_json
from serving.telemetry.request_record import Telemetry


def main() -> None:
    """Serve until SIGTERM."""
    serve(read_context, require_usable)


def serve(make_context: Callable[[Settings], ReadContext], require: Callable[[Settings], None]) -> None:
    """Serve until SIGTERM.

    Parameters
    ----------
    make_context:
        Makes, in each worker, what the sources of images share.
    require:
        Raises SettingsError where that would, starting nothing.
    """
    start = begin(HttpStart)
    settings = start.settings
    log_as_json(settings.log.level, process="http")
    try:
        require(settings)
        require_traces(settings)
    except SettingsError as error:
        print(f"pathserve: {error}", file=sys.stderr, flush=True)
        sys.exit(ExitStatus.MISCONFIGURED)

    def make() -> HttpApplication:
        cv2.setNumThreads(1)  # images are resized in a pool that has a thread for each core already
        encoder = encoder_client(settings, start.encoder_address)
        encoder.start()
        context = make_context(settings)
        predicts = predictor(settings, context, encoder)
        spans = spans_to_send(settings, "pathserve")
        telemetry = Telemetry(settings.shared.metrics, spans)
        application = http_application(settings, predicts, telemetry, additions(settings, predicts, context))
        return application if spans is None else replace(application, at_end=spans.close)

    # All this lives as long as a worker: looking through it for garbage takes 50 ms, and copies pages.
    gc.freeze()
    GunicornApplication(settings, start.listener, make).run()


if __name__ == "__main__":
    main()
