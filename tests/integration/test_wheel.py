"""``pip install`` into an environment of one's own, and a start from any folder."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.support.tissue import encode, instance, tissue
from tests.support.wheel import ROOT, build_wheel, install_wheel, served_among_shadows


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that has the project from its wheel, and what it depends on from this environment."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "fresh")], check=True)
    python = folder / "fresh/bin/python"
    install_wheel(build_wheel(folder), python)
    (packages,) = folder.glob("fresh/lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def test_from_its_wheel_it_serves_in_a_folder_of_shadows_and_runs_none(python: Path, tmp_path: Path) -> None:
    found = subprocess.check_output(
        [python, "-P", "-c", "import serving; print(serving.__file__)"], text=True
    )
    assert Path(found).is_relative_to(python.parents[1])
    images = [encode(tissue()[:224, :224], kind) for kind in ("PNG", "JPEG", "TIFF", "JPEG2000")]
    with served_among_shadows(python, tmp_path) as service:
        predictions = service.predict(*map(instance, images)).json()["predictions"]
        assert ["result" in prediction for prediction in predictions] == [True] * len(images)
        assert service.stop() == 0
    assert list(tmp_path.glob("ran-*")) == []


def test_the_wheel_holds_every_file_of_the_packages(python: Path) -> None:
    (packages,) = python.parents[1].glob("lib/python*/site-packages")
    for name in ("serving", "model", "dicom_io"):
        ours = {path.relative_to(ROOT) for path in (ROOT / name).rglob("*") if path.is_file()}
        theirs = {path.relative_to(packages) for path in (packages / name).rglob("*") if path.is_file()}
        assert {path for path in ours ^ theirs if "__pycache__" not in path.parts} == set()
