"""Loading the encoder as the service does: what ``model`` leaves to its user is decided here."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from model.encoder import Encoder, Mend, ModelError
from model.runtimes.load import load_encoder

if TYPE_CHECKING:
    from google.cloud import storage

    from serving.config.groups import EncoderSettings

_VARIABLES = {Mend.MODEL: "PATHSERVE_MODEL, AIP_STORAGE_URI", Mend.CACHE_FOLDER: "PATHSERVE_CACHE_DIR"}
"""The settings with which a person mends what is wrong with a model."""


def load_configured_encoder(settings: EncoderSettings) -> Encoder:
    """Load the encoder that the settings name, with the service's own rights to stores of models.

    Raises
    ------
    ModelError
        With one sentence that says what is wrong with the model, and what to set where that may help.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # read when TensorFlow is imported
    try:
        return load_encoder(
            settings.spec,
            settings.precision,
            settings.max_batch,
            settings.cache_dir,
            settings.runtime,
            connect=_service_storage,
        )
    except ModelError as error:
        raise ModelError(_with_variables(error)) from error


def _with_variables(error: ModelError) -> str:
    text = str(error)
    return text if error.mend is None else f"{text.removesuffix('.')} ({_VARIABLES[error.mend]})."


def _service_storage() -> storage.Client:
    from dicom_io.web.google_session import service_storage  # takes a second to import

    return service_storage()
