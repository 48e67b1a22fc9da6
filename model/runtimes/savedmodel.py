"""Loading SavedModels, held to the signature of Path Foundation's.

It is ``serving_default``: one float32 input ``[None, 224, 224, 3]`` with values 0..1, output ``output_0``
``[None, 384]``. Any model with such an input and one vector output will do, whatever its vector's length.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from model.encoder import PATCH_SHAPE, PATCH_SIDE, ModelError, reason_of
from model.runtimes.import_tensorflow import tf

SIGNATURE, OUTPUT = "serving_default", "output_0"

Forward = Callable[[tf.Tensor], tf.Tensor]
"""float32 ``[n, 224, 224, 3]`` in 0..1 to float ``[n, dimension]``."""


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model that has been checked but not compiled.

    Attributes
    ----------
    digest:
        ``sha256:`` and the hash of its files or weights.
    forward:
        The model as a function of scaled pixels.
    keep_alive:
        The object that owns the weights.
    """

    name: str
    untrained: bool
    digest: str
    forward: Forward
    keep_alive: object


def load_savedmodel(folder: Path, name: str, digest: str) -> LoadedModel:
    """Load a SavedModel folder and check that it is one that embeds patches.

    Parameters
    ----------
    name:
        The model's name for clients.
    digest:
        Of its files.

    Raises
    ------
    ModelError
        When it cannot be loaded, or is not of the signature above.
    """
    try:
        loaded = tf.saved_model.load(str(folder))
    except Exception as error:  # TensorFlow raises many kinds
        raise ModelError(f"{folder} cannot be loaded as a SavedModel: {reason_of(error)}.") from error
    signature = loaded.signatures.get(SIGNATURE)
    if signature is None:
        raise ModelError(f"The SavedModel in {folder} has no signature named {SIGNATURE}.")
    input_name = _input_name(signature, folder)
    output_name = _output_name(signature, folder)
    return LoadedModel(
        name=name,
        untrained=False,
        digest=digest,
        forward=lambda scaled: signature(**{input_name: scaled})[output_name],
        keep_alive=loaded,
    )


def _input_name(signature: tf.types.experimental.ConcreteFunction, folder: Path) -> str:
    inputs = signature.structured_input_signature[1]
    expected = f"one float32 input of shape [None, {PATCH_SIDE}, {PATCH_SIDE}, 3]"
    if len(inputs) != 1:
        raise ModelError(f"The SavedModel in {folder} has {len(inputs)} inputs; expected {expected}.")
    ((name, spec),) = inputs.items()
    compatible = spec.shape.is_compatible_with([None, *PATCH_SHAPE]) and (
        spec.shape.rank is None or spec.shape[0] is None
    )
    if spec.dtype != tf.float32 or not compatible:
        raise ModelError(
            f"The SavedModel in {folder} takes {spec.dtype.name} {spec.shape}; expected {expected}."
        )
    return str(name)


def _output_name(signature: tf.types.experimental.ConcreteFunction, folder: Path) -> str:
    outputs = signature.structured_outputs
    name = OUTPUT if OUTPUT in outputs else next(iter(outputs), None)
    if name is None or (name != OUTPUT and len(outputs) > 1):
        raise ModelError(
            f"The SavedModel in {folder} has the outputs {sorted(outputs)}; "
            f"expected {OUTPUT}, or a single one."
        )
    spec = outputs[name]
    if not spec.dtype.is_floating or spec.shape.rank not in (None, 2):
        raise ModelError(
            f"The SavedModel in {folder} gives {spec.dtype.name} {spec.shape}; "
            "expected one vector of floats for each patch, [None, length]."
        )
    return str(name)
