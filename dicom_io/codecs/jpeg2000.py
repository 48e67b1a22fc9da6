"""JPEG 2000 and HTJ2K codestreams (ITU-T T.800, annex A; T.814), both decoded by OpenJPEG.

A codestream states how its components are sampled and whether a component transform was used; what is
around it (a DICOM data set, a JP2 file) only describes components without a transform.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import imagecodecs
import numpy as np

from dicom_io.codecs.encoded_image import DamagedImage
from dicom_io.codecs.samples import require_shape
from dicom_io.geometry import Rect, UInt8Array

START = b"\xff\x4f\xff\x51"
"""SOC and SIZ, which every codestream starts with."""

_CAP, _SIZ, _COD, _SOT, _SOD, _EOC = 0x50, 0x51, 0x52, 0x90, 0x93, 0xD9
_MAX_COMPONENTS = 4
_MAX_SEGMENTS = 10_000
_MAX_TILE_PARTS = 100_000
_SAMPLINGS = ((1, 1), (2, 1), (2, 2))  # of chroma; the ones that the decoder expands


@dataclass(frozen=True, slots=True)
class Component:
    """Bits per sample, whether samples are signed, and their distance in pixels."""

    bits: int
    signed: bool
    dx: int
    dy: int


@dataclass(frozen=True, slots=True)
class Codestream:
    """The main header.

    Attributes
    ----------
    area, tile:
        The image and its first tile, on the reference grid (T.800, B.2).
    style:
        The segment of the coding style, COD (T.800, A.6.1).
    header_bytes:
        Where the first tile-part begins.
    """

    area: Rect
    tile: Rect
    components: tuple[Component, ...]
    style: bytes
    header_bytes: int

    @property
    def width(self) -> int:
        """Pixels across."""
        return self.area.width

    @property
    def height(self) -> int:
        """Pixels down."""
        return self.area.height

    @property
    def transformed(self) -> bool:
        """Whether the multiple component transform was used, so that decoding gives RGB."""
        return self.style[4] == 1

    @property
    def tiles(self) -> int:
        """How many tiles there are."""
        across = -(-(self.area.right - self.tile.x) // self.tile.width)
        return across * -(-(self.area.bottom - self.tile.y) // self.tile.height)

    @property
    def is_subsampled(self) -> bool:
        """Whether the second and third of three components have fewer samples than the first."""
        return any((c.dx, c.dy) != (1, 1) for c in self.components)

    @property
    def bits(self) -> int:
        """Bits of the deepest component."""
        return max(c.bits for c in self.components)

    @property
    def signed(self) -> bool:
        """Whether any component is."""
        return any(c.signed for c in self.components)


def is_high_throughput(data: bytes) -> bool:
    """Return whether a codestream uses the block coder of T.814, which it declares after SIZ (A.5.2)."""
    try:
        return next((True for marker, _ in _segments(data, 2, {_SOT}) if marker == _CAP), False)
    except DamagedImage:
        return False


def read_codestream(data: bytes) -> Codestream:
    """Read the main header.

    Raises
    ------
    DamagedImage
        When it is damaged, or has other than one to four components of one depth, with chroma at full or
        half resolution.
    """
    if not data.startswith(START):
        raise DamagedImage("it is not a JPEG 2000 codestream")
    sizes, style, position = None, None, 2
    for marker, segment in _segments(data, 2, {_SOT}):
        position += len(segment) + 4
        if marker == _SIZ:
            sizes = segment
        elif marker == _COD:
            style = segment
    if sizes is None or style is None or len(style) < 10 or style[4] > 1:
        raise DamagedImage("its header is incomplete or of an extension of JPEG 2000")
    area, tile, components = _read_siz(sizes)
    stream = Codestream(area, tile, components, style, position)
    _require_components(stream)
    return stream


def require_whole(data: bytes, stream: Codestream) -> None:
    """Require that all tiles are there to their ends, and no more packets are declared than can be.

    A decoder may fill in what is missing from a truncated codestream and report success.

    Raises
    ------
    DamagedImage
        When something is missing.
    """
    _require_packets(stream, len(data))
    _require_tile_parts(data, stream)


def decode_codestream(data: bytes, stream: Codestream) -> UInt8Array:
    """Decode to uint8 ``[height, width, components]``; subsampled ones are expanded and turned into RGB.

    Raises
    ------
    DamagedImage
        When the decoder finds anything missing.
    """
    try:
        pixels = np.atleast_3d(imagecodecs.jpeg2k_decode(data, numthreads=1))
    except Exception as error:  # the decoder raises anything at hostile bytes
        raise DamagedImage("its JPEG 2000 data is damaged or cut off") from error
    return require_shape(pixels, stream.height, stream.width, len(stream.components))


def _segments(data: bytes, position: int, stop: set[int]) -> Iterator[tuple[int, bytes]]:
    """Yield marker and contents of each segment up to the first of ``stop``, which is not yielded."""
    for _ in range(_MAX_SEGMENTS):
        try:
            escape, marker, length = struct.unpack_from(">BBH", data, position)
        except struct.error as error:
            if data[position : position + 2] == bytes((0xFF, _SOD)) and _SOD in stop:
                return
            raise DamagedImage("its JPEG 2000 header is cut off") from error
        if escape != 0xFF or (marker not in stop and length < 2):
            raise DamagedImage("its JPEG 2000 header is damaged")
        if marker in stop:
            return
        end = position + 2 + length
        if end > len(data):
            raise DamagedImage("its JPEG 2000 header is cut off")
        yield marker, data[position + 4 : end]
        position = end
    raise DamagedImage("its JPEG 2000 header never ends")


def _read_siz(segment: bytes) -> tuple[Rect, Rect, tuple[Component, ...]]:
    """Return the image area, the first tile and the components (T.800, A.5.1)."""
    try:
        right, bottom, left, top, across, down, tile_left, tile_top, count = struct.unpack_from(
            ">8IH", segment, 2
        )
        fields = [struct.unpack_from(">3B", segment, 36 + 3 * i) for i in range(min(count, 5))]
    except struct.error as error:
        raise DamagedImage("its JPEG 2000 header is cut off") from error
    if not 1 <= count <= _MAX_COMPONENTS:
        raise DamagedImage(f"it has {count} components")
    area = Rect(left, top, right - left, bottom - top)
    tile = Rect(tile_left, tile_top, across, down)
    if area.width < 1 or area.height < 1 or not (across and down):
        raise DamagedImage("its image area or its tiles are empty")
    if tile.x > left or tile.y > top or tile.right <= left or tile.bottom <= top:
        raise DamagedImage("its first tile does not overlap the image")
    components = tuple(Component((bits & 0x7F) + 1, bits > 0x7F, dx, dy) for bits, dx, dy in fields)
    return area, tile, components


def _require_components(stream: Codestream) -> None:
    kinds = {(c.bits, c.signed) for c in stream.components}
    if len(kinds) > 1:
        raise DamagedImage("its components differ in depth")
    samplings = [(c.dx, c.dy) for c in stream.components]
    if stream.is_subsampled and (
        len(samplings) != 3
        or stream.transformed
        or samplings[0] != (1, 1)
        or samplings[1] != samplings[2]
        or samplings[1] not in _SAMPLINGS
    ):
        raise DamagedImage("its component subsampling is not supported")


def _require_packets(stream: Codestream, size: int) -> None:
    """Refuse more packets than there are bytes: a decoder allocates for each before it reads any.

    Only whole tiles are counted, and rounded down, so that no valid codestream is refused (T.800, A.6.1, B.6,
    B.7).
    """
    area, tile, style = stream.area, stream.tile, stream.style
    (layers,) = struct.unpack_from(">H", style, 2)
    levels = style[5]
    if not layers or levels > 32:
        raise DamagedImage("its coding style is damaged")
    precincts = style[10 : 11 + levels] if style[0] & 1 else bytes([0xFF] * (levels + 1))
    if len(precincts) < levels + 1:
        raise DamagedImage("its coding style is cut off")
    width, height = min(tile.width, area.width), min(tile.height, area.height)
    packets = 0
    for component in stream.components:
        for number, exponents in enumerate(precincts):
            shift = levels - number
            across = (width // component.dx >> shift) >> (exponents & 15)
            down = (height // component.dy >> shift) >> (exponents >> 4)
            packets += max(1, across) * max(1, down) * layers
    whole = max(1, (area.width // tile.width - 1) * (area.height // tile.height - 1))
    if packets * whole > size:
        raise DamagedImage("it declares more packets than it has bytes")


def _require_tile_parts(data: bytes, stream: Codestream) -> None:
    """Walk from tile-part to tile-part to the end of the codestream (T.800, A.4.2)."""
    found: set[int] = set()
    position, tiles = stream.header_bytes, stream.tiles
    for _ in range(_MAX_TILE_PARTS):
        if data[position : position + 2] == bytes((0xFF, _EOC)):
            break
        try:
            marker, length, tile, size = struct.unpack_from(">HHHI", data, position)
        except struct.error as error:
            raise DamagedImage("it is cut off between tile-parts") from error
        if marker != 0xFF00 | _SOT or length != 10 or tile >= tiles:
            raise DamagedImage("its tile-parts are damaged or incomplete")
        for inner, segment in _segments(data, position + 12, {_SOD}):
            if inner == _COD and segment[4:5] != stream.style[4:5]:
                raise DamagedImage("its tiles differ in their colour transform")
        found.add(tile)
        position = position + size if size else data.rfind(bytes((0xFF, _EOC)))
        if (size and size < 14) or not 0 < position <= len(data) - 2:
            raise DamagedImage("a tile-part is cut off")
    if len(found) != tiles:
        raise DamagedImage(f"{tiles - len(found)} of its {tiles} tiles are missing")
