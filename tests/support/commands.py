"""``pathserve embed`` in the test's own process, with the probe in place of a model."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import pytest

from model.transport.client import EncoderClient
from model.transport.local import encoder_in_process
from serving.batch.embedders import InProcess
from serving.cli.embed import EmbedOptions, embed
from serving.cli.embed_arguments import add_embed
from serving.config.exit_status import ExitStatus
from serving.config.settings import Settings, load_settings
from serving.pipeline.in_process import InProcessEmbedder
from serving.pipeline.predictor import Predictor
from tests.support.encoders import ProbeEncoder


@contextlib.contextmanager
def own_logging() -> Iterator[None]:
    """Let a command log for its whole process, as it does, and give that back.

    Applications that tests share run in this process, too, and their logs are read.
    """
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


@contextlib.contextmanager
def probe_in_process(
    settings: Settings, make: Callable[[EncoderClient], Predictor]
) -> Iterator[InProcessEmbedder]:
    """Yield an embedder in this process whose encoder is the poisonable probe."""
    with encoder_in_process(ProbeEncoder) as client:
        deadline = time.monotonic() + 30
        while client.facts is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        yield InProcessEmbedder(make(client), settings.requests.timeout_s, client.facts)


@dataclass(frozen=True)
class Said:
    """What a command printed, and its exit status."""

    status: ExitStatus
    out: str
    err: str


@dataclass(frozen=True)
class EmbedCommand:
    """Runs the command as if it was typed."""

    capture: pytest.CaptureFixture[str]
    in_process: InProcess = probe_in_process

    def __call__(self, *arguments: str | Path, **environment: str) -> Said:
        parser = argparse.ArgumentParser()
        add_embed(parser.add_subparsers())
        self.capture.readouterr()
        options = EmbedOptions.of(parser.parse_args(["embed", *map(str, arguments)]))
        bare = {k: v for k, v in os.environ.items() if not k.startswith(("PATHSERVE_", "AIP_", "APPROVED_"))}
        with own_logging(), mock.patch.dict(os.environ, bare | environment, clear=True):
            status = embed(options, load_settings(), self.in_process)
        said = self.capture.readouterr()
        return Said(status, said.out, said.err)
