"""Tables of ICC transforms are exact, shared, and made only for what is in much use."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from dicom_io.colour import transforms as colour
from dicom_io.colour.profiles import IccTarget, target_profile
from dicom_io.colour.table import IccTable, make_table, shared_table
from dicom_io.colour.transforms import ColourTransforms, HotTransform, IccTransform
from tests.support.service import wait_until
from tests.support.tissue import tissue

PROFILE = target_profile(IccTarget.ADOBERGB)


@pytest.fixture(scope="module")
def transform() -> IccTransform:
    return IccTransform(PROFILE, IccTarget.SRGB, 3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tables")


def test_a_table_is_exact_for_every_colour_and_found_by_other_processes(
    transform: IccTransform, folder: Path
) -> None:
    calls = []

    def counted(pixels: np.ndarray) -> np.ndarray:
        calls.append(1)
        return transform(pixels)

    table = shared_table(folder, "a", counted)
    made = len(calls)
    again = shared_table(folder, "a", counted)
    assert made == len(calls) > 0
    random = np.random.RandomState(1).randint(0, 256, (512, 700, 3)).astype(np.uint8)
    for pixels in (tissue(), random, random[3:227, 5:229]):
        np.testing.assert_array_equal(table(pixels), transform(pixels))
        np.testing.assert_array_equal(again(pixels), transform(pixels))
    corners = np.array([[[r, g, b] for r in (0, 255) for g in (0, 255)] for b in (0, 255)], np.uint8)
    np.testing.assert_array_equal(table(corners), transform(corners))
    assert [path.suffix for path in folder.iterdir()] == [".table"]


def test_every_entry_of_a_table_is_its_own_colour() -> None:
    table = make_table(lambda pixels: pixels)
    np.testing.assert_array_equal(table, np.arange(1 << 24))


def test_much_use_makes_a_table_in_the_background(
    transform: IccTransform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(colour, "HOT_PIXELS", 3 * 512 * 512)
    asked = threading.Event()

    def make() -> IccTable:
        asked.set()
        return IccTable(np.full(1 << 24, 0x030201, np.uint32))

    hot = HotTransform(transform, make)
    for _ in range(2):
        np.testing.assert_array_equal(hot(tissue()), transform(tissue()))
    assert not asked.is_set()
    hot(tissue())
    wait_until(lambda: hot(tissue())[0, 0].tolist() == [1, 2, 3], "the table")


def test_a_table_that_cannot_be_made_leaves_the_transform(
    transform: IccTransform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(colour, "HOT_PIXELS", 1)
    tried = threading.Event()

    def make() -> IccTable:
        tried.set()
        raise OSError("disk full")

    hot = HotTransform(transform, make)
    hot(tissue())
    assert tried.wait(10)
    for _ in range(3):
        np.testing.assert_array_equal(hot(tissue()), transform(tissue()))


def test_a_process_makes_few_tables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made: list[str] = []
    monkeypatch.setattr(colour, "HOT_PIXELS", 1)
    monkeypatch.setattr(colour, "shared_table", lambda _, name, __: made.append(name))
    transforms = ColourTransforms(folder=tmp_path)
    for target in (IccTarget.SRGB, IccTarget.DISPLAYP3, IccTarget.ROMMRGB, IccTarget.ADOBERGB):
        transforms.to_rgb(PROFILE, target, 3)(tissue())
    wait_until(lambda: len(made) == colour.MAX_TABLES, "the tables")
    for thread in threading.enumerate():
        if thread.name == "icc-table":
            thread.join(10)
    assert len(set(made)) == colour.MAX_TABLES
