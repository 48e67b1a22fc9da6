"""Slides of vendors' formats become DICOM by wsidicomizer, which runs in a process of its own.

Often it cannot be installed beside us, since it needs another wsidicom than other libraries do: so it may
live in any Python's environment, and a fault of one of its many readers ends nothing but that process.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_SCRIPT = Path(__file__).with_name("convert_slide.py")
_SUFFIXES = frozenset({".svs", ".ndpi", ".tif", ".tiff", ".scn", ".bif", ".czi", ".isyntax"})
"""Formats of one file each. One of several files would come in piece by piece, each of them unreadable."""

_LAST_WORDS = 2000
_EXCEPTION = re.compile(r"[A-Za-z]{0,40}(Error|Exception|Exit|Interrupt)")
_LONGEST_S = 6 * 3600.0
_ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "LANG": "C.UTF-8"}
"""None of this process's settings and credentials are for a program of others."""


class ConversionFailed(Exception):
    """A slide was not converted; the text is a sentence for its sender, which names no file."""


@dataclass(frozen=True, slots=True)
class Converter:
    """Converts slides.

    Attributes
    ----------
    python:
        Interpreter of an environment that has wsidicomizer.
    longest_s:
        A conversion is ended after so long.
    """

    python: Path
    longest_s: float = _LONGEST_S

    @contextmanager
    def converted(self, path: Path, suffix: str, folder: Path) -> Iterator[list[Path]]:
        """Convert a slide and give its DICOM files, largest first, which are removed at the end.

        The same slide becomes the same instances each time: their UIDs are made of its bytes.

        Parameters
        ----------
        suffix:
            Of the slide's original name: some formats are known by it alone.
        folder:
            For temporary files.

        Raises
        ------
        ConversionFailed
        """
        place = folder / f"conversion-{os.urandom(16).hex()}"
        place.mkdir(mode=0o700)
        try:
            slide, out = place / f"slide{suffix.lower()}", place / "dicom"
            os.link(path, slide)
            self._run(slide, out)
            files = sorted(out.glob("*.dcm"), key=lambda file: (-file.stat().st_size, file.name))
            if not files:
                raise ConversionFailed("wsidicomizer made no instance of it.")
            yield files
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def _run(self, slide: Path, out: Path) -> None:
        with slide.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        process = subprocess.Popen(
            [self.python, "-I", _SCRIPT, slide, out, digest],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=_ENVIRONMENT | {"TMPDIR": str(slide.parent), "HOME": str(slide.parent)},
            start_new_session=True,  # its own children end with it
        )
        try:
            _, errors = process.communicate(timeout=self.longest_s)
        except subprocess.TimeoutExpired:
            raise ConversionFailed(f"wsidicomizer took more than {self.longest_s:.0f} s for it.") from None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
        if process.returncode:
            raise ConversionFailed(f"wsidicomizer cannot convert it: {_kind_of_fault(errors)}.")


def require_format(suffix: str) -> None:
    """Refuse what no converter could make DICOM of.

    Raises
    ------
    ConversionFailed
    """
    if suffix.lower() not in _SUFFIXES:
        names = ", ".join(sorted(name[1:].upper() for name in _SUFFIXES))
        raise ConversionFailed(
            f"It is neither a DICOM file nor a slide of a format that is converted ({names})."
        )


def find_converter(python: Path | None) -> Converter | None:
    """Return what converts slides here; ``None`` where nothing does.

    Parameters
    ----------
    python:
        Interpreter that the settings name; else this one, where wsidicomizer is installed beside us.
    """
    if python is not None:
        return Converter(python)
    return Converter(Path(sys.executable)) if importlib.util.find_spec("wsidicomizer") else None


def _kind_of_fault(errors: bytes) -> str:
    """Return the exception's name, if it ends as one: all else of its last words may name a patient."""
    lines = errors[-_LAST_WORDS:].decode("utf-8", "replace").strip().splitlines()
    name = lines[-1].split(":")[0].rsplit(".", 1)[-1] if lines else ""
    return name if _EXCEPTION.fullmatch(name) else "it failed"
