"""Items that say something in codes: codes themselves, and names with values."""

from __future__ import annotations

from collections import Counter

from serving.store.deidentify import removed
from serving.store.deidentify.elements import UNDEFINED, ElementReader, Header, element, item
from serving.store.deidentify.keeping.codes import known_code
from serving.store.deidentify.keeping.pseudonyms import SPECIMEN, Pseudonyms
from serving.store.deidentify.keeping.rules import decimals
from serving.store.deidentify.walk import Bounds, headers, items

_CODE_VALUE, _SCHEME, _MEANING = 0x00080100, 0x00080102, 0x00080104
_UNITS, _TYPE, _NAME, _TEXT, _CODE, _NUMBER = (
    0x004008EA, 0x0040A040, 0x0040A043, 0x0040A160, 0x0040A168, 0x0040A30A,
)  # fmt: skip
_SEQUENCES = frozenset({_UNITS, _NAME, _CODE})
_VRS = {_CODE_VALUE: b"SH", _SCHEME: b"SH", _TYPE: b"CS", _TEXT: b"UT", _NUMBER: b"DS"}
_SPECIMEN_IDENTIFIER = element(_CODE_VALUE, b"SH", b"121041") + element(_SCHEME, b"SH", b"DCM")
_MOST = 1024
_one_decimal = decimals()


class CodedItems:
    """Cleans codes and content items.

    Parameters
    ----------
    removed:
        Counts what does not stay, by kind.
    """

    def __init__(self, reader: ElementReader, pseudonyms: Pseudonyms, count: Counter[str]) -> None:
        self._reader = reader
        self._pseudonyms = pseudonyms
        self._count = count

    def code(self, bounds: Bounds, depth: int) -> bytes | None:
        """Return a code of a known scheme with the meaning that DICOM gives it (PS3.3, section 8)."""
        values = {}
        for header in headers(self._reader, bounds):
            if header[0] in (_CODE_VALUE, _SCHEME):
                values[header[0]] = self._text(header, bounds[0], depth)
            else:
                # A meaning, too, which is written anew. Versions and modifiers say nothing more of a slide.
                self._skip(header, bounds[0], depth, counted=header[0] != _MEANING)
        code = known_code(values.get(_SCHEME, ""), values.get(_CODE_VALUE, ""))
        if code is None:
            self._count[removed.CODE] += 1
            return None
        scheme, value, meaning = (word.encode("ascii") for word in code)
        return b"".join((
            element(_CODE_VALUE, b"SH", value),
            element(_SCHEME, b"SH", scheme),
            element(_MEANING, b"LO", meaning),
        ))  # fmt: skip

    def content(self, bounds: Bounds, depth: int) -> bytes | None:
        """Return a content item that is a code, a number, or names a specimen (PS3.3, table 10-2)."""
        texts, codes = dict[int, str](), dict[int, bytes]()
        for header in headers(self._reader, bounds):
            if header[0] in _SEQUENCES and header[1] in (b"SQ", b""):
                codes[header[0]] = self._codes(header, bounds[0], depth + 1)
            elif header[0] in _VRS:
                texts[header[0]] = self._text(header, bounds[0], depth)
            else:
                self._skip(header, bounds[0], depth)
        body = self._content_item(texts, codes)
        if body is None:
            self._count[removed.CONTENT_ITEM] += 1
        return body

    def _content_item(self, texts: dict[int, str], codes: dict[int, bytes]) -> bytes | None:
        name, kind = codes.get(_NAME), texts.get(_TYPE, "")
        if not name:
            return None
        start = element(_TYPE, b"CS", kind.encode("ascii", "ignore")) + element(_NAME, b"SQ", name)
        match kind:
            case "CODE" if code := codes.get(_CODE):
                return start + element(_CODE, b"SQ", code)
            case "NUMERIC" if number := _one_decimal(texts.get(_NUMBER, "").encode(), self._pseudonyms):
                units = codes.get(_UNITS)
                before = element(_UNITS, b"SQ", units) if units else b""
                return before + start + element(_NUMBER, b"DS", number)
            case "TEXT" if name[8:].startswith(_SPECIMEN_IDENTIFIER):
                text = self._pseudonyms.identifier(SPECIMEN, texts.get(_TEXT, "").encode())
                return start + element(_TEXT, b"UT", text.encode())
        return None

    def _codes(self, header: Header, limit: int, depth: int) -> bytes:
        found = [self.code(bounds, depth) for bounds in items(self._reader, header, limit, depth)]
        return b"".join(item(code) for code in found if code is not None)

    def _text(self, header: Header, limit: int, depth: int) -> str:
        """Return a value; nothing where it has another representation than it must, or is far too long."""
        tag, vr, length = header
        if vr not in (_VRS[tag], b"") or length == UNDEFINED or length > _MOST:
            self._reader.skip(header, limit, depth)
            return ""
        return self._reader.read(length).strip(b"\0 ").decode("utf-8", "backslashreplace")

    def _skip(self, header: Header, limit: int, depth: int, *, counted: bool = True) -> None:
        self._count[removed.UNLISTED] += counted
        self._reader.skip(header, limit, depth)
