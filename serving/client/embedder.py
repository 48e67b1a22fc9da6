"""A service as an embedder of typed instances: they become JSON here, and nowhere above."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dicom_io.reading import ReadOptions
from serving.api.sources.registry import write_source
from serving.client.http_client import PathserveClient
from serving.client.image import Image
from serving.pipeline.outcome import Outcome
from serving.pipeline.types import EXTRAS, Extras, Instance


class ServiceEmbedder:
    """Embeds by a running service; see ``serving.pipeline.embedder.Embedder``.

    Raises
    ------
    ServiceFault
        When a request fails whole, or the service stays unavailable.
    """

    def __init__(self, client: PathserveClient) -> None:
        self._client = client

    @property
    def metadata(self) -> Mapping[str, object]:
        """What the service says about its encoder."""
        return self._client.metadata

    def embed(self, instances: Sequence[Instance]) -> list[Outcome]:
        """Embed the patches of instances."""
        return self._client.outcomes([_image(instance) for instance in instances])


def _image(instance: Instance) -> Image:
    origins = [(patch.x, patch.y) for patch in instance.patches]
    return Image(write_source(instance.source), origins, _extensions(instance.options, instance.extras))


def _extensions(options: ReadOptions, extras: Extras) -> Mapping[str, object]:
    extensions: dict[str, object] = {
        **{name: True for name in EXTRAS if getattr(extras, name)},
        "transform_imaging_to_icc_profile": str(options.icc_target),
        "require_patches_fully_in_source_image": options.require_inside,
    }
    if options.image_dimensions is not None:
        width, height = options.image_dimensions
        extensions["image_dimensions"] = {"width_px": width, "height_px": height}
    if (spacing := options.stored_spacing) is not None:
        extensions["source_um_per_px"] = {"x": spacing.x, "y": spacing.y}
    return extensions
