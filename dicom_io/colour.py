"""Colour: from an image's own ICC profile to the colour space a request asks for, and to RGB."""

from __future__ import annotations

import hashlib
import io
import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Protocol

import numpy as np
from PIL import Image, ImageCms

from dicom_io.icc_profiles import IccTarget, target_profile
from dicom_io.patches import UInt8Array
from serving.errors import Code, ServiceError

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
    ServiceError
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
            raise ServiceError(
                Code.INVALID_ICC_PROFILE_TRANSFORM_ERROR,
                f"The image's ICC profile cannot be transformed to {target} from {self._mode}. Embed a "
                "valid profile, or set extensions.transform_imaging_to_icc_profile to NONE.",
            ) from error

    def __call__(self, pixels: UInt8Array) -> UInt8Array:
        """Map uint8 ``[h, w, channels]`` to uint8 ``[h, w, 3]``."""
        contiguous = np.ascontiguousarray(pixels[:, :, 0] if self._mode == "L" else pixels)
        image = Image.fromarray(contiguous, self._mode)
        return np.asarray(self._transform.apply(image))


class ColourTransforms:
    """A bounded cache of transforms, keyed by the profile's hash, the target and the channels.

    Building one takes 1.5 to 40 ms, so they are shared by all requests of a process.

    Parameters
    ----------
    profiles:
        Target profiles that replace the built-in ones.
    max_entries:
        Transforms that are kept; the least recently used one is dropped first.
    """

    def __init__(self, profiles: Mapping[IccTarget, bytes] | None = None, max_entries: int = 32) -> None:
        self._profiles = profiles or {}
        self._max_entries = max_entries
        self._lock = threading.Lock()
        self._entries: OrderedDict[tuple[bytes, IccTarget, int], IccTransform] = OrderedDict()

    def to_rgb(self, profile: bytes | None, target: IccTarget, channels: int) -> ToRgb:
        """Return what maps the image's channels to RGB in the target's colour space.

        An image without a profile is not transformed: there is nothing to transform from.
        """
        if profile is None or target is IccTarget.NONE:
            return to_rgb
        key = (hashlib.sha256(profile).digest(), target, channels)
        with self._lock:
            if key in self._entries:
                self._entries.move_to_end(key)
                return self._entries[key]
        transform = IccTransform(profile, target, channels, self._profiles.get(target))
        with self._lock:
            self._entries[key] = transform
            while len(self._entries) > self._max_entries:
                self._entries.popitem(last=False)
        return transform
