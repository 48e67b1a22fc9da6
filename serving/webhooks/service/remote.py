"""Embedding by a service: what it can read is named to it, all else is read here and sent as pixels."""

from __future__ import annotations

import contextlib
import queue
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

import google.auth
import numpy as np
import numpy.typing as npt
import requests
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import Request
from requests.auth import AuthBase

from dicom_io.errors import ImageError
from dicom_io.geometry import Spacing
from dicom_io.reading import PatchTask
from dicom_io.sources.session import ReadContext, ReadSession
from dicom_io.waiting import Cancellation
from dicom_io.web.sessions import plain_session
from model.encoder import Vectors
from serving.api.sources.registry import write_source
from serving.client import PathserveClient, ServiceFault
from serving.client.embedder import ServiceEmbedder
from serving.config.group import revealed
from serving.config.settings import Settings, SettingsError
from serving.errors import Fault, fault_of, unavailable
from serving.pipeline.opening import shared_images
from serving.pipeline.outcome import Embeddings, MagnificationWarning, Outcome
from serving.pipeline.provenance import put_together
from serving.pipeline.types import Instance
from serving.provenance import Provenance, records_of
from serving.telemetry.request_record import StageTimes

BATCH = 64
"""Patches that are sent as pixels at once."""

_IN_FLIGHT = 2
"""Such requests of one job at a time: one is answered while the next is read."""

_TROUBLE_S = 60.0
"""So long after a failure the service counts as away; without jobs, nothing would tell that it is back."""

_GOOGLE = (".googleapis.com", ".prediction.vertexai.goog")
_GOOGLE_REQUEST_BYTES = 1_400_000
"""Vertex AI's shared endpoints take 1.5 MB."""

_SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)

T = TypeVar("T")


class GoogleAuth(AuthBase):
    """Authorises requests with the application default credentials, renewed as they expire.

    Raises
    ------
    google.auth.exceptions.GoogleAuthError
        When there are none.
    """

    def __init__(self) -> None:
        self._request = Request(plain_session(follows_proxies=False))
        self._credentials, _ = google.auth.default(scopes=_SCOPES, request=self._request)

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the header."""
        self._credentials.before_request(self._request, request.method, request.url, request.headers)
        return request


def client_maker(settings: Settings) -> Callable[[], PathserveClient]:
    """Return what makes clients of the service that the settings name.

    Raises
    ------
    SettingsError
        When its address or key is malformed, or Google's credentials are missing.
    """
    url = settings.webhooks.service_url
    assert url is not None
    key = revealed(settings.command.api_key)
    try:
        is_google = key is None and (urlsplit(url).hostname or "").endswith(_GOOGLE)
        auth = GoogleAuth() if is_google else None
        size = _GOOGLE_REQUEST_BYTES if is_google else settings.requests.max_bytes

        def make() -> PathserveClient:
            return PathserveClient(
                url,
                api_key=key,
                max_request_bytes=min(size, 8_000_000),
                use_proxy=settings.stores.use_proxy,
                auth=auth,
            )

        make()
    except (ValueError, GoogleAuthError) as error:
        raise SettingsError(f"bad setting: PATHSERVE_SERVICE_URL, PATHSERVE_API_KEY: {error}") from error
    return make


class RemoteEmbedding:
    """A service that embeds for all jobs of a runner; use it as a context manager.

    Parameters
    ----------
    jobs:
        Jobs that run at the same time.
    """

    def __init__(self, make: Callable[[], PathserveClient], context: ReadContext, jobs: int) -> None:
        self._context = context
        self._free: queue.SimpleQueue[PathserveClient] = queue.SimpleQueue()
        # One for each thread that may ask, so that none waits for another's.
        self._clients = [make() for _ in range((_IN_FLIGHT + 1) * jobs)]
        for client in self._clients:
            self._free.put(client)
        self._senders = ThreadPoolExecutor(_IN_FLIGHT * jobs, thread_name_prefix="send")
        self._metadata: Mapping[str, object] = {}
        self._trouble: tuple[str, float] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._senders.shutdown(wait=False, cancel_futures=True)
        for client in self._clients:
            client.__exit__(kind, error, trace)

    @property
    def metadata(self) -> Mapping[str, object]:
        """What the service has said about its encoder."""
        return self._metadata

    def require_ready(self) -> None:
        """Raise ServiceError when the latest request failed, and that was not long ago."""
        trouble = self._trouble
        if trouble is not None and time.monotonic() - trouble[1] < _TROUBLE_S:
            raise unavailable(trouble[0])

    def for_job(self, waits: Cancellation) -> _JobEmbedder:
        """Return what embeds for one job, until its waits end."""
        return _JobEmbedder(self, self._context, waits)

    def ask(self, question: Callable[[PathserveClient], T]) -> T:
        """Ask the service by a client of its own.

        Raises
        ------
        ServiceFault
            When it refuses an image.
        ServiceError
            When it refuses the whole request, or cannot be reached.
        """
        client = self._free.get()
        try:
            answer = question(client)
        except ServiceFault as error:
            if error.status == 200:
                raise
            text = f"The embedding service does not embed ({error.fault.code}, HTTP {error.status})."
            self._trouble = text, time.monotonic()
            raise unavailable(text, retry_after_s=30) from error
        finally:
            self._free.put(client)
        self._metadata, self._trouble = client.metadata, None
        return answer

    def send(
        self, pixels: npt.NDArray[np.uint8], spacing: Spacing | None, *, traced: bool
    ) -> Future[Embeddings]:
        """Send pixels ``[n, 224, 224, 3]`` of a size, if that is known, in another thread."""
        extensions: dict[str, object] = {"provenance": True} if traced else {}
        if spacing is not None:
            extensions["source_um_per_px"] = {"x": spacing.x, "y": spacing.y}
        return self._senders.submit(self.ask, lambda client: client.patches(pixels, **extensions))


@dataclass(frozen=True, slots=True)
class _JobEmbedder:
    """The service, for one job."""

    remote: RemoteEmbedding
    context: ReadContext
    waits: Cancellation

    @property
    def metadata(self) -> Mapping[str, object]:
        """What the service has said about its encoder."""
        return self.remote.metadata

    def embed(self, instances: Sequence[Instance]) -> list[Outcome]:
        """Embed the patches of instances."""
        traced = any(instance.extras.provenance for instance in instances)
        session = ReadSession(
            self.context, self.waits, shared_images(instances), StageTimes().measure, traced=traced
        )
        return [self._embed(instance, session) for instance in instances]

    def _embed(self, instance: Instance, session: ReadSession) -> Outcome:
        try:
            write_source(instance.source)
        except TypeError:
            return self._by_pixels(instance, session)
        (found,) = self.remote.ask(lambda client: ServiceEmbedder(client).embed([instance]))
        return found

    def _by_pixels(self, instance: Instance, session: ReadSession) -> Outcome:
        found: dict[int, Vectors] = {}
        told: list[Provenance] = []
        warnings: list[MagnificationWarning | None] = [None]
        traced, reading = instance.extras.provenance, None
        sent: deque[tuple[list[int], Future[Embeddings]]] = deque()

        def collect(most: int) -> None:
            while len(sent) > most:
                indexes, future = sent.popleft()
                embedded: Embeddings = self.waits.result(future)
                found.update(zip(indexes, embedded.vectors, strict=True))
                told.extend(records_of(embedded.provenance))
                warnings.append(embedded.magnification)

        try:
            with contextlib.closing(instance.source.open(instance.options, session)) as image:
                for indexes, pixels in _batches(image.read(instance.patches)):
                    collect(_IN_FLIGHT - 1)
                    sent.append((indexes, self.remote.send(pixels, image.sampling.spacing, traced=traced)))
                collect(0)
                reading = image.reading() if traced else None
        except ImageError as error:
            return fault_of(error.fault)
        except ServiceFault as error:
            return Fault(error.fault.code, error.fault.description)
        finally:
            for _, future in sent:
                future.cancel()
        return Embeddings(
            np.stack([found[index] for index in range(len(instance.patches))]),
            provenance=None if reading is None else put_together(reading, told),
            magnification=next(filter(None, warnings), None),
        )


def _batches(tasks: Iterator[PatchTask]) -> Iterator[tuple[list[int], npt.NDArray[np.uint8]]]:
    """Yield a few patches at a time: their indexes and pixels."""
    indexes: list[int] = []
    pixels: list[npt.NDArray[Any]] = []
    for task in tasks:
        task.wait()
        indexes += task.indexes
        pixels += task.pixels()
        if len(indexes) >= BATCH:
            yield indexes, np.stack(pixels)
            indexes, pixels = [], []
    if indexes:
        yield indexes, np.stack(pixels)
