"""Finding the slides in a folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from dicom_io.codecs.dicom_file import is_dicom_file
from dicom_io.codecs.encoded_image import DamagedImage
from dicom_io.errors import ImageError
from dicom_io.local.dicom_header import read_header
from dicom_io.local.files import PositionedFile
from dicom_io.slides.requirements import SOP_CLASSES

SUFFIXES = frozenset(
    {".svs", ".ndpi", ".mrxs", ".scn", ".bif", ".vms", ".vmu", ".svslide", ".tif", ".tiff", ".zip"}
)
"""Of files that may be slides; DICOM files are known by their first bytes, as they often have no suffix."""

_HEAD = 132


def slides_in(folder: Path) -> list[Path]:
    """Return the slides in a folder and those below it, in the order of their names, for ``open_slide``.

    A folder with the DICOM files of one series is a slide. Of several series in a folder, each is named by
    one of its files. Whether a file of another kind is a slide is known when it is opened.

    Raises
    ------
    OSError
        When the folder cannot be read.
    """
    found: list[Path] = []
    for above, folders, names in os.walk(folder, onerror=_fail):
        folders.sort()
        paths = [Path(above, name) for name in sorted(names) if not name.startswith(".")]
        files = [path for path in paths if path.is_file()]
        slides = [path for path in files if path.suffix.lower() in SUFFIXES]
        others = [path for path in files if path.suffix.lower() not in SUFFIXES]
        found += slides + _dicom_slides(Path(above), others)
        # The folder of an MRXS slide belongs to it.
        of_mrxs = {path.stem for path in slides if path.suffix.lower() == ".mrxs"}
        folders[:] = [name for name in folders if name not in of_mrxs and not name.startswith(".")]
    return found


def _dicom_slides(folder: Path, files: Sequence[Path]) -> list[Path]:
    series: dict[str, Path] = {}
    for path in files:
        uid = _series_of(path)
        if uid is not None:
            series.setdefault(uid, path)
    return [folder] if len(series) == 1 else list(series.values())


def _series_of(path: Path) -> str | None:
    """Return the series of a DICOM image of microscopy that may be read, ``None`` for any other file."""
    try:
        file = PositionedFile.open(path)
    except OSError:
        return None
    try:
        if not is_dicom_file(file.read(0, _HEAD)):
            return None
        header = read_header(file.whole())
        if header.file.file is not file:
            header.file.file.close()
        instance = header.instance
        return instance.series_uid if instance.sop_class in SOP_CLASSES and instance.is_level else None
    except (DamagedImage, ImageError, OSError):
        return None
    finally:
        file.close()


def _fail(error: OSError) -> None:
    raise error
