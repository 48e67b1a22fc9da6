"""The project as a wheel in an environment of its own, started where names of its modules lie around."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.service import Service

ROOT = Path(__file__).parents[2]
SOURCES = ("serving", "model", "dicom_io", "pyproject.toml", "README.md", "LICENSE")
SHADOWS = ("serving", "model", "dicom_io", "queue", "json", "socket")
"""Modules that a user's folder may hold by the same name: ours, and the standard library's."""


def build_wheel(folder: Path) -> Path:
    """Build the wheel from a copy of the sources; nothing is left beside them."""
    sources = folder / "sources"
    sources.mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, sources / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, sources)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--wheel-dir", str(folder), str(sources)], check=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def install_wheel(wheel: Path, python: Path) -> None:
    """Install it where a Python lies, without what it depends on."""
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    subprocess.run([*command, "--no-deps", "--no-index", str(wheel)], check=True)


@contextmanager
def served_among_shadows(python: Path, folder: Path) -> Iterator[Service]:
    """Start ``pathserve serve`` in a folder of modules that leave a file ``ran-…`` when they are run."""
    for name in SHADOWS:
        (folder / f"{name}.py").write_text(f"open({str(folder / f'ran-{name}')!r}, 'w').close()\n")
    command = [str(python.with_name("pathserve")), "serve"]
    with Service({}, command=command, folder=folder) as service:
        yield service.wait_healthy()
