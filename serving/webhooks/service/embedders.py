"""What embeds for jobs: an encoder in this process, or a service. Handlers cannot tell them apart."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from dicom_io.sources.session import ReadContext
from dicom_io.waiting import Cancellation
from serving.config.settings import Settings
from serving.pipeline.embedder import Embedder
from serving.pipeline.in_process import InProcessEmbedder, embedder_in_process
from serving.pipeline.outcome import Outcome
from serving.pipeline.types import Instance
from serving.processes.assembly import predictor
from serving.webhooks.service.remote import RemoteEmbedding, client_maker


class Embedding(Protocol):
    """Embeds for all jobs of a runner."""

    @property
    def metadata(self) -> Mapping[str, object]:
        """Facts about the encoder; of a service, known after the first call."""

    def require_ready(self) -> None:
        """Raise ServiceError when it would not embed now."""

    def for_job(self, waits: Cancellation) -> Embedder:
        """Return what embeds for one job, until its waits end."""


@dataclass(frozen=True, slots=True)
class _Bound:
    """An encoder in this process, for one job."""

    embedder: InProcessEmbedder
    waits: Cancellation

    @property
    def metadata(self) -> Mapping[str, object]:
        """Facts about the encoder."""
        return self.embedder.metadata

    def embed(self, instances: Sequence[Instance]) -> list[Outcome]:
        """Embed the patches of instances."""
        return self.embedder.embed_until(self.waits, instances)


@dataclass(frozen=True, slots=True)
class LocalEmbedding:
    """An encoder in this process."""

    embedder: InProcessEmbedder

    @property
    def metadata(self) -> Mapping[str, object]:
        """Facts about the encoder."""
        return self.embedder.metadata

    def require_ready(self) -> None:
        """Raise ServiceError when the encoder does not answer."""
        self.embedder.require_ready()

    def for_job(self, waits: Cancellation) -> Embedder:
        """Return what embeds for one job, until its waits end."""
        return _Bound(self.embedder, waits)


@contextlib.contextmanager
def embedding(settings: Settings, context: ReadContext) -> Iterator[Embedding]:
    """Yield what the settings say shall embed.

    Raises
    ------
    SettingsError
        When the model cannot be loaded, or the service's address or key is malformed.
    """
    if settings.webhooks.service_url is not None:
        with RemoteEmbedding(client_maker(settings), context, settings.jobs.at_once) as remote:
            yield remote
    else:
        with embedder_in_process(settings, partial(predictor, settings, context)) as embedder:
            yield LocalEmbedding(embedder)
