"""Studies as files, for who is not reached otherwise: a folder, or a ZIP file, with a list of digests."""

from __future__ import annotations

import hashlib
import os
import shutil
import zipfile
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Protocol, Self

from serving.store.index.query import Stored

_PIECE = 1 << 20
_DIGESTS = "SHA256SUMS"


class ExportFailed(Exception):
    """The export cannot be made; the message says what to do."""


class _Target(Protocol):
    def new(self, name: str) -> AbstractContextManager[IO[bytes]]: ...


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written."""

    instances: int
    size: int


def export(folder: Path, instances: Sequence[Stored], target: Path) -> Exported:
    """Write instances as ``STUDY/SERIES/SOP.dcm``, and what `sha256sum --check` reads.

    Parameters
    ----------
    folder:
        Of the store.
    target:
        What does not exist yet: a folder, or a file that ends in ``.zip``. It has its name when it is whole.

    Raises
    ------
    ExportFailed
    """
    if target.exists():
        raise ExportFailed(f"{target} exists; name one that does not.")
    begun = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        if target.suffix.lower() == ".zip":
            with _Zip(begun) as archive:
                done = _write(folder, instances, archive)
        else:
            begun.mkdir(mode=0o700)
            done = _write(folder, instances, _Folder(begun))
        begun.rename(target)
    except OSError as error:
        raise ExportFailed(f"{target} cannot be written: {error.strerror or error}.") from None
    finally:
        if begun.is_dir():
            shutil.rmtree(begun)
        else:
            begun.unlink(missing_ok=True)
    return done


def _write(folder: Path, instances: Sequence[Stored], target: _Target) -> Exported:
    lines, size = [], 0
    for stored in instances:
        name = f"{stored.study}/{stored.series}/{stored.sop}.dcm"
        digest = hashlib.sha256()
        with (folder / stored.path).open("rb") as file, target.new(name) as written:
            while piece := file.read(_PIECE):
                digest.update(piece)
                written.write(piece)
                size += len(piece)
        if digest.hexdigest() != stored.sha256:
            raise ExportFailed(f"The file of instance {stored.sop} is damaged: restore it from a backup.")
        lines.append(f"{stored.sha256}  {name}\n")
    with target.new(_DIGESTS) as written:
        written.write("".join(lines).encode())
    return Exported(len(lines), size)


@dataclass(frozen=True, slots=True)
class _Folder:
    path: Path

    def new(self, name: str) -> AbstractContextManager[IO[bytes]]:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("xb")


class _Zip:
    """A ZIP file whose members are stored as they are: frames are compressed already."""

    def __init__(self, path: Path) -> None:
        self._archive = zipfile.ZipFile(path, "x", zipfile.ZIP_STORED, allowZip64=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._archive.close()

    def new(self, name: str) -> AbstractContextManager[IO[bytes]]:
        return self._archive.open(name, "w", force_zip64=True)
