"""One instance in, one without what identifies out."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pydicom.uid import ExplicitVRLittleEndian

from serving.store.deidentify import removed
from serving.store.deidentify.admission import Admitted, admit
from serving.store.deidentify.cleaners.syntaxes import CLEANERS, NATIVE
from serving.store.deidentify.data_set import DataSetCleaner, Piece
from serving.store.deidentify.elements import NO_END, UNDEFINED
from serving.store.deidentify.file_meta import file_meta, read_file_meta
from serving.store.deidentify.fragments import find_fragments, offsets
from serving.store.deidentify.keeping.given import GIVEN
from serving.store.deidentify.keeping.pseudonyms import Pseudonyms
from serving.store.deidentify.key import Key
from serving.store.deidentify.mapping import MappingFile
from serving.store.deidentify.pixels import CompressedPixels, copy_native
from serving.store.deidentify.refused import Cause, Refused, damaged
from serving.store.deidentify.source import reader_of

_BUFFER = 1 << 18
_SOP_CLASS, _SOP_INSTANCE = 0x00080016, 0x00080018


@dataclass(frozen=True, slots=True)
class Deidentified:
    """What was written.

    Attributes
    ----------
    study, series, sop:
        The new UIDs.
    removed:
        How many attributes, items and parts of frames were left out, by kind; no value of them.
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

        The same file gives the same bytes with the same key. Uncompressed instances become Explicit VR Little
        Endian; compressed ones keep their transfer syntax.

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
        pseudonyms = Pseudonyms(self._key)
        with source.open("rb", buffering=_BUFFER) as stream:
            copy = _Copy(stream, os.fstat(stream.fileno()).st_size, target, pseudonyms)
            found = copy.write()
        if self._mapping is not None:
            self._mapping.record(pseudonyms.pairs())
        counted = {kind: number for kind, number in copy.count.items() if number}
        return Deidentified(found.study, found.series, found.sop, counted)


class _Copy:
    """One instance on its way."""

    def __init__(self, stream: BinaryIO, size: int, target: BinaryIO, pseudonyms: Pseudonyms) -> None:
        self.count = Counter[str]()
        self._stream = stream
        self._size = size
        self._target = target
        meta = read_file_meta(stream, size)
        self._syntax = meta.syntax
        self.count[removed.FILE_META] += meta.others
        if self._syntax not in NATIVE and self._syntax not in CLEANERS:
            raise Refused(
                Cause.SYNTAX, "Frames of its transfer syntax cannot be cleaned of what hides in them."
            )
        self._reader = reader_of(stream, size, meta)
        self._data_set = DataSetCleaner(self._reader, pseudonyms, self.count)

    def write(self) -> Admitted:
        """Write all of it."""
        self._header()
        data_set = self._data_set
        admitted = admit(data_set.values, data_set.image_types, native=self._syntax in NATIVE)
        if self._syntax in NATIVE:
            self._native(admitted)
        else:
            self._compressed(admitted)
        return admitted

    def _header(self) -> None:
        """Write what comes before the pixels."""
        waiting: list[bytes] | None = []
        for tag, written in _with_given(self._data_set.elements()):
            if waiting is not None and tag > _SOP_INSTANCE:  # the file meta information names it
                self._target.writelines([self._file_meta(), *waiting])
                waiting = None
            if waiting is None:
                self._target.write(written)
            else:
                waiting.append(written)

    def _file_meta(self) -> bytes:
        values = self._data_set.values
        syntax = ExplicitVRLittleEndian if self._syntax in NATIVE else self._syntax
        return file_meta(values.get(_SOP_CLASS, b""), values.get(_SOP_INSTANCE, b""), syntax)

    def _native(self, admitted: Admitted) -> None:
        length = self._data_set.pixels[2]
        if length == UNDEFINED:
            raise damaged("its pixel data says that it is compressed, its transfer syntax that it is not")
        expected = admitted.frames * admitted.frame_bytes
        copy_native(self._reader, length, expected, admitted.shape.sample_bytes > 1, self._target, self.count)
        end = self._reader.at + length - expected
        self.count[removed.AFTER_PIXELS] += end < self._reader.size < NO_END

    def _compressed(self, admitted: Admitted) -> None:
        if self._data_set.pixels[2] != UNDEFINED:
            raise damaged("its pixel data says that it is not compressed, its transfer syntax that it is")
        fragments = find_fragments(self._stream, self._reader.at, self._size)
        self.count[removed.AFTER_PIXELS] += fragments.end < self._size
        table = self._data_set.extended_offsets
        CompressedPixels(
            self._stream,
            fragments,
            admitted.frames,
            offsets(table, 8) if table else None,
            CLEANERS[self._syntax](),
            admitted.shape,
        ).write(self._target, self.count)


def _with_given(pieces: Iterator[Piece]) -> Iterator[Piece]:
    """Yield elements with those that every instance is given, in ascending order."""
    given = list(GIVEN)
    for tag, written in pieces:
        while given and given[0][0] < tag:
            yield given.pop(0)
        if given and given[0][0] == tag:
            given.pop(0)
        yield tag, written
    yield from given
