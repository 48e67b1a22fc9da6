"""Settings: one frozen object, read from the environment once, at start.

A bad value stops the start with a sentence that names the variable. The table
of settings in docs/operations.md is checked against this file by a test.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import DirectoryPath, Field, FilePath, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from serving.config.setting_types import Route, SecretList, StringList

MEBIBYTE = 1 << 20
_CORES = os.process_cpu_count() if hasattr(os, "process_cpu_count") else os.cpu_count()


_SECRET = ("PATHSERVE_API_KEYS",)
"""Settings whose values are not shown."""

EXIT_BAD_SETTING = 78
"""Exit status when a setting is wrong (EX_CONFIG)."""

EXIT_INTERRUPTED = 130
"""Exit status after Ctrl-C, as of a shell's command (128 + SIGINT)."""


class SettingsError(Exception):
    """The environment holds a value that the service cannot run with."""


class Settings(BaseSettings):
    """What the service runs with. Units are in the names: bytes, pixels, seconds, milliseconds."""

    model_config = SettingsConfigDict(
        frozen=True,
        env_ignore_empty=True,
        populate_by_name=True,
        extra="ignore",
        protected_namespaces=(),
    )

    host: str = Field(
        "127.0.0.1",
        alias="PATHSERVE_HOST",
        description="Address to listen on; the container image sets 0.0.0.0.",
    )
    port: int = Field(
        8080, alias="AIP_HTTP_PORT", ge=0, le=65535, description="Port to listen on; 0 takes a free one."
    )
    health_route: Route = Field(
        "/health", alias="AIP_HEALTH_ROUTE", description="Health route, as Vertex AI sets it."
    )
    predict_route: Route = Field(
        "/predict", alias="AIP_PREDICT_ROUTE", description="Predict route, as Vertex AI sets it."
    )
    storage_uri: str | None = Field(
        None, alias="AIP_STORAGE_URI", description="Model artifacts, as Vertex AI sets it."
    )
    deployed_model_id: str = Field(
        "local", alias="AIP_DEPLOYED_MODEL_ID", description="Echoed as `deployedModelId`."
    )
    model: str | None = Field(
        None,
        alias="PATHSERVE_MODEL",
        description="Overrides AIP_STORAGE_URI: a SavedModel folder, `gs://bucket/folder`, "
        "`hf://google/path-foundation[@revision]`, or `builtin:vit-s16` (untrained; the default when "
        "neither is set).",
    )
    cache_dir: Path | None = Field(
        None,
        alias="PATHSERVE_CACHE_DIR",
        description="Folder for downloaded models; by default `pathserve` in the user's cache folder.",
    )
    precision: Literal["float32", "bfloat16", "int8"] = Field(
        "float32",
        alias="PATHSERVE_PRECISION",
        description="`float32`, or one that is kept only when its vectors agree with float32's: `bfloat16` "
        "(cosine at least 0.9999), `int8` (at least 0.9995; OpenVINO only).",
    )
    runtime: Literal["tensorflow", "openvino", "auto"] = Field(
        "tensorflow",
        alias="PATHSERVE_RUNTIME",
        description="`tensorflow`, `openvino` (`pathserve[openvino]`; CPU), or `auto`: OpenVINO on a CPU "
        "where it is installed and gives TensorFlow's vectors, else TensorFlow.",
    )
    workers: int = Field(
        max(1, min(_CORES or 1, 8)),
        alias="PATHSERVE_WORKERS",
        ge=1,
        le=64,
        description="HTTP worker processes; by cores, at most 8.",
    )
    threads: int = Field(
        32,
        alias="PATHSERVE_THREADS",
        ge=4,
        le=256,
        description="Predictions per worker: a quarter of so many run at once, a half may wait for "
        "their turn.",
    )
    max_connections: int = Field(
        2000,
        alias="PATHSERVE_MAX_CONNECTIONS",
        ge=16,
        le=50_000,
        description="Connections per worker (a quarter of them with TLS); beyond them, those that have "
        "been silent for longest are closed.",
    )
    keep_alive_s: float = Field(
        620.0,
        alias="PATHSERVE_KEEP_ALIVE_S",
        ge=0,
        description="How long a connection may be idle between requests: longer than a load balancer "
        "before the service keeps its own (Google's: 600 s).",
    )
    max_batch: int | None = Field(
        None,
        alias="PATHSERVE_MAX_BATCH",
        ge=1,
        le=1024,
        description="Largest batch given to the model, in patches; by device: 16 on a CPU, 128 on a GPU.",
    )
    max_wait_ms: float = Field(
        0.0,
        alias="PATHSERVE_MAX_WAIT_MS",
        ge=0,
        le=1000,
        description="How long an idle encoder waits for a batch to fill.",
    )
    max_patches_per_request: int = Field(
        4000,
        alias="PATHSERVE_MAX_PATCHES_PER_REQUEST",
        ge=1,
        le=1_000_000,
        description="More are TOO_MANY_PATCHES_ERROR.",
    )
    max_request_bytes: int = Field(
        256 * MEBIBYTE,
        alias="PATHSERVE_MAX_REQUEST_BYTES",
        ge=1024,
        description="Larger bodies are answered 413.",
    )
    max_image_pixels: int = Field(
        100_000_000,
        alias="PATHSERVE_MAX_IMAGE_PIXELS",
        ge=224 * 224,
        description="Larger images are IMAGE_DIMENSION_ERROR.",
    )
    request_timeout_s: float = Field(
        600.0,
        alias="PATHSERVE_REQUEST_TIMEOUT_S",
        gt=0,
        description="A request that takes longer is answered 503.",
    )
    admission_timeout_s: float = Field(
        10.0,
        alias="PATHSERVE_ADMISSION_TIMEOUT_S",
        ge=0,
        description="How long a request waits for its turn before it is answered 503.",
    )
    store_timeout_s: float = Field(
        30.0,
        alias="PATHSERVE_STORE_TIMEOUT_S",
        gt=0,
        description="Longest wait for a store's connection and for each piece of its answer.",
    )
    approved_dicom_stores: StringList = Field(
        None,
        alias="APPROVED_DICOM_STORE_SOURCE_LIST",
        description="DICOM stores that may be read, as a JSON list or separated by commas: "
        "scheme, host, port and whole path segments must be the same. Unset admits all.",
    )
    approved_gcs_sources: StringList = Field(
        None,
        alias="APPROVED_GCS_SOURCE_LIST",
        description="Buckets (`gs://bucket`) or folders (`gs://bucket/folder`) that may be read, as a JSON "
        "list or separated by commas; whole names are compared. Unset admits all.",
    )
    gcs_service_identity: bool = Field(
        False,
        alias="PATHSERVE_GCS_SERVICE_IDENTITY",
        description="Whether objects named without a token are read with the service's own rights; else "
        "anonymously.",
    )
    use_proxy: bool = Field(
        False,
        alias="PATHSERVE_USE_PROXY",
        description="Whether Cloud Storage, and by `pathserve embed` the service, are reached through "
        "HTTPS_PROXY and HTTP_PROXY, but for hosts in NO_PROXY. Model downloads always are.",
    )
    max_object_bytes: int = Field(
        256 * MEBIBYTE,
        alias="PATHSERVE_MAX_OBJECT_BYTES",
        ge=1024,
        description="Larger objects in Cloud Storage are IMAGE_DIMENSION_ERROR.",
    )
    allow_http_stores: bool = Field(
        False,
        alias="PATHSERVE_ALLOW_HTTP_STORES",
        description="Whether stores on other machines may be reached by plain http.",
    )
    refuse_private_stores: bool = Field(
        False,
        alias="PATHSERVE_REFUSE_PRIVATE_STORES",
        description="Whether DICOM stores at loopback, private, link-local or other addresses that are not "
        "public are refused, whatever their name.",
    )
    dicom_validation: Literal["standard", "strict"] = Field(
        "standard",
        alias="PATHSERVE_DICOM_VALIDATION",
        description="`strict` also refuses images that break a requirement which the API only documents.",
    )
    frame_cache_bytes: int = Field(
        128 * MEBIBYTE,
        alias="PATHSERVE_FRAME_CACHE_BYTES",
        ge=0,
        description="Decoded frames that each worker keeps for later requests with the same token.",
    )
    icc_folder: DirectoryPath | None = Field(
        None,
        alias="PATHSERVE_ICC_FOLDER",
        description="Folder of `srgb.icc`, `adobergb.icc`, `rommrgb.icc`, `displayp3.icc`; each replaces "
        "the built-in target profile of that name.",
    )
    grace_s: float = Field(
        30.0,
        alias="PATHSERVE_GRACE_S",
        gt=0,
        description="After SIGTERM, how long requests in flight may take to finish.",
    )
    api_keys: SecretList = Field(
        None,
        alias="PATHSERVE_API_KEYS",
        description="Bearer keys of the service itself, as a JSON list or separated by commas; predictions "
        "and metrics then want one of them. Unset lets everyone in.",
    )
    tls_certificate: FilePath | None = Field(
        None,
        alias="PATHSERVE_TLS_CERTIFICATE",
        description="PEM file of the certificate chain; the service then speaks https. Wants "
        "PATHSERVE_TLS_KEY.",
    )
    tls_key: FilePath | None = Field(
        None, alias="PATHSERVE_TLS_KEY", description="PEM file of the certificate's private key."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", alias="PATHSERVE_LOG_LEVEL", description="Least severe level that is logged."
    )

    @model_validator(mode="after")
    def _tls_is_whole(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("PATHSERVE_TLS_CERTIFICATE and PATHSERVE_TLS_KEY must be set together")
        return self

    @property
    def predict_slots(self) -> int:
        """Predictions that one worker runs at once."""
        return self.threads // 4

    @property
    def waiting_slots(self) -> int:
        """Predictions that may wait for their turn in one worker."""
        return self.threads // 2

    @property
    def model_spec(self) -> str:
        """What to load: PATHSERVE_MODEL, else AIP_STORAGE_URI, else the built-in encoder."""
        return self.model or self.storage_uri or "builtin:vit-s16"


def load_settings(overrides: Mapping[str, Any] | None = None) -> Settings:
    """Read the settings from the environment.

    Parameters
    ----------
    overrides:
        Values by variable name that win over the environment.

    Raises
    ------
    SettingsError
        With one line for each variable that holds a bad value.
    """
    try:
        return Settings(**(overrides or {}))
    except ValidationError as error:
        lines = [
            f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}"
            + ("" if not fault["loc"] or fault["loc"][0] in _SECRET else f" (got {fault['input']!r})")
            for fault in error.errors()
        ]
        raise SettingsError("bad setting: " + "; ".join(lines)) from None
