"""What other runtimes must agree with: TensorFlow's float32 vectors of fixed patches, made once per model.

TensorFlow runs in a process of its own (``python -m model.runtimes.reference``), so that a runtime that needs
none starts fast and stays small. The result is kept in the cache, by the model's digest.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from model.encoder import ModelError, Vectors, reason_of
from model.runtimes.parity import parity_patches
from model.weights.cache import Cache
from model.weights.locate import ModelFolder

_FACTS, _VECTORS, _MODEL = "facts.json", "vectors.npy", "model"
_PATIENCE_S = 600.0
_EXIT_BAD_MODEL = 78
"""Exit status of the process that runs TensorFlow, when its output says what is wrong with the model."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A model as any runtime may load it, and the vectors it must give.

    Attributes
    ----------
    folder:
        The SavedModel.
    cache, entry:
        Where the reference is kept, and where a runtime may keep what it makes of the model.
    vectors:
        float32 ``[patches, dimension]`` of the parity patches, by TensorFlow.
    """

    folder: Path
    cache: Cache
    entry: str
    name: str
    untrained: bool
    digest: str
    vectors: Vectors


def reference_of(model: ModelFolder | None, cache: Path) -> Reference:
    """Return a model's reference, from the cache where it is there.

    Parameters
    ----------
    model:
        ``None`` for the built-in encoder.
    cache:
        Folder of the whole cache.

    Raises
    ------
    ModelError
        When TensorFlow cannot load or run the model.
    """
    key = _builtin_key() if model is None else model.digest().removeprefix("sha256:")[:32]
    references = Cache(cache, "reference")
    references.sweep()
    entry = f"{key}-tensorflow-{_tensorflow_version()}"
    arguments = [] if model is None else [str(model.path), model.name]
    kept = references.find_or_make(entry, lambda folder: _run_tensorflow([str(folder), *arguments]))
    facts = json.loads((kept / _FACTS).read_text())
    return Reference(
        folder=kept / _MODEL if model is None else model.path,
        cache=references,
        entry=entry,
        name=facts["name"] if model is None else model.name,
        untrained=facts["untrained"],
        digest=facts["digest"],
        vectors=np.load(kept / _VECTORS),
    )


def _builtin_key() -> str:
    here = Path(__file__)
    sources = b"".join(here.with_name(name).read_bytes() for name in ("vit.py", "seeded_weights.py"))
    return f"builtin-{hashlib.sha256(sources).hexdigest()[:32]}"


def _tensorflow_version() -> str:
    """Return the version of whichever of its packages is installed, without importing it."""
    for name in ("tensorflow", "tensorflow-cpu"):
        with contextlib.suppress(PackageNotFoundError):
            return version(name)
    raise ModelError(
        "TensorFlow is not installed; OpenVINO's vectors are compared with its: pip install tensorflow."
    )


def _run_tensorflow(arguments: list[str]) -> None:
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "model.runtimes.reference", *arguments],
            env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            errors="replace",
            timeout=_PATIENCE_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ModelError(f"TensorFlow did not run the model in {_PATIENCE_S:.0f} seconds.") from error
    if done.returncode == _EXIT_BAD_MODEL:
        raise ModelError(done.stdout.strip())
    if done.returncode != 0:
        raise ModelError(f"TensorFlow died while it ran the model (exit status {done.returncode}).")


def _main(*arguments: str) -> int:
    """Run in the process that has TensorFlow; print what is wrong with the model on standard output."""
    try:
        _write(*arguments)
    except Exception as error:  # TensorFlow raises many kinds
        known = isinstance(error, ModelError)
        sys.stdout.write(str(error) if known else f"TensorFlow does not run it: {reason_of(error)}.")
        return _EXIT_BAD_MODEL
    return 0


def _write(out: str, *where: str) -> None:
    from model.runtimes.load import model_in_tensorflow
    from model.runtimes.tensorflow import TensorFlowEncoder
    from model.runtimes.vit import export_builtin

    folder = Path(out)
    model = model_in_tensorflow(ModelFolder(Path(where[0]), where[1]) if where else None)
    if not where:
        export_builtin(model, folder / _MODEL)
    encoder = TensorFlowEncoder(model, "float32", max_batch=1)
    np.save(folder / _VECTORS, encoder.embed(parity_patches()))
    facts = {"name": model.name, "untrained": model.untrained, "digest": model.digest}
    (folder / _FACTS).write_text(json.dumps(facts))


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
