"""TIFF to pixels, by libtiff through Pillow, after its directory has been held to the limits (TIFF 6.0)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from PIL import TiffImagePlugin

from dicom_io.codecs.encoded_image import (
    DAMAGED_PROFILE,
    MAX_PROFILE_BYTES,
    DamagedImage,
    EncodedImage,
    check_depth,
    check_size,
)
from dicom_io.codecs.jpeg import decode_jpeg
from dicom_io.codecs.jpeg_markers import read_jpeg_header
from dicom_io.codecs.pillow_pixels import pillow_pixels
from dicom_io.errors import ImageCode, ImageError
from dicom_io.geometry import UInt8Array

SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0")

_WIDTH, _LENGTH, _BITS, _SAMPLES, _FORMAT, _PROFILE = 256, 257, 258, 277, 339, 34675
_ORIENTATION, _TILE_WIDTH, _TILE_LENGTH = 274, 322, 323
_COMPRESSION, _JPEG_TABLES, _JPEG, _OLD_JPEG = 259, 347, 7, 6
_PLACES = ((324, 325), (273, 279))  # offsets and byte counts of tiles, or of strips
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 6: 1, 7: 1, 13: 4, 16: 8}
_NUMBERS = {1: "B", 3: "H", 4: "I", 16: "Q"}
_MAX_ENTRIES = 1000
_MAX_VALUES = 16
_MAX_TILES = 1_000_000
_SMALL_TILE = 2048 * 2048


@dataclass(frozen=True, slots=True)
class Field:
    """One entry of an image file directory: the type, number and place of its values."""

    kind: int
    count: int
    at: int


@dataclass(frozen=True, slots=True)
class Directory:
    """The first image file directory."""

    order: str
    fields: dict[int, Field]
    data: bytes

    def numbers(self, tag: int, default: int, at_most: int = _MAX_VALUES) -> tuple[int, ...]:
        """Return the first values of a field.

        Raises
        ------
        DamagedImage
            When they lie beyond the file, or are not unsigned numbers.
        """
        field = self.fields.get(tag)
        if field is None:
            return (default,)
        code, count = _NUMBERS.get(field.kind), min(field.count, at_most)
        if code is None or not count or field.at + count * _SIZES[field.kind] > len(self.data):
            raise DamagedImage(f"its field {tag} is damaged")
        return struct.unpack_from(f"{self.order}{count}{code}", self.data, field.at)

    def contents(self, tag: int) -> bytes | None:
        """Return a field's bytes, cut at the end of the file; ``None`` where there is no such field."""
        field = self.fields.get(tag)
        return None if field is None else self.data[field.at : field.at + field.count]

    def number(self, tag: int, default: int = 0) -> int:
        """Return the first value of a field."""
        return self.numbers(tag, default)[0]


def open_tiff(data: bytes, max_pixels: int) -> EncodedImage:
    """Read the first directory; its image is the one that is decoded."""
    directory = read_directory(data)
    width, height = directory.number(_WIDTH), directory.number(_LENGTH)
    samples = directory.number(_SAMPLES, 1)
    check_size(width, height, max_pixels, samples)
    _check_tiles(directory, width, height, max_pixels)
    plain = set(directory.numbers(_FORMAT, 1)) == {1}
    check_depth(max(directory.numbers(_BITS, 1)), plain=plain)

    def decode() -> tuple[UInt8Array, bytes | None]:
        _check_jpegs(directory, _tile_at_most(width, height, max_pixels))
        return pillow_pixels(_AsStored, _upright(directory), width, height), _profile(directory)

    return EncodedImage(width, height, False, decode)


def read_directory(data: bytes) -> Directory:
    """Read the entries of the first directory of a TIFF or BigTIFF file.

    Raises
    ------
    DamagedImage
        When it is cut off.
    """
    order, big = "<" if data[:2] == b"II" else ">", data[2:4] in (b"+\0", b"\0+")
    number, entry, inline = ("Q", "HHQ", 8) if big else ("H", "HHI", 4)
    try:
        (start,) = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)
        (count,) = struct.unpack_from(order + number, data, start)
        if count > _MAX_ENTRIES:
            raise DamagedImage(f"its directory has {count} entries")
        fields: dict[int, Field] = {}
        position = start + struct.calcsize(order + number)
        for _ in range(count):
            tag, kind, values = struct.unpack_from(order + entry, data, position)
            at = position + struct.calcsize(order + entry)
            if _SIZES.get(kind, 8) * values > inline:
                (at,) = struct.unpack_from(order + ("Q" if big else "I"), data, at)
            # Readers disagree on which of two entries of a tag counts, so libtiff could use one that was not
            # checked here.
            if tag in fields:
                raise DamagedImage(f"its directory repeats field {tag}")
            fields[tag] = Field(kind, values, at)
            position += struct.calcsize(order + entry) + inline
    except struct.error as error:
        raise DamagedImage("its directory is cut off") from error
    return Directory(order, fields, data)


class _AsStored(TiffImagePlugin.TiffImageFile):
    """Ignores the orientation, which Pillow applies to TIFF only, so that all formats are read as stored."""

    def load_end(self) -> None:
        """Do nothing."""


def _check_tiles(directory: Directory, width: int, height: int, max_pixels: int) -> None:
    """Refuse tiles far larger than the image: a decoder allocates a whole one."""
    across, down = directory.number(_TILE_WIDTH), directory.number(_TILE_LENGTH)
    if across * down > _tile_at_most(width, height, max_pixels):
        raise ImageError(
            ImageCode.IMAGE_DIMENSION_ERROR,
            f"The TIFF image of {width}x{height} pixels has tiles of {across}x{down}; save it with tiles "
            "no larger than the image.",
        )


def _tile_at_most(width: int, height: int, max_pixels: int) -> int:
    """Return how many pixels a tile of an image of this size may have."""
    return max(min(4 * width * height, max_pixels), _SMALL_TILE)


def _check_jpegs(directory: Directory, at_most: int) -> None:
    """Require JPEG-compressed tiles or strips to be undamaged: libtiff swallows libjpeg's warnings."""
    compression = directory.number(_COMPRESSION, 1)
    if compression == _OLD_JPEG:
        raise DamagedImage("its old-style JPEG compression is not supported")
    if compression != _JPEG:
        return
    tables = directory.contents(_JPEG_TABLES) or b"\xff\xd8\xff\xd9"
    offsets, counts = next((p for p in _PLACES if p[0] in directory.fields), _PLACES[1])
    places = zip(
        directory.numbers(offsets, 0, _MAX_TILES), directory.numbers(counts, 0, _MAX_TILES), strict=False
    )
    for start, size in places:
        jpeg = tables[:-2] + directory.data[start + 2 : start + size]
        header = read_jpeg_header(jpeg)
        header.require_decodable()
        if header.width * header.height > at_most:
            raise DamagedImage("a JPEG image within it is larger than its tiles may be")
        decode_jpeg(jpeg, header)


def _upright(directory: Directory) -> bytes:
    """Return the file with its orientation set to 1: by others, Pillow swaps width and height on opening."""
    field = directory.fields.get(_ORIENTATION)
    if field is None or field.kind != 3 or field.at + 2 > len(directory.data):
        return directory.data
    value = struct.pack(directory.order + "H", 1)
    return directory.data[: field.at] + value + directory.data[field.at + 2 :]


def _profile(directory: Directory) -> bytes | None:
    profile = directory.contents(_PROFILE)
    if profile is None:
        return None
    whole = len(profile) == directory.fields[_PROFILE].count <= MAX_PROFILE_BYTES
    return profile if whole else DAMAGED_PROFILE
