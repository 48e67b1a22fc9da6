"""Loading the encoder as the service does: what ``model`` leaves to its user is decided here."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from model.encoder import Encoder, Mend, ModelError
from model.runtimes.load import load_encoder
from serving.config.group import variable_of
from serving.config.groups import EncoderSettings

if TYPE_CHECKING:
    from google.cloud import storage

_MENDING = {
    Mend.MODEL: ("model", "storage_uri"),
    Mend.CACHE_FOLDER: ("cache_dir",),
    Mend.REPRODUCIBLE: ("reproducible",),
}
"""The encoder's settings with which a person mends what is wrong with a model."""


def load_configured_encoder(settings: EncoderSettings) -> Encoder:
    """Load the encoder that the settings name, with the service's rights in Cloud Storage.

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
            reproducible=settings.reproducible,
        )
    except ModelError as error:
        raise ModelError(_with_variables(error)) from error


def _with_variables(error: ModelError) -> str:
    if error.mend is None:
        return str(error)
    fields = EncoderSettings.model_fields
    variables = ", ".join(variable_of(fields[name]) for name in _MENDING[error.mend])
    return f"{str(error).removesuffix('.')} ({variables})."


def _service_storage() -> storage.Client:
    from dicom_io.web.google_session import service_storage  # takes a second to import

    return service_storage()
