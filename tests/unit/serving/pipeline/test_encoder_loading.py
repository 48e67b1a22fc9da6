"""What is wrong with a model is said with the settings that mend it."""

from __future__ import annotations

from pathlib import Path

import pytest

from model.encoder import ModelError
from serving.config.groups import EncoderSettings
from serving.pipeline.encoder_loading import load_configured_encoder


def test_a_model_that_is_not_there_names_the_settings_of_the_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        load_configured_encoder(EncoderSettings(model=f"{tmp_path}/none"))
    expected = (
        f"The model {tmp_path}/none is not a folder on this machine (PATHSERVE_MODEL, AIP_STORAGE_URI)."
    )
    assert str(caught.value) == expected


def test_a_cache_that_cannot_be_written_names_the_setting_of_the_cache(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match=r"file/reference cannot be written: .* \(PATHSERVE_CACHE_DIR\)\.$"):
        load_configured_encoder(EncoderSettings(cache_dir=tmp_path / "file", runtime="openvino"))


def test_what_no_setting_mends_is_left_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        load_configured_encoder(EncoderSettings(model="builtin:vit"))
    assert str(caught.value) == "There is no built-in model 'builtin:vit'; the only one is builtin:vit-s16."
