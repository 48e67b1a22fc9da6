"""What is to be embedded, as the API names it."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from model.encoder import PATCH_SIDE


@dataclass(frozen=True, slots=True)
class Image:
    """An image, and the patches wanted of it.

    Attributes
    ----------
    source:
        The fields of the API that name it; see the ``of_…`` constructors.
    origins:
        (x, y) of each patch's upper left pixel, in pixels of the image after any resize.
    extensions:
        How it is to be read, as the API names it.
    """

    source: Mapping[str, object] = field(repr=False)
    origins: Sequence[tuple[int, int]]
    extensions: Mapping[str, object] = field(default_factory=dict)

    @classmethod
    def of_bytes(cls, data: bytes, origins: Sequence[tuple[int, int]], **extensions: object) -> Self:
        """Return an encoded image: PNG, JPEG, TIFF and so on."""
        return cls({"raw_image_bytes": base64.b64encode(data).decode("ascii")}, origins, extensions)

    @classmethod
    def of_object(
        cls, uri: str, origins: Sequence[tuple[int, int]], token: str | None = None, **extensions: object
    ) -> Self:
        """Return an image in Cloud Storage, ``gs://BUCKET/OBJECT``."""
        return cls({"image_file_uri": uri} | _token(token), origins, extensions)

    @classmethod
    def of_series(
        cls,
        series_path: str,
        instance_uids: Sequence[str],
        origins: Sequence[tuple[int, int]],
        token: str | None = None,
        **extensions: object,
    ) -> Self:
        """Return a level of a slide in a DICOMweb store."""
        path = {"series_path": series_path, "instance_uids": list(instance_uids)}
        return cls({"dicom_path": path} | _token(token), origins, extensions)

    def instance(self) -> dict[str, object]:
        """Return it as an instance of the API."""
        size = {"width": PATCH_SIDE, "height": PATCH_SIDE}
        return {
            **self.source,
            "patch_coordinates": [{"x_origin": x, "y_origin": y, **size} for x, y in self.origins],
            "extensions": dict(self.extensions),
        }


def _token(token: str | None) -> dict[str, object]:
    return {} if token is None else {"bearer_token": token}
