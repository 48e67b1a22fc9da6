"""Settings that are well-formed but cannot be used, found without starting anything."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from serving.config.settings import SettingsError, load_settings
from serving.processes.assembly import read_context, require_usable


@pytest.fixture
def bad_icc_folder(tmp_path: Path) -> str:
    (tmp_path / "srgb.icc").write_bytes(b"not a profile")
    return str(tmp_path)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("APPROVED_DICOM_STORE_SOURCE_LIST", "ftp://store"),
        ("APPROVED_GCS_SOURCE_LIST", "s3://bucket"),
        ("PATHSERVE_ICC_FOLDER", None),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_by_its_variables_name(
    variable: str, value: str | None, bad_icc_folder: str
) -> None:
    settings = load_settings(environment={variable: value or bad_icc_folder})
    before = set(threading.enumerate())
    for refuse in (require_usable, read_context):
        with pytest.raises(SettingsError, match=f"bad setting: {variable}: "):
            refuse(settings)
    assert set(threading.enumerate()) <= before


def test_the_settings_reach_what_reads_images(tmp_path: Path) -> None:
    environment = {"PATHSERVE_MAX_IMAGE_PIXELS": "60000", "PATHSERVE_DICOM_VALIDATION": "strict"}
    settings = load_settings(environment=environment)
    require_usable(settings)
    context = read_context(settings)
    try:
        assert context.max_image_pixels == 60000
        assert context.levels.strict
    finally:
        context.decoders.close()
