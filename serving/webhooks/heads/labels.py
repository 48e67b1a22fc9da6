"""Labels that people give to patches: a list (CSV), or areas drawn in QuPath (GeoJSON)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from serving.heads.head import HeadError
from serving.webhooks.heads.labelled_areas import read_areas
from serving.webhooks.heads.labelled_list import read_list
from serving.webhooks.heads.vectors import SlideVectors


class Labels(Protocol):
    """Labels of one file.

    Attributes
    ----------
    colours:
        ``#RRGGBB`` of the classes that have one.
    """

    @property
    def colours(self) -> Mapping[str, str]: ...

    def are_of(self, slide: SlideVectors) -> bool:
        """Return whether the file labels a slide: by what is in it, or else by its own name."""

    def of(self, slide: SlideVectors) -> list[str | None]:
        """Return each patch's class, ``None`` where it has none.

        Raises
        ------
        HeadError
            When a label is given to a patch that there is not.
        """


def read_labels(path: Path) -> Labels:
    """Read a ``.csv``, or a ``.geojson`` or ``.json`` as QuPath exports it.

    Raises
    ------
    HeadError
        When it is neither; the text says what is wrong and where.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise HeadError(f"{path} cannot be read: {error.strerror}.") from error
    if path.suffix.lower() in (".geojson", ".json"):
        return read_areas(path, data)
    if path.suffix.lower() == ".csv":
        return read_list(path, data)
    raise HeadError(f"{path} is not a list of labels: give a .csv, or a .geojson of QuPath.")
