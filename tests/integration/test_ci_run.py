"""CI's command takes nothing from the folder that it stands in."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROBE = """#!/bin/sh
{ echo "make $*"; pwd; env; git status --porcelain --ignored; } >> "$PROBE_LOG"
"""


def test_it_runs_on_a_clean_clone_with_caches_of_its_own(tmp_path: Path) -> None:
    for name in ("make", "apt-get"):
        (tmp_path / name).write_text(PROBE if name == "make" else "#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    clone, log = tmp_path / "clone", tmp_path / "log"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    (clone / ".venv").mkdir()
    (clone / ".venv" / "left").touch()
    (clone / "left.py").touch()
    hints = {"PROBE_LOG": str(log), "PYTHONPATH": "/left", "PATHSERVE_MODEL": "/left", "VIRTUAL_ENV": "/left"}
    environment = os.environ | hints | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "TMPDIR": str(tmp_path)}
    subprocess.run([str(clone / ".ci/run")], env=environment, check=True, cwd="/")
    said = log.read_text()
    assert [line for line in said.splitlines() if line.startswith("make ")][-1] == "make test"
    assert "left" not in said
    caches = [line for line in said.splitlines() if line.startswith("XDG_CACHE_HOME=")]
    assert all(line.startswith(f"XDG_CACHE_HOME={tmp_path}/tmp.") for line in caches)
    assert not list(tmp_path.glob("tmp.*"))
