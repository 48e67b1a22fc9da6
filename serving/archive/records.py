"""Small records of an output: that a slide is whole, and what failed, as rows that a person can read."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from serving.archive import layout
from serving.archive.job import as_json
from serving.archive.plans import VERSION
from serving.archive.stores.store import OutputStore
from serving.output.files import OutputError


@dataclass(frozen=True, slots=True)
class Failure:
    """A row of what failed.

    Attributes
    ----------
    block:
        Number of the block; ``None`` for the slide as a whole.
    code:
        As in docs/api.md, or SLIDE_ERROR where a slide cannot be planned as asked.
    patches:
        How many patches have it in place of a vector; 0 where the block has no rows at all.
    """

    slide: str
    block: int | None
    code: str
    sentence: str
    patches: int = 0


@dataclass(frozen=True, slots=True)
class WholeSlide:
    """The record that a slide is whole: the only thing that a reader has to believe.

    Attributes
    ----------
    shard:
        Name of the file with the rows.
    sha256, size:
        Of that file, in hexadecimal digits and bytes.
    failures:
        What patches have in place of a vector, by block and code; the first hundred.
    """

    slide: str
    shard: str
    sha256: str
    size: int
    rows: int
    errors: int
    blocks: int
    model: str
    failures: tuple[Failure, ...] = field(default=(), repr=False)


def write_failure(store: OutputStore, failure: Failure) -> None:
    """Write a row of what failed, in place of an older one of the same block."""
    store.put(layout.failure_of(failure.slide, failure.block), as_json(dataclasses.asdict(failure)))


def failures(store: OutputStore, folder: str = layout.FAILED) -> Iterator[Failure]:
    """Yield the blocks and slides that failed, below a folder."""
    for name in sorted(store.names(folder)):
        if (facts := _read(store, name)) is not None:
            yield Failure(**facts)


def write_whole(store: OutputStore, whole: WholeSlide) -> bool:
    """Write the record of a slide unless there is one; return whether it was this one."""
    return store.add(layout.done_of(whole.slide), as_json({"version": VERSION} | dataclasses.asdict(whole)))


def read_whole(store: OutputStore, slide: str) -> WholeSlide | None:
    """Return the record of a slide; ``None`` where it is not whole."""
    return _whole(_read(store, layout.done_of(slide)))


def wholes(store: OutputStore) -> Iterator[WholeSlide]:
    """Yield the records of all slides that are whole, by name."""
    for name in sorted(store.names(layout.DONE)):
        if (whole := _whole(_read(store, name))) is not None:
            yield whole


def _whole(facts: dict[str, Any] | None) -> WholeSlide | None:
    if facts is None:
        return None
    facts.pop("version")
    return WholeSlide(**facts | {"failures": tuple(Failure(**one) for one in facts["failures"])})


def _read(store: OutputStore, name: str) -> dict[str, Any] | None:
    """Return a record; ``None`` where it is gone."""
    data = store.read(name)
    if data is None:
        return None
    try:
        facts: dict[str, Any] = json.loads(data)
    except ValueError as error:
        raise OutputError(f"{store.address}/{name} is damaged; remove it, and run again.") from error
    return facts


def same_or_refused(store: OutputStore, name: str, facts: Mapping[str, Any], what: str) -> None:
    """Write facts that hold for a whole output, or compare them with those that are there.

    Raises
    ------
    Refused
        When there are others.
    """
    data = as_json(facts)
    if not store.add(name, data) and (found := store.read(name)) != data:
        was = (_read(store, name) if found is not None else None) or {}
        differ = sorted(key for key in {*was, *facts} if was.get(key) != facts.get(key))
        raise Refused(
            f"{store.address} is of another {what}: {', '.join(differ)} differ. Name another output, or give "
            f"what {store.address}/{name} says."
        )


class Refused(Exception):
    """A run that must not be mixed with what is there, or cannot go on; the text is for people."""
