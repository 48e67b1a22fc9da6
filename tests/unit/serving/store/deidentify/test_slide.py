"""A slide that was de-identified is still that slide, to those who read it."""

from __future__ import annotations

import io
import tracemalloc
from pathlib import Path

import pydicom
import pytest

from dicom_io.colour.profiles import IccTarget, target_profile
from dicom_io.slides.instance import parse_instance
from serving.store.deidentify.deidentifier import Deidentifier
from tests.support.raw_dicom import data_set, file_of, minimal
from tests.support.slides import CODINGS, EXPLICIT, Slide, stained
from tests.unit.serving.store.deidentify.conftest import KEY, Clean

ICC = target_profile(IccTarget.ADOBERGB)
NATIVE = ("implicit", "explicit", "deflated", "planar")


def slide(coding: str, parts: int = 1) -> Slide:
    made = Slide()
    no = {"BurnedInAnnotation": "NO", "SpecimenLabelInImage": "NO"}
    made.add_level(stained(500, 300), CODINGS[coding], parts=parts, ICCProfile=ICC, **no)
    return made


def described(data: bytes) -> dict[str, object]:
    """Return what the readers of slides look at, without names of instances."""
    dataset = pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True)
    document = dataset.to_json_dict(1 << 20, lambda _: "")
    read = parse_instance(document | {"00020010": {"vr": "UI", "Value": ["1"]}})
    names = ("uid", "icc")
    return {
        field: getattr(read, field)
        for field in type(read).__dataclass_fields__
        if not any(name in field for name in names)
    }


@pytest.mark.parametrize("coding", CODINGS)
def test_what_readers_look_at_stays_in_every_transfer_syntax(coding: str, clean: Clean) -> None:
    source = slide(coding).instances[0].file()
    written, _ = clean(source)
    assert described(written) == described(source)
    syntax = pydicom.dcmread(io.BytesIO(written), stop_before_pixels=True).file_meta.TransferSyntaxUID
    assert syntax == (
        EXPLICIT
        if CODINGS[coding].syntax.startswith("1.2.840.10008.1.2.1") or coding == "implicit"
        else CODINGS[coding].syntax
    )


def test_parts_of_a_concatenation_stay_together(clean: Clean) -> None:
    parts = [pydicom.dcmread(io.BytesIO(clean(i.file())[0])) for i in slide("JPEG", parts=2).instances]
    assert len({part.ConcatenationUID for part in parts}) == 1
    assert [part.InConcatenationNumber for part in parts] == [1, 2]
    assert [part.ConcatenationFrameOffsetNumber for part in parts] == [0, 2]


@pytest.mark.parametrize("samples", [1, 3])
def test_frames_of_odd_sizes_are_padded(samples: int, clean: Clean) -> None:
    pixels = bytes(range(7 * 9 * samples))
    elements = minimal(
        t00280002=("US", bytes([samples, 0])),
        t00280004=("CS", b"MONOCHROME2" if samples == 1 else b"RGB"),
        t00280010=("US", b"\7\0"),
        t00280011=("US", b"\t\0"),
        t7FE00010=("OB", pixels),
    )
    written, _ = clean(file_of(data_set(elements)))
    assert pydicom.dcmread(io.BytesIO(written)).PixelData == pixels + b"\0"


def test_memory_does_not_grow_with_the_pixels(tmp_path: Path) -> None:
    frames = 400
    made = slide("JPEG").instances[0]
    made.frames = made.frames * (frames // len(made.frames))
    made.dataset.NumberOfFrames = len(made.frames)
    (tmp_path / "source").write_bytes(made.file())
    size = (tmp_path / "source").stat().st_size
    with (tmp_path / "target").open("wb") as target:
        tracemalloc.start()
        try:
            Deidentifier(KEY, None).write(tmp_path / "source", target)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert size > 6_000_000
    assert peak < 2_000_000
