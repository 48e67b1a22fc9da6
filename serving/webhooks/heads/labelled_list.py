"""Labels as a list of patches: CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from serving.heads.head import HeadError
from serving.webhooks.heads.vectors import SlideVectors


@dataclass(frozen=True, slots=True)
class LabelledList:
    """Patches by their upper left corners.

    Attributes
    ----------
    rows:
        Of each slide's name, ``None`` where the list names none: (x, y) with the line and the class.
    """

    path: Path
    rows: Mapping[str | None, Mapping[tuple[int, int], tuple[int, str]]]

    @property
    def colours(self) -> Mapping[str, str]:
        return {}

    def are_of(self, slide: SlideVectors) -> bool:
        named = None in self.rows and self.path.stem in slide.names
        return named or not slide.names.isdisjoint(name for name in self.rows if name)

    def of(self, slide: SlideVectors) -> list[str | None]:
        wanted = {
            place: row
            for name, rows in self.rows.items()
            if name is None or name in slide.names
            for place, row in rows.items()
        }
        places = [(int(x), int(y)) for x, y in slide.origins]
        strange = wanted.keys() - set(places)
        if strange:
            line, place = min((wanted[place][0], place) for place in strange)
            raise HeadError(
                f"{self.path}, line {line}: {slide.slide} has no vector of a patch at {place}; x and y are "
                "the upper left corner of a patch in level-0 pixels (x0 and y0 of the table)."
            )
        return [wanted[place][1] if place in wanted else None for place in places]


def read_list(path: Path, data: bytes) -> LabelledList:
    """Read a CSV file with the columns x, y and label, and slide where it is of several.

    Raises
    ------
    HeadError
        When it is none; the text names the line.
    """
    try:
        reader = csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
        reader.fieldnames = [name.strip().lower() for name in reader.fieldnames or ()]
        x, y = ("x0", "y0") if "x0" in reader.fieldnames else ("x", "y")
        missing = {x, y, "label"} - set(reader.fieldnames)
        if missing:
            raise HeadError(
                f"{path} has no column {', '.join(sorted(missing))}; it needs x, y and label, and slide for "
                "several slides."
            )
        rows: dict[str | None, dict[tuple[int, int], tuple[int, str]]] = {}
        for row in reader:
            label = (row["label"] or "").strip()
            if not label:
                continue
            place, mine = _place(path, reader.line_num, row[x], row[y]), rows.setdefault(_slide(row), {})
            if mine.setdefault(place, (reader.line_num, label))[1] != label:
                raise HeadError(
                    f"{path}, line {reader.line_num}: the patch at {place} is {mine[place][1]} already."
                )
    except UnicodeDecodeError as error:
        raise HeadError(f"{path} is not text in UTF-8.") from error
    except csv.Error as error:
        raise HeadError(f"{path} is not a CSV file: {error}.") from error
    return LabelledList(path, rows)


def _slide(row: Mapping[str, str | None]) -> str | None:
    return (row.get("slide") or "").strip() or None


def _place(path: Path, line: int, x: str | None, y: str | None) -> tuple[int, int]:
    try:
        return _whole(x), _whole(y)
    except ValueError:
        raise HeadError(
            f"{path}, line {line}: x and y are whole numbers, not {x!r:.40}, {y!r:.40}."
        ) from None


def _whole(text: str | None) -> int:
    number = float(text or "")  # a spreadsheet may write 448.0
    if not number.is_integer():
        raise ValueError
    return int(number)
