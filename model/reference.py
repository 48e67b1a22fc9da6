"""What other runtimes are held to: TensorFlow's float32 vectors of fixed patches, made once for each model.

TensorFlow runs in a process of its own (``python -m model.reference``), so that a runtime that does without
it starts fast and stays small. The result is kept in the cache, by the model's digest.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import packages_distributions, version
from pathlib import Path

import numpy as np

from model.encoder import ModelError, Vectors
from model.parity import parity_patches
from model.weights import ModelFolder, folder_digest

_FACTS, _VECTORS, _MODEL = "facts.json", "vectors.npy", "model"
_PATIENCE_S = 600.0


@dataclass(frozen=True, slots=True)
class Reference:
    """A model as any runtime may load it, and what its vectors must be.

    Attributes
    ----------
    folder:
        The SavedModel.
    kept:
        Folder for what a runtime makes of the model and wants to find again.
    vectors:
        float32 ``[patches, dimension]`` of the parity patches, by TensorFlow.
    """

    folder: Path
    kept: Path
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

    Raises
    ------
    ModelError
        When TensorFlow cannot load or run the model.
    """
    key = _builtin_key() if model is None else folder_digest(model.path).removeprefix("sha256:")[:32]
    kept = cache / "reference" / f"{key}-tensorflow-{_tensorflow_version()}"
    if not (kept / _FACTS).exists():
        _make(model, kept)
    facts = json.loads((kept / _FACTS).read_text())
    return Reference(
        folder=kept / _MODEL if model is None else model.path,
        kept=kept,
        name=facts["name"] if model is None else model.name,
        untrained=facts["untrained"],
        digest=facts["digest"],
        vectors=np.load(kept / _VECTORS),
    )


def _tensorflow_version() -> str:
    """Say it without an import of seconds; the package comes in distributions of several names."""
    return version(packages_distributions()["tensorflow"][0])


def _builtin_key() -> str:
    source = Path(__file__).with_name("vit.py").read_bytes()
    return f"builtin-{hashlib.sha256(source).hexdigest()[:32]}"


def _make(model: ModelFolder | None, kept: Path) -> None:
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=kept.parent))
    except OSError as error:
        raise ModelError(
            f"{kept.parent} cannot be written ({error.strerror}); set PATHSERVE_CACHE_DIR."
        ) from error
    arguments = [str(temporary), *([] if model is None else [str(model.path), model.name])]
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "model.reference", *arguments],
            env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"},
            capture_output=True,
            text=True,
            timeout=_PATIENCE_S,
            check=False,
        )
        if done.returncode != 0:
            lines = done.stderr.strip().splitlines() or ["no reason given"]
            raise ModelError(lines[-1].removeprefix("model.encoder.ModelError: ")[:400])
        if not kept.exists():
            temporary.rename(kept)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _main(out: str, *where: str) -> None:
    """Run in the process that has TensorFlow."""
    from model import savedmodel, vit

    folder = Path(out)
    if where:
        model = savedmodel.load_savedmodel(Path(where[0]), where[1])
    else:
        model = vit.load_builtin()
        vit.export_builtin(model, folder / _MODEL)
    encoder = savedmodel.TensorFlowEncoder(model, "float32", max_batch=1)
    np.save(folder / _VECTORS, encoder.embed(parity_patches()))
    facts = {"name": model.name, "untrained": model.untrained, "digest": model.digest}
    (folder / _FACTS).write_text(json.dumps(facts))


if __name__ == "__main__":
    _main(*sys.argv[1:])
