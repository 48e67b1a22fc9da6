"""Opening a slide in local files, of whatever kind."""

from __future__ import annotations

from pathlib import Path

from dicom_io.local.slide import LocalSlide, NotASlide
from dicom_io.sources.session import ReadContext


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
    """
    raise NotASlide(f"{path.name} is not a slide.")
