"""The whole pipeline in this process, as an embedder."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from dicom_io.waiting import Cancellation
from model.encoder import EncoderFacts, ModelError
from model.transport.client import EncoderClient
from model.transport.local import encoder_in_process
from serving.config.settings import Settings, SettingsError
from serving.pipeline.encoder_loading import load_configured_encoder
from serving.pipeline.outcome import Outcome
from serving.pipeline.predictor import Predictor
from serving.pipeline.types import Instance
from serving.telemetry.request_record import StageTimes

_LINK_DEADLINE_S = 30.0
"""An encoder that is loaded is linked at once."""


class InProcessEmbedder:
    """Embeds as a service with the same settings would; see ``Embedder``."""

    def __init__(self, predictor: Predictor, timeout_s: float, facts: EncoderFacts) -> None:
        self._predictor = predictor
        self._timeout_s = timeout_s
        self.metadata: Mapping[str, object] = dataclasses.asdict(facts)

    def embed(self, instances: Sequence[Instance]) -> list[Outcome]:
        """Embed the patches of instances."""
        return self.embed_until(Cancellation(time.monotonic() + self._timeout_s), instances)

    def embed_until(self, waits: Cancellation, instances: Sequence[Instance]) -> list[Outcome]:
        """Embed the patches of instances, unless the caller's own waits end before."""
        return self._predictor.predict(instances, waits, StageTimes()).outcomes

    def require_ready(self) -> None:
        """Raise ServiceError when the encoder does not answer; see ``Predictor.require_ready``."""
        self._predictor.require_ready()


@contextlib.contextmanager
def embedder_in_process(
    settings: Settings, make: Callable[[EncoderClient], Predictor]
) -> Iterator[InProcessEmbedder]:
    """Load the encoder and yield an embedder, whose predictor is made once the encoder is linked.

    Raises
    ------
    SettingsError
        When the model cannot be loaded, or misses its golden patches.
    """
    try:
        encoder = load_configured_encoder(settings.encoder)
    except ModelError as error:
        raise SettingsError(f"the model cannot be loaded: {error}") from error
    with encoder_in_process(lambda: encoder) as client:
        deadline = time.monotonic() + _LINK_DEADLINE_S
        while client.facts is None:
            if time.monotonic() > deadline:
                raise SettingsError("the encoder does not answer; its errors are above.")
            time.sleep(0.01)
        if client.fault:
            raise SettingsError(f"the model gives wrong vectors: {client.fault}.")
        yield InProcessEmbedder(make(client), settings.requests.timeout_s, client.facts)
