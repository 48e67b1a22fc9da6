"""The Slide Score door behind the real front, a runner with a probe encoder, and a stand-in server beside."""

from __future__ import annotations

import io
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import requests

from dicom_io.waiting import Cancellation
from model.encoder import EncoderFacts, PixelBatch, Vectors
from model.transport.local import encoder_in_process
from serving.config.settings import load_settings
from serving.front.application import HttpApplication
from serving.http.access import ApiKeys
from serving.http.answers import refusal
from serving.http.app import create_app
from serving.http.gate import Gate
from serving.pipeline.predictor import Predictor
from serving.pipeline.types import Instance, Outcome
from serving.processes.assembly import read_context
from serving.telemetry.json_log import JsonLines
from serving.telemetry.request_record import StageTimes
from serving.webhooks.slidescore.webhook import SLIDESCORE
from serving.webhooks.webhook import DoorTools, RunnerTools
from tests.support import models
from tests.support.front import Front
from tests.support.jobs import KEY, Engine
from tests.support.service import wait_until
from tests.support.slidescore import Behaviour, SlideScore, clicked
from tests.support.tiled_slide import StoredSlide

SECRET = "a-secret-of-the-template"
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


class Analyses:
    """All that an analysis goes through, in this process; use it as a context manager.

    Parameters
    ----------
    settings:
        By variable name; the stand-in's address and a secret are among them already.

    Attributes
    ----------
    server:
        The stand-in.
    """

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, object] | None = None,
        slides: dict[int, StoredSlide] | None = None,
        behaviour: Behaviour | None = None,
        queue: int = 100,
        server: SlideScore | None = None,
    ) -> None:
        self.server = server or SlideScore(slides, behaviour)
        self.settings = load_settings(
            {
                "PATHSERVE_SLIDESCORE_ORIGINS": self.server.origin,
                "PATHSERVE_SLIDESCORE_SECRET": SECRET,
                "PATHSERVE_STORE_TIMEOUT_S": 5,
                **(settings or {}),
            }
        )
        SLIDESCORE.require_usable(self.settings)
        self.encoder = QuietProbe()
        self.engine = Engine(f"sqlite:///{folder / 'jobs.sqlite'}", folder, KEY, queue=queue)
        self._lines = io.StringIO()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        handler = logging.StreamHandler(self._lines)
        handler.setFormatter(JsonLines("webhooks"))
        logger = logging.getLogger()
        level = logger.level
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        self._stack.callback(logger.setLevel, level)
        self._stack.callback(logger.removeHandler, handler)
        self._stack.enter_context(self.server)
        self._stack.enter_context(self.engine)
        context = read_context(self.settings)
        client = self._stack.enter_context(encoder_in_process(lambda: self.encoder))
        wait_until(lambda: client.facts is not None, "the encoder")
        predictor = Predictor(client, context, threads=2, max_reads=100_000)
        kinds = SLIDESCORE.kinds(RunnerTools(self.settings, context))
        self._stack.enter_context(
            self.engine.runner(kinds, embedder=lambda waits: BoundEmbedder(predictor, waits), at_once=4)
        )
        door = SLIDESCORE.door(DoorTools(self.settings, self.engine.store))
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

    def post(self, analysis: str, body: object, query: str = "") -> requests.Response:
        """POST a body: bytes, or anything else as JSON."""
        url = f"{self.url}/slidescore/{analysis}{query}"
        data = {"data": body} if isinstance(body, bytes) else {"json": body}
        return self.session.post(url, timeout=90, **data)

    def click(
        self, analysis: str, answers: dict[str, Any], query: str = "", /, **changed: Any
    ) -> requests.Response:
        """POST what a user's click sends."""
        return self.post(analysis, clicked(self.server, SECRET, answers, **changed), query)

    def status(self, job_id: str, route: str = "slidescore/status/") -> requests.Response:
        """Ask how far an analysis is."""
        return self.session.get(f"{self.url}/{route}{job_id}", timeout=30)

    def ended(self, posted: requests.Response, seconds: float = 60.0) -> dict[str, Any]:
        """Poll until an analysis has ended, and its token has been dealt with; return its last status."""
        assert posted.status_code == 200, posted.text
        job_id = posted.json()["id"]
        deadline = time.monotonic() + seconds
        while "output" not in (answer := self.status(job_id).json()):
            assert time.monotonic() < deadline, answer
            time.sleep(0.02)
        self.engine.closed(job_id)
        return dict(answer)

    def output(self, analysis: str, answers: dict[str, Any], **changed: Any) -> list[dict[str, Any]]:
        """Click, wait, and return the results of an analysis that must succeed."""
        answer = self.ended(self.click(analysis, answers, **changed))
        assert answer["status"] == self.settings.slidescore.finished_word, answer
        return list(answer["output"])

    def all_closed(self) -> None:
        """Wait until every job has ended and has been closed."""
        wait_until(
            lambda: all(
                row.state not in ("queued", "running") and row.closing == "none" for row in self.engine.rows()
            ),
            "all jobs to be closed",
        )
