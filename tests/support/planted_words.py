"""Words that are planted, and looked for afterwards."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Words:
    """The planted words, by the place where each is.

    Attributes
    ----------
    by_place:
        Words of capital letters and digits, at most 16, dates and UIDs.
    """

    by_place: dict[str, str] = field(default_factory=dict)

    def word(self, place: str) -> str:
        """Return a new word."""
        return self._add(place, f"PHI{len(self.by_place):03}KOWALSKI")

    def date(self, place: str) -> str:
        """Return a new date, long ago."""
        number = len(self.by_place)
        return self._add(place, f"18{number // 28:02}07{1 + number % 28:02}")

    def uid(self, place: str) -> str:
        """Return a new UID."""
        return self._add(place, f"1.3.6.1.4.1.77341.{len(self.by_place)}.20240229")

    def _add(self, place: str, word: str) -> str:
        assert place not in self.by_place
        self.by_place[place] = word
        return word

    def left_in(self, data: bytes | str) -> list[str]:
        """Return the places whose words are in some bytes, as ASCII or UTF-16, in any case."""
        held = data.encode() if isinstance(data, str) else data
        flat = held.replace(b"\0", b"").upper()
        return [place for place, word in self.by_place.items() if word.upper().encode() in flat]
