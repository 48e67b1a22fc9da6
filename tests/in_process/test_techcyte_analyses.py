"""From a slide in a file to what Techcyte shows of it, with a probe for an encoder."""

from __future__ import annotations

import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import orjson
import pytest
import shapely
from shapely.geometry.base import BaseGeometry

from dicom_io.geometry import Rect
from dicom_io.sources.session import ReadContext
from dicom_io.waiting import Cancellation, Cancelled
from serving.config.settings import SettingsError, load_settings
from serving.heads.file import write_head
from serving.heads.head import Head
from serving.pipeline.embedder import Embedder
from serving.processes.assembly import read_context
from serving.webhooks.analyses.patches import Patches
from serving.webhooks.techcyte import analysis, reports, slide_patches
from serving.webhooks.techcyte import reference as techcyte_reference
from serving.webhooks.techcyte.analysis import analyse, kit_of, open_scan
from serving.webhooks.techcyte.download import fetch_scan, limits_of
from serving.webhooks.techcyte.faults import ScanError
from serving.webhooks.techcyte.scratch import Scratch
from serving.webhooks.techcyte.trigger import AnalysisName
from tests.support import models
from tests.support.local_slides import write_zip
from tests.support.presigned import Bucket, scan_of
from tests.support.readings import timeless
from tests.support.slides import pyramid
from tests.support.techcyte_slides import (
    DIGEST,
    FIRST,
    HEIGHT,
    SECOND,
    WIDTH,
    probing,
    slide_pixels,
    write_slide,
)
from tests.support.vector_table import write_table

SCAN = scan_of("https://bucket.example/slide.svs?signed")
AT_1_UM = {"PATHSERVE_TECHCYTE_UM_PER_PX": 1.0}
SIDE = 448
"""Level-0 pixels of a patch of 1 µm a pixel."""


@pytest.fixture(scope="module")
def context() -> Iterator[ReadContext]:
    made = read_context(load_settings({}, {}))
    yield made
    made.decoders.close()


@pytest.fixture(scope="module")
def embedder(context: ReadContext) -> Iterator[Embedder]:
    with probing(context, Cancellation(time.monotonic() + 600)) as made:
        yield made


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_slide(tmp_path_factory.mktemp("slide") / "0001.svs", slide_pixels())


@dataclass
class Analysing:
    context: ReadContext
    embedder: Embedder
    slide: Path

    def __call__(
        self, name: AnalysisName, path: Path | None = None, **settings: object
    ) -> reports.ScanResult:
        kit = kit_of(load_settings({**AT_1_UM, **settings}, {}))
        self.said: list[str] = []
        with open_scan(path or self.slide, self.context) as opened:
            self.size = reports.SlideSize(opened.slide.width, opened.slide.height)
            waits = Cancellation(time.monotonic() + 300)
            return analyse(name, opened, SCAN, kit, self.embedder, self.said.append, waits)

    def sent(self, name: AnalysisName, path: Path | None = None, **settings: object) -> dict[str, Any]:
        """Return what is sent of the scan, once all rules have been applied: they leave nothing out."""
        for api in (reports.Api.V2, reports.Api.V3):
            results = reports.Results(scan_results=[self(name, path, **settings)])
            posting = reports.prepare(results, {SCAN.scan_id: self.size}, api)
            assert posting.left_out == ()
        (scan,) = posting.body["scanResults"]
        return dict(scan)

    def refusal(self, name: AnalysisName, path: Path | None = None, **settings: object) -> str:
        with pytest.raises(ScanError) as caught:
            self(name, path, **settings)
        return str(caught.value)


@pytest.fixture
def analysing(context: ReadContext, embedder: Embedder, slide: Path) -> Analysing:
    return Analysing(context, embedder, slide)


def rows(scan: dict[str, Any]) -> dict[str, str]:
    return {row["name"]: row["result"] for row in scan["workflow"]["report"]["results"]}


def areas(scan: dict[str, Any], segment: str) -> BaseGeometry:
    """Return a segment's area in level-0 pixels."""
    (found,) = [one for one in scan["workflow"]["report"]["segments"] if one["name"] == segment]
    return shapely.union_all(
        [shapely.geometry.shape(one["geometry"]) for one in found["feature_collection"]["features"]]
    )


def box(area: Rect) -> shapely.Polygon:
    return shapely.box(area.x, area.y, area.right, area.bottom)


def overlap(one: BaseGeometry, other: BaseGeometry) -> float:
    return float(one.intersection(other).area / one.union(other).area)


def origins_in(area: Rect) -> np.ndarray:
    return np.array(
        [
            (x, y)
            for y in range(0, HEIGHT - SIDE + 1, SIDE)
            for x in range(0, WIDTH - SIDE + 1, SIDE)
            if area.x <= x and x + SIDE <= area.right and area.y <= y and y + SIDE <= area.bottom
        ]
    )


def vectors_of(area: Rect) -> np.ndarray:
    """Return vectors of the patches of an area, as they come of the pixels at 1 µm a pixel."""
    whole = slide_pixels()
    patches = [whole[y : y + SIDE, x : x + SIDE] for x, y in origins_in(area)]
    small = [patch.reshape(224, 2, 224, 2, 3).mean(axis=(1, 3)).round().astype(np.uint8) for patch in patches]
    return models.probe(np.stack(small))


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reference")
    about = {"model": DIGEST, "frame": {"width": WIDTH // 2, "level0_width": WIDTH, "mpp": 1.0}}
    patches = Patches(origins_in(FIRST).astype(np.int64), SIDE)
    return write_table(folder / "first kind.parquet", patches, vectors_of(FIRST), about=about)


def test_similar_marks_what_looks_like_the_reference(analysing: Analysing, reference: Path) -> None:
    scan = analysing.sent(
        AnalysisName.SIMILAR, PATHSERVE_TECHCYTE_REFERENCE=reference, PATHSERVE_TECHCYTE_MOST_SIMILAR=6
    )
    assert scan["scanId"] == SCAN.scan_id
    assert "qcFailReasons" not in scan, "quality was not checked"
    assert scan["workflow"]["ruo"] is True
    assert scan["workflow"]["model_name"] == "Similar to first kind"
    marked = areas(scan, "Most similar")
    assert marked.area == 6 * SIDE * SIDE
    assert box(FIRST).contains(marked)
    heat, points = scan["geojson"]["features"]
    assert heat["properties"]["annotation_type"] == "similarity"
    assert len(heat["properties"]["contour_colors"]) == len(heat["geometry"]["geometries"]) > 0
    contours = shapely.union_all([shapely.geometry.shape(one) for one in heat["geometry"]["geometries"]])
    assert contours.intersection(box(FIRST)).area > 0.7 * box(FIRST).area
    assert contours.intersection(box(SECOND)).area < 0.2 * box(SECOND).area
    assert len(points["geometry"]["coordinates"]) == 6
    assert scan["results"]["highest_similarity"] > 0.5
    assert "For research use only" in scan["results"]["summary"]
    assert "UNTRAINED" in scan["results"]["summary"], "the probe is no model"
    assert analysing.said[0] == "looking for tissue"
    assert analysing.said[-1] == "drawing the results"


def test_a_reference_may_be_hdf5_as_well(analysing: Analysing, reference: Path, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "first kind.h5", "w") as file:
        about = {"model": DIGEST, "frame": {"mpp": 1.0}, "untrained": False}
        file.attrs["pathserve"] = orjson.dumps(about).decode()
        file["features"] = vectors_of(FIRST)
    both = [
        analysing(AnalysisName.SIMILAR, PATHSERVE_TECHCYTE_REFERENCE=path)
        for path in (reference, tmp_path / "first kind.h5")
    ]
    assert timeless(both[0]) == timeless(both[1])


def test_cluster_tells_kinds_of_tissue_apart_and_classify_names_them(
    analysing: Analysing, tmp_path: Path
) -> None:
    scan = analysing.sent(AnalysisName.CLUSTER, PATHSERVE_TECHCYTE_CLUSTERS=2)
    found = [areas(scan, f"Cluster {number}") for number in (1, 2)]
    assert found[0].intersection(found[1]).area == 0
    assert max(overlap(found[0], box(area)) for area in (FIRST, SECOND)) > 0.6
    assert rows(scan)["Clusters"] == "2"
    assert "geojson" not in scan

    mean = [vectors_of(area).mean(axis=0) for area in (FIRST, SECOND)]
    weights = np.stack([40 * (mean[0] - mean[1]), 40 * (mean[1] - mean[0])]).astype(np.float32)
    bias = -(weights @ ((mean[0] + mean[1]) / 2)).astype(np.float32)
    head = Head("Two kinds", ("first", "second"), ("#FF0000", "#0000FF"), weights, bias, 1.0, DIGEST, True)
    write_head(tmp_path / "head.json", head)
    scan = analysing.sent(AnalysisName.CLASSIFY, PATHSERVE_TECHCYTE_HEAD=tmp_path / "head.json")
    assert areas(scan, "first").intersection(box(SECOND)).area < 0.2 * box(SECOND).area
    assert areas(scan, "second").intersection(box(FIRST)).area < 0.2 * box(FIRST).area
    assert set(rows(scan)) == {"Largest class", "first", "second"}
    assert scan["results"]["share of first"] + scan["results"]["share of second"] == pytest.approx(
        1, abs=1e-3
    )
    (heat,) = scan["geojson"]["features"]
    assert heat["properties"]["annotation_type"] == "class probability"
    colours = {
        feature["properties"]["color"]
        for segment in scan["workflow"]["report"]["segments"]
        for feature in segment["feature_collection"]["features"]
    }
    assert colours == {"#FF0000", "#0000FF"}


REASONS = {"PATHSERVE_TECHCYTE_QC_REASONS": "empty=No tissue, blur=blurry, pen=Pen marks"}


def test_qc_finds_nothing_in_a_good_scan_and_says_so(analysing: Analysing) -> None:
    scan = analysing.sent(AnalysisName.QC)
    assert scan["qcFailReasons"] == []
    assert rows(scan)["Quality"] == "Nothing found"
    assert overlap(areas(scan, "Tissue"), box(FIRST).union(box(SECOND))) > 0.9
    assert scan["results"]["tissue"] == pytest.approx(
        (FIRST.width * FIRST.height + SECOND.width * SECOND.height) / (WIDTH * HEIGHT), rel=0.1
    )


@pytest.mark.parametrize(
    ("fault", "reason", "words"),
    [
        ({"blur": 6}, "blurry", "Out of focus"),
        ({"pen": True}, "Pen marks", "Marked by a pen"),
        ({"empty": True}, "No tissue", "Too little tissue"),
    ],
)
def test_qc_finds_what_is_wrong_and_calls_it_by_the_companys_names(
    analysing: Analysing, tmp_path: Path, fault: dict[str, Any], reason: str, words: str
) -> None:
    path = write_slide(tmp_path / "0001.svs", slide_pixels(**fault))
    scan = analysing.sent(AnalysisName.QC, path, **REASONS)
    assert scan["qcFailReasons"] == [reason]
    assert rows(scan)["Quality"] == words
    nameless = analysing.sent(AnalysisName.QC, path)
    assert "qcFailReasons" not in nameless, "an empty list would say that the scan is good"
    assert rows(nameless)["Quality"] == words
    if "blur" in fault:
        assert areas(scan, "Out of focus").intersection(box(FIRST)).area > 0.5 * box(FIRST).area
    if "pen" in fault:
        line = shapely.LineString([(300, 2800), (4200, 2500)]).buffer(20)
        assert overlap(areas(scan, "Pen"), line) > 0.6


def test_a_scan_that_lacks_what_an_analysis_needs_is_said_so_in_words(
    analysing: Analysing, reference: Path, tmp_path: Path
) -> None:
    assert "PATHSERVE_TECHCYTE_REFERENCE" in analysing.refusal(AnalysisName.SIMILAR)
    assert "PATHSERVE_TECHCYTE_HEAD" in analysing.refusal(AnalysisName.CLASSIFY)
    finer = analysing.refusal(
        AnalysisName.SIMILAR, PATHSERVE_TECHCYTE_REFERENCE=reference, PATHSERVE_TECHCYTE_UM_PER_PX=0.5
    )
    assert "has 1 µm/px" in finer
    too_many = analysing.refusal(AnalysisName.CLUSTER, PATHSERVE_TECHCYTE_MAX_PATCHES=5)
    assert "patches with tissue" in too_many
    coarse = analysing.refusal(AnalysisName.CLUSTER, PATHSERVE_TECHCYTE_UM_PER_PX=0.2)
    assert "0.2 µm" in coarse
    empty = write_slide(tmp_path / "0001.svs", slide_pixels(empty=True))
    assert "no tissue" in analysing.refusal(AnalysisName.CLUSTER, empty)
    unknown = write_slide(tmp_path / "0002.svs", slide_pixels(empty=True), mpp=None)
    assert "resolution is not known" in analysing.refusal(AnalysisName.CLUSTER, unknown)


def test_a_reference_of_another_encoder_is_refused_before_anything_is_embedded(
    analysing: Analysing, tmp_path: Path
) -> None:
    patches = Patches(np.array([[0, 0]]), SIDE)
    of = write_table(tmp_path / "other.parquet", patches, np.ones((1, 384), np.float32))
    assert "sha256:1, but sha256:00 runs" in analysing.refusal(
        AnalysisName.SIMILAR, PATHSERVE_TECHCYTE_REFERENCE=of
    )
    assert analysing.said == ["looking for tissue"]


@pytest.mark.parametrize("kind", ["files", "zip of files", "svs", "zip of an svs"])
def test_a_scan_is_fetched_and_analysed_in_whatever_form_it_comes(
    analysing: Analysing, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dicom = pyramid("JPEG", sizes=((1792, 1344), (896, 672)))
    svs = analysing.slide.read_bytes()
    (tmp_path / "bucket").mkdir()
    with Bucket(tmp_path / "bucket") as bucket:
        monkeypatch.setenv("SSL_CERT_FILE", str(bucket.certificate))
        match kind:
            case "files":
                files = [stored.file() for stored in dicom.instances]
                links = [bucket.put(f"/{number}", data) for number, data in enumerate(files)]
            case "zip of files":
                links = [bucket.put("/scan", write_zip(tmp_path / "scan.zip", dicom).read_bytes())]
            case "svs":
                links = [bucket.put("/scan", svs)]
            case _:
                with zipfile.ZipFile(tmp_path / "scan.zip", "w") as archive:
                    archive.writestr("scans/a.svs", svs)
                links = [bucket.put("/scan", (tmp_path / "scan.zip").read_bytes())]
        settings = load_settings(
            {
                "PATHSERVE_TECHCYTE_FOLDER": tmp_path / "scratch",
                "PATHSERVE_TECHCYTE_DOWNLOAD_HOSTS": bucket.host,
            },
            {},
        )
        waits = Cancellation(time.monotonic() + 60)
        with Scratch(settings).task() as folder:
            path = fetch_scan(scan_of(*links), folder, limits_of(settings), waits)
            scan = analysing.sent(
                AnalysisName.QC, path, PATHSERVE_TECHCYTE_UM_PER_PX=1 if "svs" in kind else 5.6
            )
    assert scan["qcFailReasons"] == []
    expected = (WIDTH, HEIGHT) if "svs" in kind else (1792, 1344)
    assert (analysing.size.width, analysing.size.height) == expected


@pytest.mark.parametrize("data", [b"II*\0" + bytes(500), b"PK\x03\x04", b"nothing"])
def test_a_file_that_is_no_slide_is_a_scans_error(context: ReadContext, tmp_path: Path, data: bytes) -> None:
    (tmp_path / "0001.svs").write_bytes(data)
    with pytest.raises(ScanError), open_scan(tmp_path / "0001.svs", context):
        pass


def test_a_job_that_ends_ends_its_analysis(context: ReadContext, embedder: Embedder, slide: Path) -> None:
    waits = Cancellation(time.monotonic() + 60)
    kit = kit_of(load_settings(AT_1_UM, {}))

    def stop(said: str) -> None:
        if "patches" in said:
            waits.cancel()

    with open_scan(slide, context) as opened, pytest.raises(Cancelled):
        analyse(AnalysisName.QC, opened, SCAN, kit, embedder, stop, waits)


def test_a_slide_that_claims_to_be_endless_is_refused(
    analysing: Analysing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slide_patches, "MOST_PLACES", 50)
    assert "spans 70 patches at 1 µm a pixel" in analysing.refusal(AnalysisName.QC)


def test_an_installation_without_what_is_needed_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, reference: Path
) -> None:
    of = load_settings({"PATHSERVE_TECHCYTE_REFERENCE": reference}, {})
    monkeypatch.setattr(techcyte_reference, "find_spec", lambda _: None)
    with pytest.raises(SettingsError, match=r"pyarrow and h5py: install pathserve\[embed\]"):
        kit_of(of)
    monkeypatch.setattr(analysis, "find_spec", lambda _: None)
    with pytest.raises(SettingsError, match=r"install pathserve\[slides\]"):
        kit_of(of)


def test_files_that_cannot_be_used_stop_the_start(tmp_path: Path, reference: Path) -> None:
    broken = tmp_path / "broken"
    for name, data in (("REFERENCE", b"PAR1"), ("REFERENCE", b"\x89HDF\r\n\x1a\n"), ("HEAD", b"{}")):
        broken.write_bytes(data)
        with pytest.raises(SettingsError, match=f"PATHSERVE_TECHCYTE_{name}"):
            kit_of(load_settings({f"PATHSERVE_TECHCYTE_{name}": broken}, {}))
    with pytest.raises(SettingsError, match="Path does not point to a file"):
        load_settings({"PATHSERVE_TECHCYTE_REFERENCE": tmp_path / "missing"}, {})


@pytest.mark.parametrize("reasons", ["blurry", "blur=", "blur=a,blur=b", "dust=Dust"])
def test_reasons_that_name_nothing_that_is_measured_stop_the_start(reasons: str) -> None:
    with pytest.raises(SettingsError, match="PATHSERVE_TECHCYTE_QC_REASONS must have"):
        load_settings({"PATHSERVE_TECHCYTE_QC_REASONS": reasons}, {})
