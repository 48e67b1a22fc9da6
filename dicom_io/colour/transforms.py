"""Colour: from an image's own ICC profile to the colour space a request asks for, and to RGB."""

from __future__ import annotations

import hashlib
import io
import logging
import math
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image, ImageCms

from dicom_io.cache import SharedCache
from dicom_io.colour.profiles import IccTarget, target_profile
from dicom_io.colour.table import IccTable, shared_table
from dicom_io.errors import ImageCode, ImageError, Remedy
from dicom_io.geometry import UInt8Array

HOT_PIXELS = 1000 * 224 * 224
"""Pixels after which a transform gets a table: about what building one costs."""

_TRANSFORM_BYTES = 1 << 20
"""Memory of a transform in lcms2 besides its profile's own tables: a grid of 33 or 49 points an axis."""

_BUILD_S = 60.0

MAX_TABLES = 2
"""Tables that a process builds in its lifetime, 64 MB each."""

log = logging.getLogger(__name__)

_MODES = {1: "L", 3: "RGB", 4: "CMYK"}


class ToRgb(Protocol):
    """Turns a patch of the image's own channels into RGB; safe to call from many threads."""

    def __call__(self, pixels: UInt8Array) -> UInt8Array:
        """Map uint8 ``[h, w, 1 | 3 | 4]`` to uint8 ``[h, w, 3]``."""


def to_rgb(pixels: UInt8Array) -> UInt8Array:
    """Map gray, RGB or CMYK to RGB without a colour profile.

    Gray is replicated to three channels; CMYK is taken as ideal inks.
    """
    channels = pixels.shape[2]
    if channels == 3:
        return pixels
    if channels == 1:
        return np.broadcast_to(pixels, (*pixels.shape[:2], 3))
    return np.asarray(Image.fromarray(np.ascontiguousarray(pixels), "CMYK").convert("RGB"))


class IccTransform:
    """One ICC transform with perceptual intent (lcms2 through Pillow).

    Raises
    ------
    ImageError
        INVALID_ICC_PROFILE_TRANSFORM_ERROR when the profile is broken, does not fit the
        image's channels, or is of a kind without a transform (named colours).
    """

    def __init__(
        self, profile: bytes, target: IccTarget, channels: int, target_bytes: bytes | None = None
    ) -> None:
        self._mode = _MODES[channels]
        try:
            self._transform = ImageCms.buildTransform(
                ImageCms.ImageCmsProfile(io.BytesIO(profile)),
                ImageCms.ImageCmsProfile(io.BytesIO(target_bytes or target_profile(target))),
                self._mode,
                "RGB",
                ImageCms.Intent.PERCEPTUAL,
            )
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as error:
            raise _unusable(f"cannot be transformed to {target} from {self._mode}") from error

    def __call__(self, pixels: UInt8Array) -> UInt8Array:
        """Map uint8 ``[h, w, channels]`` to uint8 ``[h, w, 3]``."""
        contiguous = np.ascontiguousarray(pixels[:, :, 0] if self._mode == "L" else pixels)
        image = Image.fromarray(contiguous, self._mode)
        return np.asarray(self._transform.apply(image))


def _is_whole(profile: bytes) -> bool:
    """Return whether a profile is as long as its header declares (ICC.1:2010, 7.2.2)."""
    return 0 < int.from_bytes(profile[:4], "big") <= len(profile)


def _unusable(what: str) -> ImageError:
    return ImageError(
        ImageCode.INVALID_ICC_PROFILE_TRANSFORM_ERROR,
        f"The image's ICC profile {what}. Embed a valid profile.",
        Remedy.COLOUR_AS_STORED,
    )


class HotTransform:
    """A transform that gets a table, built in a thread of its own, once it is heavily used.

    Threads call it without waiting. A lost update of the pixel count only delays the table. ``_started`` is a
    lock that is taken once, by the call that starts the building, and never released. ``_apply`` is replaced
    in one assignment, and both values give the same pixels.

    Parameters
    ----------
    make:
        Returns the table, or ``None`` where there is no room for another.
    """

    def __init__(self, transform: IccTransform, make: Callable[[], IccTable | None]) -> None:
        self._apply: ToRgb = transform
        self._make = make
        self._started = threading.Lock()
        self._pixels = 0

    def __call__(self, pixels: UInt8Array) -> UInt8Array:
        """Map uint8 ``[h, w, 3]`` to uint8 ``[h, w, 3]``."""
        self._pixels += pixels.shape[0] * pixels.shape[1]
        if self._pixels >= HOT_PIXELS and self._started.acquire(blocking=False):
            threading.Thread(target=self._heat, name="icc-table", daemon=True).start()
        return self._apply(pixels)

    def _heat(self) -> None:
        try:
            self._apply = self._make() or self._apply
        except (OSError, MemoryError) as error:
            log.warning("no ICC table", extra={"reason": type(error).__name__})


class ColourTransforms:
    """A bounded cache of transforms, keyed by the profile's hash, the target and the channels.

    Building one takes 1.5 to 40 ms, so they are shared by all requests of a process.

    Parameters
    ----------
    profiles:
        Target profiles that replace the built-in ones.
    max_bytes:
        What the cached transforms may take; the least recently used one is dropped first.
    folder:
        Where tables of heavily used transforms are shared with other processes.
    """

    def __init__(
        self,
        profiles: Mapping[IccTarget, bytes] | None = None,
        max_bytes: int = 64 << 20,
        folder: Path | None = None,
    ) -> None:
        self._profiles = profiles or {}
        self._folder = folder
        self._tables = 0
        self._lock = threading.Lock()
        self._transforms: SharedCache[tuple[bytes, IccTarget, int], ToRgb] = SharedCache(max_bytes, math.inf)

    def to_rgb(self, profile: bytes | None, target: IccTarget, channels: int) -> ToRgb:
        """Return the function that maps the image's channels to RGB in the target's colour space.

        An image without a profile is not transformed: there is nothing to transform from.

        Raises
        ------
        ImageError
            INVALID_ICC_PROFILE_TRANSFORM_ERROR when the profile cannot be used; empty bytes stand for an
            incomplete or damaged one.
        """
        if profile is None or target is IccTarget.NONE:
            return to_rgb
        if not _is_whole(profile):
            raise _unusable(f"is incomplete, damaged or unreadable; it cannot be transformed to {target}")
        digest = hashlib.sha256(profile).digest()

        def make() -> tuple[ToRgb, int]:
            plain = IccTransform(profile, target, channels, self._profiles.get(target))
            name = f"{digest.hex()}-{target.lower()}"
            transform = HotTransform(plain, lambda: self._table(name, plain)) if channels == 3 else plain
            return transform, _TRANSFORM_BYTES + 2 * len(profile)

        return self._transforms.get((digest, target, channels), make, _BUILD_S)

    def target_digest(self, target: IccTarget) -> str:
        """Return the SHA-256, in hexadecimal, of the profile that a target (not NONE) stands for."""
        return hashlib.sha256(self._profiles.get(target) or target_profile(target)).hexdigest()

    def _table(self, name: str, transform: IccTransform) -> IccTable | None:
        with self._lock:
            if self._tables >= MAX_TABLES:
                return None
            self._tables += 1
        return shared_table(self._folder, name, transform)
