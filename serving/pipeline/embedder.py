"""The one call that all ways to embed come to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from serving.pipeline.outcome import Outcome
from serving.pipeline.types import Instance


class Embedder(Protocol):
    """Embeds patches: by an encoder in this process, or by a service.

    Attributes
    ----------
    metadata:
        Facts about the encoder, as the API's ``metadata`` has them; known after the first call.
    """

    @property
    def metadata(self) -> Mapping[str, object]: ...

    def embed(self, instances: Sequence[Instance]) -> list[Outcome]:
        """Embed the patches of instances.

        Returns
        -------
        One outcome for each instance, in their order.
        """
        ...
