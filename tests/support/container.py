"""A command's surroundings as a container has them, by the kernel's namespaces."""

from __future__ import annotations

import errno
import subprocess
from pathlib import Path

_NAMESPACES = ["--user", "--mount", "--pid", "--mount-proc"]
_UNSHARE = ["unshare", "--map-root-user", "--fork", "--kill-child", *_NAMESPACES]


def has_namespaces() -> bool:
    """Say whether the kernel lets this user make namespaces."""
    return subprocess.run([*_UNSHARE, "true"], capture_output=True, check=False).returncode == 0


def like_a_container(temporary: Path, size: str) -> list[str]:
    """Return a command whose child is PID 1 and may write to ``temporary``, of so many bytes, alone."""
    mounts = f"mount -t tmpfs -o size={size} tmpfs {temporary} && mount -o remount,bind,ro / &&"
    return [*_UNSHARE, "sh", "-c", f'{mounts} cd / && export TMPDIR={temporary} && exec "$@"', "sh"]


def environment_of(temporary: Path) -> dict[str, str]:
    """Return the settings that a service needs there, its working folder not being the repository."""
    return {
        "PATHSERVE_CACHE_DIR": str(temporary / "cache"),
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def fill(path: Path) -> None:
    """Write to a file until its disk is full."""
    with path.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
