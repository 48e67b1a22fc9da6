"""The composition root: from the settings to the objects of a process, which are passed on from here."""

from __future__ import annotations

import os
from collections.abc import Hashable
from pathlib import Path

from dicom_io.colour.profiles import IccTarget, is_rgb_profile, target_profile
from dicom_io.colour.transforms import ColourTransforms
from dicom_io.decoding.pool import DecodePool
from dicom_io.io_threads import IoThreads
from dicom_io.reading import PATCHES_AT_ONCE
from dicom_io.slides.frame_cache import FrameCache
from dicom_io.slides.opening import LevelOpener
from dicom_io.sources.session import ReadContext
from dicom_io.web.allowlist import StoreAllowList
from dicom_io.web.at_once import AtOnce
from dicom_io.web.dicomweb import DicomWebStore
from dicom_io.web.gcs import GcsAllowList, GcsPolicy, GcsStore
from dicom_io.web.http import HttpStore, StorePolicy
from model.transport.client import EncoderClient
from serving.config.groups import StoreSettings
from serving.config.settings import Settings, SettingsError
from serving.heads.file import read_head
from serving.heads.head import Head, HeadError
from serving.http.app import Additions
from serving.pipeline.magnification import GuardMode, MagnificationGuard, MagnificationRange
from serving.pipeline.predictor import Predictor

SLOTS_PER_REQUEST = 64, 128
"""Patches that one request may have in the slab at once, on few cores and on many.

As many as its jobs decode and as the encoder's batches hold meanwhile; a device's largest batch is of 128.
"""


def encoder_client(settings: Settings, address: str) -> EncoderClient:
    """Return a client, not started yet, of the encoder that listens on a Unix socket."""
    few, many = SLOTS_PER_REQUEST
    quota = min(many, max(few, PATCHES_AT_ONCE * (_cores() + 2)))
    return EncoderClient(address, streams=settings.http.predict_slots, quota=quota)


def predictor(settings: Settings, context: ReadContext, encoder: EncoderClient) -> Predictor:
    """Return what answers the requests of one process, by a thread for each core that decodes."""
    return Predictor(
        encoder,
        context,
        threads=_cores(),
        max_reads=settings.requests.max_patches,
        guard=magnification_guard(settings),
    )


def magnification_guard(settings: Settings) -> MagnificationGuard:
    """Return what judges the magnification of images."""
    wanted = settings.magnification
    allowed = MagnificationRange(wanted.finest_um, wanted.coarsest_um, wanted.tolerance)
    return MagnificationGuard(GuardMode(wanted.guard), allowed)


def _cores() -> int:
    return os.cpu_count() or 1


def read_context(settings: Settings, *, at_once: int | None = None) -> ReadContext:
    """Return what the sources of images share: caches, connections, transforms, threads, decoding helpers.

    Parameters
    ----------
    at_once:
        Most requests in flight to one store; by default as many as threads allow.

    Raises
    ------
    SettingsError
        When a setting's value is well-formed but cannot be used.
    """
    stores, images = settings.stores, settings.images
    profiles = _profiles(images.icc_folder)
    dicom_policy, gcs_policy = _dicom_policy(stores), _gcs_policy(stores)
    decoders = DecodePool()
    transforms = ColourTransforms(profiles, folder=settings.shared.tables)
    frames: FrameCache[Hashable] = FrameCache(images.frame_cache_bytes, decoders.frame)
    # A store that is alone has half of the threads.
    threads = stores.threads if at_once is None else min(stores.threads, 2 * at_once)
    io = IoThreads(threads)
    limit = AtOnce(at_once)
    return ReadContext(
        max_image_pixels=images.max_pixels,
        transforms=transforms,
        dicomweb=DicomWebStore(HttpStore(dicom_policy, threads, limit), io),
        gcs=GcsStore(gcs_policy, limit),
        levels=LevelOpener(frames, transforms, images.max_pixels, strict=images.dicom_validation == "strict"),
        decoders=decoders,
        io=io,
    )


def http_store(settings: Settings) -> HttpStore:
    """Return what reads DICOMweb stores beside slides: what they find.

    Raises
    ------
    SettingsError
        When the allow-list is malformed.
    """
    return HttpStore(_dicom_policy(settings.stores))


def additions(settings: Settings, predictor: Predictor, context: ReadContext) -> Additions:
    """Return what the settings add to the service; nothing is loaded of what they leave out.

    Raises
    ------
    SettingsError
        When a file that a setting names cannot be used.
    """
    if not settings.view.is_on:
        return Additions()
    from serving.view.addition import view_addition

    return view_addition(settings, predictor, context, _head(settings.view.head))


def require_usable(settings: Settings) -> None:
    """Raise SettingsError where ``read_context`` and ``additions`` would, starting nothing."""
    if settings.view.is_on:
        _head(settings.view.head)
    _dicom_policy(settings.stores)
    _gcs_policy(settings.stores)
    _profiles(settings.images.icc_folder)


def _dicom_policy(stores: StoreSettings) -> StorePolicy:
    try:
        allowed = StoreAllowList(stores.approved_dicom)
    except ValueError as error:
        raise SettingsError(f"bad setting: APPROVED_DICOM_STORE_SOURCE_LIST: {error}") from error
    return StorePolicy(allowed, stores.allow_http, stores.timeout_s, stores.refuse_private)


def _gcs_policy(stores: StoreSettings) -> GcsPolicy:
    try:
        allowed = GcsAllowList(stores.approved_gcs)
    except ValueError as error:
        raise SettingsError(f"bad setting: APPROVED_GCS_SOURCE_LIST: {error}") from error
    return GcsPolicy(
        allowed, stores.gcs_service_identity, stores.max_object_bytes, stores.timeout_s, stores.use_proxy
    )


def _head(path: Path | None) -> Head | None:
    try:
        return None if path is None else read_head(path)
    except HeadError as error:
        raise SettingsError(f"bad setting: PATHSERVE_VIEW_HEAD: {error}") from error


def _profiles(folder: Path | None) -> dict[IccTarget, bytes]:
    files = {} if folder is None else {path.name.lower(): path for path in folder.iterdir()}
    profiles = {}
    for target in IccTarget:
        path = files.get(f"{target.lower()}.icc")
        if path is not None:
            profiles[target] = path.read_bytes()
            if not is_rgb_profile(profiles[target]):
                raise SettingsError(f"bad setting: PATHSERVE_ICC_FOLDER: {path} is not an RGB profile")
        elif target is not IccTarget.NONE:
            profiles[target] = target_profile(target)
    return profiles
