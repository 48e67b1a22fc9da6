"""A lock installs the same for ever: what came out since does not matter."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def release(index: Path, name: str, version: str, metadata: Sequence[str] = ()) -> str:
    """Put a release of a package into a folder; return its line of a lock."""
    wheel, about = index / f"{name}-{version}-py3-none-any.whl", f"{name}-{version}.dist-info"
    described = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}", *metadata]
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(f"{name}.py", "")
        archive.writestr(f"{about}/METADATA", "\n".join(described) + "\n")
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{about}/RECORD", "")
    return f"{name}=={version} --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"


def make_environment(folder: Path, index: Path, lock: str) -> subprocess.CompletedProcess[str]:
    """Run the Makefile's own rule on a lock, with one folder of packages and no index."""
    (folder / "locks").mkdir()
    (folder / "locks/dev.lock").write_text(lock)
    shutil.copy(ROOT / "Makefile", folder)
    rule = re.search(r"^\$\(LOCKED\): (.*)$", (folder / "Makefile").read_text(), re.MULTILINE)
    assert rule
    for number, name in enumerate(rule[1].split()):
        if name.endswith(".lock") and name != "locks/dev.lock":  # of clients, each in a folder of its own
            (folder / name).write_text(release(index, f"client{number}", "1"))
    shutil.copytree(ROOT / ".ci", folder / ".ci")
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PIP_", "MAKE"))}
    offline = {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(index)}
    return subprocess.run(
        ["make", ".venv/locked", f"PYTHON={sys.executable}"],
        cwd=folder,
        env=inherited | offline,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


@pytest.fixture
def index(tmp_path: Path) -> Path:
    (tmp_path / "index").mkdir()
    return tmp_path / "index"


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    (tmp_path / "clone").mkdir()
    return tmp_path / "clone"


def test_a_newer_release_of_a_locked_package_changes_nothing(clone: Path, index: Path) -> None:
    lock = release(index, "slide", "1", ["Requires-Dist: tile[fast]>=1"])
    lock += release(index, "tile", "1", ["Provides-Extra: fast"])
    release(index, "tile", "2", ["Provides-Extra: fast"])
    made = make_environment(clone, index, lock)
    assert made.returncode == 0, made.stdout
    installed = {path.name for path in clone.glob(".venv/lib/python*/site-packages/*.dist-info")}
    assert {"slide-1.dist-info", "tile-1.dist-info"} <= installed
    assert "tile-2.dist-info" not in installed


def test_a_lock_whose_packages_do_not_fit_together_is_an_error(clone: Path, index: Path) -> None:
    lock = release(index, "slide", "1", ["Requires-Dist: tile>=2"]) + release(index, "tile", "1")
    made = make_environment(clone, index, lock)
    assert made.returncode != 0
    assert "slide 1 has requirement tile>=2, but you have tile 1" in made.stdout
