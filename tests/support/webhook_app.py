"""One webhook service behind the real front, with a runner and a probe encoder, in this process."""

from __future__ import annotations

import io
import logging
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt
import requests

from dicom_io.waiting import Cancellation
from model.encoder import EncoderFacts, PixelBatch, Vectors
from model.transport.local import encoder_in_process
from serving.config.settings import Settings
from serving.front.application import HttpApplication
from serving.http.access import ApiKeys
from serving.http.answers import refusal
from serving.http.app import create_app
from serving.http.gate import Gate
from serving.pipeline.outcome import Outcome
from serving.pipeline.predictor import Predictor
from serving.pipeline.types import Instance
from serving.processes.assembly import magnification_guard, read_context
from serving.telemetry.json_log import JsonLines
from serving.telemetry.request_record import StageTimes
from serving.webhooks.webhook import DoorTools, RunnerTools, Webhook
from tests.support import models
from tests.support.front import Front
from tests.support.jobs import KEY, Engine
from tests.support.service import wait_until

BODY_LIMIT = 1 << 20


class QuietProbe:
    """The probe, which fails or waits when it is told to.

    Attributes
    ----------
    fails:
        Whether it cannot embed the first patch that comes, and those like it.
    gate:
        Holds batches back while it is cleared.
    """

    facts = EncoderFacts("probe", True, models.DIMENSION, "CPU", "float32", "", "sha256:00", "NumPy", 16)

    def __init__(self) -> None:
        self.fails = False
        self.poison: npt.NDArray[np.uint8] | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.patches = 0

    def embed(self, patches: PixelBatch) -> Vectors:
        """Map uint8 ``[n, 224, 224, 3]`` to float32 ``[n, 384]``."""
        assert self.gate.wait(60)
        if self.fails and self.poison is None:
            self.poison = patches[0, 0, 0].copy()
        if self.poison is not None and (patches[:, 0, 0] == self.poison).all(axis=1).any():
            raise RuntimeError("the model is out of order")
        self.patches += len(patches)
        return models.probe(patches)


class BoundEmbedder:
    """Embeds in this process until a job's waits end."""

    def __init__(self, predictor: Predictor, waits: Cancellation) -> None:
        self._predictor, self._waits = predictor, waits
        self.metadata: Mapping[str, object] = asdict(QuietProbe.facts)

    def embed(self, instances: Sequence[Instance]) -> list[Outcome]:
        """Embed the patches of instances."""
        return self._predictor.predict(instances, self._waits, StageTimes()).outcomes


class WebhookApp:
    """All that a job goes through, in this process; use it as a context manager.

    Parameters
    ----------
    settings:
        With which the service can be used.
    """

    def __init__(self, webhook: Webhook, folder: Path, settings: Settings, queue: int = 100) -> None:
        webhook.require_usable(settings)
        self.settings = settings
        self.encoder = QuietProbe()
        self.engine = Engine(f"sqlite:///{folder / 'jobs.sqlite'}", folder, KEY, queue=queue)
        self._webhook = webhook
        self._lines = io.StringIO()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        handler = logging.StreamHandler(self._lines)
        handler.setFormatter(JsonLines("webhooks"))
        logging.getLogger().addHandler(handler)
        self._stack.callback(logging.getLogger().removeHandler, handler)
        self._stack.enter_context(self.engine)
        context = read_context(self.settings)
        self._stack.callback(context.decoders.close)
        client = self._stack.enter_context(encoder_in_process(lambda: self.encoder))
        wait_until(lambda: client.facts is not None, "the encoder")
        guard = magnification_guard(self.settings)
        predictor = Predictor(client, context, threads=2, max_reads=100_000, guard=guard)
        kinds = self._webhook.kinds(RunnerTools(self.settings, context))
        self._stack.enter_context(
            self.engine.runner(kinds, embedder=lambda waits: BoundEmbedder(predictor, waits), at_once=4)
        )
        door = self._webhook.door(DoorTools(self.settings, self.engine.store))
        app = create_app([door])
        gate = Gate(app.url_map, door.endpoints_with_body, ApiKeys(None), BODY_LIMIT)
        front = Front(application=HttpApplication(app, gate, refusal), configured=self.settings)
        self._stack.enter_context(front)
        self.url = f"http://127.0.0.1:{front.port}"
        self.session = self._stack.enter_context(requests.Session())
        self.session.trust_env = False
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.encoder.gate.set()
        self._stack.close()

    def log(self) -> str:
        """Everything that was logged."""
        return self._lines.getvalue()

    def post_to(self, path: str, body: object) -> requests.Response:
        """POST a body: bytes, or anything else as JSON."""
        data = {"data": body} if isinstance(body, bytes) else {"json": body}
        return self.session.post(f"{self.url}{path}", timeout=90, **data)

    def get(self, path: str) -> requests.Response:
        """GET a path."""
        return self.session.get(f"{self.url}{path}", timeout=30)

    def all_closed(self) -> None:
        """Wait until every job has ended and has been closed."""
        wait_until(
            lambda: all(
                row.state not in ("queued", "running") and row.closing == "none" for row in self.engine.rows()
            ),
            "all jobs to be closed",
        )
