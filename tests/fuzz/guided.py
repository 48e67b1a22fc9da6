"""Coverage-guided fuzzing of the headers' readers, by atheris where that is installed.

The readers are plain Python and run in the process that serves requests, so they alone are instrumented:
they may refuse anything, but raise nothing else, and end soon. ``pip install atheris`` first; a folder of
good images to begin with is written by ``python -m tests.fuzz.corpus FOLDER``.
"""

from __future__ import annotations

import contextlib
import sys

from dicom_io.errors import ImageError

MAX_PIXELS = 1_000_000
SLOWEST_S = 10


def main() -> None:
    """Fuzz until libFuzzer's own limits (``-max_total_time=…``) are reached."""
    try:
        import atheris  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError:
        print("atheris is not installed; nothing is fuzzed by coverage")
        return
    with atheris.instrument_imports(include=["dicom_io"]):
        from dicom_io.codecs.frame import DECODERS, decodes_in_process, recognised_syntax
        from dicom_io.codecs.frame_format import FrameFormat
        from dicom_io.codecs.raster import RasterFile

    form = FrameFormat(64, 64, 3, "RGB", 0)

    def one(data: bytes) -> None:
        with contextlib.suppress(ImageError):
            RasterFile(data, MAX_PIXELS)
        syntax = recognised_syntax(data, form)
        if syntax in DECODERS:
            decodes_in_process(data, syntax)

    atheris.Setup([*sys.argv, f"-timeout={SLOWEST_S}", "-rss_limit_mb=2048"], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
