"""What a file is that is not a slide, by its first bytes: so that people see why at a glance."""

from __future__ import annotations

import re
from pathlib import Path

from dicom_io.codecs.dicom_file import is_dicom_file

HEAD_BYTES = 4096

_LEFT_OUT = "a Git LFS pointer: the file itself was not downloaded"
_KINDS: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"\x89PNG\r\n", "a PNG picture"),
    (b"GIF8", "a GIF picture"),
    (b"BM", "a BMP picture"),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000 picture"),
    (b"%PDF", "a PDF document"),
    (b"\x89HDF\r\n", "an HDF5 file"),
    (b"\x1f\x8b", "compressed by gzip: unpack it"),
    (b"\x28\xb5\x2f\xfd", "compressed by Zstandard: unpack it"),
    (b"7z\xbc\xaf", "a 7-Zip archive: unpack it"),
    (b"Rar!", "a RAR archive: unpack it"),
    (b"version https://git-lfs", _LEFT_OUT),
)
_CODE = re.compile(rb"<Code>([A-Za-z]{1,40})</Code>")
_HTML = re.compile(rb"<(!doctype\s+html|html)\b", re.IGNORECASE)


def what_else(path: Path, head: bytes) -> str:
    """Return what a file is that OpenSlide and pydicom cannot open, as the end of a sentence.

    Parameters
    ----------
    head:
        Its first ``HEAD_BYTES``.
    """
    if not head:
        return "empty"
    if not any(head):
        return "nothing but zeros at its start: its download or copy was not finished"
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "a TIFF without tiles that are known here, or a damaged one"
    if path.suffix.lower() == ".mrxs":
        return _of_mrxs(path)
    if is_dicom_file(head):
        return "a DICOM file that holds no slide"
    known = (name for start, name in _KINDS if head.startswith(start))
    return next(known, None) or _of_text(head) or "of a kind that is not known here"


def _of_text(head: bytes) -> str | None:
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if text.startswith((b'{"', b"{\n", b"[{")):
        return "JSON text"
    if not text.startswith(b"<"):
        return None
    if code := _CODE.search(text):
        return f"an XML error page of a store ({code.group(1).decode()}): the download failed"
    return "an HTML page: the download failed" if _HTML.search(text[:1000]) else "XML text"


def _of_mrxs(path: Path) -> str:
    if path.with_suffix("").is_dir():
        return "an MRXS slide that is damaged, or files are missing in its folder"
    return f"an MRXS slide without its folder {path.stem}, which belongs beside it"
