"""The command, where it cannot run."""

from __future__ import annotations

import subprocess
import sys

import pytest

from serving.config.exit_status import ExitStatus


@pytest.mark.parametrize("library", ["sqlalchemy", "cryptography"])
def test_without_its_extra_the_command_says_what_to_install(library: str) -> None:
    code = (
        f"import sys; sys.modules[{library!r}] = None\n"
        "from serving.__main__ import main; sys.exit(main(['webhooks']))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == ExitStatus.FAULT, run.stderr
    assert "pip install 'pathserve[webhooks]'" in run.stderr
