"""One instance in, one without what identifies out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from serving.store.deidentify.key import Key
from serving.store.deidentify.mapping import MappingFile


@dataclass(frozen=True, slots=True)
class Deidentified:
    """What was written.

    Attributes
    ----------
    study, series, sop:
        The new UIDs.
    removed:
        How many attributes, items and pieces of frames were left out, by kind; no value of them.
    """

    study: str
    series: str
    sop: str
    removed: Mapping[str, int]


class Deidentifier:
    """De-identifies instances; safe to use from many threads.

    Parameters
    ----------
    key:
        Of the pseudonyms.
    mapping:
        Where originals and pseudonyms are kept; ``None`` to keep them nowhere.
    """

    def __init__(self, key: Key, mapping: MappingFile | None) -> None:
        self._key = key
        self._mapping = mapping

    def write(self, source: Path, target: BinaryIO) -> Deidentified:
        """Write the instance of a file to another one, without what identifies.

        Parameters
        ----------
        target:
            New, empty and seekable. After a refusal it holds a part, to be thrown away.

        Returns
        -------
        The new UIDs, which the mapping knows by then.

        Raises
        ------
        Refused
            When the instance is damaged, of another kind than slides, or may show who the patient is.
        OSError
            When the system cannot read or write.
        """
        raise NotImplementedError
