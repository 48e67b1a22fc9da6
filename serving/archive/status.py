"""How far an archive is: counted from its output alone, so that it works on a run that is dead as well."""

from __future__ import annotations

from dataclasses import dataclass

from serving.archive import layout
from serving.archive.plans import MOST_HEAD, head_from
from serving.archive.records import read_whole
from serving.archive.stores.store import OutputStore

_BLOCK = 512


@dataclass(frozen=True, slots=True)
class Status:
    """How far it is.

    Attributes
    ----------
    planned, whole:
        Slides that have a plan, and that can be read.
    failed_slides, failed_blocks:
        What has a record that it failed and is not done.
    patches:
        That have been planned.
    done:
        Of them, those with a row; for slides that are not whole they are counted by blocks.
    errors:
        Rows of whole slides with an error in place of a vector.
    """

    planned: int
    whole: int
    failed_slides: int
    failed_blocks: int
    patches: int
    done: int
    errors: int

    @property
    def share(self) -> float:
        """The share of the planned patches that have a row, 0 to 1."""
        return self.done / self.patches if self.patches else 0.0


class StatusReader:
    """Reads the status again and again; what does not change is read once.

    Parameters
    ----------
    store:
        The output.
    """

    def __init__(self, store: OutputStore) -> None:
        self._store = store
        self._planned: dict[str, int] = {}
        self._whole: dict[str, tuple[int, int]] = {}

    def read(self) -> Status:
        """Return how far the archive is now."""
        store = self._store
        for name in store.names(layout.PLANS):
            slide = layout.slide_in(name)
            if slide not in self._planned and (data := self._head(name)) is not None:
                self._planned[slide] = head_from(data, name).patches
        for name in store.names(layout.DONE):
            slide = layout.slide_in(name)
            if slide not in self._whole and (whole := read_whole(store, slide)) is not None:
                # All of its patches are done, also those that were left out for their quality.
                self._whole[slide] = self._planned.get(slide, whole.rows), whole.errors
        parts = _by_folder(store, layout.PARTS)
        failed = _by_folder(store, layout.FAILED)
        # That of a slide which is whole says that something else was asked of it since.
        open_failures = [
            name
            for folder, names in failed.items()
            for name in names
            if not self._is_whole(folder) or layout.block_in(name) is None
        ]
        slides = sum(layout.block_in(name) is None for name in open_failures)
        rows = sum(
            min(len(names) * _BLOCK, self._planned.get(layout.slide_in(f"{folder}."), 0))
            for folder, names in parts.items()
            if not self._is_whole(folder)
        )
        return Status(
            len(self._planned),
            len(self._whole),
            slides,
            len(open_failures) - slides,
            sum(self._planned.values()),
            rows + sum(count for count, _ in self._whole.values()),
            sum(errors for _, errors in self._whole.values()),
        )

    def _head(self, name: str) -> bytes | None:
        """Return a plan's first bytes; all of them where the slide is huge, and its head is long."""
        data = self._store.head(name, MOST_HEAD)
        return data if data is None or b"\n" in data else self._store.read(name)

    def _is_whole(self, folder: str) -> bool:
        return layout.slide_in(f"{folder}.") in self._whole


def _by_folder(store: OutputStore, root: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name in store.names(root):
        found.setdefault(name.split("/")[1], []).append(name)
    return found
