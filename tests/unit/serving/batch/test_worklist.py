"""Which slides a command line names, and where their outputs go."""

from __future__ import annotations

from pathlib import Path

import pytest

from serving.batch.worklist import NamedSlide, Worklist, WorklistError, worklist
from serving.cli.outputs import paths_of, picture_of
from serving.output.formats import Format

SERIES = "https://store/dicomWeb/studies/1.2/series/3.4"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in (
        "a.svs",
        "b.NDPI",
        "c.png",
        "notes.txt",
        ".hidden.svs",
        "deep/d.tiff",
        "m.mrxs",
        "m/Data0.dat",
    ):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"II*\0")
    return tmp_path


def names(work: Worklist) -> list[str]:
    return sorted(slide.name for slide in work.slides)


def test_a_folder_names_its_slides_and_those_below(folder: Path) -> None:
    work = worklist([str(folder)])
    assert names(work) == ["a", "b", "d", "m"]
    assert work.many


def test_a_glob_names_what_it_matches(folder: Path) -> None:
    assert names(worklist([f"{folder}/*.png"])) == ["c"]
    assert names(worklist([f"{folder}/**/*.tiff"])) == ["d"]
    with pytest.raises(WorklistError, match="names no slide"):
        worklist([f"{folder}/*.bif"])


def test_a_file_or_an_address_is_one_slide(folder: Path) -> None:
    assert worklist([f"{folder}/a.svs"]) == Worklist((NamedSlide(f"{folder}/a.svs", "a"),), many=False)
    assert worklist([SERIES]).slides == (NamedSlide(SERIES, "3.4"),)
    assert worklist(["gs://bucket/x/slide.tiff"]).slides == (NamedSlide("gs://bucket/x/slide.tiff", "slide"),)
    assert worklist([f"{folder}/a.svs", SERIES]).many


def test_a_list_has_slides_series_sizes_and_tissue(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text(
        f"\ufeffSlide, mpp, series, tissue\na.svs, 0.25,,\nsub/b.ome.tiff,,,masks/b.png\nc.svs,,{SERIES},\n"
        f",,{SERIES}.5,\n\n",
        encoding="utf-8",
    )
    assert worklist([str(path)]).slides == (
        NamedSlide(str(tmp_path / "a.svs"), "a", 0.25),
        NamedSlide(str(tmp_path / "sub/b.ome.tiff"), "b", None, str(tmp_path / "masks/b.png")),
        NamedSlide(SERIES, "c"),
        NamedSlide(SERIES + ".5", "3.4.5"),
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no column 'slide'"),
        ("a.svs\nb.svs\n", "has no column 'slide'"),
        ("slide,mpp\n", "names no slide"),
        ("slide,mpp\na.svs,fine\n", "line 2: 'fine' is neither µm"),
        ("slide,mpp\na.svs,-1\n", "line 2: '-1' is neither µm"),
        ("slide,mpp\na.svs,nan\n", "line 2: 'nan' is neither µm"),
        ("slide,mpp\n,0.5\n", "line 2: neither a slide nor a series"),
        ("slide\na.svs\nx/a.svs\n", "would both be written to 'a'"),
        ("slide\n\udcff\n", "is not text in UTF-8; save it as such"),
        ("slide\na\0.svs\n", "line 2: it is no text"),
    ],
)
def test_a_list_that_cannot_be_used_says_where(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "list.csv"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(WorklistError, match=said):
        worklist([str(path)])


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_list_may_be_of_any_spreadsheet_and_name_magnifications(tmp_path: Path, delimiter: str) -> None:
    path = tmp_path / "list.csv"
    path.write_text(f"slide{delimiter}mpp\na.svs{delimiter}40x\n")
    assert worklist([str(path)]).slides == (NamedSlide(str(tmp_path / "a.svs"), "a", 0.25),)


def test_a_file_that_is_called_by_a_uid_keeps_its_last_number(tmp_path: Path) -> None:
    assert names(worklist(["1.2.840.1", "1.2.840.2", "1.2.840.3.dcm"])) == [
        "1.2.840.1", "1.2.840.2", "1.2.840.3",
    ]  # fmt: skip


def test_a_list_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(WorklistError, match=r"list\.csv cannot be read: No such file"):
        worklist([str(tmp_path / "list.csv")])


@pytest.mark.parametrize(
    ("out", "kinds", "files", "picture"),
    [
        ("o.parquet", [], ["o.parquet"], "o.overview.png"),
        ("o.h5", [], ["o.h5"], "o.overview.png"),
        ("o", [], ["o"], "o.overview.png"),
        ("o.x", ["h5"], ["o.x"], "o.x.overview.png"),
        ("o.parquet", ["parquet", "h5"], ["o.parquet", "o.h5"], "o.overview.png"),
        ("o", ["h5", "zarr"], ["o.h5", "o.zarr"], "o.overview.png"),
        ("out/", ["h5"], ["out/a.h5"], "out/a.overview.png"),
    ],
)
def test_outputs_of_one_slide(out: str, kinds: list[str], files: list[str], picture: str) -> None:
    ((_, paths),) = paths_of(out, [Format(kind) for kind in kinds], worklist(["a.svs"]))
    assert [str(path) for path in paths.files.values()] == files
    assert str(picture_of(paths)) == picture


def test_outputs_of_many_slides_and_in_a_folder_that_is_there(tmp_path: Path) -> None:
    many = paths_of("out", [], worklist(["a.svs", "b.svs"]))
    assert [str(paths.first) for _, paths in many] == ["out/a.parquet", "out/b.parquet"]
    ((_, paths),) = paths_of(str(tmp_path), [], worklist(["a.svs"]))
    assert paths.first == tmp_path / "a.parquet"
