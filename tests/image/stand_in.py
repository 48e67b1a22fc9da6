"""What a build takes from elsewhere: a base image with a Python, and the wheels that a lock names."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SUITE = "bookworm"
PYTHON = "3.11"
"""The Python of that Debian: the base needs no other source."""

_UNPACKED = ("var/cache/apt/archives", "var/lib/apt/lists")
"""Folders that debootstrap leaves full and that an official base image has empty."""


def interpreter() -> str | None:
    """Return a Python here of the base's version, whose pip picks the wheels that the base's would."""
    here = ".".join(map(str, sys.version_info[:2]))
    return sys.executable if here == PYTHON else shutil.which(f"python{PYTHON}")


def debian(folder: Path) -> Path:
    """Make a minimal Debian with Python and its venv, and nothing that only an install needs."""
    include = "--include=python3,python3-venv,ca-certificates"
    with (folder.parent / "debootstrap.log").open("wb") as log:
        subprocess.run(
            ["debootstrap", "--variant=minbase", include, SUITE, str(folder)],
            check=True,
            stdout=log,
            stderr=log,
        )
    for name in _UNPACKED:
        shutil.rmtree(folder / name)
        (folder / name / "partial").mkdir(parents=True)
    return folder


def wheels(python: str, lock: Path, folder: Path) -> Path:
    """Download what a lock names, each file held to its hash, with this machine's settings of pip."""
    subprocess.run(
        [
            *(python, "-m", "pip", "download", "-qq", "--disable-pip-version-check", "--no-cache-dir"),
            *("--no-deps", "--require-hashes", "--only-binary=:all:"),
            *("--requirement", str(lock), "--dest", str(folder)),
        ],
        check=True,
        cwd=folder.parent,
    )
    return folder


def gpu_packages(folder: Path) -> Path:
    """Install what the GPU lock names for the image's Python, which need not be here."""
    subprocess.run(
        [
            *(str(Path(sys.executable).with_name("uv")), "pip", "install", "--quiet", "--no-cache"),
            *("--no-deps", "--require-hashes", "--only-binary", ":all:", "--target", str(folder)),
            *("--python-version", "3.12", "--python-platform", "x86_64-manylinux_2_28"),
            *("--requirement", str(ROOT / "locks/gpu.lock")),
        ],
        check=True,
        cwd=folder.parent,
    )
    return folder
