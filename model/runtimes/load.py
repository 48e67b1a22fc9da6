"""From the name of a model to a warm encoder. TensorFlow is imported here, on demand, and no earlier."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from model.encoder import Encoder, ModelError, reason_of
from model.runtimes.seeded_weights import seeded_weights
from model.weights.cache import cache_folder
from model.weights.locate import ModelFolder, fetch_model, require_savedmodel

if TYPE_CHECKING:
    from google.cloud import storage

    from model.runtimes.savedmodel import LoadedModel

BUILTIN = "builtin:vit-s16"

log = logging.getLogger(__name__)


def load_encoder(
    spec: str,
    precision: str,
    max_batch: int | None = None,
    cache: Path | None = None,
    runtime: str = "tensorflow",
    connect: Callable[[], storage.Client] | None = None,
    *,
    reproducible: bool = False,
) -> Encoder:
    """Load a model, try it, and make it ready to run at once: ``find_model`` and ``load_found``.

    Parameters
    ----------
    spec:
        ``builtin:vit-s16``, or where a SavedModel is (see ``fetch_model``).
    precision:
        ``float32``, ``bfloat16`` or ``int8``.
    max_batch:
        Largest batch in patches; by the device when not given.
    cache:
        Folder that keeps downloaded models; by default the user's cache folder, which only a model that is
        downloaded, or run by OpenVINO, needs.
    runtime:
        ``tensorflow``, ``openvino``, or ``auto``: OpenVINO where it is installed, runs the model and gives
        TensorFlow's vectors, and there is no GPU; else TensorFlow.
    connect:
        Makes the client for Cloud Storage; without it, models there are refused.
    reproducible:
        Whether a patch's vector must be the same to the last bit whatever else is embedded with it, on one
        machine with one runtime. TensorFlow's settings are a process's, so this is for one that has not used
        TensorFlow otherwise.

    Raises
    ------
    ModelError
        Whatever is wrong with the model.
    """
    folder = find_model(spec, cache, connect)
    return load_found(folder, spec, precision, max_batch, cache, runtime, reproducible=reproducible)


def find_model(
    spec: str, cache: Path | None = None, connect: Callable[[], storage.Client] | None = None
) -> ModelFolder | None:
    """Return the folder of a model, downloaded where it has to be; ``None`` is the built-in encoder.

    Raises
    ------
    ModelError
        When it is not there, or cannot be fetched.
    """
    if spec.startswith("builtin:") and spec != BUILTIN:
        raise ModelError(f"There is no built-in model {spec!r}; the only one is {BUILTIN}.")
    return None if spec == BUILTIN else fetch_model(spec, cache, connect)


def load_found(
    folder: ModelFolder | None,
    spec: str,
    precision: str,
    max_batch: int | None = None,
    cache: Path | None = None,
    runtime: str = "tensorflow",
    *,
    reproducible: bool = False,
) -> Encoder:
    """Load a model that has been found; see ``load_encoder``."""
    try:
        if runtime == "openvino" or (runtime == "auto" and not _has_gpu()):
            try:
                return _with_openvino(folder, precision, max_batch, cache, reproducible)
            except ModelError as error:
                if runtime == "openvino":
                    raise
                log.info("running TensorFlow", extra={"reason": str(error)})
        return _with_tensorflow(folder, precision, max_batch, reproducible)
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(f"The model in {spec} does not run: {reason_of(error)}.") from error


def model_in_tensorflow(folder: ModelFolder | None, *, reproducible: bool = False) -> LoadedModel:
    """Return a model as TensorFlow runs it; ``None`` is the built-in encoder.

    Parameters
    ----------
    reproducible:
        Whether TensorFlow is first set to compute the same bits again.

    Raises
    ------
    ModelError
        When it is not a SavedModel that embeds patches.
    """
    # What needs no TensorFlow is done beside its import, which takes seconds.
    with ThreadPoolExecutor(1, "beside-import") as beside:
        if folder is None:
            weights = beside.submit(seeded_weights)
            from model.runtimes.vit import load_builtin

            if reproducible:
                _set_reproducible()
            return load_builtin(weights.result())
        require_savedmodel(folder.path)  # before everything in the folder is read
        digest = beside.submit(folder.digest)
        from model.runtimes.savedmodel import load_savedmodel

        if reproducible:
            _set_reproducible()
        return load_savedmodel(folder.path, folder.name, digest.result())


def _set_reproducible() -> None:
    from model.runtimes.determinism import set_reproducible

    set_reproducible()


def _with_tensorflow(
    folder: ModelFolder | None, precision: str, max_batch: int | None, reproducible: bool
) -> Encoder:
    model = model_in_tensorflow(folder, reproducible=reproducible)
    from model.runtimes.tensorflow import TensorFlowEncoder

    return TensorFlowEncoder(model, precision, max_batch, reproducible=reproducible)


def _with_openvino(
    folder: ModelFolder | None,
    precision: str,
    max_batch: int | None,
    cache: Path | None,
    reproducible: bool,
) -> Encoder:
    try:
        from model.runtimes.openvino import OpenVinoEncoder
    except ModuleNotFoundError as error:
        raise ModelError("OpenVINO is not installed: pip install 'pathserve[openvino]'.") from error
    from model.runtimes.reference import reference_of

    reference = reference_of(folder, cache_folder(cache))
    return OpenVinoEncoder(reference, precision, max_batch, reproducible=reproducible)


def _has_gpu() -> bool:
    """Return whether NVIDIA's driver is loaded, without importing TensorFlow to ask it."""
    return Path("/proc/driver/nvidia/version").exists()
