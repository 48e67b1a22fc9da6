"""Loading the encoder as the service does: what ``model`` leaves to its user is decided here."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from model.encoder import Encoder, Mend, ModelError
from model.golden.file import FILE_NAME, read_golden
from model.golden.golden import Golden, GoldenError
from model.golden.guard import GoldenGuard, GuardedEncoder
from model.runtimes.load import find_model, load_found
from model.weights.locate import ModelFolder
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

_LAST_WORDS_S = 60.0
"""How long an encoder that misses golden patches says so, if it is held to them no more often than that."""


def load_configured_encoder(settings: EncoderSettings) -> GuardedEncoder:
    """Load the encoder that the settings name, and the golden file: the one they name, or the weights' own.

    Raises
    ------
    ModelError
        With one sentence that says what is wrong with the model or the golden file, and what to set where
        that may help.
    """
    every_s, folder = settings.golden_every_s, find_configured_model(settings)
    file = settings.golden or _beside(folder)
    try:
        golden = _read(file, settings.golden_digest)  # before the model is loaded, which takes longer
        encoder = load_found_encoder(settings, folder)
        if golden is None:
            return GuardedEncoder(encoder, None)
        golden[0].require_model(encoder.facts)
    except GoldenError as error:
        raise ModelError(f"The golden file cannot be used: {error}") from error
    return GuardedEncoder(encoder, GoldenGuard(*golden, every_s, min(_LAST_WORDS_S, every_s)))


def find_configured_model(settings: EncoderSettings) -> ModelFolder | None:
    """Return the folder of the model that the settings name, downloaded with the service's rights.

    Raises
    ------
    ModelError
    """
    with _variables_named():
        return find_model(settings.spec, settings.cache_dir, _service_storage)


def load_found_encoder(settings: EncoderSettings, folder: ModelFolder | None) -> Encoder:
    """Load the encoder of a model that has been found, whatever its golden file says.

    Raises
    ------
    ModelError
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # read when TensorFlow is imported
    with _variables_named():
        return load_found(
            folder,
            settings.spec,
            settings.precision,
            settings.max_batch,
            settings.cache_dir,
            settings.runtime,
            reproducible=settings.reproducible,
        )


def _beside(folder: ModelFolder | None) -> Path | None:
    """Return the golden file that lies with a model's weights, if one does."""
    if folder is None:
        return None
    file = folder.path / FILE_NAME
    return file if os.path.lexists(file) else None


def _read(file: Path | None, pinned: str | None) -> tuple[Golden, str] | None:
    """Read the golden file, if there is one, and hold it to the digest that is pinned, if one is.

    Raises
    ------
    GoldenError
    """
    variable = variable_of(EncoderSettings.model_fields["golden_digest"])
    if file is None:
        if pinned is not None:
            raise GoldenError(
                f"{variable} is set, but PATHSERVE_GOLDEN is not, and no golden file lies with the weights."
            )
        return None
    golden, digest = read_golden(file)
    if pinned not in (None, digest):
        raise GoldenError(f"{file} has the digest {digest}, and {variable} wants {pinned}.")
    return golden, digest


@contextlib.contextmanager
def _variables_named() -> Iterator[None]:
    """Add the names of settings that may help to what is wrong with a model."""
    try:
        yield
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
