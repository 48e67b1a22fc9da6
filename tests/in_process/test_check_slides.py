"""``pathserve check SLIDE``: files, folders and series, good and bad."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from serving.__main__ import main
from tests.in_process.test_dicomweb import DOCUMENTED, FAULTY
from tests.support.commands import EmbedCommand, own_logging
from tests.support.local_slides import pyramid_of, write_dicom, write_svs, write_zip
from tests.support.slides import CODINGS, Slide, pyramid, stained
from tests.support.store import Store
from tests.support.tissue import encode, tissue


class CheckCommand:
    """The command, and what it has printed."""

    def __init__(self, captured: pytest.CaptureFixture[str]) -> None:
        self._captured = captured

    def text(self, *arguments: object) -> tuple[int, str]:
        with own_logging():
            status = int(main(["check", *map(str, arguments)]))
        printed = self._captured.readouterr()
        return status, printed.out + printed.err

    def json(self, *arguments: object) -> tuple[int, list[dict[str, Any]]]:
        status, text = self.text(*arguments, "--json")
        return status, [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def check(capsys: pytest.CaptureFixture[str]) -> CheckCommand:
    return CheckCommand(capsys)


def scaled(**changes: Any) -> Slide:
    """Return a slide of 0.5 µm a pixel."""
    slide = Slide()
    for width, height in ((1000, 700), (500, 350)):
        (level,) = slide.add_level(stained(width, height), CODINGS["JPEG"], **changes)
        measures = level.dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
        measures.PixelSpacing = [0.5 / width, 0.5 / width]
    return slide


def test_a_slide_that_can_be_embedded_is_described(check: CheckCommand, tmp_path: Path) -> None:
    folder = write_dicom(tmp_path / "slide", scaled())
    status, text = check.text(folder, "--mpp", "1")
    assert status == 0
    for words in (
        f"{folder}: ok",
        "level 0   1000x700 pixels, 0.5 µm",
        "guard     inside",
        "PASS",
        "Modality",
    ):
        assert words in text
    status, (found,) = check.json(folder, "--mpp", "20x")
    assert (status, found["ok"], found["refusal"], found["format"]) == (0, True, None, "dicom")
    assert [level["um_per_px"] for level in found["levels"]] == [[0.5, 0.5], [1, 1]]
    assert found["reading"]["patches"] == 4 * 3
    assert found["reading"]["frames"] == 12
    assert found["reading"]["magnification"]["verdict"] == "inside"
    assert len(found["requirements"]) == 2


def test_a_level_beyond_the_models_range_is_said_to_be_so(
    check: CheckCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_svs(tmp_path / "a.svs", pyramid_of(1200, 900), mpp=0.25)
    status, text = check.text(path)
    assert status == 0
    assert "too_fine" in text
    assert "--mpp 0.5" in text
    assert "extensions" not in text
    status, text = check.text(path, "--mpp", "0.5")
    assert "inside" in text
    monkeypatch.setenv("PATHSERVE_MAGNIFICATION_GUARD", "refuse")
    status, text = check.text(path)
    assert (status, "MAGNIFICATION_ERROR" in text) == (1, True)
    status, text = check.text(write_svs(tmp_path / "b.svs", pyramid_of(1200, 900), mpp=None))
    assert "unknown" in text
    assert "--slide-mpp" in text


@pytest.mark.parametrize("fault", FAULTY)
def test_a_slide_that_embedding_refuses_is_refused_and_every_broken_rule_told(
    check: CheckCommand, tmp_path: Path, fault: str
) -> None:
    changes, code = FAULTY[fault]
    slide = pyramid("explicit", [(500, 350)], **changes)
    folder = write_dicom(tmp_path / "slide", slide)
    if "SOPClassUID" in changes:
        assert check.text(folder)[0] == 1  # nothing there is of a kind that is looked for
        return
    status, (found,) = check.json(folder)
    assert (status, found["ok"]) == (1, False)
    broken = {
        row["keyword"]
        for level in found["requirements"]
        for row in level["requirements"]
        if row["outcome"] == "fail"
    }
    assert broken & set(changes)
    if "ImageType" not in changes:
        assert code in found["refusal"]


@pytest.mark.parametrize("fault", DOCUMENTED)
def test_what_is_only_documented_is_a_remark(check: CheckCommand, tmp_path: Path, fault: str) -> None:
    archive = write_zip(tmp_path / "slide.zip", pyramid("explicit", [(500, 350)], **DOCUMENTED[fault]))
    status, text = check.text(archive)
    assert status == 0
    assert "REMARK" in text
    assert "FAIL" not in text


def test_what_the_check_accepts_is_embedded_and_what_it_refuses_is_not(
    check: CheckCommand, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = tmp_path / "slides"
    folder.mkdir()
    write_svs(folder / "good.svs", pyramid_of(1000, 700), mpp=0.5)
    write_svs(folder / "coarse.svs", pyramid_of(1000, 700), mpp=4)
    (folder / "cut.svs").write_bytes((folder / "good.svs").read_bytes()[:5000])
    write_zip(folder / "dicom.zip", pyramid("JPEG"))
    write_zip(folder / "broken.zip", pyramid("JPEG", HighBit=15))
    status, found = check.json(folder, "--mpp", "0.5")
    assert status == 1
    accepted = {Path(one["slide"]).stem for one in found if one["ok"]}
    assert accepted == {"good"}
    embed = EmbedCommand(capsys)
    embed(folder, "--mpp", "0.5", "--all", "--out", f"{tmp_path}/out/")
    assert {path.stem for path in (tmp_path / "out").glob("*.parquet")} == accepted


def test_a_series_is_checked_by_its_metadata_alone(check: CheckCommand) -> None:
    slide, unsupported = scaled(), pyramid("explicit", HighBit=15)
    with Store(slide, unsupported) as store:
        status, text = check.text(store.series_path(slide), "--level", "1")
        assert (status, "ok" in text, "would read level 1" in text) == (0, True, True)
        status, text = check.text(store.series_path(unsupported))
        assert status == 1
        assert "HighBit (0028,0102) must be 7" in text
        assert "found: 15" in text
        status, text = check.text(store.series_path(slide).replace(slide.series, "1.2.3"))
        assert (status, "DICOM_PATH_ERROR" in text) == (1, True)
        assert store.frame_requests() == []


def test_a_profile_that_cannot_be_used_refuses_a_transform_alone(check: CheckCommand, tmp_path: Path) -> None:
    folder = write_dicom(tmp_path / "slide", pyramid("JPEG", ICCProfile=b"no profile"))
    assert check.text(folder)[0] == 0
    status, text = check.text(folder, "--icc", "SRGB")
    assert status == 1
    assert "FAIL    ICCProfile (0028,2000)" in text


def test_files_are_not_transcoded_so_a_syntax_that_is_not_decoded_is_refused(
    check: CheckCommand, tmp_path: Path
) -> None:
    slide = pyramid("JPEG", [(500, 350)])
    slide.instances[0].syntax = "1.2.840.10008.1.2.4.100"
    status, text = check.text(write_dicom(tmp_path / "slide", slide))
    assert status == 1
    assert "FAIL    AvailableTransferSyntaxUID" in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nothing.svs"], "No such file"),
        (["nothing.csv"], "cannot be read"),
        (["picture.png", "--icc", "CIELAB"], "is not a colour space"),
        (["picture.png", "--level", "3"], "no level 3"),
        (["picture.png", "--mpp", "0.5"], "--slide-mpp"),
        (["text.svs"], "not a slide"),
        (["gs://"], "GCS_IMAGE_PATH_FORMAT_ERROR"),
    ],
)
def test_what_cannot_be_checked_says_why(
    check: CheckCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("picture.png").write_bytes(encode(tissue()))
    Path("text.svs").write_text("no slide")
    status, text = check.text(*arguments)
    assert status == 1
    assert words in text
    assert "Traceback" not in text


def test_a_picture_is_a_slide_of_one_level(check: CheckCommand, tmp_path: Path) -> None:
    (tmp_path / "p.png").write_bytes(encode(tissue()))
    status, (found,) = check.json(tmp_path / "p.png", "--slide-mpp", "0.5")
    assert (status, found["format"], found["requirements"]) == (0, "picture", [])
    assert found["reading"]["magnification"]["verdict"] == "inside"
