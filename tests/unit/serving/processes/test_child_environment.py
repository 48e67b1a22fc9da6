from __future__ import annotations

from serving.config.settings import Settings
from serving.processes.child_environment import encoder_environment, http_environment

NAMES = (
    "PATH", "HOME", "LANG", "LD_LIBRARY_PATH", "XDG_CACHE_HOME", "HTTPS_PROXY", "CUDA_VISIBLE_DEVICES",
    "TF_XLA_FLAGS", "OMP_NUM_THREADS", "GOOGLE_APPLICATION_CREDENTIALS", "REQUESTS_CA_BUNDLE",
)  # fmt: skip
NEEDED = dict.fromkeys(NAMES, "x")
SECRETS = dict.fromkeys(("PATHSERVE_API_KEYS", "PATHSERVE_API_KEY", "PATHSERVE_STORE_TOKEN"), "secret")


def test_the_encoder_gets_what_libraries_read_and_none_of_our_settings() -> None:
    settings = {str(field.alias): "x" for field in Settings.model_fields.values()}
    found = encoder_environment(NEEDED | SECRETS | settings | {"HF_TOKEN": "hf"})
    assert found == NEEDED | {"HF_TOKEN": "hf"}


def test_workers_get_the_settings_and_no_credentials_of_others() -> None:
    found = http_environment(NEEDED | SECRETS | {"HF_TOKEN": "hf", "PATHSERVE_WORKERS": "2"})
    assert found == NEEDED | {"PATHSERVE_API_KEYS": "secret", "PATHSERVE_WORKERS": "2"}
