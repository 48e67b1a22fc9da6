"""What people are told of a file that is not a slide."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dicom_io.local.opening import open_slide
from dicom_io.local.slide import NotASlide
from dicom_io.sources.session import ReadContext
from tests.support.tissue import encode, tissue

S3 = b"""<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>NoSuchKey</Code><Message>The specified key does not exist.</Message></Error>"""


def stripped_tiff() -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.asarray(tissue(300, 300))).save(file, "TIFF")
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "is empty"),
        (bytes(100_000), "nothing but zeros"),
        (S3, r"an XML error page of a store \(NoSuchKey\): the download failed"),
        (b"\n<!DOCTYPE html><html><body>Sign in</body></html>", "an HTML page: the download failed"),
        (b"<HTML><head>", "an HTML page"),
        (b"<?xml version='1.0'?><slide/>", "XML text"),
        (b'{"error": "denied"}', "JSON text"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "a Git LFS pointer"),
        (encode(tissue(300, 300), "JPEG"), "a JPEG picture"),
        (encode(tissue(300, 300), "PNG"), "a PNG picture"),
        (b"%PDF-1.7\n", "a PDF document"),
        (b"\x1f\x8b\x08\0\0\0", "compressed by gzip: unpack it"),
        (stripped_tiff(), "a TIFF without tiles"),
        (b"plain text, no slide", "of a kind that is not known here"),
    ],
)
def test_what_is_not_a_slide_is_named(tmp_path: Path, context: ReadContext, data: bytes, what: str) -> None:
    path = tmp_path / "slide.svs"
    path.write_bytes(data)
    with pytest.raises(NotASlide, match=rf"slide\.svs is not a slide: it is .*{what.removeprefix('is ')}"):
        open_slide(path, context)


@pytest.mark.parametrize(
    ("with_folder", "what"), [(False, "without its folder slide,"), (True, "in its folder")]
)
def test_an_mrxs_slide_without_its_files_says_so(
    tmp_path: Path, context: ReadContext, with_folder: bool, what: str
) -> None:
    path = tmp_path / "slide.mrxs"
    path.write_bytes(encode(tissue(300, 300), "JPEG"))
    if with_folder:
        (tmp_path / "slide").mkdir()
    with pytest.raises(NotASlide, match=what):
        open_slide(path, context)
