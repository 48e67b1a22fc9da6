from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serving.store.doors.adding import add_paths
from serving.store.doors.conversion import Converter, find_converter
from serving.store.doors.taking import FileTaker
from serving.store.ingest.outcome import Door, Origin, Verdict
from tests.support.slides import pyramid
from tests.support.store_ingest import OpenStore

HERE = Origin(Door.ADD, "command")

WSIDICOMIZER = """
import sys
from pathlib import Path


class WsiDicomizer:
    @staticmethod
    def convert(slide, folder, uid_generator, **options):
        assert options == {"include_label": False, "include_overview": False, "include_confidential": False}
        content = Path(slide).read_bytes()
        if content == b"broken":
            raise ValueError(f"Jane Doe's slide {slide}")
        if content == b"endless":
            while True:
                pass
        import pydicom
        Path(folder).mkdir()
        for number in range(2):
            dataset = pydicom.dcmread(content.decode())
            dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uid_generator()
            dataset.save_as(Path(folder) / f"{number}.dcm")
"""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[OpenStore]:
    store = OpenStore(tmp_path / "store")
    yield store
    store.close()


@pytest.fixture
def converter(tmp_path: Path) -> Converter:
    """A Python that has a package of wsidicomizer's name, which makes two instances of a named file."""
    package = tmp_path / "site"
    package.mkdir()
    (package / "wsidicomizer.py").write_text(WSIDICOMIZER, encoding="ascii")
    python = tmp_path / "python"
    python.write_text(
        f'#!/bin/sh\nshift\nPYTHONPATH={package} exec {sys.executable} "$@"\n',
        encoding="ascii",
    )
    python.chmod(0o700)
    return Converter(python, longest_s=60)


def write_slide(path: Path) -> Path:
    made = pyramid("JPEG", [(256, 256)], BurnedInAnnotation="NO", SpecimenLabelInImage="NO")
    path.write_bytes(made.instances[0].file())
    return path


def test_files_and_folders_are_added_and_stay_where_they_are(store: OpenStore, tmp_path: Path) -> None:
    folder = tmp_path / "slides"
    (folder / "sub").mkdir(parents=True)
    paths = [write_slide(folder / "a.dcm"), write_slide(folder / "sub/b.dcm")]
    (folder / "link.dcm").symlink_to(paths[0])
    added = list(add_paths(FileTaker(store.ingest, None, HERE), [folder, tmp_path / "missing"]))
    assert [one.path for one in added] == [*paths, tmp_path / "missing"]
    assert [one.is_here for one in added] == [True, True, False]
    assert added[-1].fault == os.strerror(errno.ENOENT)
    assert all(path.exists() for path in paths)
    assert store.arrivals() == []


def test_a_file_of_another_file_system_is_copied(
    store: OpenStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_link(*_: object, **__: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", no_link)
    (outcome,) = FileTaker(store.ingest, None, HERE).take(write_slide(tmp_path / "a.dcm"))
    assert outcome.verdict is Verdict.STORED
    (tmp_path / "link").symlink_to(tmp_path / "a.dcm")
    with pytest.raises(OSError, match="symbolic"):
        FileTaker(store.ingest, None, HERE).take(tmp_path / "link")
    assert store.arrivals() == []


def test_a_vendor_slide_without_a_converter_is_refused_with_what_to_do(
    store: OpenStore, tmp_path: Path
) -> None:
    (tmp_path / "slide.svs").write_bytes(b"II*\0")
    (outcome,) = FileTaker(store.ingest, None, HERE).take(tmp_path / "slide.svs")
    assert outcome.verdict is Verdict.REFUSED
    assert "wsidicomizer" in outcome.reason


def test_a_vendor_slide_becomes_the_same_instances_each_time(
    store: OpenStore, tmp_path: Path, converter: Converter
) -> None:
    slide = tmp_path / "slide.svs"
    slide.write_text(str(write_slide(tmp_path / "a.dcm")), encoding="ascii")
    taker = FileTaker(store.ingest, converter, HERE)
    assert [outcome.verdict for outcome in taker.take(slide)] == [Verdict.STORED] * 2
    assert [outcome.verdict for outcome in taker.take(slide)] == [Verdict.SAME] * 2
    assert len(store.indexed()) == 2
    assert store.arrivals() == []


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("slide.svs", b"broken", "wsidicomizer cannot convert it: ValueError."),
        ("slide.svs", b"/missing", "wsidicomizer cannot convert it: FileNotFoundError."),
        ("notes.docx", b"PK", "It is neither a DICOM file nor a slide of a format that is converted"),
    ],
)
def test_a_slide_that_cannot_be_converted_is_refused_without_its_name(
    store: OpenStore, tmp_path: Path, converter: Converter, name: str, content: bytes, reason: str
) -> None:
    (tmp_path / name).write_bytes(content)
    (outcome,) = FileTaker(store.ingest, converter, HERE).take(tmp_path / name)
    assert outcome.verdict is Verdict.REFUSED
    assert outcome.reason.startswith(reason)
    assert store.arrivals() == []


def test_a_conversion_that_takes_too_long_is_ended(
    store: OpenStore, tmp_path: Path, converter: Converter
) -> None:
    (tmp_path / "slide.ndpi").write_bytes(b"endless")
    taker = FileTaker(store.ingest, Converter(converter.python, longest_s=0.5), HERE)
    (outcome,) = taker.take(tmp_path / "slide.ndpi")
    assert "took more than" in outcome.reason
    assert store.arrivals() == []


def test_what_converts_is_what_the_settings_name_or_what_is_installed_beside(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert find_converter(Path("/opt/python")) == Converter(Path("/opt/python"))
    found: dict[str, Any] = {"wsidicomizer": None}
    monkeypatch.setattr("importlib.util.find_spec", found.get)
    assert find_converter(None) is None
