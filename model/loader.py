"""From the name of a model to a warm encoder. TensorFlow is imported here, on demand, and no earlier."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from model.encoder import Encoder, ModelError
from model.weights import default_cache, fetch_model

BUILTIN = "builtin:vit-s16"


def load_encoder(
    spec: str, precision: str, max_batch: int | None = None, cache: Path | None = None
) -> Encoder:
    """Load a model and run every batch size once.

    Parameters
    ----------
    spec:
        ``builtin:vit-s16``, or where a SavedModel is (see ``fetch_model``).
    precision:
        ``float32`` or ``bfloat16``.
    max_batch:
        Largest batch in patches; by the device when not given.
    cache:
        Folder that keeps downloaded models; by default the user's cache folder.

    Raises
    ------
    ModelError
        With one sentence that says what is wrong with the model.
    """
    if spec.startswith("builtin:") and spec != BUILTIN:
        raise ModelError(f"There is no built-in model {spec!r}; the only one is {BUILTIN}.")
    folder = None if spec == BUILTIN else fetch_model(spec, cache or default_cache())
    with _hushed():
        from model import savedmodel, vit
    model = vit.load_builtin() if folder is None else savedmodel.load_savedmodel(folder.path, folder.name)
    try:
        return savedmodel.TensorFlowEncoder(model, precision, max_batch)
    except Exception as error:
        raise ModelError(f"The model in {spec} does not run: {str(error)[:300]}") from error


@contextlib.contextmanager
def _hushed() -> Iterator[None]:
    """Keep TensorFlow's chatter at import out of the JSON log; show it if the import fails."""
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as chatter:
        os.dup2(chatter.fileno(), 2)
        try:
            yield
        except BaseException:
            chatter.seek(0)
            os.write(stderr, chatter.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)
