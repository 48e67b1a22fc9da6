"""From the settings to what sources of images share in a process."""

from __future__ import annotations

import os
from pathlib import Path

from dicom_io.colour.profiles import IccTarget, is_rgb_profile, target_profile
from dicom_io.colour.transforms import ColourTransforms
from dicom_io.decoding.pool import DecodePool
from dicom_io.io_threads import IoThreads
from dicom_io.slides.frame_cache import FrameCache
from dicom_io.sources.session import ReadContext
from dicom_io.web.allowlist import StoreAllowList
from dicom_io.web.dicomweb import DicomWebStore
from dicom_io.web.gcs import GcsAllowList, GcsPolicy, GcsStore
from dicom_io.web.http import HttpStore, StorePolicy
from serving.config.settings import Settings, SettingsError

IO_THREADS = 32
"""Threads of a worker that wait for stores."""


def read_context(settings: Settings) -> ReadContext:
    """Make caches, connections and transforms as the settings say.

    The launcher's folder for colour tables that its processes share is in PATHSERVE_TABLES_DIR.

    Raises
    ------
    SettingsError
        When a setting's value is well-formed but cannot be used.
    """
    try:
        allowed = StoreAllowList(settings.approved_dicom_stores)
    except ValueError as error:
        raise SettingsError(f"bad setting: APPROVED_DICOM_STORE_SOURCE_LIST: {error}") from error
    try:
        buckets = GcsAllowList(settings.approved_gcs_sources)
    except ValueError as error:
        raise SettingsError(f"bad setting: APPROVED_GCS_SOURCE_LIST: {error}") from error
    gcs_policy = GcsPolicy(
        buckets,
        settings.gcs_service_identity,
        settings.max_object_bytes,
        settings.store_timeout_s,
        settings.use_proxy,
    )
    shared = os.environ.get("PATHSERVE_TABLES_DIR")
    policy = StorePolicy(
        allowed, settings.allow_http_stores, settings.store_timeout_s, settings.refuse_private_stores
    )
    decoders = DecodePool()
    io = IoThreads(IO_THREADS)
    return ReadContext(
        max_image_pixels=settings.max_image_pixels,
        transforms=ColourTransforms(
            _profiles(settings.icc_folder), folder=None if shared is None else Path(shared)
        ),
        dicomweb=DicomWebStore(HttpStore(policy, connections=IO_THREADS), io),
        gcs=GcsStore(gcs_policy),
        frames=FrameCache(settings.frame_cache_bytes, decoders.frame),
        decoders=decoders,
        io=io,
        strict_dicom=settings.dicom_validation == "strict",
    )


def _profiles(folder: Path | None) -> dict[IccTarget, bytes]:
    files = {} if folder is None else {path.name.lower(): path for path in folder.iterdir()}
    profiles = {}
    for target in IccTarget:
        path = files.get(f"{target.lower()}.icc")
        if path is not None:
            profiles[target] = path.read_bytes()
            if not is_rgb_profile(profiles[target]):
                raise SettingsError(f"bad setting: PATHSERVE_ICC_FOLDER: {path} is no RGB profile")
        elif target is not IccTarget.NONE:
            profiles[target] = target_profile(target)
    return profiles
