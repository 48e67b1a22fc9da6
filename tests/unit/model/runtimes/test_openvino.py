"""OpenVINO beside TensorFlow: the same vectors, or a refusal that says why."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from model.encoder import Mend, ModelError
from model.runtimes.load import BUILTIN, load_encoder
from model.runtimes.openvino import OpenVinoEncoder
from model.runtimes.parity import parity_patches
from model.runtimes.reference import Reference
from model.weights.cache import Cache, folder_digest
from tests.conftest import ModelFolders
from tests.support.broken_models import build_broken
from tests.support.models import DIMENSION, TOLERANCE, probe
from tests.support.read_only import read_only
from tests.unit.model.runtimes.test_models import GOLDEN, golden_patch, patches


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def test_a_savedmodel_gives_the_same_vectors(model_folders: ModelFolders, cache: Path) -> None:
    encoder = load_encoder(model_folders["probe"], "float32", cache=cache, runtime="openvino")
    np.testing.assert_allclose(encoder.embed(patches(5)), probe(patches(5)), atol=TOLERANCE)
    facts = encoder.facts
    assert (facts.model, facts.dimension, facts.precision, facts.device) == (
        "probe",
        DIMENSION,
        "float32",
        "CPU",
    )
    assert facts.runtime.startswith("OpenVINO 20")
    assert facts.digest == load_encoder(model_folders["probe"], "float32").facts.digest
    kept = encoder.embed(patches(2))
    encoder.embed(patches(3))
    np.testing.assert_allclose(kept, probe(patches(2)), atol=TOLERANCE)  # not a view that is written over


@pytest.mark.parametrize(
    ("precision", "least"), [("float32", 0.999999), ("bfloat16", 0.9999), ("int8", 0.9995)]
)
def test_the_builtin_encoder_in_every_precision(cache: Path, precision: str, least: float) -> None:
    encoder = load_encoder(BUILTIN, precision, cache=cache, runtime="openvino")
    assert encoder.facts.untrained
    assert encoder.facts.digest.startswith("sha256:13b81e011224")
    if precision in ("float32", encoder.facts.precision):
        assert float(encoder.facts.parity.split()[1]) >= least
    else:
        assert "refused" in encoder.facts.parity
    tolerance = 1e-3 if encoder.facts.precision == "float32" else 0.2
    np.testing.assert_allclose(encoder.embed(golden_patch())[0, :5], GOLDEN, atol=tolerance)


def test_a_second_start_does_without_tensorflow_and_without_writing(cache: Path) -> None:
    load_encoder(BUILTIN, "int8", cache=cache, runtime="openvino")
    script = (
        "import sys; from pathlib import Path; from model.runtimes.load import load_encoder; "
        "load_encoder('builtin:vit-s16', 'int8', 1, Path(sys.argv[1]), 'openvino'); "
        "print('tensorflow' in sys.modules)"
    )
    command = [*read_only(cache), sys.executable, "-c", script, str(cache)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


def test_auto_takes_openvino_only_where_its_vectors_agree(
    model_folders: ModelFolders, tmp_path: Path
) -> None:
    spec = model_folders["probe"]
    assert load_encoder(spec, "float32", cache=tmp_path, runtime="auto").facts.runtime.startswith("OpenVINO")
    (vectors,) = tmp_path.glob("reference/*/files/vectors.npy")
    np.save(vectors, -np.load(vectors))
    (vectors.parents[1] / "digest").write_text(folder_digest(vectors.parent))
    encoder = load_encoder(spec, "float32", cache=tmp_path, runtime="auto")
    assert encoder.facts.runtime.startswith("TensorFlow")
    np.testing.assert_allclose(encoder.embed(patches(2)), probe(patches(2)), atol=TOLERANCE)
    with pytest.raises(ModelError, match="not TensorFlow's: float32 refused: cosine -1"):
        load_encoder(spec, "float32", cache=tmp_path, runtime="openvino")


def test_what_tensorflow_refuses_is_refused_in_its_words(model_folders: ModelFolders, cache: Path) -> None:
    with pytest.raises(ModelError, match="no signature named serving_default"):
        load_encoder(model_folders["no_signature"], "float32", cache=cache, runtime="openvino")


def test_a_model_that_openvino_runs_to_another_shape_is_refused(tmp_path: Path) -> None:
    folder = build_broken(tmp_path) / "squeezed"
    truth = probe(parity_patches())
    cache = Cache(tmp_path, "reference")
    reference = Reference(folder, cache, "entry", "squeezed", untrained=False, digest="", vectors=truth)
    with pytest.raises(ModelError, match=r"squeezed (gives|does not run)"):
        OpenVinoEncoder(reference, "float32")


@pytest.mark.parametrize("folder", ["", "notes"])
def test_what_is_no_model_is_refused_by_the_process_that_makes_the_reference(
    tmp_path: Path, folder: str
) -> None:
    (tmp_path / "saved_model.pb").write_text("no protobuf")
    (tmp_path / "notes").mkdir()
    with pytest.raises(ModelError, match=r"cannot be loaded as a SavedModel|no saved_model\.pb") as caught:
        load_encoder(str(tmp_path / folder), "float32", cache=tmp_path / "cache", runtime="openvino")
    assert str(caught.value).isprintable()


def test_tensorflow_has_no_int8(model_folders: ModelFolders) -> None:
    facts = load_encoder(model_folders["probe"], "int8").facts
    assert facts.precision == "float32"
    assert "int8 refused" in facts.parity


def test_without_openvino_auto_runs_tensorflow_and_openvino_says_what_to_install(
    model_folders: ModelFolders, cache: Path
) -> None:
    script = (
        "import sys; sys.modules['openvino'] = None\n"
        "from pathlib import Path; from model.runtimes.load import load_encoder\n"
        "print(load_encoder(sys.argv[1], 'float32', 1, Path(sys.argv[2]), 'auto').facts.runtime)\n"
        "try: load_encoder(sys.argv[1], 'float32', 1, Path(sys.argv[2]), 'openvino')\n"
        "except Exception as error: print(error)\n"
    )
    command = [sys.executable, "-c", script, model_folders["probe"], str(cache)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    runtime, error = run.stdout.strip().splitlines()[-2:]
    assert runtime.startswith("TensorFlow")
    assert "pip install 'pathserve[openvino]'" in error


def test_a_cache_that_cannot_be_written_is_said_to_be_so(model_folders: ModelFolders, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match="cannot be written") as caught:
        load_encoder(model_folders["probe"], "float32", cache=tmp_path / "file", runtime="openvino")
    assert caught.value.mend is Mend.CACHE_FOLDER
