"""Frames, instances and series as JPEG images (PS3.18, 10.4.1.1.3), by the codecs and colours of all reading.

A slide is never in memory: of its levels the smallest is taken that is large enough for the picture, and what
is larger than a few megapixels is shrunk block by block as it is read.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import simplejpeg
from flask import Response, request

from dicom_io.colour.profiles import IccTarget
from dicom_io.errors import ImageCode, ImageError, Remedy
from dicom_io.geometry import UInt8Array
from dicom_io.reading import OpenedImage, ReadOptions
from dicom_io.resampling import resize
from dicom_io.slides.level import Level
from dicom_io.slides.opening import FoundLevel
from dicom_io.slides.overview import read_overview
from dicom_io.slides.pyramid import pyramid_levels, select_level
from dicom_io.slides.tissue import OVERVIEW_SIDE
from dicom_io.sources.session import ReadContext
from dicom_io.waiting import Cancellation, Stop
from serving.errors import TABLE, Code, ServiceError, fault_of
from serving.store.dicomweb.accept import accepted, require
from serving.store.dicomweb.frames import frame_numbers
from serving.store.dicomweb.library import Library
from serving.store.dicomweb.picture import Picture, wanted_picture
from serving.store.stored_series import Profiles, StoredSeries, profile_cache

JPEG = "image/jpeg"
_THUMBNAIL = 256
_PATIENCE_S = 60.0
_MOST_PIXELS = 1 << 28
"""Pixels of a level that is read whole for a picture; a slide without smaller levels has more."""


class Renderer:
    """Makes pictures.

    Parameters
    ----------
    context:
        Caches, colour transforms and decoders, whose threads and helpers the process shares.
    """

    def __init__(self, library: Library, context: ReadContext) -> None:
        self._library = library
        self._context = context
        self._profiles: Profiles = profile_cache()

    def frame(self, study: str, series: str, instance: str, numbers: str) -> Response:
        """Answer a frame as a picture.

        Raises
        ------
        ServiceError
        """
        return self._frame(study, series, instance, numbers, wanted_picture(None))

    def frame_thumbnail(self, study: str, series: str, instance: str, numbers: str) -> Response:
        """Answer a frame as a small picture."""
        return self._frame(study, series, instance, numbers, wanted_picture(_THUMBNAIL))

    def level(self, study: str, series: str | None = None, instance: str | None = None) -> Response:
        """Answer the whole of an instance's level, or of a slide, as a picture.

        Raises
        ------
        ServiceError
        """
        return self._whole(study, series, instance, wanted_picture(OVERVIEW_SIDE))

    def thumbnail(self, study: str, series: str | None = None, instance: str | None = None) -> Response:
        """Answer the whole of an instance's level, or of a slide, as a small picture."""
        return self._whole(study, series, instance, wanted_picture(_THUMBNAIL))

    def _frame(self, study: str, series: str, instance: str, numbers: str, picture: Picture) -> Response:
        require(accepted(request.headers.get("Accept")), JPEG)
        stored = self._library.instance(study, series, instance)
        wanted = frame_numbers(numbers, stored.frames)
        if len(wanted) != 1:
            raise ServiceError(Code.INVALID_REQUEST_FIELD_ERROR, "One frame at a time is rendered.")
        try:
            pixels = self._frame_pixels(self._series(study, series), instance, wanted[0], picture.target)
        except ImageError as error:
            raise _unrendered(error) from error
        return _answer(pixels, picture)

    def _frame_pixels(
        self, series: StoredSeries, instance: str, number: int, target: IccTarget
    ) -> UInt8Array:
        found = self._find(series, [instance], target)
        part = next(one for one in found.level.parts if one.sop_uid == instance)
        form = found.level.form
        ((_, frame),) = series.frames(part, [number], form, Stop())
        to_rgb = self._context.transforms.to_rgb(found.icc_profile, _target(found, target), form.samples)
        try:
            return to_rgb(self._context.decoders.frame(frame.data, frame.syntax, form))
        except ValueError as error:
            raise ImageError(ImageCode.DICOM_ERROR, f"The frame cannot be decoded: {error}.") from error

    def _whole(self, study: str, series: str | None, instance: str | None, picture: Picture) -> Response:
        require(accepted(request.headers.get("Accept")), JPEG)
        stored = self._library.instances(study, series, instance)
        opened = self._series(study, stored[0].series)
        try:
            pixels = self._whole_pixels(opened, instance, picture)
        except ImageError as error:
            raise _unrendered(error) from error
        return _answer(pixels, picture)

    def _whole_pixels(self, series: StoredSeries, instance: str | None, picture: Picture) -> UInt8Array:
        instances = series.instances()
        strict = self._context.levels.strict
        levels: Sequence[Level] = pyramid_levels(instances, strict=strict)
        if instance is not None:
            asked = select_level(instances, [instance], strict=strict)
            # A larger level than needed shows the same as a smaller one of its pyramid, once it is shrunk.
            levels = [one for one in levels if one.width * one.height <= asked.width * asked.height] or [
                asked
            ]
        if not levels:
            raise ImageError(ImageCode.DICOM_ERROR, "The series has no image that is a level of a slide.")
        side = picture.side
        level = next((one for one in reversed(levels) if max(one.width, one.height) >= side), levels[0])
        if level.width * level.height > _MOST_PIXELS:
            raise ImageError(
                ImageCode.DICOM_ERROR,
                f"The smallest level that would do has {level.width}x{level.height} pixels; "
                "ask for its frames.",
            )
        found = self._find(series, level.sop_uids, picture.target)
        target = _target(found, picture.target)

        def open_level(_: int, options: ReadOptions) -> OpenedImage:
            options = replace(options, icc_target=target)
            return self._context.levels.open(series, found, options, lambda _: nullcontext())

        return read_overview(open_level, 0, level.width, level.height)

    def _find(self, series: StoredSeries, uids: Sequence[str], target: IccTarget) -> FoundLevel:
        """Return a level with its ICC profile; without one that cannot be used: colours are then as stored.

        A picture is for looking at: one whose colours are a little off says more than none.
        """
        opener, transforms = self._context.levels, self._context.transforms
        try:
            found = opener.find(series, uids, target)
            transforms.to_rgb(found.icc_profile, target, found.level.form.samples)
            return found
        except ImageError as error:
            unusable = error.code is ImageCode.INVALID_ICC_PROFILE_TRANSFORM_ERROR
            if not unusable and error.fault.remedy is not Remedy.COLOUR_AS_STORED:
                raise
            return opener.find(series, uids, IccTarget.NONE)

    def _series(self, study: str, series: str) -> StoredSeries:
        key = ("store", study, series)
        return StoredSeries(
            self._library.index,
            self._library.reader,
            study,
            series,
            key,
            self._context.io.at(key),
            Cancellation(time.monotonic() + _PATIENCE_S),
            self._profiles,
        )


def _target(found: FoundLevel, target: IccTarget) -> IccTarget:
    return target if found.icc_profile else IccTarget.NONE


def _answer(pixels: UInt8Array, picture: Picture) -> Response:
    height, width = pixels.shape[:2]
    shrunk = min(1.0, picture.width / width, picture.height / height)
    size = max(1, round(width * shrunk)), max(1, round(height * shrunk))
    small = np.ascontiguousarray(resize(pixels, *size))
    body = simplejpeg.encode_jpeg(small, quality=picture.quality, colorspace="RGB")
    return Response(body, content_type=JPEG)


def _unrendered(error: ImageError) -> ServiceError:
    """Return what an image's fault is as the fault of a request for its picture."""
    fault = fault_of(error.fault)
    code = Code(fault.code)
    if TABLE[code].status is not None:
        return ServiceError(code, fault.description)
    return ServiceError(Code.NOT_ACCEPTABLE_ERROR, f"It cannot be rendered. {error.fault.description}")
