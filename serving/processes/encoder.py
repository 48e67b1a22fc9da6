"""The encoder process: ``python -m serving.processes.encoder``.

The launcher starts it by exec, never by fork: TensorFlow does not survive a fork.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import sys
from pathlib import Path

from model.batching import EncoderBroken
from model.encoder import Encoder, ModelError
from model.runtimes.load import load_encoder
from model.transport.server import EncoderServer
from serving.config.exit_status import ExitStatus
from serving.processes.child import END, begin
from serving.processes.handover import EncoderStart
from serving.telemetry.encoder_metrics import EncoderMetrics
from serving.telemetry.json_log import log_as_json

log = logging.getLogger(__name__)


def main() -> int:
    """Serve one encoder on a Unix socket until END."""
    start = begin(EncoderStart, END)
    settings = start.encoder
    log_as_json(start.log.level, process="encoder")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

    def load() -> Encoder:
        encoder = load_encoder(
            settings.spec, settings.precision, settings.max_batch, settings.cache_dir, settings.runtime
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


def listen(address: str) -> socket.socket:
    """Return a socket that listens on a path, which is taken over from a process that died."""
    with contextlib.suppress(FileNotFoundError):
        Path(address).unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(address)
    listener.listen(128)
    return listener


if __name__ == "__main__":
    status = main()
    logging.shutdown()
    os._exit(status)  # TensorFlow's threads can block the interpreter's shutdown
