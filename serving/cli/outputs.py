"""Where the outputs of a command go: a file, or a folder with one for each slide."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from serving.batch.worklist import NamedSlide, Worklist
from serving.output.formats import Format
from serving.output.run import Paths


def paths_of(out: str, kinds: Sequence[Format], work: Worklist) -> list[tuple[NamedSlide, Paths]]:
    """Return the slides with where their outputs are written.

    Parameters
    ----------
    out:
        As it was typed. A folder where there may be several slides, where it is one already, or where it ends
        with a slash; else a file.
    kinds:
        Formats that are asked for; without any, what the file's name says, else Parquet.
    """
    path = Path(out)
    if work.many or out.endswith("/") or os.path.isdir(out):
        return [(slide, _in_folder(path, kinds or [Format.PARQUET], slide)) for slide in work.slides]
    return [(slide, Paths(_beside(path, kinds))) for slide in work.slides]


def picture_of(paths: Paths) -> Path:
    """Return where the picture of an output is written."""
    first = paths.first
    known = first.suffix[1:] in set(Format)
    return first.with_name((first.stem if known else first.name) + ".overview.png")


def _in_folder(folder: Path, kinds: Sequence[Format], slide: NamedSlide) -> Paths:
    return Paths({kind: folder / f"{slide.name}.{kind}" for kind in kinds})


def _beside(path: Path, kinds: Sequence[Format]) -> dict[Format, Path]:
    named = next((kind for kind in Format if path.suffix == f".{kind}"), None)
    if not kinds:
        return {named or Format.PARQUET: path}
    if len(kinds) == 1:
        return {kinds[0]: path}
    stem = path.name if named is None else path.stem
    return {kind: path.with_name(f"{stem}.{kind}") for kind in kinds}
