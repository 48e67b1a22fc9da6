"""Opening a slide in local files, of whatever kind."""

from __future__ import annotations

from pathlib import Path

from dicom_io.codecs.dicom_file import is_dicom_file
from dicom_io.decoding.slide_jobs import NOT_KNOWN, SlideFault
from dicom_io.local.dicom import open_dicom_slide, read_instances
from dicom_io.local.files import PositionedFile
from dicom_io.local.openslide import open_with_openslide
from dicom_io.local.slide import BrokenTiff, LocalSlide, NotASlide, UnreadableSlide
from dicom_io.local.sniffing import HEAD_BYTES, what_else
from dicom_io.local.tiff_bounds import why_not_whole
from dicom_io.slides.instance import SopInstance
from dicom_io.sources.session import ReadContext

_ZIP = b"PK\x03\x04"


def open_slide(path: Path, context: ReadContext, *, slide_mpp: float | None = None) -> LocalSlide:
    """Open a slide: a file of OpenSlide's formats, or DICOM as a file, a folder or a ZIP.

    Parameters
    ----------
    context:
        What the process shares; also what sources of the slide are opened with.
    slide_mpp:
        Size of a pixel of level 0 in µm, in place of what the file says. Without it, and where the file gives
        none or one beyond ``FINEST_UM`` to ``COARSEST_UM``, levels have no spacing, and ``Slide.at`` raises
        ``NoResolution``.

    Raises
    ------
    NotASlide
        Says what the file is instead.
    UnreadableSlide
        ``BrokenTiff`` of a TIFF that is cut off.
    ImageError
        As ``pyramid_levels`` of a DICOM slide; INTERNAL_ERROR when no decoding helper is available.
    """
    if path.is_dir():
        return LocalSlide(open_dicom_slide(path, context, slide_mpp), context)
    if path.exists() and not path.is_file():
        raise UnreadableSlide(f"{path.name} is neither a file nor a folder.")
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError as error:
        raise UnreadableSlide(f"{path.name} cannot be read: {error.strerror}.") from error
    if is_dicom_file(head) or head.startswith(_ZIP):
        is_zip = not is_dicom_file(head)
        return LocalSlide(open_dicom_slide(path, context, slide_mpp, is_zip=is_zip), context)
    _require_whole(path)
    try:
        return LocalSlide(open_with_openslide(path, context, slide_mpp), context)
    except SlideFault as fault:
        if str(fault) == NOT_KNOWN:
            raise NotASlide(f"{path.name} is not a slide: it is {what_else(path, head)}.") from fault
        raise UnreadableSlide(f"{path.name} cannot be opened as a slide: {fault}.") from fault


def dicom_instances_of(path: Path) -> tuple[SopInstance, ...]:
    """Return the SOP instances of a DICOM slide, though they may be no levels of one; none of other slides.

    Raises
    ------
    NotASlide, UnreadableSlide
    """
    if path.is_dir():
        return read_instances(path)
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError as error:
        raise UnreadableSlide(f"{path.name} cannot be read: {error.strerror}.") from error
    is_zip = head.startswith(_ZIP)
    return read_instances(path, is_zip=is_zip) if is_zip or is_dicom_file(head) else ()


def _require_whole(path: Path) -> None:
    """Raise BrokenTiff for a TIFF that is cut off: OpenSlide says less of it, or opens it all the same."""
    try:
        file = PositionedFile.open(path)
    except OSError as error:
        raise UnreadableSlide(f"{path.name} cannot be read: {error.strerror}.") from error
    try:
        wrong = why_not_whole(file.whole())
    finally:
        file.close()
    if wrong is not None:
        raise BrokenTiff(f"{path.name} {wrong}.")
