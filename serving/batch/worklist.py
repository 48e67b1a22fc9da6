"""Which slides a command line names: files, folders, globs, addresses, and lists of them."""

from __future__ import annotations

import csv
import glob
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dicom_io.local.discovery import SUFFIXES, slides_in
from dicom_io.web.series_path import parse_series_path
from serving.batch.pixel_size import pixel_size


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
            found = slides_in(path)
            return _all_in(where, list(map(str, found))), found != [path]
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
            f"{where} names no slide; a folder is searched for {', '.join(sorted(SUFFIXES))} and for DICOM "
            "series, and other pictures are named by a glob such as 'folder/*.png'."
        )
    return [NamedSlide(path, _name(path)) for path in paths]


def _of_list(path: Path) -> list[NamedSlide]:
    """Return the slides of a CSV file; paths in it are relative to its folder."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            file.seek(0)
            # Spreadsheets write semicolons where people write decimal commas.
            delimiter = next((one for one in ",;\t" if one in first), ",")
            rows = csv.DictReader(file, delimiter=delimiter, skipinitialspace=True)
            columns = {(name or "").strip().lower() for name in rows.fieldnames or ()}
            if not columns & {"slide", "wsi", "series"}:
                raise WorklistError(
                    f"{path} has no column 'slide' (a path) or 'series' (an address); its first line names "
                    "the columns, among them 'mpp' and 'tissue' if you like."
                )
            slides = [_of_row(path, rows.line_num, row) for row in rows]
    except UnicodeDecodeError as error:
        raise WorklistError(f"{path} is not text in UTF-8; save it as such.") from error
    except (OSError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise WorklistError(f"{path} cannot be read: {reason}.") from error
    if not slides:
        raise WorklistError(f"{path} names no slide.")
    return slides


def _of_row(path: Path, line: int, row: dict[str | None, str | list[str] | None]) -> NamedSlide:
    cells = {
        (name or "").strip().lower(): text.strip() for name, text in row.items() if isinstance(text, str)
    }
    if any("\0" in text for text in cells.values()):
        raise WorklistError(f"{path}, line {line}: it is no text; save the list as text in UTF-8.")
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
        return pixel_size(text) if text else None
    except ValueError as error:
        raise WorklistError(f"{path}, line {line}: '{text}' {error}.") from None


def _beside(path: Path, where: str) -> str:
    return where if is_address(where) else str(path.parent / where)


def _name(where: str) -> str:
    if where.startswith(("https://", "http://")):
        try:
            return parse_series_path(where).series_uid
        except ValueError:
            return "series"  # it is said to be none when it is opened
    path = Path(where)
    # DICOM files are often named by a UID alone, whose last number is no ending.
    name = path.name if path.suffix[1:].isdigit() or os.path.isdir(where) else path.stem
    return name.removesuffix(".ome") or "slide"


def _require_names_that_differ(slides: Sequence[NamedSlide]) -> None:
    name, times = Counter(slide.name for slide in slides).most_common(1)[0]
    if times > 1:
        first, second, *_ = [slide.where for slide in slides if slide.name == name]
        raise WorklistError(
            f"{first} and {second} would both be written to '{name}'; embed them to different folders, or "
            "rename one."
        )
