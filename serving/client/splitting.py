"""Images to requests that keep within a service's limits."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from serving.client.image import Image

_JSON_OF_A_PATCH = 80
"""Bytes, at most, that one patch's coordinates take in a request."""

_JSON_OF_AN_INSTANCE = 100
"""Bytes, at most, that an instance takes beside its source, extensions and patches."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may hold."""

    request_bytes: int
    patches: int


@dataclass(frozen=True, slots=True)
class Part:
    """Some patches of one image.

    Attributes
    ----------
    image:
        Index of the image.
    instance:
        The part as an instance of the API.
    size:
        About its bytes in a request.
    """

    image: int
    instance: dict[str, object]
    patches: int
    size: int


def split(images: Sequence[Image], limits: Limits) -> Iterator[list[Part]]:
    """Group parts of images into requests within limits; a part alone may be larger."""
    group: list[Part] = []
    size = patches = 0
    for part in _parts(images, limits):
        if group and (size + part.size > limits.request_bytes or patches + part.patches > limits.patches):
            yield group
            group, size, patches = [], 0, 0
        group.append(part)
        size, patches = size + part.size, patches + part.patches
    if group:
        yield group


def _parts(images: Sequence[Image], limits: Limits) -> Iterator[Part]:
    for number, image in enumerate(images):
        base = len(json.dumps([image.source, image.extensions])) + _JSON_OF_AN_INSTANCE
        room = (limits.request_bytes - base) // _JSON_OF_A_PATCH
        step = max(1, min(limits.patches, room))
        for first in range(0, len(image.origins), step):
            some = replace(image, origins=image.origins[first : first + step])
            size = base + _JSON_OF_A_PATCH * len(some.origins)
            yield Part(number, some.instance(), len(some.origins), size)
