"""Reproducible mode: a patch's vector is the same to the last bit, whatever else is embedded with it."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from model.encoder import Mend, ModelError, PixelBatch, Vectors
from model.runtimes.alone import EachAlone, require_same_again
from model.runtimes.load import BUILTIN
from tests.support.encoders import CornerEncoder
from tests.support.mixtures import mix, patches_to_mix
from tests.support.small_vit import build_small_vit

THREADS = [
    ([], {}),
    (["--one-core"], {}),
    (
        ["--at-once", "7"],
        {"TF_NUM_INTRAOP_THREADS": "3", "TF_NUM_INTEROP_THREADS": "5", "OMP_NUM_THREADS": "3"},
    ),
]
"""Arguments and environments under which vectors must be the same: threads as there are cores, one, many."""


@pytest.fixture(scope="module")
def small_vit(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(build_small_vit(tmp_path_factory.mktemp("models") / "small_vit"))


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("runtime", "one_dnn", "mixtures"),
    [("tensorflow", "0", 500), ("tensorflow", "1", 200), ("openvino", "", 500)],
)
def test_thousands_of_mixtures_never_change_a_bit(
    small_vit: str, tmp_path: Path, runtime: str, one_dnn: str, mixtures: int
) -> None:
    """With TensorFlow's own operations and with oneDNN's: by default the processor decides which run."""
    if runtime == "openvino":
        pytest.importorskip("openvino")
    digests = set()
    for arguments, environment in THREADS:
        where = ["--runtime", runtime, "--cache", str(tmp_path)]
        operations = {"TF_ENABLE_ONEDNN_OPTS": one_dnn}
        found = mix(small_vit, mixtures, *where, *arguments, environment=environment | operations)
        assert found.reproducible
        assert found.vectors > 2.5 * mixtures
        assert (found.other, found.misjudged) == (0, 0), found
        digests.add(found.digest)
    assert len(digests) == 1, "the number of threads shows"


@pytest.mark.timeout(600)
@pytest.mark.parametrize("runtime", ["tensorflow", "openvino"])
def test_mixtures_of_the_builtin_encoder_never_change_a_bit(tmp_path: Path, runtime: str) -> None:
    if runtime == "openvino":
        pytest.importorskip("openvino")
    where = ["--runtime", runtime, "--cache", str(tmp_path), "--sizes", "1", "2", "3", "5"]
    found = mix(BUILTIN, 12, *where)
    assert found.reproducible
    assert (found.other, found.misjudged) == (0, 0), found


def test_the_batch_shows_in_the_last_bits_otherwise(small_vit: str) -> None:
    """Else the tests above would show nothing; no promise, so a processor where it does not is no fault."""
    found = mix(small_vit, 40, "--plain")
    assert not found.reproducible
    assert found.unlike < 1e-5
    if not found.other:
        pytest.skip("TensorFlow's vectors do not depend on the batch on this processor")


def test_each_patch_is_embedded_alone_and_several_at_once() -> None:
    together = threading.Barrier(3)
    sizes = []

    def lane(patch: PixelBatch) -> Vectors:
        sizes.append(len(patch))
        together.wait(30)
        return patch.reshape(len(patch), -1)[:, :4].astype(np.float32)

    patches = patches_to_mix(6)
    vectors = EachAlone([lane] * 3)(patches)
    np.testing.assert_array_equal(vectors, patches.reshape(6, -1)[:, :4].astype(np.float32))
    assert sizes == [1] * 6


@pytest.mark.parametrize("lanes", [1, 3])
def test_a_patch_that_fails_raises_once_nothing_reads_the_batch_any_more(lanes: int) -> None:
    patches = patches_to_mix(5)
    patches[1, 0, 0, 0] = 255
    encoder = CornerEncoder()
    alone = EachAlone([encoder.embed] * lanes)
    with pytest.raises(RuntimeError, match="poison"):
        alone(patches)
    tried = len(encoder.sizes)
    assert tried == (2 if lanes == 1 else 5)
    patches[1, 0, 0, 0] = 0
    assert alone(patches).shape == (5, 4), "lanes are free again"


def test_a_model_that_draws_random_numbers_is_refused() -> None:
    random = np.random.RandomState(1)
    with pytest.raises(ModelError, match="noisy gives a patch another vector") as caught:
        require_same_again(
            lambda patches: random.random_sample((len(patches), 4)).astype(np.float32), "noisy"
        )
    assert caught.value.mend is Mend.REPRODUCIBLE


def test_where_tensorflow_runs_already_it_is_said(small_vit: str) -> None:
    script = (
        "import sys; from model.runtimes.load import load_encoder\n"
        "load_encoder(sys.argv[1], 'float32', 1)\n"
        "try: load_encoder(sys.argv[1], 'float32', 1, reproducible=True)\n"
        "except Exception as error: print(error)\n"
    )
    command = [sys.executable, "-c", script, small_vit]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "TensorFlow runs in this process already" in run.stdout
