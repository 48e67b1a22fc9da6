"""``make test-pythons``: the lock and the wheel in a fresh environment of each Python, started and asked."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support.tissue import encode, instance, tissue
from tests.support.wheel import ROOT, SHADOWS, build_wheel, install_wheel, served_among_shadows

VERSIONS = ("3.11", "3.12", "3.13")
KINDS = ("PNG", "JPEG", "TIFF", "WebP", "BMP", "JPEG2000")


def interpreter(version: str) -> Path | None:
    """Return a Python of that version, from the PATH or among pyenv's."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    on_path = shutil.which(f"python{version}")
    found = [*([on_path] if on_path else []), *sorted(map(str, pyenv.glob(f"{version}.*/bin/python")))]
    for candidate in found:  # a shim of pyenv's may lead nowhere
        if subprocess.run([candidate, "-c", ""], capture_output=True, check=False).returncode == 0:
            return Path(candidate)
    return None


def try_python(python: Path, wheel: Path, folder: Path) -> None:
    """Install into a fresh environment, serve among shadows, ask for each kind of image, stop."""
    subprocess.run([python, "-m", "venv", str(folder / "fresh")], check=True)
    fresh, lock = folder / "fresh/bin/python", ROOT / "locks/runtime.lock"
    subprocess.run([ROOT / ".ci/install-lock", fresh, lock, "--no-cache-dir"], check=True, cwd=folder)
    install_wheel(wheel, fresh)
    subprocess.run([fresh, "-m", "pip", "check"], check=True, cwd=folder)
    (folder / "elsewhere").mkdir()
    images = [encode(tissue()[:224, :224], kind) for kind in KINDS]
    with served_among_shadows(fresh, folder / "elsewhere") as service:
        predictions = service.predict(*map(instance, images)).json()["predictions"]
        assert all("result" in prediction for prediction in predictions), predictions
        assert service.stop() == 0, "exit status after SIGTERM"
    ran = [path.name for path in (folder / "elsewhere").glob("ran-*")]
    assert not ran, f"{ran} of {SHADOWS} were run"


def main() -> int:
    """Try every Python that is here, and name those that are not; return an exit status."""
    with tempfile.TemporaryDirectory(prefix="pathserve-pythons-") as name:
        wheel = build_wheel(Path(name))
        for version in VERSIONS:
            python = interpreter(version)
            if python is None:
                print(f"test-pythons: Python {version} was skipped: it is not here", flush=True)
                continue
            with tempfile.TemporaryDirectory(dir=name) as folder:
                try_python(python, wheel, Path(folder))
            print(f"test-pythons: Python {version} is well ({python})", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
