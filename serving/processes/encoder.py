"""The encoder process: ``python -m serving.processes.encoder``.

The launcher starts it by exec, never by fork: TensorFlow does not survive a fork.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from pathlib import Path

from model.batching import EncoderBroken
from model.encoder import EXIT_BAD_MODEL, Encoder, ModelError
from model.transport.server import EncoderServer, listen
from serving.pipeline.encoder_loading import load_service_encoder
from serving.processes.child import END, end_with_parent
from serving.telemetry.encoder_metrics import EncoderMetrics
from serving.telemetry.json_log import log_as_json

log = logging.getLogger(__name__)


def main(arguments: list[str] | None = None) -> int:
    """Serve one encoder on a Unix socket until END."""
    options = _parse(arguments)
    end_with_parent(options.parent, END)
    log_as_json(options.log_level, process="encoder")

    def load() -> Encoder:
        encoder = load_service_encoder(
            options.model, options.precision, options.max_batch, options.cache, options.runtime
        )
        facts = encoder.facts
        log.info(
            "encoder ready%s",
            ", UNTRAINED: random weights, its vectors mean nothing" if facts.untrained else "",
            extra={
                "model": facts.model,
                "untrained": facts.untrained,
                "device": facts.device,
                "precision": facts.precision,
                "runtime": facts.runtime,
                "parity": facts.parity,
                "digest": facts.digest,
            },
        )
        return encoder

    server = EncoderServer(
        load,
        listen(options.address),
        max_wait_s=options.max_wait_ms / 1000,
        observer=EncoderMetrics(restarted=options.restarted),
    )
    signal.signal(END, lambda *_: server.stop())
    try:
        server.run()
    except ModelError as error:
        print(f"pathserve: {error}", file=sys.stderr, flush=True)
        return EXIT_BAD_MODEL
    except EncoderBroken as error:
        log.critical("encoder is broken and ends", extra={"reason": str(error)})
        return 1
    return 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", required=True, help="path of the Unix socket to listen on")
    parser.add_argument("--parent", type=int, required=True, help="process id of the launcher")
    parser.add_argument("--model", required=True)
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--runtime", default="tensorflow")
    parser.add_argument("--max-batch", type=int, help="patches; by device if not given")
    parser.add_argument("--max-wait-ms", type=float, default=0.0)
    parser.add_argument("--cache", type=Path, help="folder that keeps downloaded models")
    parser.add_argument("--log-level", default="INFO")
    parser.add_argument("--restarted", action="store_true", help="an earlier encoder process died")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    status = main()
    logging.shutdown()
    os._exit(status)  # TensorFlow's threads need no farewell, and can hang one
