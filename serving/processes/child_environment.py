"""What children inherit of the launcher's environment: what libraries read, and no one else's secrets.

Their settings are handed to them otherwise (see ``handover``), so no variable of ours is inherited.
"""

from __future__ import annotations

from collections.abc import Mapping

from serving.config.settings import VARIABLES

_OF_MODELS = frozenset({"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACE_HUB_TOKEN"})


def encoder_environment(inherited: Mapping[str, str]) -> dict[str, str]:
    """Return the encoder's, which runs the model's code.

    Parameters
    ----------
    inherited:
        The launcher's. What libraries read (proxies, TF_…, CUDA…, credentials of model stores) is kept.
    """
    return {name: value for name, value in inherited.items() if not _is_ours(name)}


def http_environment(inherited: Mapping[str, str]) -> dict[str, str]:
    """Return that of the HTTP workers, which decode what strangers send: they download no model."""
    return {n: v for n, v in encoder_environment(inherited).items() if n not in _OF_MODELS}


def _is_ours(name: str) -> bool:
    # OpenTelemetry's variables hold keys of collectors, and let its libraries trace by themselves.
    return name.upper().startswith(("PATHSERVE_", "OTEL_")) or name.upper() in VARIABLES
