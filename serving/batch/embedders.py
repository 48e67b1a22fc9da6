"""The embedders of a command: made when the first slide needs them, one for each chunk that is in flight."""

from __future__ import annotations

import contextlib
import queue
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Self

from dicom_io.sources.session import ReadContext
from model.transport.client import EncoderClient
from serving.batch.sending import SendingEmbedder
from serving.client import PathserveClient
from serving.client.embedder import ServiceEmbedder
from serving.config.group import revealed
from serving.config.settings import Settings
from serving.pipeline.embedder import Embedder
from serving.pipeline.in_process import embedder_in_process
from serving.pipeline.predictor import Predictor
from serving.processes.assembly import predictor

IN_FLIGHT = 2
"""Chunks that are read and embedded at the same time: while one waits for its last patches, the encoder has
those of the next. More would only take memory."""


InProcess = Callable[
    [Settings, Callable[[EncoderClient], Predictor]], contextlib.AbstractContextManager[Embedder]
]
"""Yields an embedder, given the settings and what makes its predictor once the encoder is linked."""


class Embedders:
    """Embedders in this process, or of a service; use it as a context manager.

    Parameters
    ----------
    service:
        Address of a running service; ``None`` embeds in this process.
    in_process:
        Makes an embedder in this process.
    """

    def __init__(
        self,
        service: str | None,
        settings: Settings,
        context: ReadContext,
        in_process: InProcess = embedder_in_process,
    ) -> None:
        self._service, self._settings, self._context = service, settings, context
        self._in_process = in_process
        self._closing = contextlib.ExitStack()
        self._made: list[Embedder] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    @property
    def metadata(self) -> Mapping[str, object]:
        """What is known of the encoder, as far as it has been asked."""
        return next((one.metadata for one in self._made if one.metadata), {})

    def digest(self) -> str | None:
        """Return the digest of the weights that would be used; ``None`` where a service has not told yet."""
        if self._service is None:
            self._load()
        digest = self.metadata.get("digest")
        return None if digest is None else str(digest)

    @contextlib.contextmanager
    def lent(self, *, by_name: bool) -> Iterator[queue.SimpleQueue[Embedder]]:
        """Yield as many embedders as there are chunks in flight.

        Parameters
        ----------
        by_name:
            Whether a service can read the patches itself; else they are read here.
        """
        self._load()
        some: queue.SimpleQueue[Embedder] = queue.SimpleQueue()
        for one in self._made:
            if self._service is not None and not by_name:
                some.put(SendingEmbedder(one, self._context, self._settings.requests.timeout_s))
            else:
                some.put(one)
        yield some

    def _load(self) -> None:
        if self._made:
            return
        if self._service is None:
            make = partial(predictor, self._settings, self._context)
            self._made = [self._closing.enter_context(self._in_process(self._settings, make))] * IN_FLIGHT
        else:
            clients = [client_of(self._service, self._settings) for _ in range(IN_FLIGHT)]
            self._made = [ServiceEmbedder(self._closing.enter_context(client)) for client in clients]


def client_of(service: str, settings: Settings) -> PathserveClient:
    """Return a client of a service, not connected yet.

    Raises
    ------
    ValueError
        When the address or the key is malformed.
    """
    return PathserveClient(
        service,
        api_key=revealed(settings.command.api_key),
        max_request_bytes=settings.requests.max_bytes,
        use_proxy=settings.stores.use_proxy,
    )
