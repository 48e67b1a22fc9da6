"""Finding the slides in a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from dicom_io.local.discovery import slides_in
from tests.support.local_slides import write_dicom
from tests.support.slides import pyramid


def test_files_of_slides_and_folders_of_dicom_are_found(tmp_path: Path) -> None:
    for name in ("b.SVS", "a.ndpi", "c.mrxs", "notes.txt", ".hidden.svs", "deep/d.tiff", "c/Data0001.tif"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"anything")
    write_dicom(tmp_path / "one", pyramid("JPEG", [(500, 350), (250, 175)]))
    several = write_dicom(tmp_path / "several", pyramid("JPEG", [(500, 350)]))
    (several / "XX").write_bytes(pyramid("JPEG", [(500, 350)]).instances[0].file())
    (several / "notes").write_text("no DICOM")
    assert slides_in(tmp_path) == [
        tmp_path / name
        for name in ("a.ndpi", "b.SVS", "c.mrxs", "deep/d.tiff", "one", "several/IM0000", "several/XX")
    ]


def test_a_dicom_slide_beside_other_slides_is_one_of_them(tmp_path: Path) -> None:
    write_dicom(tmp_path, pyramid("JPEG", [(500, 350), (250, 175)]))
    (tmp_path / "mask.tif").write_bytes(b"anything")
    assert slides_in(tmp_path) == [tmp_path / "mask.tif", tmp_path]


def test_an_empty_folder_has_none_and_a_missing_one_is_an_error(tmp_path: Path) -> None:
    assert slides_in(tmp_path) == []
    with pytest.raises(FileNotFoundError):
        slides_in(tmp_path / "none")
