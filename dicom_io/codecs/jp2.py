"""JP2 and JPH files: a JPEG 2000 codestream in boxes that describe its components (T.800, annex I)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from pydicom.uid import HTJ2K, JPEG2000

from dicom_io.codecs.boxes import boxes
from dicom_io.codecs.encoded_image import (
    DAMAGED_PROFILE,
    MAX_PROFILE_BYTES,
    DamagedImage,
    EncodedImage,
    check_depth,
    check_size,
)
from dicom_io.codecs.frame_format import FrameFormat
from dicom_io.codecs.jpeg2000 import (
    START,
    Codestream,
    decode_codestream,
    is_high_throughput,
    read_codestream,
    require_whole,
)
from dicom_io.codecs.samples import scaled_to_8_bits, ybr_full_to_rgb
from dicom_io.geometry import UInt8Array

SIGNATURE = b"\x00\x00\x00\x0cjP  \r\n\x87\n"

_SRGB, _GRAY, _SYCC, _CMYK = 16, 17, 18, 12
_COLOURS = {_SRGB: 3, _GRAY: 1, _SYCC: 3, _CMYK: 4}
_LUMA_AND_CHROMA = frozenset({"YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"})
_COLOUR = 0  # type of a channel; others are opacity (T.800, table I.16)
_WHOLE_IMAGE = 0


@dataclass(frozen=True, slots=True)
class Jp2:
    """The contents of a file's boxes.

    Attributes
    ----------
    space:
        Enumerated colour space (T.800, table I.10); ``None`` where a profile or nothing is given.
    profile:
        ICC profile; ``DAMAGED_PROFILE`` where it is too large.
    palette:
        uint8 ``[entries, columns]``.
    mapping:
        Component and palette column of each channel; column -1 for a component that bypasses the palette.
    definitions:
        Channel, its type and its association (1 red or gray, 2 green, 3 blue).
    """

    codestream: bytes
    space: int | None
    profile: bytes | None
    palette: UInt8Array | None
    mapping: tuple[tuple[int, int], ...]
    definitions: tuple[tuple[int, int, int], ...]


def open_jpeg2000(data: bytes, max_pixels: int) -> EncodedImage:
    """Read the header of a JP2 or JPH file, or of a bare codestream."""
    file = Jp2(data, None, None, None, (), ()) if data.startswith(START) else read_jp2(data)
    stream = read_codestream(file.codestream)
    check_size(stream.width, stream.height, max_pixels, len(stream.components))
    check_depth(stream.bits, plain=not stream.signed)
    require_whole(file.codestream, stream)
    channels = _colour_channels(file, stream)

    def decode() -> tuple[UInt8Array, bytes | None]:
        pixels = _to_channels(file, decode_codestream(file.codestream, stream), stream)
        pixels = np.ascontiguousarray(pixels[:, :, channels])
        if file.space == _SYCC and not stream.transformed and not stream.is_subsampled:
            pixels = ybr_full_to_rgb(pixels)
        return pixels, file.profile

    return EncodedImage(stream.width, stream.height, False, decode)


def decode_jpeg2000_frame(data: bytes, form: FrameFormat) -> UInt8Array:
    """Decode JPEG 2000 or HTJ2K, bare or in boxes, to uint8 ``[height, width, samples]``.

    What the codestream says of its colours outweighs the label.
    """
    codestream = data
    if data.startswith(SIGNATURE):
        file = read_jp2(data)
        require_plain(file)
        codestream = file.codestream
    stream = read_codestream(codestream)
    form.require_size(stream.width, stream.height)
    form.require_samples(len(stream.components), stream.bits, "signed" if stream.signed else "")
    require_whole(codestream, stream)
    pixels = decode_codestream(codestream, stream)
    is_rgb = stream.transformed or stream.is_subsampled or form.photometric not in _LUMA_AND_CHROMA
    return pixels if is_rgb or form.samples == 1 else ybr_full_to_rgb(pixels)


def jpeg2000_syntax(data: bytes) -> str | None:
    """Return the most general transfer syntax of JPEG 2000 or HTJ2K, for codestreams and files of either."""
    if data.startswith(SIGNATURE):
        data = data[max(data.find(START), 0) :]
    elif not data.startswith(START):
        return None
    return HTJ2K if is_high_throughput(data) else JPEG2000


def read_jp2(data: bytes) -> Jp2:
    """Read the boxes of a file.

    Raises
    ------
    DamagedImage
        When boxes are cut off, damaged or missing.
    """
    header, codestream = None, None
    for kind, body in _whole_boxes(data):
        if kind == b"jp2h" and header is None:
            header = body
        elif kind == b"jp2c":
            codestream = body
            break
    if header is None or codestream is None:
        raise DamagedImage("its JP2 boxes lack a header or a codestream")
    single: dict[bytes, bytes] = {}
    colours = []
    for kind, body in _whole_boxes(header):
        if kind == b"colr":
            colours.append(body)
        elif single.setdefault(kind, body) is not body:
            raise DamagedImage("its JP2 header repeats a box")
    space, profile = _read_colours(colours)
    palette = _read_palette(single.get(b"pclr"))
    return Jp2(
        codestream,
        space,
        profile,
        palette,
        _read_mapping(single.get(b"cmap"), palette),
        _read_definitions(single.get(b"cdef")),
    )


def require_plain(file: Jp2) -> None:
    """Require that the components of a frame within boxes are its samples, in order.

    Raises
    ------
    DamagedImage
        When they go through a palette or are reordered.
    """
    order = [(channel, what) for channel, kind, what in file.definitions if kind == _COLOUR]
    if file.mapping or any(what not in (_WHOLE_IMAGE, channel + 1) for channel, what in order):
        raise DamagedImage("its JP2 boxes redefine its components")


def _whole_boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield kind and contents of each box."""
    for kind, start, end in boxes(data):
        if end > len(data):
            raise DamagedImage("a JP2 box is cut off")
        yield kind, data[start:end]


def _read_colours(bodies: list[bytes]) -> tuple[int | None, bytes | None]:
    """Return the colour space or profile of the first box that is understood (T.800, I.5.3.3)."""
    for body in bodies:
        space = int.from_bytes(body[3:7], "big")
        if body[:1] == b"\x01" and space in _COLOURS:
            return space, None
        if body[:1] in (b"\x02", b"\x03"):
            return None, body[3:] if len(body) <= MAX_PROFILE_BYTES else DAMAGED_PROFILE
    if bodies:
        raise DamagedImage("its colour space is not sRGB, gray, sYCC, CMYK or an ICC profile")
    return None, None


def _read_palette(body: bytes | None) -> UInt8Array | None:
    """Read a palette of 8 bits (T.800, I.5.3.4)."""
    if body is None:
        return None
    if len(body) < 3:
        raise DamagedImage("its palette is cut off")
    entries, columns = struct.unpack_from(">HB", body)
    if not 1 <= entries <= 1024 or not 1 <= columns <= 4 or set(body[3 : 3 + columns]) != {7}:
        raise DamagedImage("its palette is not one of 8-bit colours")
    values = np.frombuffer(body, np.uint8, offset=3 + columns)
    if len(values) < entries * columns:
        raise DamagedImage("its palette is cut off")
    return np.asarray(values[: entries * columns].reshape(entries, columns))


def _read_mapping(body: bytes | None, palette: UInt8Array | None) -> tuple[tuple[int, int], ...]:
    """Read which component each channel is made from (T.800, I.5.3.5)."""
    if body is None:
        if palette is not None:
            raise DamagedImage("it has a palette that is mapped to no component")
        return ()
    mapping = []
    for component, kind, column in struct.iter_unpack(">HBB", body[: len(body) // 4 * 4]):
        if kind > 1 or (kind == 1 and (palette is None or column >= palette.shape[1])):
            raise DamagedImage("its palette mapping is damaged")
        mapping.append((component, column if kind else -1))
    if not 1 <= len(mapping) <= 4:
        raise DamagedImage(f"it has {len(mapping)} channels")
    return tuple(mapping)


def _read_definitions(body: bytes | None) -> tuple[tuple[int, int, int], ...]:
    """Read what each channel is (T.800, I.5.3.6)."""
    if body is None:
        return ()
    count = int.from_bytes(body[:2], "big")
    if not 1 <= count <= 8 or len(body) < 2 + 6 * count:
        raise DamagedImage("its channel definitions are damaged")
    return tuple(struct.iter_unpack(">3H", body[2 : 2 + 6 * count]))


def _colour_channels(file: Jp2, stream: Codestream) -> list[int]:
    """Return the channels that are gray, red, green, blue or inks, in this order.

    Raises
    ------
    DamagedImage
        When the definitions are incomplete or do not fit the colour space.
    """
    available = len(file.mapping) or len(stream.components)
    if any(component >= len(stream.components) for component, _ in file.mapping):
        raise DamagedImage("its palette is mapped to a component that does not exist")
    wanted = _COLOURS.get(file.space or 0) or {1: 1, 2: 1}.get(available, 3)
    if file.profile and file.profile[16:20] == b"CMYK":
        wanted = 4
    elif file.profile and file.profile[16:20] == b"GRAY":
        wanted = 1
    if not file.definitions:
        channels = list(range(wanted))
    else:
        colours = [(what, channel) for channel, kind, what in file.definitions if kind == _COLOUR]
        if [what for what, _ in sorted(colours)] != list(range(1, wanted + 1)) and not (
            wanted == 1 and [what for what, _ in colours] == [_WHOLE_IMAGE]
        ):
            raise DamagedImage("its channel definitions do not name each colour once")
        channels = [channel for _, channel in sorted(colours)]
    if max(channels) >= available:
        raise DamagedImage("it has fewer channels than its colour space")
    if channels != sorted(channels) and stream.is_subsampled:
        raise DamagedImage("its subsampled components are in an unusual order")
    return channels


def _to_channels(file: Jp2, pixels: UInt8Array, stream: Codestream) -> UInt8Array:
    """Scale few bits up to 8, or look the components up in the palette."""
    if not file.mapping:
        return scaled_to_8_bits(pixels, stream.bits)
    channels = []
    for component, column in file.mapping:
        plane = pixels[:, :, component]
        if column < 0:
            channels.append(scaled_to_8_bits(plane, stream.bits))
            continue
        assert file.palette is not None, "read_jp2 has checked it"
        if plane.max(initial=0) >= len(file.palette):
            raise DamagedImage("it has an index beyond its palette")
        channels.append(file.palette[:, column][plane])
    return np.stack(channels, axis=2)
