"""The store's pipeline in a folder, with real files, index and audit trail; as a process that is killed, too.

``python -m tests.support.store_ingest FOLDER FILE STEP [DATABASE]``: take a file in, be killed after a step.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from serving.store.access.audit import Audit
from serving.store.deidentify.deidentifier import Deidentifier
from serving.store.deidentify.mapping import open_secrets
from serving.store.files import StoreFiles
from serving.store.index.store_index import StoreIndex
from serving.store.ingest.ingest import Ingest, Step
from serving.store.ingest.outcome import Door, Origin

HERE = Origin(Door.ADD, "tests")


class OpenStore:
    """A store that this process has open.

    Attributes
    ----------
    database:
        Address of the index.
    """

    def __init__(
        self,
        folder: Path,
        *,
        database: str = "",
        max_bytes: int = 1 << 30,
        min_free: int = 0,
        after: Callable[[Step], None] = lambda _: None,
    ) -> None:
        folder.mkdir(exist_ok=True, mode=0o700)
        self.folder = folder
        self.database = database or f"sqlite:///{folder / 'index.sqlite'}"
        self.index = StoreIndex(self.database)
        self.index.prepare()
        self.audit = Audit(folder / "audit")
        files = StoreFiles(folder, min_free)
        secrets = open_secrets(folder, may_create=True)
        self.ingest = Ingest(files, self.index, Deidentifier(*secrets), self.audit, max_bytes, after)

    def close(self) -> None:
        self.ingest.close()
        self.index.close()

    def add(self, data: bytes, origin: Origin = HERE):  # type: ignore[no-untyped-def]
        with self.ingest.arrival() as arrival:
            arrival.write(data)
            arrival.close()
            return self.ingest.add(arrival.path, origin)

    def indexed(self) -> list[str]:
        """The paths of all instances that the index has."""
        return sorted(stored.path for study in self.index.studies() for stored in self.index.instances(study))

    def files(self) -> list[str]:
        """All files of instances that there are."""
        return files_in(self.folder / "instances", self.folder)

    def arrivals(self) -> list[str]:
        """All files that are on their way."""
        return [
            name for name in files_in(self.folder / "incoming", self.folder) if not name.endswith(".lock")
        ]


def files_in(folder: Path, root: Path) -> list[str]:
    if not folder.exists():
        return []
    return sorted(path.relative_to(root).as_posix() for path in folder.rglob("*") if path.is_file())


def main(folder: str, file: str, step: str, database: str = "") -> None:
    def after(done: Step) -> None:
        if done == step:
            os.kill(os.getpid(), signal.SIGKILL)

    store = OpenStore(Path(folder), database=database, after=after)
    store.add(Path(file).read_bytes())
    store.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
