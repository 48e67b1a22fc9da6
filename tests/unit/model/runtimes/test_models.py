"""Loading models: what runs, what is refused, and that vectors are what they should be."""

from __future__ import annotations

import mmap
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from model.encoder import ModelError
from model.runtimes.load import load_encoder
from tests.conftest import ModelFolders
from tests.support.broken_models import build_broken
from tests.support.models import DIMENSION, TOLERANCE, probe
from tests.support.tissue import tissue


def patches(count: int) -> np.ndarray:
    image = tissue(224 + 13 * count, 224)
    return np.stack([image[:, 13 * i : 13 * i + 224] for i in range(count)])


def test_a_savedmodel_of_path_foundations_signature_loads_unchanged(model_folders: ModelFolders) -> None:
    encoder = load_encoder(model_folders["probe"], "float32")
    assert encoder.facts.dimension == DIMENSION
    assert not encoder.facts.untrained
    assert encoder.facts.model == "probe"
    assert encoder.facts.digest.startswith("sha256:")
    np.testing.assert_allclose(encoder.embed(patches(5)), probe(patches(5)), atol=TOLERANCE)


def test_any_single_output_of_any_length_will_do(model_folders: ModelFolders) -> None:
    encoder = load_encoder(model_folders["other_output_name"], "float32")
    np.testing.assert_allclose(encoder.embed(patches(2)), probe(patches(2))[:, :7], atol=TOLERANCE)


KERAS_EXPORTS = """
import sys, keras
from keras import layers
model = keras.Sequential([
    keras.Input((224, 224, 3)), layers.AveragePooling2D(32), layers.Flatten(), layers.Dense(5)
])
model.compile(optimizer="adam", loss="mse")
model.export(sys.argv[1], format="tf_saved_model", verbose=False)
"""

LOADS_WITHOUT_KERAS = """
import sys; from model.runtimes.load import load_encoder
facts = load_encoder(sys.argv[1], "float32", 1).facts
print(facts.dimension, sorted({"keras", "sklearn", "matplotlib"} & set(sys.modules)))
"""


def test_a_savedmodel_that_keras_has_exported_needs_no_keras(tmp_path: Path) -> None:
    folder = str(tmp_path / "exported")
    subprocess.run([sys.executable, "-c", KERAS_EXPORTS, folder], capture_output=True, check=True)
    run = subprocess.run(
        [sys.executable, "-c", LOADS_WITHOUT_KERAS, folder], capture_output=True, text=True, check=True
    )
    assert run.stdout.splitlines()[-1] == "5 []"


def test_pixels_are_scaled_to_the_unit_range_exactly(model_folders: ModelFolders) -> None:
    encoder = load_encoder(model_folders["probe"], "float32")
    for level in (0, 1, 127, 254, 255):
        flat = np.full((1, 224, 224, 3), level, np.uint8)
        np.testing.assert_allclose(encoder.embed(flat), level / 255, atol=TOLERANCE)


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("no_signature", "no signature named serving_default"),
        ("two_outputs", "outputs"),
        ("wrong_size", "96"),
        ("wrong_type", "int32"),
        ("wrong_rank", "one vector"),
        ("fixed_batch", "4"),
    ],
)
def test_another_signature_is_refused_with_one_clear_sentence(
    model_folders: ModelFolders, kind: str, sentence: str
) -> None:
    with pytest.raises(ModelError, match=sentence) as caught:
        load_encoder(model_folders[kind], "float32")
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_broken(tmp_path_factory.mktemp("broken"))


BROKEN = [
    ("squeezed", r"gives \[384\] for a batch of 1; expected one vector for each patch, \[1, 384\]"),
    ("column_of_one", r"gives \[384, 1\] for a batch of 1"),
    ("one_row", r"gives \[1, 384\] for a batch of 4"),
    ("rank_three", r"gives \[4, 384, 1\] for a batch of 4"),
    ("scalar", r"gives \[\] for a batch of 4"),
    ("empty", "empty or not finite"),
    ("not_finite", "empty or not finite"),
    ("never_runs", "does not run a batch of 4: .*never runs"),
    ("fails_at_eight", "does not run a batch of 16: "),
    ("out_of_memory", "does not run a batch of 4: "),
]


@pytest.mark.parametrize(("kind", "sentence"), BROKEN)
def test_a_model_that_gives_no_vector_for_each_patch_is_refused_with_one_sentence(
    broken: Path, kind: str, sentence: str
) -> None:
    with pytest.raises(ModelError, match=sentence) as caught:
        load_encoder(str(broken / kind), "float32")
    assert str(caught.value).isprintable()
    assert kind in str(caught.value)


@pytest.mark.parametrize("spec", ["builtin:vit-l16", "ftp://host/model", "/nowhere/at/all"])
def test_a_model_that_is_not_there_is_refused(spec: str) -> None:
    with pytest.raises(ModelError, match=spec.split(":", maxsplit=1)[0].strip("/")):
        load_encoder(spec, "float32")


def test_a_folder_or_file_that_is_no_savedmodel_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"saved_model\.pb"):
        load_encoder(str(tmp_path), "float32")
    (tmp_path / "saved_model.pb").write_bytes(b"this is no protobuf")
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_encoder(str(tmp_path), "float32")


def test_the_digest_changes_with_the_files(model_folders: ModelFolders) -> None:
    digests = {
        load_encoder(model_folders[k], "float32").facts.digest for k in ("probe", "poisonable", "probe")
    }
    assert len(digests) == 2


@pytest.mark.parametrize("start", ["aligned", "not aligned", "read-only"])
def test_a_batch_is_embedded_from_any_memory_and_left_as_it_is(
    model_folders: ModelFolders, start: str
) -> None:
    encoder = load_encoder(model_folders["probe"], "float32")
    truth = patches(3)
    memory = mmap.mmap(-1, truth.nbytes + 1)
    batch = np.frombuffer(memory, np.uint8, truth.nbytes, int(start == "not aligned")).reshape(truth.shape)
    for shift in (0, 1):  # the second batch in the same memory is another one
        batch[...] = np.roll(truth, shift, axis=0)
        batch.flags.writeable = start != "read-only"
        vectors = encoder.embed(batch)
        batch.flags.writeable = True
        np.testing.assert_allclose(vectors, probe(np.roll(truth, shift, axis=0)), atol=TOLERANCE)
        np.testing.assert_array_equal(batch, np.roll(truth, shift, axis=0))


GOLDEN = [0.23487292, -1.1751889, 1.1053804, -0.34517992, 2.1230242]
"""First numbers of the built-in encoder's vector for the patch below, on every machine."""


def golden_patch() -> np.ndarray:
    return np.random.RandomState(0).randint(0, 255, (1, 224, 224, 3)).astype(np.uint8)


def test_the_builtin_encoder_gives_the_same_vectors_everywhere_and_says_untrained() -> None:
    encoder = load_encoder("builtin:vit-s16", "float32", max_batch=2)
    assert encoder.facts.untrained
    assert "untrained" in encoder.facts.model
    assert encoder.facts.dimension == 384
    assert encoder.facts.digest.startswith("sha256:13b81e011224")
    np.testing.assert_allclose(encoder.embed(golden_patch())[0, :5], GOLDEN, atol=1e-3)
    alone = np.concatenate([encoder.embed(patch[np.newaxis]) for patch in patches(4)])
    np.testing.assert_allclose(encoder.embed(patches(4)), alone, atol=1e-5)
    assert np.linalg.norm(alone[0] - alone[3]) > 0.1


def test_bfloat16_is_kept_only_at_parity_and_reported_either_way(model_folders: ModelFolders) -> None:
    # In processes of their own: the precision is an option of TensorFlow's whole process.
    script = (
        "import sys; from model.runtimes.load import load_encoder; "
        "f = load_encoder(sys.argv[1], 'bfloat16', 1).facts; print(f.precision + '|' + f.parity)"
    )
    found = {}
    for spec in ("builtin:vit-s16", model_folders["probe"]):
        run = subprocess.run([sys.executable, "-c", script, spec], capture_output=True, text=True, check=True)
        found[spec] = run.stdout.strip().splitlines()[-1].split("|")
    precision, parity = found["builtin:vit-s16"]
    if precision == "bfloat16":
        assert float(parity.split()[1]) >= 0.9999
    else:
        assert "refused" in parity
    # The probe has no matrix product to reduce: bfloat16 changes nothing, and that is said.
    precision, parity = found[model_folders["probe"]]
    assert precision == "float32"
    assert "refused" in parity
