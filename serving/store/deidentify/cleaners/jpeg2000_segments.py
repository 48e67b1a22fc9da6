"""What the segments of a JPEG 2000 header hold, and that it is no more (ITU-T T.800, annex A; T.814, A.3)."""

from __future__ import annotations

from dataclasses import dataclass, field

from dicom_io.codecs.encoded_image import DamagedImage

_TLM = 0x55
_HTJ2K_ONLY = bytes.fromhex("00020000")
"""Pcap of HTJ2K: of all further parts of the standard part 15 alone is used."""

_OF_A_COMPONENT = frozenset({0x53, 0x5D, 0x5E})
_SEVERAL = frozenset({_TLM, 0x5F})
_MOST_LEVELS = 32


@dataclass(slots=True)
class Coding:
    """An image's components, and what its headers have told of their coding.

    Attributes
    ----------
    width, height, components:
        Of the image.
    """

    width: int
    height: int
    components: int
    _levels: int = 0
    _bands: int = 0
    _told: set[tuple[int, int]] = field(default_factory=set)

    def require(self, marker: int, body: bytes) -> None:
        """Refuse a segment that holds more or less than it must.

        Raises
        ------
        DamagedImage
        """
        wide = 1 if self.components < 257 else 2  # bytes of a component's number
        self._require_once(marker, body, wide)
        match marker:
            case 0x50:  # CAP
                fits = len(body) == 6 and body[:4] == _HTJ2K_ONLY
            case 0x51:  # SIZ
                fits = len(body) == 36 + 3 * self.components
            case 0x52:  # COD
                fits = len(body) >= 10 and self._coding_fits(body[0], body[5:])
            case 0x53:  # COC
                fits = len(body) >= wide + 6 and self._coding_fits(body[wide], body[wide + 1 :])
            case 0x5C:  # QCD
                fits = self._quantisation_fits(body)
            case 0x5D:  # QCC
                fits = self._quantisation_fits(body[wide:])
            case 0x5E:  # RGN
                fits = len(body) == wide + 2
            case 0x5F:  # POC
                fits = _progressions_fit(body, wide)
            case _:
                fits = marker == _TLM  # written anew
        if not fits:
            raise DamagedImage(f"its segment FF{marker:02X} holds more or less than it should")

    def _require_once(self, marker: int, body: bytes, wide: int) -> None:
        """Refuse what another segment of the header would be heard instead of."""
        component = int.from_bytes(body[:wide], "big") if marker in _OF_A_COMPONENT else 0
        told = marker, component
        if (marker not in _SEVERAL and told in self._told) or component >= self.components:
            raise DamagedImage(f"its header has another segment FF{marker:02X}, or one of no component")
        self._told.add(told)

    def end_header(self) -> None:
        """Refuse more step sizes than there are sub-bands; called at the end of each header.

        Raises
        ------
        DamagedImage
        """
        self._told.clear()
        if self._bands > 3 * self._levels + 1:
            raise DamagedImage("its quantisation holds more than it should")

    def _coding_fits(self, flags: int, body: bytes) -> bool:
        levels = body[0]
        self._levels = max(self._levels, levels)
        return levels <= _MOST_LEVELS and len(body) == 5 + (levels + 1 if flags & 1 else 0)

    def _quantisation_fits(self, body: bytes) -> bool:
        """Note how many step sizes there are (A.6.4); they may come before the number of levels does."""
        if len(body) < 2:
            return False
        style = body[0] & 0x1F
        if style == 1:  # one, of which the others are made
            return len(body) == 3
        bands, rest = divmod(len(body) - 1, 2 if style else 1)
        self._bands = max(self._bands, bands)
        unused = style == 0 and any(size & 7 for size in body[1:])
        return style in (0, 2) and not rest and not unused


def _progressions_fit(body: bytes, wide: int) -> bool:
    """Return whether changes of progression are such (A.6.6): no letter is a resolution or an order."""
    size = 5 + 2 * wide
    entries = [body[at : at + size] for at in range(0, len(body), size)]
    return all(
        len(entry) == size
        and entry[0] <= _MOST_LEVELS
        and entry[3 + wide] <= _MOST_LEVELS + 1
        and entry[-1] <= 4
        for entry in entries
    )
