"""A folder as a process sees it on a read-only mount."""

from __future__ import annotations

import subprocess
from pathlib import Path

_SCRIPT = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'


def read_only(folder: Path) -> list[str]:
    """Return a command that another is appended to, for which the folder is mounted read-only.

    Where nothing can be mounted it is no command at all: the other is run without.
    """
    command = ["unshare", "--user", "--map-root-user", "--mount", "bash", "-c", _SCRIPT, str(folder)]
    mounted = subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0
    return command if mounted else []
