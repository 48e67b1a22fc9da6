"""The HTTP side of the service: a gunicorn master and its workers (``python -m serving.processes.http``).

The launcher starts it with the listening socket already open. Modules are imported here, before the
fork, so that workers share their memory; TensorFlow is not among them. What has threads or sockets
(the encoder's client, pools, caches) is made after the fork, in each worker.
"""

from __future__ import annotations

import argparse
import os
import sys

import cv2

from model.transport.client import EncoderClient
from serving.config.settings import EXIT_BAD_SETTING, SettingsError, load_settings
from serving.front.application import HttpApplication
from serving.front.workers import GunicornApplication
from serving.http.app import http_application
from serving.pipeline.predictor import Predictor
from serving.processes.assembly import read_context
from serving.processes.child import end_with_parent
from serving.telemetry.json_log import log_as_json
from serving.telemetry.request_record import Telemetry, multiprocess_folder

SLOTS_PER_REQUEST = 64
"""Patches that one request may have in the slab at once."""


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--listener", type=int, required=True, help="descriptor of the listening socket")
    parser.add_argument("--encoder", required=True, help="path of the encoder's Unix socket")
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

    def make() -> HttpApplication:
        cv2.setNumThreads(1)  # images are resized in a pool that has a thread for each core already
        encoder = EncoderClient(options.encoder, streams=settings.predict_slots, quota=SLOTS_PER_REQUEST)
        encoder.start()
        predictor = Predictor(
            encoder,
            read_context(settings),
            threads=os.cpu_count() or 1,
            max_reads=settings.max_patches_per_request,
        )
        return http_application(settings, predictor, Telemetry(multiprocess_folder()))

    GunicornApplication(settings, options.listener, make).run()


if __name__ == "__main__":
    main()
