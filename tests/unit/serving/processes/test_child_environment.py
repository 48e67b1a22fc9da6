from __future__ import annotations

from serving.config.settings import VARIABLES
from serving.processes.child_environment import encoder_environment, http_environment

NAMES = (
    "PATH", "HOME", "LANG", "LD_LIBRARY_PATH", "XDG_CACHE_HOME", "HTTPS_PROXY", "CUDA_VISIBLE_DEVICES",
    "TF_XLA_FLAGS", "OMP_NUM_THREADS", "GOOGLE_APPLICATION_CREDENTIALS", "REQUESTS_CA_BUNDLE",
)  # fmt: skip
NEEDED = dict.fromkeys(NAMES, "x")
MORE = {"PATHSERVE_SERVICE_HOST", "OTEL_EXPORTER_OTLP_METRICS_HEADERS", "otel_python_tracer_provider"}
OURS = dict.fromkeys(VARIABLES | {name.lower() for name in VARIABLES} | MORE, "secret")


def test_the_encoder_gets_what_libraries_read_and_none_of_our_settings() -> None:
    assert encoder_environment(NEEDED | OURS | {"HF_TOKEN": "hf"}) == NEEDED | {"HF_TOKEN": "hf"}


def test_workers_get_neither_settings_nor_credentials_of_model_stores() -> None:
    assert http_environment(NEEDED | OURS | {"HF_TOKEN": "hf"}) == NEEDED
