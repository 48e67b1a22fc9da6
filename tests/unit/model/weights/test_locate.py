"""A model's folder: what is its weights, and what only lies beside them."""

from __future__ import annotations

from pathlib import Path

from model.weights.cache import folder_digest
from model.weights.locate import ModelFolder


def test_a_golden_file_beside_the_weights_does_not_make_another_model_of_them(tmp_path: Path) -> None:
    (tmp_path / "variables").mkdir()
    (tmp_path / "saved_model.pb").write_bytes(b"graph")
    model = ModelFolder(tmp_path, "m")
    bare = model.digest()
    assert bare == folder_digest(tmp_path)
    (tmp_path / "golden.json").write_text("{}")
    assert model.digest() == bare
    assert folder_digest(tmp_path) != bare
    (tmp_path / "variables" / "golden.json").write_text("{}")
    assert model.digest() != bare
