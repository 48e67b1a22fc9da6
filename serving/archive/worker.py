"""What a worker process has once, whatever the engine's threads: an encoder, stores, tokens, open slides."""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import io
import math
import queue
import threading
from collections import OrderedDict
from collections.abc import Iterator

from PIL import Image

from dicom_io.geometry import Patch, Spacing
from dicom_io.reading import ReadOptions
from dicom_io.sources.encoded import EncodedSource
from dicom_io.sources.session import ReadContext
from dicom_io.web.credentials import BearerToken, fingerprint
from model.encoder import PATCH_SIDE
from serving.archive import layout
from serving.archive.job import Job
from serving.archive.opened_slides import OpenedSlides
from serving.archive.outages import Outages
from serving.archive.plans import SlidePlan, from_bytes
from serving.archive.records import Refused, same_or_refused
from serving.archive.stores.opening import open_store
from serving.archive.tokens import tokens_of
from serving.batch.chunks import model_of
from serving.batch.embedders import Embedders, InProcess
from serving.batch.opened import OpenedSlide, opened
from serving.config.settings import load_settings
from serving.output.table import Model
from serving.pipeline.embedder import Embedder
from serving.pipeline.in_process import embedder_in_process
from serving.pipeline.types import Instance
from serving.processes.assembly import magnification_guard, read_context

_PLANS = 16
"""Plans that are kept: one of 25,000 patches takes 3 MB."""


class Worker:
    """Everything that pieces of a job are done with; safe for many threads.

    Its settings are those of its own environment: nothing secret travels with a job.

    Parameters
    ----------
    in_process:
        Makes the embedder where there is no service.

    Raises
    ------
    SettingsError
        When the settings or the model cannot be used.
    Refused
        When the output was made by another model.
    ServiceFault
        When the service does not answer.
    """

    def __init__(self, job: Job, in_process: InProcess = embedder_in_process) -> None:
        settings = load_settings()
        self.job = job
        self.store = open_store(job.out)
        self.context: ReadContext = read_context(settings, at_once=job.at_once)
        self.guard = magnification_guard(settings)
        self.tokens = tokens_of(job, settings)
        self.outages = Outages()
        self._slides = OpenedSlides()
        self._plans: OrderedDict[str, SlidePlan] = OrderedDict()
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._closing = contextlib.ExitStack()
        self._closing.callback(self.context.decoders.close)
        self._closing.callback(self._slides.close)
        self._embedders = self._closing.enter_context(
            Embedders(job.service, settings, self.context, in_process)
        )
        self.model, self.dimension = self._known_model()
        facts = dataclasses.asdict(self.model) | {"dimension": self.dimension}
        same_or_refused(self.store, layout.MODEL, facts, "model")
        atexit.register(self.close)

    def close(self) -> None:
        """End the encoder and all helpers.

        For who has started the engine and goes on after it. In a process that the engine has started it comes
        at the process's end, since no engine says when it has done its last piece.
        """
        atexit.unregister(self.close)
        self._closed.set()
        self._closing.close()

    def is_closed(self) -> bool:
        """Return whether it is being closed."""
        return self._closed.is_set()

    def require_open(self) -> None:
        """Raise Refused once it is being closed: what fails from then on is not the fault of any block."""
        if self.is_closed():
            raise Refused("the run has ended; the same command goes on from here.")

    @contextlib.contextmanager
    def slide(self, where: str, mpp: float | None, token: BearerToken | None) -> Iterator[OpenedSlide]:
        """Yield an open slide.

        Raises
        ------
        TargetError, ImageError
            As ``serving.batch.opened.opened``.
        """
        text = None if token is None else token.reveal()
        key = where, mpp, fingerprint(token)
        with self._slides.lent(key, lambda: opened(where, mpp, text, self.context)) as slide:
            yield slide

    def embedders(self, slide: OpenedSlide) -> contextlib.AbstractContextManager[queue.SimpleQueue[Embedder]]:
        """Yield embedders for a slide's patches; see ``Embedders.lent``."""
        return self._embedders.lent(by_name=slide.by_name)

    def plan(self, slide: str) -> SlidePlan:
        """Return a slide's plan.

        Raises
        ------
        OutputError
            When it is damaged.
        Refused
            When it was removed, or is of another model.
        """
        with self._lock:
            if (plan := self._plans.get(slide)) is not None:
                self._plans.move_to_end(slide)
                return plan
        name = layout.plan_of(slide)
        if (data := self.store.read(name)) is None:
            raise Refused(f"{self.job.out}/{name} was removed during the run; run again.")
        plan = from_bytes(data, f"{self.job.out}/{name}")
        self.require_model(plan.head.model)
        with self._lock:
            self._plans[slide] = plan
            while len(self._plans) > _PLANS:
                self._plans.popitem(last=False)
        return plan

    def require_model(self, model: Model) -> None:
        """Raise Refused unless vectors are made by the model that everything here is."""
        if model.digest != self.model.digest:
            raise Refused(
                f"{self.job.out} is made by the model {self.model.digest}, and a worker or the service has "
                f"{model.digest}; name another output, or use that model."
            )

    def _known_model(self) -> tuple[Model, int]:
        """Return what makes the vectors, and their length; a black patch makes a service tell."""
        with self._embedders.lent(by_name=True) as embedders:
            embedder = embedders.get()
            if "digest" not in embedder.metadata:
                file = io.BytesIO()
                Image.new("RGB", (PATCH_SIDE, PATCH_SIDE)).save(file, "PNG")
                whole = (Patch(0, 0, PATCH_SIDE, PATCH_SIDE),)
                # Of a size that no guard has anything against: it is no image of anything.
                um = math.sqrt(self.guard.allowed.finest_um * self.guard.allowed.coarsest_um)
                options = ReadOptions(stored_spacing=Spacing(um, um))
                embedder.embed([Instance(EncodedSource(file.getvalue), whole, options)])
            return model_of(embedder), int(str(embedder.metadata["dimension"]))
