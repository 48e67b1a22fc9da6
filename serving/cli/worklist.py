"""Which slides a command line names: files, folders, globs, addresses, and lists of them."""

from __future__ import annotations

import csv
import glob
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dicom_io.web.series_path import parse_series_path

SLIDE_ENDINGS = frozenset(
    {".svs", ".tif", ".tiff", ".ndpi", ".vms", ".vmu", ".scn", ".mrxs", ".svslide", ".bif", ".zip"}
)
"""Files that a folder is searched for. Pictures are not among them: overviews may be beside slides."""

_DICOM_MAGIC = b"DICM"


class WorklistError(Exception):
    """The command line names no slide, or not clearly; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class NamedSlide:
    """A slide that is to be embedded.

    Attributes
    ----------
    where:
        A path, ``gs://BUCKET/OBJECT`` or the address of a series.
    name:
        What its output is called, without an ending.
    mpp:
        Size of a pixel of level 0 in µm, where the list gives it.
    tissue:
        File with its tissue, where the list gives one.
    """

    where: str
    name: str
    mpp: float | None = None
    tissue: str | None = None


@dataclass(frozen=True, slots=True)
class Worklist:
    """The slides of a command line.

    Attributes
    ----------
    many:
        Whether it may name more than one, so that the output is a folder.
    """

    slides: tuple[NamedSlide, ...]
    many: bool


def worklist(wheres: Sequence[str]) -> Worklist:
    """Return the slides that arguments name, in their order.

    Raises
    ------
    WorklistError
        When one of them names no slide, a list cannot be read, or two outputs would have the same name.
    """
    found = [_expanded(where) for where in wheres]
    slides = tuple(slide for some, _ in found for slide in some)
    work = Worklist(slides, len(wheres) > 1 or any(many for _, many in found))
    if work.many:
        _require_names_that_differ(slides)
    return work


def is_address(where: str) -> bool:
    """Return whether it is the address of a series or of an object, not a path."""
    return where.startswith(("https://", "http://", "gs://"))


def _expanded(where: str) -> tuple[list[NamedSlide], bool]:
    """Return what an argument names, and whether it may name several."""
    if is_address(where):
        return [NamedSlide(where, _name(where))], False
    path = Path(where)
    try:
        if path.is_dir():
            if is_dicom_folder(path):
                return [NamedSlide(where, _name(where))], False
            return _all_in(where, sorted(_slides_below(path))), True
        if glob.has_magic(where) and not path.exists():
            return _all_in(where, sorted(glob.glob(where, recursive=True))), True
    except OSError as error:
        raise WorklistError(f"{error.filename or where} cannot be read: {error.strerror}.") from error
    if path.suffix.lower() == ".csv":
        return _of_list(path), True
    return [NamedSlide(where, _name(where))], False


def _all_in(where: str, paths: Sequence[str]) -> list[NamedSlide]:
    if not paths:
        raise WorklistError(
            f"{where} names no slide; a folder is searched for {', '.join(sorted(SLIDE_ENDINGS))} and for "
            "folders of DICOM files, other pictures are named by a glob such as 'folder/*.png'."
        )
    return [NamedSlide(path, _name(path)) for path in paths]


def _slides_below(folder: Path) -> Iterator[str]:
    """Yield the slides in a folder and in those below it; a folder of DICOM files is one slide."""

    def unreadable(error: OSError) -> None:
        raise error

    for place, folders, files in os.walk(folder, onerror=unreadable):
        here = Path(place)
        dicom = [name for name in folders if not name.startswith(".") and is_dicom_folder(here / name)]
        yield from (str(here / name) for name in dicom)
        folders[:] = [name for name in folders if not name.startswith(".") and name not in dicom]
        for name in files:
            if Path(name).suffix.lower() in SLIDE_ENDINGS and not name.startswith("."):
                yield str(here / name)


def is_dicom_folder(folder: Path) -> bool:
    """Return whether there are DICOM files in a folder itself: then it is a slide."""
    with os.scandir(folder) as entries:
        return any(entry.is_file() and _is_dicom(entry) for entry in entries)


def _is_dicom(entry: os.DirEntry[str]) -> bool:
    """Return whether a file is called a DICOM file; stores' exports often have names without an ending."""
    suffix = Path(entry.name).suffix.lower()
    if suffix in (".dcm", ".dicom"):
        return True
    if suffix and not suffix[1:].isdigit():  # the last part of a UID looks like an ending
        return False
    try:
        with open(entry.path, "rb") as file:
            return file.read(132)[128:] == _DICOM_MAGIC
    except OSError:
        return False


def _of_list(path: Path) -> list[NamedSlide]:
    """Return the slides of a CSV file; paths in it are relative to its folder."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file, skipinitialspace=True)
            columns = {(name or "").strip().lower() for name in rows.fieldnames or ()}
            if not columns & {"slide", "wsi", "series"}:
                raise WorklistError(
                    f"{path} has no column 'slide' (a path) or 'series' (an address); its first line names "
                    "the columns, among them 'mpp' and 'tissue' if you like."
                )
            slides = [_of_row(path, rows.line_num, row) for row in rows]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise WorklistError(f"{path} cannot be read: {reason}.") from error
    if not slides:
        raise WorklistError(f"{path} names no slide.")
    return slides


def _of_row(path: Path, line: int, row: dict[str | None, str | list[str] | None]) -> NamedSlide:
    cells = {
        (name or "").strip().lower(): text.strip() for name, text in row.items() if isinstance(text, str)
    }
    slide = cells.get("slide") or cells.get("wsi") or ""
    where = cells.get("series") or slide
    if not where:
        raise WorklistError(f"{path}, line {line}: neither a slide nor a series is named.")
    return NamedSlide(
        _beside(path, where),
        _name(slide or where),
        _mpp_of(path, line, cells.get("mpp", "")),
        _beside(path, cells["tissue"]) if cells.get("tissue") else None,
    )


def _mpp_of(path: Path, line: int, text: str) -> float | None:
    try:
        mpp = float(text) if text else None
    except ValueError:
        mpp = -1.0
    if mpp is not None and not 0 < mpp < float("inf"):
        raise WorklistError(f"{path}, line {line}: '{text}' is not a size of a pixel in µm.")
    return mpp


def _beside(path: Path, where: str) -> str:
    return where if is_address(where) else str(path.parent / where)


def _name(where: str) -> str:
    if where.startswith(("https://", "http://")):
        try:
            return parse_series_path(where).series_uid
        except ValueError:
            return "series"  # it is said to be none when it is opened
    path = Path(where)
    name = path.name if os.path.isdir(where) else path.stem
    return name.removesuffix(".ome") or "slide"


def _require_names_that_differ(slides: Sequence[NamedSlide]) -> None:
    name, times = Counter(slide.name for slide in slides).most_common(1)[0]
    if times > 1:
        first, second, *_ = [slide.where for slide in slides if slide.name == name]
        raise WorklistError(
            f"{first} and {second} would both be written to '{name}'; embed them to different folders, or "
            "rename one."
        )
