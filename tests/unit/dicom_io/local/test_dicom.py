"""DICOM slides in files: where their frames are, which files belong together, and what is refused."""

from __future__ import annotations

import io
import os
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.uid import UID, generate_uid

from dicom_io.errors import ImageCode, ImageError
from dicom_io.geometry import Patch, Spacing
from dicom_io.local import dicom_header, zip_archive
from dicom_io.local.opening import open_slide
from dicom_io.local.slide import NotASlide, UnreadableSlide
from dicom_io.slides.slide import NoResolution
from dicom_io.sources.session import ReadContext
from tests.support.local_slides import write_dicom, write_zip
from tests.support.slides import CODINGS, DEFLATED, Slide, StoredInstance, pyramid, stained
from tests.support.tissue import UInt8Array
from tests.unit.dicom_io.local.conftest import Read

WHOLE = Patch(0, 0, 1000, 700)


def level(coding: str = "JPEG 2000 lossless", **options: object) -> tuple[Slide, StoredInstance]:
    slide = pyramid(coding, [(1000, 700)], **options)
    return slide, slide.instances[0]


def see(path: Path, context: ReadContext, read: Read) -> UInt8Array:
    with open_slide(path, context) as local:
        (pixels,) = read(local.source(0), [WHOLE])
    return pixels


def no_table(frames: Sequence[bytes], fragments: int) -> bytes:
    return encapsulate(list(frames), fragments_per_frame=fragments, has_bot=False)


def basic_table(frames: Sequence[bytes], fragments: int) -> bytes:
    return encapsulate(list(frames), fragments_per_frame=fragments)


@pytest.mark.parametrize("fragments", [1, 2, 3])
@pytest.mark.parametrize("write", [no_table, basic_table])
@pytest.mark.parametrize("coding", ["JPEG", "JPEG 2000 lossless", "JPEG XL lossless", "JPEG-LS"])
def test_frames_are_found_in_any_number_of_fragments(
    tmp_path: Path,
    context: ReadContext,
    read: Read,
    write: Callable[[Sequence[bytes], int], bytes],
    coding: str,
    fragments: int,
) -> None:
    slide, stored = level(coding)
    write_dicom(tmp_path / "slide", slide)
    path = tmp_path / "slide/IM0000"
    dataset = pydicom.dcmread(path)
    dataset.PixelData = write(stored.frames, fragments)
    dataset.save_as(path)
    np.testing.assert_array_equal(see(path, context, read), stored.truth)


def test_an_extended_offset_table_is_used(tmp_path: Path, context: ReadContext, read: Read) -> None:
    slide, stored = level()
    write_dicom(tmp_path / "slide", slide)
    path = tmp_path / "slide/IM0000"
    dataset = pydicom.dcmread(path)
    pixels, offsets, lengths = encapsulate_extended(stored.frames)
    dataset.PixelData, dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths = (
        pixels,
        offsets,
        lengths,
    )
    dataset.save_as(path)
    np.testing.assert_array_equal(see(path, context, read), stored.truth)


@pytest.mark.parametrize("coding", ["explicit", "implicit", "deflated", "JPEG"])
def test_a_file_that_is_cut_off_fails_the_frames_that_are_missing(
    tmp_path: Path, context: ReadContext, read: Read, coding: str
) -> None:
    slide, stored = level(coding)
    write_dicom(tmp_path / "slide", slide)
    path = tmp_path / "slide/IM0000"
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    if coding == "deflated":
        with pytest.raises(UnreadableSlide, match="its deflated data set is cut off"):
            open_slide(path, context)
        return
    with open_slide(path, context) as local:
        first = Patch(0, 0, 256, 256)
        np.testing.assert_array_equal(read(local.source(0), [first])[0], stored.truth[:256, :256])
        with pytest.raises(ImageError, match=f"SOP instance {stored.uid}, frame 12") as caught:
            read(local.source(0), [Patch(900, 600, 100, 100)])
        assert caught.value.code is ImageCode.DICOM_ERROR


def test_fragments_that_cannot_be_told_to_frames_are_refused(
    tmp_path: Path, context: ReadContext, read: Read
) -> None:
    slide, stored = level("RLE")
    write_dicom(tmp_path / "slide", slide)
    path = tmp_path / "slide/IM0000"
    dataset = pydicom.dcmread(path)
    dataset.PixelData = no_table([b"\3\0" * 1000 for _ in stored.frames], 2)
    dataset.save_as(path)
    with pytest.raises(ImageError, match="12 frames in 24 fragments, and no offset table"):
        see(path, context, read)


def test_a_concatenation_and_a_label_beside_it_are_one_slide(
    tmp_path: Path, context: ReadContext, read: Read
) -> None:
    slide = Slide()
    slide.add_level(stained(500, 350), CODINGS["explicit"])
    parts = slide.add_level(stained(1000, 700), CODINGS["JPEG"], parts=3)
    slide.add_level(stained(300, 200), CODINGS["JPEG"], ImageType=["ORIGINAL", "PRIMARY", "LABEL", "NONE"])
    folder = write_dicom(tmp_path / "slide", slide)
    (folder / "notes.txt").write_text("not DICOM")
    report = Dataset()
    report.SOPClassUID, report.SOPInstanceUID = UID("1.2.840.10008.5.1.4.1.1.88.11"), generate_uid()
    report.file_meta = FileMetaDataset()
    report.file_meta.TransferSyntaxUID = UID("1.2.840.10008.1.2.1")
    report.save_as(folder / "report.dcm", enforce_file_format=True)
    with open_slide(folder, context) as local:
        assert local.facts.sop_uids == (tuple(p.uid for p in parts), (slide.instances[0].uid,))
        assert (local.facts.study_uid, local.facts.series_uid) == (slide.study, slide.series)
        assert local.facts.spacing == Spacing(10.0, 10.0)
        (pixels,) = read(local.source(0), [WHOLE])
        np.testing.assert_array_equal(pixels, parts[0].truth)
        assert local.overview().shape == (700, 1000, 3)


def test_a_missing_part_of_a_concatenation_is_said(tmp_path: Path, context: ReadContext) -> None:
    slide = Slide()
    slide.add_level(stained(1000, 700), CODINGS["JPEG"], parts=3)
    folder = write_dicom(tmp_path / "slide", slide)
    (folder / "IM0001").unlink()
    with pytest.raises(ImageError, match="misses frames before frame 9"):
        open_slide(folder, context)


def test_of_several_series_in_a_folder_a_file_names_its_own(
    tmp_path: Path, context: ReadContext, read: Read
) -> None:
    first, second = level("explicit")[0], level("JPEG")[0]
    folder = write_dicom(tmp_path / "slides", first)
    (folder / "other").write_bytes(second.instances[0].file())
    with pytest.raises(NotASlide, match="images of 2 series; name one of a slide's files"):
        open_slide(folder, context)
    np.testing.assert_array_equal(see(folder / "other", context, read), second.instances[0].truth)
    np.testing.assert_array_equal(see(folder / "IM0000", context, read), first.instances[0].truth)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("coding", ["explicit", "JPEG", "deflated"])
def test_a_zip_is_read_like_a_folder(
    tmp_path: Path, context: ReadContext, read: Read, coding: str, compression: int
) -> None:
    slide, stored = level(coding)
    path = write_zip(tmp_path / "slide.zip", slide, compression)
    np.testing.assert_array_equal(see(path, context, read), stored.truth)
    folder = write_dicom(tmp_path / "slide", slide)
    with open_slide(path, context) as zipped, open_slide(folder, context) as plain:
        assert zipped.facts.digest == plain.facts.digest
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "slide",
        "slide.zip",
    ]  # nothing is unpacked beside it


def test_a_zip_that_unfolds_to_far_more_than_it_is_is_refused(
    tmp_path: Path, context: ReadContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dicom_header, "_FREE_BYTES", 1 << 20)
    bomb = bytes(128) + b"DICM" + bytes(60 << 20)
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("IM0", bomb)
    with pytest.raises(UnreadableSlide, match="unfolds to more bytes than are unpacked here"):
        open_slide(tmp_path / "bomb.zip", context)
    _, stored = level("deflated")
    file = stored.file()
    at = file.index(DEFLATED.encode()) + len(DEFLATED) + 1
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    meta = pydicom.dcmread(io.BytesIO(file), stop_before_pixels=True).file_meta
    end = 128 + 4 + 12 + int(meta.FileMetaInformationGroupLength)
    assert at <= end
    (tmp_path / "bomb.dcm").write_bytes(file[:end] + packer.compress(bytes(60 << 20)) + packer.flush())
    with pytest.raises(UnreadableSlide, match="unfolds to more"):
        open_slide(tmp_path / "bomb.dcm", context)


def test_zips_that_are_not_unpacked_say_why(
    tmp_path: Path, context: ReadContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    slide, _ = level("JPEG")
    data = write_zip(tmp_path / "slide.zip", slide).read_bytes()
    broken = tmp_path / "broken.zip"
    broken.write_bytes(data[: len(data) // 2])
    with pytest.raises(UnreadableSlide, match="a damaged ZIP"):
        open_slide(broken, context)
    encrypted = tmp_path / "encrypted.zip"
    at = data.index(b"PK\x01\x02") + 8
    encrypted.write_bytes(data[:at] + b"\x01" + data[at + 1 :])
    with pytest.raises(UnreadableSlide, match="it is encrypted"):
        open_slide(encrypted, context)
    with zipfile.ZipFile(tmp_path / "texts.zip", "w") as texts:
        texts.writestr("a.txt", "a")
    with pytest.raises(NotASlide, match=r"texts\.zip holds no DICOM images of microscopy"):
        open_slide(tmp_path / "texts.zip", context)
    monkeypatch.setattr(zip_archive, "MAX_FILES", 1)
    with pytest.raises(UnreadableSlide, match="more than 1 files"):
        open_slide(tmp_path / "slide.zip", context)


@pytest.mark.parametrize("size", [1 << 31, (1 << 63) + 5])
def test_a_zip_that_lies_about_the_size_of_a_file_is_damaged(
    tmp_path: Path, context: ReadContext, size: int
) -> None:
    _, stored = level()
    with zipfile.ZipFile(tmp_path / "s.zip", "w") as archive:
        archive.writestr("a.dcm", stored.file())
        archive.filelist[0].file_size = archive.filelist[0].compress_size = size
    with pytest.raises(ImageError, match="damaged ZIP"):
        open_slide(tmp_path / "s.zip", context)


def test_opening_what_is_refused_leaves_no_file_open(tmp_path: Path, context: ReadContext) -> None:
    slide, _ = level("JPEG")
    folder = write_dicom(tmp_path / "slides", slide)
    (folder / "other").write_bytes(level("explicit")[1].file())
    zipped = write_zip(tmp_path / "slide.zip", slide)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with pytest.raises(NotASlide):
            open_slide(folder, context)
        open_slide(folder / "other", context).close()
        open_slide(zipped, context).close()
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"DimensionOrganizationType": "TILED_SPARSE"}, ImageCode.DICOM_TILED_FULL_ERROR),
        ({"TotalPixelMatrixFocalPlanes": 3}, ImageCode.DICOM_ERROR),
        ({"NumberOfOpticalPaths": 2}, ImageCode.DICOM_ERROR),
    ],
)
def test_what_is_refused_of_a_store_is_refused_of_files(
    tmp_path: Path, context: ReadContext, changes: dict[str, object], code: ImageCode
) -> None:
    slide = pyramid("JPEG", [(500, 350)], **changes)
    with pytest.raises(ImageError) as caught:
        open_slide(write_dicom(tmp_path / "slide", slide), context)
    assert caught.value.code is code


def test_a_label_alone_is_no_slide(tmp_path: Path, context: ReadContext) -> None:
    slide = pyramid("JPEG", [(500, 350)], ImageType=["ORIGINAL", "PRIMARY", "LABEL", "NONE"])
    with pytest.raises(NotASlide, match="only labels, overviews or other objects"):
        open_slide(write_dicom(tmp_path / "slide", slide), context)


def test_a_folder_without_dicom_is_no_slide(tmp_path: Path, context: ReadContext) -> None:
    (tmp_path / "a.txt").write_text("a")
    with pytest.raises(NotASlide, match="holds no DICOM images of microscopy"):
        open_slide(tmp_path, context)


@pytest.mark.parametrize("cut", [140, 200, 400, 700])
def test_a_header_that_is_cut_off_is_said(tmp_path: Path, context: ReadContext, cut: int) -> None:
    _, stored = level("explicit")
    (tmp_path / "slide.dcm").write_bytes(stored.file()[:cut])
    with pytest.raises(ImageError, match=r"slide\.dcm|must be a positive number|must be there"):
        open_slide(tmp_path / "slide.dcm", context)


def test_a_resolution_that_is_given_counts_for_dicom_too(tmp_path: Path, context: ReadContext) -> None:
    folder = write_dicom(tmp_path / "slide", pyramid("explicit", [(1000, 700), (500, 350)]))
    with open_slide(folder, context, slide_mpp=0.25) as local:
        assert local.slide.at(0.5).index == 1
        assert local.slide.spacing == Spacing(0.25, 0.25)
        assert local.facts.spacing == Spacing(10.0, 10.0)


def test_dicom_pixels_beyond_belief_have_no_scale(tmp_path: Path, context: ReadContext) -> None:
    folder = write_dicom(tmp_path / "slide", pyramid("explicit", [(300, 200)]))
    with open_slide(folder, context) as local, pytest.raises(NoResolution, match=r"says 33\.3333 µm a pixel"):
        local.slide.at(0.5)
