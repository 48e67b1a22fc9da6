"""What children inherit of the launcher's environment: all that they may need, but no one else's secrets."""

from __future__ import annotations

from collections.abc import Mapping

from serving.config.settings import Settings

_OF_COMMANDS = frozenset({"PATHSERVE_API_KEY", "PATHSERVE_STORE_TOKEN"})
"""Credentials of a user of ``pathserve embed``."""

_OF_MODELS = frozenset({"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACE_HUB_TOKEN"})
_SETTINGS = frozenset(str(field.alias) for field in Settings.model_fields.values())


def encoder_environment(inherited: Mapping[str, str]) -> dict[str, str]:
    """Return the encoder's, which runs the model's code: it is told its settings as arguments.

    Parameters
    ----------
    inherited:
        The launcher's. What libraries read (proxies, TF_…, CUDA…, credentials of model stores) is kept.
    """
    return {
        name: value
        for name, value in inherited.items()
        if not name.startswith("PATHSERVE_") and name not in _SETTINGS
    }


def http_environment(inherited: Mapping[str, str]) -> dict[str, str]:
    """Return that of the HTTP workers, which decode what strangers send: they download no model."""
    return {n: v for n, v in inherited.items() if n not in _OF_COMMANDS | _OF_MODELS}
