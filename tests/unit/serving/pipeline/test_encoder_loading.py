"""What is wrong with a model is said with the settings that mend it."""

from __future__ import annotations

from pathlib import Path

import pytest

from model.encoder import ModelError
from model.golden.file import write_golden
from serving.config.groups import EncoderSettings
from serving.config.settings import SettingsError, load_settings
from serving.pipeline.encoder_loading import load_configured_encoder
from tests.conftest import ModelFolders
from tests.support.encoders import ProbeEncoder
from tests.support.golden import golden_of


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


def test_a_golden_file_that_is_not_the_wanted_one_is_named_before_the_model_is_loaded(
    tmp_path: Path, model_folders: ModelFolders
) -> None:
    wanted = f"sha256:{'0' * 64}"
    settings = EncoderSettings(model=model_folders["probe"], golden_digest=wanted)
    with pytest.raises(ModelError) as caught:
        load_configured_encoder(settings)
    assert str(caught.value) == (
        "The golden file cannot be used: PATHSERVE_GOLDEN_DIGEST is set, but PATHSERVE_GOLDEN is not, and no "
        "golden file lies with the weights."
    )
    golden = tmp_path / "golden.json"
    digest = write_golden(golden, golden_of(ProbeEncoder()))
    with pytest.raises(
        ModelError, match=f"has the digest {digest}, and PATHSERVE_GOLDEN_DIGEST wants {wanted}"
    ):
        load_configured_encoder(settings.model_copy(update={"golden": golden}))


def test_a_digest_that_is_none_is_refused_by_its_variable() -> None:
    with pytest.raises(SettingsError, match="PATHSERVE_GOLDEN_DIGEST"):
        load_settings({"PATHSERVE_GOLDEN_DIGEST": "sha256:12"})
    with pytest.raises(SettingsError, match="PATHSERVE_GOLDEN: Path does not point to a file"):
        load_settings({"PATHSERVE_GOLDEN": "/nowhere/golden.json"})


def test_what_no_setting_mends_is_left_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        load_configured_encoder(EncoderSettings(model="builtin:vit"))
    assert str(caught.value) == "There is no built-in model 'builtin:vit'; the only one is builtin:vit-s16."
