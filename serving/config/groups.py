"""The groups of settings. Units are in the names: bytes, pixels, patches, seconds, milliseconds.

A new setting is one field here and one row in docs/operations.md, which a test compares with this file.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from pydantic import DirectoryPath, FilePath, model_validator

from serving.config.group import Group, ModelName, Route, Secret, SecretList, StringList, setting

MEBIBYTE = 1 << 20
_CORES = os.process_cpu_count() if hasattr(os, "process_cpu_count") else os.cpu_count()


class HttpSettings(Group):
    """The HTTP side: where it listens, who may come in, and how many at once."""

    host: str = setting(
        "PATHSERVE_HOST", "127.0.0.1", "Address to listen on; the container image sets 0.0.0.0."
    )
    port: int = setting("AIP_HTTP_PORT", 8080, "Port to listen on; 0 takes a free one.", ge=0, le=65535)
    sagemaker_port: int | None = setting(
        "SAGEMAKER_BIND_TO_PORT",
        None,
        "Overrides AIP_HTTP_PORT: the port that SageMaker gives to one of several containers.",
        ge=1,
        le=65535,
    )
    health_route: Route = setting("AIP_HEALTH_ROUTE", "/health", "Health route, as Vertex AI sets it.")
    predict_route: Route = setting("AIP_PREDICT_ROUTE", "/predict", "Predict route, as Vertex AI sets it.")
    model_name: ModelName | None = setting(
        "PATHSERVE_MODEL_NAME",
        None,
        "Name of the model in KServe's routes, which is the InferenceService's; by default the one that "
        "`model` of an answer has.",
    )
    deployed_model_id: str = setting("AIP_DEPLOYED_MODEL_ID", "local", "Echoed as `deployedModelId`.")
    workers: int = setting(
        "PATHSERVE_WORKERS",
        max(1, min(_CORES or 1, 8)),
        "HTTP worker processes; by cores, at most 8.",
        ge=1,
        le=64,
    )
    threads: int = setting(
        "PATHSERVE_THREADS",
        32,
        "Predictions per worker: a quarter of so many run at once, a half may wait for their turn.",
        ge=4,
        le=256,
    )
    max_connections: int = setting(
        "PATHSERVE_MAX_CONNECTIONS",
        2000,
        "Connections per worker (a quarter of them with TLS); beyond them, those that have "
        "been silent for longest are closed.",
        ge=16,
        le=50_000,
    )
    keep_alive_s: float = setting(
        "PATHSERVE_KEEP_ALIVE_S",
        620.0,
        "How long a connection may be idle between requests: longer than a load balancer "
        "before the service keeps its own (Google's: 600 s).",
        ge=0,
    )
    admission_timeout_s: float = setting(
        "PATHSERVE_ADMISSION_TIMEOUT_S",
        10.0,
        "How long a request waits for its turn before it is answered 503.",
        ge=0,
    )
    grace_s: float = setting(
        "PATHSERVE_GRACE_S", 30.0, "After SIGTERM, how long requests in flight may take to finish.", gt=0
    )
    api_keys: SecretList = setting(
        "PATHSERVE_API_KEYS",
        None,
        "Bearer keys of the service itself, as a JSON list or separated by commas; predictions "
        "and metrics then require one of them. Unset lets everyone in.",
    )
    compress_answers: Literal["remote", "all", "none"] = setting(
        "PATHSERVE_COMPRESS_ANSWERS",
        "remote",
        "Whose answers are compressed, where they accept that and it pays: of clients on other machines "
        "(`remote`), of `all`, as behind a proxy on this one, or of `none`.",
    )
    tls_certificate: FilePath | None = setting(
        "PATHSERVE_TLS_CERTIFICATE",
        None,
        "PEM file of the certificate chain; the service then speaks https. Requires PATHSERVE_TLS_KEY.",
    )
    tls_key: FilePath | None = setting(
        "PATHSERVE_TLS_KEY", None, "PEM file of the certificate's private key."
    )

    @model_validator(mode="after")
    def _tls_is_whole(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("PATHSERVE_TLS_CERTIFICATE and PATHSERVE_TLS_KEY must be set together")
        return self

    @property
    def listened_port(self) -> int:
        """The port to listen on: SAGEMAKER_BIND_TO_PORT, else AIP_HTTP_PORT."""
        return self.port if self.sagemaker_port is None else self.sagemaker_port

    @property
    def predict_slots(self) -> int:
        """Predictions that one worker runs at once."""
        return self.threads // 4

    @property
    def waiting_slots(self) -> int:
        """Predictions that may wait for their turn in one worker."""
        return self.threads // 2


class RequestSettings(Group):
    """What one request may ask for, through HTTP or in process."""

    max_patches: int = setting(
        "PATHSERVE_MAX_PATCHES_PER_REQUEST", 4000, "More are TOO_MANY_PATCHES_ERROR.", ge=1, le=1_000_000
    )
    max_bytes: int = setting(
        "PATHSERVE_MAX_REQUEST_BYTES", 256 * MEBIBYTE, "Larger bodies are answered 413.", ge=1024
    )
    timeout_s: float = setting(
        "PATHSERVE_REQUEST_TIMEOUT_S", 600.0, "A request that takes longer is answered 503.", gt=0
    )


class EncoderSettings(Group):
    """The model and how it runs: all the settings that the encoder process gets."""

    storage_uri: str | None = setting("AIP_STORAGE_URI", None, "Model artifacts, as Vertex AI sets it.")
    model: str | None = setting(
        "PATHSERVE_MODEL",
        None,
        "Overrides AIP_STORAGE_URI: a SavedModel folder, `gs://bucket/folder`, "
        "`hf://google/path-foundation[@revision]`, or `builtin:vit-s16` (untrained; the default when "
        "neither is set).",
    )
    cache_dir: Path | None = setting(
        "PATHSERVE_CACHE_DIR",
        None,
        "Folder for downloaded models; by default `pathserve` in the user's cache folder.",
    )
    precision: Literal["float32", "bfloat16", "int8"] = setting(
        "PATHSERVE_PRECISION",
        "float32",
        "`float32`, or one that is kept only when its vectors agree with float32's: `bfloat16` "
        "(cosine at least 0.9999), `int8` (at least 0.9995; OpenVINO only).",
    )
    runtime: Literal["tensorflow", "openvino", "auto"] = setting(
        "PATHSERVE_RUNTIME",
        "tensorflow",
        "`tensorflow`, `openvino` (`pathserve[openvino]`; CPU), or `auto`: OpenVINO on a CPU "
        "where it is installed and gives TensorFlow's vectors, else TensorFlow.",
    )
    max_batch: int | None = setting(
        "PATHSERVE_MAX_BATCH",
        None,
        "Largest batch given to the model, in patches; by device: 16 on a CPU; on a GPU 32 to 256, as large "
        "as still pays and fits, tried at the start.",
        ge=1,
        le=1024,
    )
    max_wait_ms: float = setting(
        "PATHSERVE_MAX_WAIT_MS", 0.0, "How long an idle encoder waits for a batch to fill.", ge=0, le=1000
    )
    golden: FilePath | None = setting(
        "PATHSERVE_GOLDEN",
        None,
        "Golden file (`pathserve golden make` makes one): the service is ready only while the model gives "
        "its vectors. By default `golden.json` in the model's folder, where there is one.",
    )
    golden_digest: str | None = setting(
        "PATHSERVE_GOLDEN_DIGEST",
        None,
        "The digest that the golden file must have (`sha256:…`, as `pathserve golden make` prints it). Unset "
        "takes any file that is signed as a whole.",
        pattern="^sha256:[0-9a-f]{64}$",
    )
    golden_every_s: float = setting(
        "PATHSERVE_GOLDEN_EVERY_S",
        3600.0,
        "How often the golden patches are embedded again, between the batches of requests.",
        gt=0,
        le=604_800,
    )
    reproducible: bool = setting(
        "PATHSERVE_REPRODUCIBLE",
        False,
        "Whether a patch's vector is the same to the last bit whatever else is embedded with it, on one "
        "machine with one runtime; each patch is then embedded alone.",
    )

    @property
    def spec(self) -> str:
        """What to load: PATHSERVE_MODEL, else AIP_STORAGE_URI, else the built-in encoder."""
        return self.model or self.storage_uri or "builtin:vit-s16"


class StoreSettings(Group):
    """Which stores of images are read, and how."""

    timeout_s: float = setting(
        "PATHSERVE_STORE_TIMEOUT_S",
        30.0,
        "Longest wait for a store's connection and for each piece of its answer.",
        gt=0,
    )
    threads: int = setting(
        "PATHSERVE_STORE_READS",
        32,
        "Threads of a worker that wait for stores, one request each; a store that is alone has half of them.",
        ge=2,
        le=1024,
    )
    approved_dicom: StringList = setting(
        "APPROVED_DICOM_STORE_SOURCE_LIST",
        None,
        "DICOM stores that may be read, as a JSON list or separated by commas: "
        "scheme, host, port and whole path segments must be the same. Unset admits all.",
    )
    approved_gcs: StringList = setting(
        "APPROVED_GCS_SOURCE_LIST",
        None,
        "Buckets (`gs://bucket`) or folders (`gs://bucket/folder`) that may be read, as a JSON "
        "list or separated by commas; whole names are compared. Unset admits all.",
    )
    gcs_service_identity: bool = setting(
        "PATHSERVE_GCS_SERVICE_IDENTITY",
        False,
        "Whether objects named without a token are read with the service's own rights; else anonymously.",
    )
    use_proxy: bool = setting(
        "PATHSERVE_USE_PROXY",
        False,
        "Whether Cloud Storage, and by `pathserve embed` the service, are reached through "
        "HTTPS_PROXY and HTTP_PROXY, but for hosts in NO_PROXY. Model downloads always are.",
    )
    max_object_bytes: int = setting(
        "PATHSERVE_MAX_OBJECT_BYTES",
        256 * MEBIBYTE,
        "Larger objects in Cloud Storage are IMAGE_DIMENSION_ERROR.",
        ge=1024,
    )
    allow_http: bool = setting(
        "PATHSERVE_ALLOW_HTTP_STORES", False, "Whether stores on other machines may be reached by plain http."
    )
    refuse_private: bool = setting(
        "PATHSERVE_REFUSE_PRIVATE_STORES",
        False,
        "Whether DICOM stores at loopback, private, link-local or other addresses that are not "
        "public are refused, whatever their name.",
    )


class ImageSettings(Group):
    """How images are read."""

    max_pixels: int = setting(
        "PATHSERVE_MAX_IMAGE_PIXELS", 100_000_000, "Larger images are IMAGE_DIMENSION_ERROR.", ge=224 * 224
    )
    dicom_validation: Literal["standard", "strict"] = setting(
        "PATHSERVE_DICOM_VALIDATION",
        "standard",
        "`strict` also refuses images that break a requirement which the API only documents.",
    )
    frame_cache_bytes: int = setting(
        "PATHSERVE_FRAME_CACHE_BYTES",
        128 * MEBIBYTE,
        "Decoded frames that each worker keeps for later requests with the same token.",
        ge=0,
    )
    icc_folder: DirectoryPath | None = setting(
        "PATHSERVE_ICC_FOLDER",
        None,
        "Folder of `srgb.icc`, `adobergb.icc`, `rommrgb.icc`, `displayp3.icc`; each replaces "
        "the built-in target profile of that name.",
    )


class LogSettings(Group):
    """The log of every process."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = setting(
        "PATHSERVE_LOG_LEVEL", "INFO", "Least severe level that is logged."
    )


class CommandSettings(Group):
    """The user's own credentials. No process of the service is given them; the key, webhooks' runner is."""

    store_token: Secret = setting(
        "PATHSERVE_STORE_TOKEN",
        None,
        "`pathserve embed` and `check` only: bearer token for the store that is read.",
    )
    api_key: Secret = setting(
        "PATHSERVE_API_KEY",
        None,
        "`pathserve embed --service` and PATHSERVE_SERVICE_URL only: one of the PATHSERVE_API_KEYS there.",
    )


@dataclass(frozen=True, slots=True)
class SharedFolders:
    """Folders that the launcher makes for its children; no variable sets them.

    Attributes
    ----------
    metrics:
        Where prometheus_client keeps the numbers of all processes.
    tables:
        Where HTTP workers share their colour tables.
    """

    metrics: Path | None = None
    tables: Path | None = None
