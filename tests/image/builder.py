"""``make image`` with buildah, in a store of its own and without the network of package indexes."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.image.stand_in import ROOT

_BASE = "localhost/stand-in"


@dataclass(frozen=True, slots=True)
class Image:
    """An image's files, and how it wants to be run.

    Attributes
    ----------
    root:
        Folder of its unpacked files.
    environment:
        Its ``ENV``, as ``NAME=value``.
    command:
        Its ``ENTRYPOINT``, without ``CMD``.
    default:
        Its ``CMD``.
    user:
        Its ``USER``.
    working_folder:
        Its ``WORKDIR``.
    """

    root: Path
    environment: tuple[str, ...]
    command: tuple[str, ...]
    default: tuple[str, ...]
    user: str
    working_folder: str

    def size(self) -> int:
        """Return the sum of its files' sizes, in bytes."""
        files = (Path(folder, name) for folder, _, names in os.walk(self.root) for name in names)
        return sum({(found := file.lstat()).st_ino: found.st_size for file in files}.values())


class Builder:
    """A store of images under a folder, and what is laid into builds."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        settings = folder / "storage.conf"
        paths = f'graphroot = "{folder / "store"}"\nrunroot = "{folder / "run"}"\n'
        settings.write_text(f'[storage]\ndriver = "vfs"\n{paths}')
        self._environment = os.environ | {
            "CONTAINERS_STORAGE_CONF": str(settings),
            "BUILDAH_ISOLATION": "chroot",
            "TMPDIR": str(folder),
        }

    def import_base(self, root: Path) -> None:
        """Make a folder the image that builds begin with."""
        container = self._buildah("from", "scratch")
        self._buildah("add", "--quiet", container, str(root), "/")
        self._buildah("commit", "--quiet", "--rm", container, _BASE)

    def make_image(self, name: str, wheels: Path, arguments: Mapping[str, str]) -> Image:
        """Run ``make image``; pip sees the folder of wheels and no index."""
        pip = self._folder / "pip.conf"
        pip.write_text("[global]\nno-index = true\nfind-links = /mnt\n")
        options = [
            *("--pull-never", "--layers=false", "--build-arg", f"BASE={_BASE}"),
            *("--volume", f"{wheels}:/mnt:ro", "--volume", f"{pip}:/etc/pip.conf:ro"),
        ]
        with (self._folder / f"{name}.log").open("w+") as log:
            done = subprocess.run(
                [
                    *("make", "--no-print-directory", "image", "IMAGE_TOOL=buildah", f"TAG={name}"),
                    *(f"IMAGE_OPTIONS={' '.join(options)}", *(f"{k}={v}" for k, v in arguments.items())),
                ],
                cwd=ROOT,
                env=self._environment,
                stdout=log,
                stderr=log,
                check=False,
            )
            if done.returncode:
                log.seek(0)
                raise RuntimeError(f"make image ended with {done.returncode}:\n{log.read()[-4000:]}")
        return self._unpacked(name)

    def _unpacked(self, name: str) -> Image:
        container = self._buildah("from", "--pull-never", f"localhost/{name}")
        config = json.loads(self._buildah("inspect", container))["OCIv1"]["config"]
        return Image(
            root=Path(self._buildah("mount", container)),
            environment=tuple(config["Env"]),
            command=tuple(config["Entrypoint"]),
            default=tuple(config["Cmd"]),
            user=config["User"],
            working_folder=config["WorkingDir"],
        )

    def forget(self) -> None:
        """Remove every container, mounted ones too."""
        self._buildah("rm", "--all")

    def _buildah(self, *arguments: str) -> str:
        done = subprocess.run(
            ["buildah", *arguments], env=self._environment, check=True, stdout=subprocess.PIPE, text=True
        )
        return done.stdout.strip()
