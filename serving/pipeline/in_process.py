"""The whole pipeline in this process, behind the same call as the client of a service."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from typing import Any

import orjson

from dicom_io.sources.session import ReadContext
from model.encoder import ModelError
from model.transport.local import encoder_in_process
from serving.api.request import parse_request
from serving.api.response import metadata
from serving.client import Image, Vectors
from serving.config.settings import Settings, SettingsError
from serving.errors import Fault
from serving.pipeline.encoder_loading import load_configured_encoder
from serving.pipeline.predictor import Predictor
from serving.telemetry.request_record import StageTimes

_LINK_DEADLINE_S = 30.0
"""An encoder that is loaded is linked at once."""


class InProcessEmbedder:
    """Embeds as a service with these settings would."""

    def __init__(self, predictor: Predictor, settings: Settings, facts: dict[str, Any]) -> None:
        self._predictor = predictor
        self._settings = settings
        self.metadata = facts

    def embed(self, images: Sequence[Image]) -> list[Vectors | Fault]:
        """Embed the patches of images.

        Returns
        -------
        For each image float32 ``[patches, dimension]`` in the order of its origins, or its fault.
        """
        instances = [image.instance() for image in images]
        request = parse_request(orjson.dumps({"instances": instances}), self._settings.requests.max_patches)
        deadline = time.monotonic() + self._settings.requests.timeout_s
        outcomes = self._predictor.predict(request, deadline, StageTimes()).outcomes
        return list(outcomes)


@contextlib.contextmanager
def embedder_in_process(settings: Settings, context: ReadContext) -> Iterator[InProcessEmbedder]:
    """Load the encoder and yield an embedder that reads images through a context.

    Raises
    ------
    SettingsError
        When the model cannot be loaded.
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
        predictor = Predictor(
            client,
            context,
            threads=os.cpu_count() or 1,
            max_reads=settings.requests.max_patches,
        )
        yield InProcessEmbedder(predictor, settings, metadata(client.facts))
