"""The encoder process: ``python -m serving.processes.encoder``.

The launcher starts it by exec, never by fork: TensorFlow does not survive a fork.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import TypeVar

from model.batching import EncoderBroken
from model.encoder import ModelError
from model.golden.guard import GuardedEncoder
from model.transport.server import EncoderServer, listen
from serving.config.exit_status import ExitStatus
from serving.pipeline.encoder_loading import load_configured_encoder
from serving.processes.child import END, begin
from serving.processes.handover import EncoderStart
from serving.telemetry.encoder_metrics import EncoderMetrics
from serving.telemetry.json_log import log_as_json

log = logging.getLogger(__name__)

T = TypeVar("T")


def main() -> int:
    """Serve one encoder on a Unix socket until END."""
    start = begin(EncoderStart, END)
    settings = start.encoder
    log_as_json(start.log.level, process="encoder")

    def load() -> GuardedEncoder:
        loaded = collecting_once(lambda: load_configured_encoder(settings))
        facts = loaded.encoder.facts
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
                "reproducible": facts.reproducible,
            },
        )
        return loaded

    server = EncoderServer(
        load,
        listen(start.address),
        max_wait_s=settings.max_wait_ms / 1000,
        observer=EncoderMetrics(restarted=start.restarted),
    )
    signal.signal(END, lambda *_: server.stop())
    try:
        server.run()
    except ModelError as error:
        print(f"pathserve: {error}", file=sys.stderr, flush=True)
        return ExitStatus.MISCONFIGURED
    except EncoderBroken as error:
        log.critical("encoder is broken and ends", extra={"reason": str(error)})
        return ExitStatus.FAULT
    return ExitStatus.OK


def collecting_once(load: Callable[[], T]) -> T:
    """Return what a function returns, with its garbage collected once, and what stays never looked at again.

    Imports make a million objects that stay: looking for garbage among them takes half a second of the start,
    and would again and again between batches. Yet graphs that were tried and dropped hold hundreds of
    megabytes in circles, which must go before all that is there is taken out of the collector's sight.
    """
    gc.disable()
    try:
        return load()
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


if __name__ == "__main__":
    status = main()
    logging.shutdown()
    os._exit(status)  # TensorFlow's threads can block the interpreter's shutdown
