"""Little-endian bit fields, as the headers of JPEG XL are written (ISO/IEC 18181-1, annex B)."""

from __future__ import annotations

from dicom_io.codecs.encoded_image import DamagedImage


class Bits:
    """Reads consecutive bit fields.

    Raises
    ------
    DamagedImage
        When the bytes end before a field does.
    """

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "little")
        self._size = self._left = 8 * len(data)

    @property
    def taken(self) -> int:
        """How many bits have been read."""
        return self._size - self._left

    def take(self, count: int) -> int:
        """Read an unsigned number of ``count`` bits."""
        if count > self._left:
            raise DamagedImage("the JPEG XL header is cut off")
        value = self._value & ((1 << count) - 1)
        self._value >>= count
        self._left -= count
        return value

    def flag(self) -> bool:
        """Read one bit."""
        return bool(self.take(1))

    def u32(self, *choices: tuple[int, int]) -> int:
        """Read a U32 field: two bits select (offset, number of bits)."""
        offset, count = choices[self.take(2)]
        return offset + self.take(count)

    def enum(self) -> int:
        """Read an Enum field."""
        return self.u32((0, 0), (1, 0), (2, 4), (18, 6))

    def u64(self) -> int:
        """Read a U64 field: two bits select nothing, 4 bits, 8, or 12 and more as long as bits say so."""
        choice = self.take(2)
        if choice < 3:
            return (0, 1, 17)[choice] + self.take((0, 4, 8)[choice])
        value, shift = self.take(12), 12
        while self.flag():
            value |= self.take(4 if shift == 60 else 8) << shift
            if shift == 60:
                break
            shift += 8
        return value
