"""Realistic slides as DICOM: H&E-like pyramids in every transfer syntax, whole or faulty on purpose."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pydicom.uid
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels.encoders.base import get_encoder
from pydicom.uid import UID, RLELossless, generate_uid
from skimage import color

from tests.support.tissue import UInt8Array, tissue

WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
MICROSCOPIC = "1.2.840.10008.5.1.4.1.1.77.1.2"
SLIDE_COORDINATES = "1.2.840.10008.5.1.4.1.1.77.1.3"
EXPLICIT, IMPLICIT, DEFLATED = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.1.99"
JPEG = "1.2.840.10008.1.2.4.50"

TILE = 256


@cache
def stained(width: int, height: int) -> UInt8Array:
    """Return H&E-like tissue, uint8 RGB ``[height, width, 3]``: the IHC image's brown turned to eosin."""
    stains = color.rgb2hed(tissue(min(width, 1024), min(height, 1024)))
    stains[..., 1], stains[..., 2] = stains[..., 2], 0
    rgb = (color.hed2rgb(stains) * 255).round().astype(np.uint8)
    rows, columns = -(-height // rgb.shape[0]), -(-width // rgb.shape[1])
    image = np.ascontiguousarray(np.tile(rgb, (rows, columns, 1))[:height, :width])
    image.flags.writeable = False
    return image


def rgb_to_ybr(pixels: UInt8Array) -> UInt8Array:
    """Convert by the equations of PS3.3, C.7.6.3.1.2."""
    red, green, blue = np.moveaxis(pixels.astype(float), -1, 0)
    ybr = [
        0.2990 * red + 0.5870 * green + 0.1140 * blue,
        -0.1687 * red - 0.3313 * green + 0.5000 * blue + 128,
        0.5000 * red - 0.4187 * green - 0.0813 * blue + 128,
    ]
    return np.asarray(np.clip(np.rint(np.stack(ybr, axis=-1)), 0, 255), np.uint8)


def ybr_to_rgb(pixels: UInt8Array) -> UInt8Array:
    """Invert ``rgb_to_ybr`` by the inverse of its matrix."""
    luma, blue, red = np.moveaxis(pixels.astype(float), -1, 0)
    rgb = [
        luma + 1.402 * (red - 128),
        luma - 0.344136 * (blue - 128) - 0.714136 * (red - 128),
        luma + 1.772 * (blue - 128),
    ]
    return np.asarray(np.clip(np.rint(np.stack(rgb, axis=-1)), 0, 255), np.uint8)


@dataclass(frozen=True, slots=True)
class Coding:
    """A way to store a tile.

    Attributes
    ----------
    encode:
        Tile ``[h, w, 3]`` to the frame's bytes.
    truth:
        What a right reader gives for the frame; ``None`` where that is the tile itself.
    tolerance:
        Levels by which right decoders may differ.
    """

    syntax: str
    photometric: str
    encode: Callable[[UInt8Array], bytes]
    truth: Callable[[UInt8Array], UInt8Array] | None = None
    samples: int = 3
    planar: int = 0
    tolerance: int = 0


def _gray(tile: UInt8Array) -> UInt8Array:
    return np.ascontiguousarray(tile[:, :, 1])


def _three(gray: UInt8Array) -> UInt8Array:
    return np.repeat(gray[:, :, np.newaxis], 3, axis=2)


def _pillow_jpeg(tile: UInt8Array) -> bytes:
    file = io.BytesIO()
    Image.fromarray(tile).save(file, "JPEG", quality=90, subsampling="4:2:2")
    return file.getvalue()


def _pillow(data: bytes) -> UInt8Array:
    image = np.asarray(Image.open(io.BytesIO(data)))
    return image if image.ndim == 3 else _three(image)


def _bare_ybr_jpeg(tile: UInt8Array) -> bytes:
    """Return a YCbCr JPEG without a JFIF marker, as scanners write it."""
    return _without_segment(_pillow_jpeg(tile), 0xE0)


def _adobe_rgb_jpeg(tile: UInt8Array) -> bytes:
    return bytes(imagecodecs.jpeg8_encode(tile, level=90, colorspace="RGB", outcolorspace="RGB"))


def _bare_rgb_jpeg(tile: UInt8Array) -> bytes:
    """Return a JPEG of untransformed RGB whose markers do not say so: only the metadata do."""
    data = bytearray(_without_segment(_adobe_rgb_jpeg(tile), 0xEE))
    for marker, first, step in (
        (0xC0, 10, 3),
        (0xDA, 5, 2),
    ):  # components are named R, G, B: call them 1, 2, 3
        start = data.index(bytes([0xFF, marker]))
        for number in range(3):
            data[start + first + step * number] = number + 1
    return bytes(data)


def _without_segment(data: bytes, marker: int) -> bytes:
    start = data.index(bytes([0xFF, marker]))
    length = int.from_bytes(data[start + 2 : start + 4], "big")
    return data[:start] + data[start + 2 + length :]


def _rle(tile: UInt8Array) -> bytes:
    return get_encoder(RLELossless).encode(
        tile.tobytes(), rows=tile.shape[0], columns=tile.shape[1], samples_per_pixel=3, bits_allocated=8,
        bits_stored=8, photometric_interpretation="RGB", pixel_representation=0, planar_configuration=0,
        number_of_frames=1,
    )  # fmt: skip


def _422(tile: UInt8Array) -> bytes:
    ybr = rgb_to_ybr(tile)
    pairs = np.concatenate([ybr[:, 0::2, :1], ybr[:, 1::2, :1], ybr[:, 0::2, 1:]], axis=2)
    return pairs.tobytes()


def _422_truth(tile: UInt8Array) -> UInt8Array:
    ybr = rgb_to_ybr(tile)
    ybr[:, 1::2, 1:] = ybr[:, 0::2, 1:]
    return ybr_to_rgb(ybr)


def _jpeg_xl_of(jpeg: bytes) -> bytes:
    return bytes(imagecodecs.jpegxl_encode_jpeg(jpeg))


def _j2k_lossy(tile: UInt8Array) -> bytes:
    return bytes(imagecodecs.jpeg2k_encode(tile, level=60, reversible=False, codecformat="J2K"))


def _htj2k_lossy(tile: UInt8Array) -> bytes:
    return bytes(imagecodecs.htj2k_encode(tile, reversible=False))


def _jxl_lossy(tile: UInt8Array) -> bytes:
    return bytes(imagecodecs.jpegxl_encode(tile, distance=1.0, lossless=False))


CODINGS: dict[str, Coding] = {
    "implicit": Coding(IMPLICIT, "RGB", lambda t: t.tobytes()),
    "explicit": Coding(EXPLICIT, "RGB", lambda t: t.tobytes()),
    "deflated": Coding(DEFLATED, "RGB", lambda t: t.tobytes()),
    "planar": Coding(EXPLICIT, "RGB", lambda t: t.transpose(2, 0, 1).tobytes(), planar=1),
    "native YBR_FULL": Coding(
        EXPLICIT,
        "YBR_FULL",
        lambda t: rgb_to_ybr(t).tobytes(),
        lambda t: ybr_to_rgb(rgb_to_ybr(t)),
        tolerance=1,
    ),
    "native YBR_FULL_422": Coding(EXPLICIT, "YBR_FULL_422", _422, _422_truth, tolerance=1),
    "native gray": Coding(
        EXPLICIT, "MONOCHROME2", lambda t: _gray(t).tobytes(), lambda t: _three(_gray(t)), 1
    ),
    "native inverted gray": Coding(
        EXPLICIT, "MONOCHROME1", lambda t: (255 - _gray(t)).tobytes(), lambda t: _three(_gray(t)), 1
    ),
    "JPEG": Coding(JPEG, "YBR_FULL_422", _pillow_jpeg, lambda t: _pillow(_pillow_jpeg(t))),
    "JPEG without JFIF": Coding(JPEG, "YBR_FULL_422", _bare_ybr_jpeg, lambda t: _pillow(_pillow_jpeg(t))),
    "JPEG RGB": Coding(JPEG, "RGB", _adobe_rgb_jpeg, lambda t: _pillow(_adobe_rgb_jpeg(t))),
    "JPEG RGB without Adobe": Coding(JPEG, "RGB", _bare_rgb_jpeg, lambda t: _pillow(_adobe_rgb_jpeg(t))),
    "JPEG gray": Coding(
        JPEG,
        "MONOCHROME2",
        lambda t: bytes(imagecodecs.jpeg8_encode(_gray(t), level=90)),
        lambda t: _pillow(bytes(imagecodecs.jpeg8_encode(_gray(t), level=90))),
        1,
    ),
    "JPEG 2000 lossless": Coding(
        "1.2.840.10008.1.2.4.90",
        "YBR_RCT",
        lambda t: bytes(imagecodecs.jpeg2k_encode(t, level=0, codecformat="J2K")),
    ),
    "JPEG 2000 without colour transform": Coding(
        "1.2.840.10008.1.2.4.90",
        "RGB",
        lambda t: bytes(imagecodecs.jpeg2k_encode(t, level=0, codecformat="J2K", mct=False)),
    ),
    "JPEG 2000 lossy": Coding(
        "1.2.840.10008.1.2.4.91", "YBR_ICT", _j2k_lossy, lambda t: _pillow(_j2k_lossy(t)), tolerance=1
    ),
    "JPEG-LS": Coding("1.2.840.10008.1.2.4.80", "RGB", lambda t: bytes(imagecodecs.jpegls_encode(t))),
    "JPEG-LS near-lossless": Coding(
        "1.2.840.10008.1.2.4.81", "RGB", lambda t: bytes(imagecodecs.jpegls_encode(t, level=2)), tolerance=2
    ),
    "JPEG XL lossless": Coding(
        "1.2.840.10008.1.2.4.110", "RGB", lambda t: bytes(imagecodecs.jpegxl_encode(t, lossless=True))
    ),
    "JPEG XL of a JPEG": Coding(
        "1.2.840.10008.1.2.4.111",
        "YBR_FULL_422",
        lambda t: _jpeg_xl_of(_pillow_jpeg(t)),
        lambda t: np.asarray(imagecodecs.jpegxl_decode(_jpeg_xl_of(_pillow_jpeg(t)))),
    ),
    "JPEG XL lossy": Coding(
        "1.2.840.10008.1.2.4.112",
        "XYB",
        _jxl_lossy,
        lambda t: np.asarray(imagecodecs.jpegxl_decode(_jxl_lossy(t))),
    ),
    "HTJ2K lossless": Coding(
        "1.2.840.10008.1.2.4.201", "YBR_RCT", lambda t: bytes(imagecodecs.htj2k_encode(t))
    ),
    "HTJ2K lossless RPCL": Coding(
        "1.2.840.10008.1.2.4.202", "YBR_RCT", lambda t: bytes(imagecodecs.htj2k_encode(t, tlm=True))
    ),
    "HTJ2K lossy": Coding(
        "1.2.840.10008.1.2.4.203",
        "YBR_ICT",
        _htj2k_lossy,
        lambda t: _pillow(_htj2k_lossy(t)),  # OpenJPEG, of another build; OpenJPH lets white overflow
        tolerance=1,
    ),
    "RLE": Coding("1.2.840.10008.1.2.5", "RGB", _rle),
}
"""Every way of storing a tile that must be read rightly."""


@dataclass(slots=True)
class StoredInstance:
    """One SOP instance as a store holds it: metadata, frames, and what its pixels truly are.

    Attributes
    ----------
    truth:
        uint8 RGB of the whole level (of all parts of a concatenation), before any ICC transform.
    """

    dataset: Dataset
    syntax: str
    frames: list[bytes]
    truth: UInt8Array

    @property
    def uid(self) -> str:
        return str(self.dataset.SOPInstanceUID)

    def file(self) -> bytes:
        """Return the instance as a DICOM file."""
        for name, uid in (("110", "Lossless"), ("111", "JPEG Recompression"), ("112", "")):
            known = f"1.2.840.10008.1.2.4.{name}"
            pydicom.uid.UID_dictionary.setdefault(  # type: ignore[attr-defined]
                known, (f"JPEG XL {uid}".strip(), "Transfer Syntax", "", "", f"JPEGXL{uid.replace(' ', '')}")
            )
        dataset = pydicom.dcmread(io.BytesIO(b""), force=True)
        dataset.update(self.dataset)
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = UID(self.syntax)
        meta.MediaStorageSOPClassUID = dataset.SOPClassUID
        meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.file_meta = meta
        native = self.syntax in (EXPLICIT, IMPLICIT, DEFLATED)
        dataset.PixelData = b"".join(self.frames) if native else encapsulate(self.frames)
        dataset["PixelData"].VR = "OB"
        file = io.BytesIO()
        dataset.save_as(file, enforce_file_format=True)
        return file.getvalue()


@dataclass(slots=True)
class Slide:
    """A series.

    Attributes
    ----------
    instances:
        Level by level, largest first, then whatever was added.
    """

    study: str = field(default_factory=generate_uid)
    series: str = field(default_factory=generate_uid)
    instances: list[StoredInstance] = field(default_factory=list)

    def add_level(
        self, pixels: UInt8Array, coding: Coding, *, parts: int = 1, **changes: Any
    ) -> list[StoredInstance]:
        """Add a level, as a concatenation where it has several parts; return its instances.

        Parameters
        ----------
        changes:
            Attributes by keyword that replace or, being ``None``, remove what a right level has.
        """
        height, width = pixels.shape[:2]
        across, down = -(-width // TILE), -(-height // TILE)
        padded = np.full((down * TILE, across * TILE, 3), 200, np.uint8)  # beyond the matrix: not black
        padded[:height, :width] = pixels
        tiles = [
            np.ascontiguousarray(padded[y * TILE : y * TILE + TILE, x * TILE : x * TILE + TILE])
            for y in range(down)
            for x in range(across)
        ]
        frames = [coding.encode(tile) for tile in tiles]
        seen = [tile if coding.truth is None else coding.truth(tile) for tile in tiles]
        truth = np.concatenate(
            [np.concatenate(seen[row * across : (row + 1) * across], axis=1) for row in range(down)]
        )[:height, :width]
        share = -(-len(frames) // parts)
        added = []
        for number in range(parts):
            mine = frames[number * share : (number + 1) * share]
            dataset = self._dataset(width, height, len(mine), coding)
            if parts > 1:
                dataset.ConcatenationUID = f"1.2.3.{len(self.instances) + 7}"
                dataset.InConcatenationNumber = number + 1
                dataset.InConcatenationTotalNumber = parts
                dataset.ConcatenationFrameOffsetNumber = number * share
            _change(dataset, changes)
            added.append(StoredInstance(dataset, coding.syntax, mine, truth))
        self.instances += added
        return added

    def add_single(
        self, pixels: UInt8Array, coding: Coding, sop_class: str, **changes: Any
    ) -> StoredInstance:
        """Add a single-frame VL Microscopic or VL Slide-Coordinates Microscopic image."""
        height, width = pixels.shape[:2]
        dataset = self._common(coding)
        dataset.SOPClassUID = UID(sop_class)
        dataset.ImageType = ["ORIGINAL", "PRIMARY"]
        dataset.Rows, dataset.Columns = height, width
        _change(dataset, changes)
        truth = pixels if coding.truth is None else coding.truth(pixels)
        made = StoredInstance(dataset, coding.syntax, [coding.encode(pixels)], truth)
        self.instances.append(made)
        return made

    def _common(self, coding: Coding) -> Dataset:
        dataset = Dataset()
        dataset.SOPInstanceUID = generate_uid()
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = self.study, self.series
        dataset.PatientName, dataset.PatientID = "Planted^Patient", "planted-id"
        dataset.Modality = "SM"
        dataset.SamplesPerPixel = coding.samples
        dataset.PhotometricInterpretation = coding.photometric
        if coding.samples == 3:
            dataset.PlanarConfiguration = coding.planar
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
        dataset.PixelRepresentation = 0
        return dataset

    def _dataset(self, width: int, height: int, frames: int, coding: Coding) -> Dataset:
        dataset = self._common(coding)
        dataset.SOPClassUID = UID(WHOLE_SLIDE)
        dataset.ImageType = ["DERIVED", "PRIMARY", "VOLUME", "RESAMPLED"]
        dataset.Rows, dataset.Columns = TILE, TILE
        dataset.TotalPixelMatrixRows, dataset.TotalPixelMatrixColumns = height, width
        dataset.TotalPixelMatrixFocalPlanes, dataset.NumberOfOpticalPaths = 1, 1
        dataset.ImagedVolumeWidth, dataset.ImagedVolumeHeight = 10.0, 8.0
        dataset.NumberOfFrames = frames
        dataset.DimensionOrganizationType = "TILED_FULL"
        dataset.FrameOfReferenceUID = generate_uid(entropy_srcs=[self.series])
        measures = Dataset()
        measures.PixelSpacing = [10.0 / width, 10.0 / width]
        shared = Dataset()
        shared.PixelMeasuresSequence = [measures]
        dataset.SharedFunctionalGroupsSequence = [shared]
        path = Dataset()
        path.OpticalPathIdentifier = "1"
        dataset.OpticalPathSequence = [path]
        return dataset


def _change(dataset: Dataset, changes: dict[str, Any]) -> None:
    for keyword, value in changes.items():
        if keyword == "ICCProfile" and "OpticalPathSequence" in dataset:
            dataset.OpticalPathSequence[0].ICCProfile = value
        elif value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)


def pyramid(
    coding: str = "explicit", sizes: Sequence[tuple[int, int]] = ((1000, 700), (500, 350)), **changes: Any
) -> Slide:
    """Return a slide of several levels (width, height), largest first."""
    slide = Slide()
    for width, height in sizes:
        slide.add_level(stained(width, height), CODINGS[coding], **changes)
    return slide
