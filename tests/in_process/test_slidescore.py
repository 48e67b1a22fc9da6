"""Slide Score's external analyses over HTTP: what a user sees, and what becomes of the token."""

from __future__ import annotations

import contextlib
import io
import json
import time
import zipfile
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from PIL import Image
from shapely.geometry.base import BaseGeometry

from dicom_io.geometry import Rect
from serving.config.settings import SettingsError
from serving.heads.file import write_head
from serving.heads.head import Head
from tests.support.readings import timeless
from tests.support.slidescore import CASE, PATIENT, Answer, Behaviour, Request, clicked, rect
from tests.support.slidescore_app import SECRET, Analyses
from tests.support.tiled_slide import StoredSlide
from tests.support.webhook_app import BODY_LIMIT

ROI = rect(1000, 2000, 4000, 3000)
EXEMPLAR = rect(1448, 2448, 448, 448)


@pytest.fixture(scope="module")
def analyses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Analyses]:
    """For tests that leave the stand-in as it was."""
    with Analyses(tmp_path_factory.mktemp("slidescore")) as analyses:
        yield analyses


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Analyses]:
    """For tests that make the stand-in misbehave."""
    with Analyses(tmp_path) as analyses:
        yield analyses


@contextlib.contextmanager
def asking_nobody(analyses: Analyses) -> Iterator[None]:
    """Nothing is asked of the server, and no job is made."""
    before = len(analyses.server.requests), len(analyses.engine.rows())
    yield
    assert (len(analyses.server.requests), len(analyses.engine.rows())) == before


def refused(analyses: Analyses, analysis: str, answers: dict[str, Any], /, **changed: Any) -> str:
    """Click for what is 400; return why. The token is given up once, and that is all that is asked."""
    token, before = analyses.server.new_token(), len(analyses.server.requests)
    answer = analyses.click(analysis, answers, "", **({"apitoken": token} | changed))
    assert answer.status_code == 400, answer.text
    analyses.all_closed()
    assert analyses.server.given_up[token] == 1
    assert [request.path for request in analyses.server.requests[before:]] == ["/Api/GiveUpToken"]
    return str(answer.json()["error"]["description"])


def of_type(output: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [result for result in output if result["type"] == kind]


def text_of(output: list[dict[str, Any]]) -> str:
    (result,) = of_type(output, "text")
    return str(result["value"])


def heat_of(analyses: Analyses, output: list[dict[str, Any]]) -> tuple[dict[str, int], np.ndarray[Any, Any]]:
    (result,) = of_type(output, "anno2")
    with zipfile.ZipFile(io.BytesIO(analyses.server.anno2[result["value"]])) as archive:
        place = json.loads(archive.read("heatmap_metadata.json"))
        return place, np.asarray(Image.open(io.BytesIO(archive.read("heatmap.png"))))


def vertices(output: list[dict[str, Any]]) -> list[tuple[float, float]]:
    shapes = [shape["points"] for result in of_type(output, "polygons") for shape in result["value"]]
    points = [result["value"] for result in of_type(output, "points")]
    return [(point["x"], point["y"]) for some in shapes + points for point in some]


# What a user sees


@pytest.mark.parametrize("analysis", ["similar", "cluster"])
def test_every_result_lies_in_the_region(analyses: Analyses, analysis: str) -> None:
    output = analyses.output(analysis, {"ROI": ROI, "Exemplar": EXEMPLAR, "Clusters": "3"})
    places = vertices(output)
    assert places
    assert all(1000 <= x <= 5000 and 2000 <= y <= 5000 for x, y in places)
    for result in of_type(output, "polygons"):
        for shape in result["value"]:
            assert shape["points"][0] == shape["points"][-1]
            assert len(shape["points"]) >= 4
        assert len(result["color"]) == 7


def test_similar_is_highest_at_the_exemplar_and_gives_a_heat_map_polygons_points_and_a_text(
    analyses: Analyses,
) -> None:
    output = analyses.output("similar", {"ROI": ROI, "Exemplar": EXEMPLAR})
    place, heat = heat_of(analyses, output)
    assert place == {"x": 1000, "y": 2000, "sizePerPixel": 448}
    assert heat.shape == (6, 8)
    assert divmod(int(heat.argmax()), heat.shape[1]) == (1, 1)
    assert heat.max() == 255
    assert sorted(result["type"] for result in output) == ["anno2", "points", "polygons", "text"]
    assert of_type(output, "anno2")[0]["color"] == "Turbo"
    (points,) = of_type(output, "points")
    assert len(points["value"]) == 20
    assert {"x": 1448 + 224, "y": 2448 + 224} not in points["value"]  # the user knows that one
    text = text_of(output)
    assert "48" in text
    assert "UNTRAINED" in text
    assert "research" in text.lower()


def test_an_exemplar_may_be_points(analyses: Analyses) -> None:
    points = json.dumps([{"x": 1672, "y": 2672}, {"x": 1672, "y": 2672}])
    _, heat = heat_of(analyses, analyses.output("similar", {"ROI": ROI, "Exemplar": points}))
    assert divmod(int(heat.argmax()), heat.shape[1]) == (1, 1)


def test_cluster_gives_the_same_every_time(analyses: Analyses) -> None:
    answers = {"ROI": ROI, "Clusters": "4"}
    first, second = (analyses.output("cluster", answers) for _ in range(2))
    assert timeless(first) == timeless(second)
    said = text_of(first)
    assert f"; pathserve {version('pathserve')}, 20" in said
    assert "Pixels of level" in said
    assert len(of_type(first, "polygons")) == 4


def test_the_magnification_guard_warns_or_refuses_in_words_for_the_user(tmp_path: Path) -> None:
    for name in ("warned", "refused"):
        (tmp_path / name).mkdir()
    scale: dict[str, object] = {"PATHSERVE_MAGNIFICATION_FINEST_UM": 1}
    answers = {"ROI": ROI, "Clusters": "3"}
    with Analyses(tmp_path / "warned", {"PATHSERVE_MAGNIFICATION_GUARD": "warn", **scale}) as analyses:
        said = text_of(analyses.output("cluster", answers))
    with Analyses(tmp_path / "refused", {"PATHSERVE_MAGNIFICATION_GUARD": "refuse", **scale}) as analyses:
        refused = analyses.ended(analyses.click("cluster", answers))

    assert "The image's pixels are 0.5 µm; the model is made for 1 to 2 µm a pixel." in said
    assert refused["status"] == "error"
    assert refused["message"].endswith("Choose another resolution for the analysis.")
    assert "extensions" not in said + refused["message"]


def test_classify_without_a_head_says_so_and_reads_nothing(own: Analyses) -> None:
    answer = own.ended(own.click("classify", {"ROI": ROI}))
    assert answer["status"] == "error"
    assert "no head" in answer["message"]
    assert "no head" in text_of(answer["output"])
    assert {request.path for request in own.server.requests} == {"/Api/GiveUpToken"}


def head_file(folder: Path, um_per_px: float = 0.5, digest: str = "sha256:00") -> str:
    """A head that calls a patch dark where the probe's mean is low."""
    weights = np.stack([np.full(384, 0.2), np.full(384, -0.2)]).astype(np.float32)
    bias = np.array([-50.0, 50.0], np.float32)
    head = Head("by darkness", ("light", "dark"), ("#FFCC00", "#3366CC"), weights, bias, um_per_px, digest)
    write_head(folder / "head.json", head)
    return str(folder / "head.json")


def test_classify_gives_an_area_a_class_a_heat_map_of_the_second_and_names_the_head(tmp_path: Path) -> None:
    with Analyses(tmp_path, {"PATHSERVE_SLIDESCORE_HEAD": head_file(tmp_path)}) as analyses:
        output = analyses.output("classify", {"ROI": ROI})
        (heat,) = of_type(output, "anno2")
        assert heat["name"] == "Probability of dark"
        names = [result["name"] for result in of_type(output, "polygons")]
        assert all(name.startswith(("light (", "dark (")) for name in names)
        assert names
        assert "by darkness" in text_of(output)
        assert list(analyses.server.given_up.values()) == [1]


@pytest.mark.parametrize("made_for", [{"um_per_px": 0.25}, {"digest": "sha256:11"}])
def test_a_head_for_another_resolution_or_encoder_is_refused_before_a_tile_is_read(
    tmp_path: Path, made_for: dict[str, Any]
) -> None:
    with Analyses(tmp_path, {"PATHSERVE_SLIDESCORE_HEAD": head_file(tmp_path, **made_for)}) as analyses:
        answer = analyses.ended(analyses.click("classify", {"ROI": ROI}))
        assert answer["status"] == "error"
        assert "head" in answer["message"]
        assert analyses.server.tile_requests() == []
        assert list(analyses.server.given_up.values()) == [1]


def test_a_head_that_is_none_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "head.json").write_text("{}")
    with pytest.raises(SettingsError, match="PATHSERVE_SLIDESCORE_HEAD"):
        Analyses(tmp_path, {"PATHSERVE_SLIDESCORE_HEAD": str(tmp_path / "head.json")})


@pytest.mark.parametrize(
    ("magnification", "size"), [("20x", 448), ("0.5", 448), ("40x", 224), ("1,0 µm", 896)]
)
def test_the_magnification_is_the_users(analyses: Analyses, magnification: str, size: int) -> None:
    answers = {"ROI": ROI, "Exemplar": EXEMPLAR, "Magnification": magnification}
    place, _ = heat_of(analyses, analyses.output("similar", answers))
    assert place["sizePerPixel"] == size


def test_without_a_region_the_whole_slide_is_analysed(analyses: Analyses) -> None:
    place, heat = heat_of(analyses, analyses.output("similar", {"Exemplar": EXEMPLAR}))
    assert (place["x"], place["y"]) == (0, 0)
    assert heat.shape == (6000 // 448, 8000 // 448)


def test_a_region_partly_outside_is_clipped(analyses: Analyses) -> None:
    output = analyses.output("cluster", {"ROI": rect(-1000, 4500, 3000, 9000), "Clusters": "2"})
    places = vertices(output)
    assert all(0 <= x <= 2000 and 4500 <= y <= 6000 for x, y in places)


SHAPES: dict[str, tuple[str, BaseGeometry]] = {
    "polygon": (
        json.dumps(
            [{"type": "polygon", "points": [{"x": 0, "y": 0}, {"x": 5000, "y": 0}, {"x": 0, "y": 5000}]}]
        ),
        shapely.Polygon([(0, 0), (5000, 0), (0, 5000)]),
    ),
    "ellipse": (
        json.dumps([{"type": "ellipse", "center": {"x": 3000, "y": 3000}, "size": {"x": 2500, "y": 1500}}]),
        shapely.affinity.scale(shapely.Point(3000, 3000).buffer(1, 256), 2500, 1500),
    ),
    "brush": (
        json.dumps(
            [
                {
                    "type": "brush",
                    "positivePolygons": [
                        [{"x": x, "y": y} for x, y in [(0, 0), (6000, 0), (6000, 5000), (0, 5000)]]
                    ],
                    "negativePolygons": [
                        [
                            {"x": x, "y": y}
                            for x, y in [(1000, 1000), (4000, 1000), (4000, 4000), (1000, 4000)]
                        ]
                    ],
                }
            ]
        ),
        shapely.box(0, 0, 6000, 5000) - shapely.box(1000, 1000, 4000, 4000),
    ),
    "two": (
        json.dumps(json.loads(rect(0, 0, 1000, 1000)) + json.loads(rect(4000, 3000, 1500, 1500))),
        shapely.union(shapely.box(0, 0, 1000, 1000), shapely.box(4000, 3000, 5500, 4500)),
    ),
}


@pytest.mark.parametrize("name", SHAPES)
def test_results_keep_to_whatever_was_drawn(analyses: Analyses, name: str) -> None:
    drawn, region = SHAPES[name]
    output = analyses.output("cluster", {"ROI": drawn, "Clusters": "2"})
    around = region.buffer(1.5)
    shapes = [shape["points"] for result in of_type(output, "polygons") for shape in result["value"]]
    polygons = [shapely.Polygon([(p["x"], p["y"]) for p in points]) for points in shapes]
    assert all(around.covers(polygon) for polygon in polygons)
    assert shapely.union_all(polygons).area > 0.5 * region.area


def test_a_region_smaller_than_a_patch_is_analysed_and_says_why_there_is_no_heat_map(
    analyses: Analyses,
) -> None:
    output = analyses.output("similar", {"ROI": rect(3000, 3000, 100, 60), "Exemplar": EXEMPLAR})
    assert of_type(output, "anno2") == []
    assert "smaller than a patch" in text_of(output)
    assert all(3000 <= x <= 3100 and 3000 <= y <= 3060 for x, y in vertices(output))


def drawn(*points: tuple[int, int]) -> str:
    return json.dumps([{"type": "polygon", "points": [{"x": x, "y": y} for x, y in points]}])


@pytest.mark.parametrize(
    "region",
    [
        rect(0, 0, 100, 60),
        rect(7900, 5940, 500, 500),
        rect(1000, 0, 4000, 60),
        rect(7960, 1000, 100, 3000),
        drawn((3000, 3000), (3300, 3000), (3300, 3020), (3020, 3020), (3020, 3300), (3000, 3300)),
    ],
)
def test_a_region_in_which_no_patch_has_its_middle_has_results_inside_all_the_same(
    analyses: Analyses, region: str
) -> None:
    output = analyses.output("similar", {"ROI": region, "Exemplar": EXEMPLAR})
    (first, *_) = shapes = json.loads(region)
    around = (
        shapely.Polygon([(p["x"], p["y"]) for p in first["points"]])
        if "points" in first
        else shapely.union_all(
            [
                shapely.box(
                    one["corner"]["x"],
                    one["corner"]["y"],
                    one["corner"]["x"] + one["size"]["x"],
                    one["corner"]["y"] + one["size"]["y"],
                )
                for one in shapes
            ]
        )
    ).buffer(1.5)
    assert vertices(output)
    assert all(around.covers(shapely.Point(place)) for place in vertices(output))


def test_a_region_one_patch_high_has_a_heat_map_of_one_row(analyses: Analyses) -> None:
    output = analyses.output("similar", {"ROI": rect(1000, 2000, 2000, 448), "Exemplar": EXEMPLAR})
    place, heat = heat_of(analyses, output)
    assert (place["sizePerPixel"], heat.shape) == (448, (1, 4))


def test_only_tissue_is_embedded(tmp_path: Path) -> None:
    slide = StoredSlide(20_000, 20_000, where=Rect(4480, 4480, 4480, 4480))
    with Analyses(tmp_path, slides={1: slide}) as analyses:
        output = analyses.output("cluster", {"Clusters": "2"})
        assert 100 <= analyses.encoder.patches <= 144
        assert all(4000 <= x <= 9500 and 4000 <= y <= 9500 for x, y in vertices(output))


def test_glass_alone_is_an_error_that_says_so(tmp_path: Path) -> None:
    slide = StoredSlide(8000, 6000, where=Rect(0, 0, 1, 1))
    with Analyses(tmp_path, slides={1: slide}) as analyses:
        answer = analyses.ended(analyses.click("cluster", {"ROI": ROI}))
        assert answer["status"] == "error"
        assert "no tissue" in answer["message"]


# Asking


def test_the_answer_comes_at_once_and_the_result_by_polling(own: Analyses) -> None:
    own.encoder.gate.clear()
    started = time.monotonic()
    posted = own.click("cluster", {"ROI": ROI})
    assert time.monotonic() - started < 1
    assert posted.json()["status"] == "processing"
    job_id = posted.json()["id"]
    assert len(bytes.fromhex(job_id)) == 16
    for route in ("slidescore/status/", "slidescore/check/", "check?id="):
        answer = own.status(job_id, route)
        assert answer.status_code == 200
        assert "output" not in answer.json()
        assert isinstance(answer.json()["status"], str)
    own.encoder.gate.set()
    assert own.ended(posted)["status"] == "finished"
    answers = [
        own.status(job_id, route).json() for route in ("slidescore/status/", "slidescore/check/", "check?id=")
    ]
    assert answers[0] == answers[1] == answers[2]


def test_the_word_for_finished_is_a_setting(tmp_path: Path) -> None:
    with Analyses(tmp_path, {"PATHSERVE_SLIDESCORE_FINISHED_WORD": "done"}) as analyses:
        assert analyses.ended(analyses.click("cluster", {"ROI": ROI}))["status"] == "done"


@pytest.mark.parametrize("job_id", ["0" * 32, "x", "", "../status", "%00"])
def test_an_unknown_analysis_is_404(analyses: Analyses, job_id: str) -> None:
    assert analyses.status(job_id).status_code == 404
    assert analyses.status(job_id, "check?id=").status_code == 404


def test_a_request_that_is_sent_twice_is_one_analysis(own: Analyses) -> None:
    body = clicked(own.server, SECRET, {"ROI": ROI})
    first, second = (own.post("cluster", body).json()["id"] for _ in range(2))
    assert first == second


def test_sync_answers_the_array_in_one_response(own: Analyses) -> None:
    answer = own.click("cluster", {"ROI": rect(1000, 1000, 2000, 2000), "Clusters": "2"}, "?mode=sync")
    assert answer.status_code == 200
    assert {result["type"] for result in answer.json()} == {"polygons", "text"}
    own.all_closed()
    assert list(own.server.given_up.values()) == [1]


def test_sync_refuses_what_is_too_large_for_it(tmp_path: Path) -> None:
    with Analyses(tmp_path, {"PATHSERVE_SLIDESCORE_SYNC_PATCHES": 10}) as analyses:
        answer = analyses.click("cluster", {"ROI": ROI}, "?mode=sync")
        assert "48 patches" in text_of(answer.json())
        assert analyses.click("cluster", {}, "?mode=sync").status_code == 400
        analyses.all_closed()
        assert list(analyses.server.given_up.values()) == [1, 1]


def test_sync_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    with Analyses(tmp_path, {"PATHSERVE_SLIDESCORE_SYNC_TIMEOUT_S": 1}) as analyses:
        analyses.encoder.gate.clear()
        answer = analyses.click("cluster", {"ROI": ROI}, "?mode=sync")
        assert answer.status_code == 503
        assert "Retry-After" in answer.headers
        analyses.encoder.gate.set()
        analyses.all_closed()
        assert list(analyses.server.given_up.values()) == [1]


# Who may ask


@pytest.mark.parametrize("secret", [..., None, "", "wrong", SECRET + "x", SECRET[:-1], 3, ["a"], "é"])
def test_a_wrong_secret_is_401_and_nothing_is_asked_of_the_server(analyses: Analyses, secret: object) -> None:
    with asking_nobody(analyses):
        answer = analyses.click("cluster", {"ROI": ROI}, secret=secret)
    assert answer.status_code == 401


def test_the_secret_may_be_in_the_path(own: Analyses) -> None:
    body = clicked(own.server, SECRET, {"ROI": ROI}, secret=...)
    assert own.ended(own.post(f"{SECRET}/cluster", body))["status"] == "finished"
    assert own.post("wrong-secret-wrong-secret/cluster", body).status_code == 401
    assert SECRET not in own.log()


@pytest.mark.parametrize(
    "host",
    [
        ..., None, 3, "", "https://elsewhere.example", "http://127.0.0.1", "{origin}.elsewhere.example",
        "{origin}@elsewhere.example", "{origin}/path", "{origin}?x", "{origin}#x", "https{origin}",
        "{origin}:80",
        "http://169.254.169.254", "file:///etc/passwd", "{origin} ",
        "{origin}\\@elsewhere.example", "{origin}//", "{origin}/.", "{origin}%00", "{origin};x", "\n{origin}",
        "http://127.0.0.1.:{port}", "http://127.1:{port}", "http://2130706433:{port}",
        "http://0x7f000001:{port}", "http://[::1]:{port}", "http://[::ffff:127.0.0.1]:{port}",
        "http://localhost:{port}", "http://me@127.0.0.1:{port}", "HTTP://127.0.0.1:{port}",
        "http://127\u30020\u30020\u30021:{port}", "//127.0.0.1:{port}",
    ],
)  # fmt: skip
def test_another_host_is_403_and_nobody_is_asked_anything(analyses: Analyses, host: object) -> None:
    if isinstance(host, str):
        origin = analyses.server.origin
        host = host.replace("{origin}", origin).replace("{port}", origin.rpartition(":")[2])
    with asking_nobody(analyses):
        assert analyses.click("cluster", {"ROI": ROI}, host=host).status_code == 403


def test_without_origins_nobody_is_served(tmp_path: Path) -> None:
    with Analyses(tmp_path, {"PATHSERVE_SLIDESCORE_ORIGINS": ""}) as analyses:
        assert analyses.click("cluster", {"ROI": ROI}).status_code == 403
        assert analyses.server.requests == []


# Bodies


def test_a_body_of_7131_bytes_is_taken_with_one_answer(own: Analyses) -> None:
    body = clicked(own.server, SECRET, {"ROI": ROI})
    body["analysisname"] = ""
    body["analysisname"] = "x" * (7131 - len(json.dumps(body)))
    data = json.dumps(body).encode()
    assert len(data) == 7131
    assert own.ended(own.post("cluster", data))["status"] == "finished"


def test_a_body_of_almost_1_mib_is_taken_and_a_larger_one_is_413(own: Analyses) -> None:
    body = clicked(own.server, SECRET, {"ROI": ROI}, casename="")
    body["casename"] = "x" * (BODY_LIMIT - len(json.dumps(body)))
    assert own.post("cluster", json.dumps(body).encode()).status_code == 200
    body["casename"] += "x"
    before = len(own.engine.rows())
    assert own.post("cluster", json.dumps(body).encode()).status_code == 413
    assert len(own.engine.rows()) == before


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"", 411),
        (b"x" * (BODY_LIMIT + 1), 413),
        (b"no JSON", 400),
        (b"[]", 400),
        (b"null", 400),
        (b'"text"', 400),
        (b"{", 400),
        (b"\xff\xfe", 400),
        (b'{"imageid": NaN}', 400),
        (b"[" * 100_000, 400),
        (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, 400),
    ],
)
def test_a_body_that_is_none_is_refused_once_and_nobody_is_asked(
    analyses: Analyses, data: bytes, status: int
) -> None:
    with asking_nobody(analyses):
        answer = analyses.post("cluster", data)
    assert answer.status_code == status
    assert set(answer.json()) == {"error"}


@pytest.mark.parametrize("field", ["studyid", "imageid", "analysisid", "caseid"])
def test_numbers_may_be_digits_in_quotes(analyses: Analyses, field: str) -> None:
    assert analyses.output("cluster", {"ROI": ROI}, **{field: "1"})


@pytest.mark.parametrize("caseid", [..., None, ""])
def test_the_case_is_optional(analyses: Analyses, caseid: object) -> None:
    assert analyses.output("cluster", {"ROI": ROI}, caseid=caseid)


NULL = rect(None, None, None, None)
BAD_REGIONS: dict[str, object] = {
    "empty text": "",
    "empty list": "[]",
    "null": None,
    "null text": "null",
    "not drawn": NULL,
    "half drawn": rect(1, None, 3, 4),
    "NaN": '[{"corner":{"x":NaN,"y":0},"size":{"x":100,"y":100}}]',
    "Infinity": '[{"corner":{"x":0,"y":0},"size":{"x":Infinity,"y":100}}]',
    "huge": rect(0, 0, 1e300, 100),
    "text": "somewhere",
    "a number": "3",
    "no area": rect(0, 0, 0, 100),
    "no size": '[{"corner":{"x":0,"y":0}}]',
    "outside": rect(-500, -500, 100, 100),
    "points": '[{"x":1,"y":2}]',
    "unknown type": '[{"type":"arrow","x1":1}]',
    "type of no text": '[{"type":7}]',
    "two vertices": '[{"type":"polygon","points":[{"x":0,"y":0},{"x":9,"y":9}]}]',
    "a line": '[{"type":"polygon","points":[{"x":0,"y":0},{"x":9,"y":9},{"x":18,"y":18}]}]',
    "empty brush": '[{"type":"brush","positivePolygons":[],"negativePolygons":[]}]',
    "all erased": '[{"type":"brush","positivePolygons":[[{"x":0,"y":0},{"x":9,"y":0},{"x":0,"y":9}]],'
    '"negativePolygons":[[{"x":0,"y":0},{"x":9,"y":0},{"x":0,"y":9}]]}]',
    "flat ellipse": '[{"type":"ellipse","center":{"x":5,"y":5},"size":{"x":0,"y":5}}]',
    "objects all the way": "[" + "[" * 50_000,
}


@pytest.mark.parametrize("name", BAD_REGIONS)
def test_a_region_that_is_none_is_400_and_the_token_is_given_up_once(analyses: Analyses, name: str) -> None:
    assert "ROI" in refused(analyses, "cluster", {"ROI": BAD_REGIONS[name]})


@pytest.mark.parametrize(
    "changed",
    [
        {"imageid": ...}, {"imageid": "x"}, {"imageid": -1}, {"imageid": 1.5}, {"imageid": True},
        {"imageid": "9" * 40}, {"imageid": None}, {"studyid": "seven"}, {"caseid": []}, {"answers": {}},
        {"answers": "[]"}, {"answers": [1]}, {"answers": [{"value": 1}]}, {"answers": [{"name": 1}]},
    ],
)  # fmt: skip
def test_a_field_that_is_wrong_is_400_and_the_token_is_given_up_once(
    analyses: Analyses, changed: dict[str, Any]
) -> None:
    assert next(iter(changed)) in refused(analyses, "cluster", {"ROI": ROI}, **changed)


@pytest.mark.parametrize(
    ("analysis", "answers"),
    [
        ("similar", {"ROI": ROI}),
        ("similar", {"ROI": ROI, "Exemplar": "[]"}),
        ("similar", {"ROI": ROI, "Exemplar": '[{"x":null,"y":1}]'}),
        ("cluster", {"ROI": ROI, "Clusters": "1"}),
        ("cluster", {"ROI": ROI, "Clusters": "13"}),
        ("cluster", {"ROI": ROI, "Clusters": "2.5"}),
        ("cluster", {"ROI": ROI, "Magnification": "high"}),
        ("cluster", {"ROI": ROI, "Magnification": "-20x"}),
        ("cluster", {"ROI": ROI, "Magnification": "nan"}),
        ("cluster", {"ROI": ROI, "Magnification": "1e-320x"}),
    ],
)
def test_an_answer_that_is_wrong_is_400(analyses: Analyses, analysis: str, answers: dict[str, Any]) -> None:
    assert refused(analyses, analysis, answers)


@pytest.mark.parametrize("token", [..., None, "", 3, "two words", "line\nbreak", "ünïcode", "x" * 20_000])
def test_a_token_that_is_none_is_400_and_nobody_is_asked(analyses: Analyses, token: object) -> None:
    with asking_nobody(analyses):
        assert analyses.click("cluster", {"ROI": ROI}, apitoken=token).status_code == 400


# When the server misbehaves


def overriding(when: Callable[[Request], bool], answer: Answer) -> Behaviour:
    return Behaviour(override=lambda request: answer if when(request) else None)


METADATA = {"level0Width": 8000, "level0Height": 6000}
FAULTS: dict[str, tuple[Behaviour, str]] = {
    "no mpp": (
        overriding(
            lambda r: "Metadata" in r.path,
            (200, {}, json.dumps({"success": True, "metadata": METADATA}).encode()),
        ),
        "mppX",
    ),
    "mpp of 0": (
        overriding(
            lambda r: "Metadata" in r.path,
            (200, {}, json.dumps({"metadata": METADATA | {"mppX": 0, "mppY": 0}}).encode()),
        ),
        "mppX",
    ),
    "no such image": (
        overriding(lambda r: "Metadata" in r.path, (200, {}, b'{"success": false}')),
        "refused",
    ),
    "token refused": (overriding(lambda r: "Metadata" in r.path, (401, {}, b"")), "token"),
    "server error": (overriding(lambda r: "Metadata" in r.path, (500, {}, b"")), "500"),
    "no tile server": (overriding(lambda r: "GetTileServer" in r.path, (200, {}, b"{}")), "tiles"),
    "tiles 503": (overriding(lambda r: r.is_tile, (503, {}, b"")), "503"),
    "tiles 401": (overriding(lambda r: r.is_tile, (401, {}, b"")), "401"),
    "tiles 404": (overriding(lambda r: r.is_tile, (404, {}, b"")), "404"),
    "tiles empty": (overriding(lambda r: r.is_tile, (200, {}, b"")), "empty"),
    "tiles no images": (overriding(lambda r: r.is_tile, (200, {}, b"<html>")), "JPEG"),
    "redirect": (
        overriding(lambda r: r.is_tile, (302, {"Location": "https://elsewhere.example/"}, b"")),
        "302",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_server_ends_the_analysis_with_a_sentence_and_the_token_is_given_up(
    own: Analyses, fault: str
) -> None:
    behaviour, words = FAULTS[fault]
    own.server.behaviour = behaviour
    answer = own.ended(own.click("cluster", {"ROI": ROI}))
    assert answer["status"] == "error"
    assert words in answer["message"]
    assert words in text_of(answer["output"])
    assert list(own.server.given_up.values()) == [1]


@pytest.mark.parametrize(
    "behaviour", [Behaviour(pascal=True), Behaviour(nested=False), Behaviour(cookie_uses=20)]
)
def test_other_spellings_and_short_lived_cookies_give_the_same(
    analyses: Analyses, own: Analyses, behaviour: Behaviour
) -> None:
    own.server.behaviour = behaviour
    answers = {"ROI": ROI, "Clusters": "3"}
    assert timeless(own.output("cluster", answers)) == timeless(analyses.output("cluster", answers))


@pytest.mark.parametrize("part", ["CreateOrphanAnno2", "/files", "FinishUpload"])
def test_when_the_heat_map_cannot_be_uploaded_the_rest_is_given_and_the_text_says_so(
    own: Analyses, part: str
) -> None:
    own.server.behaviour = overriding(lambda r: part in r.path, (500, {}, b""))
    output = own.output("similar", {"ROI": ROI, "Exemplar": EXEMPLAR})
    assert sorted(result["type"] for result in output) == ["points", "polygons", "text"]
    assert "could not be uploaded" in text_of(output)
    assert list(own.server.given_up.values()) == [1]


def test_more_patches_than_allowed_are_refused_with_their_number(tmp_path: Path) -> None:
    with Analyses(tmp_path, {"PATHSERVE_SLIDESCORE_MAX_PATCHES": 40}) as analyses:
        answer = analyses.ended(analyses.click("cluster", {"ROI": ROI}))
        assert answer["status"] == "error"
        assert "48 patches" in answer["message"]
        assert analyses.encoder.patches == 0
        assert list(analyses.server.given_up.values()) == [1]


def test_a_region_outside_of_the_slide_is_an_error_that_says_so(own: Analyses) -> None:
    answer = own.ended(own.click("cluster", {"ROI": rect(100_000, 100_000, 500, 500)}))
    assert "outside" in answer["message"]
    assert own.server.tile_requests() == []


def test_a_resolution_that_the_slide_does_not_have_is_an_error_that_says_so(own: Analyses) -> None:
    answer = own.ended(own.click("cluster", {"ROI": ROI, "Magnification": "80x"}))
    assert "µm" in answer["message"]


# The token


def test_the_token_is_given_up_once_after_success(own: Analyses) -> None:
    token = own.server.new_token()
    own.output("similar", {"ROI": ROI, "Exemplar": EXEMPLAR}, apitoken=token)
    assert own.server.given_up == {token: 1}
    assert own.server.requests[-1].path == "/Api/GiveUpToken"


def test_the_token_is_given_up_once_after_a_fault_of_the_model(own: Analyses) -> None:
    own.encoder.fails = True
    answer = own.ended(own.click("cluster", {"ROI": ROI}))
    assert answer["status"] == "error"
    assert list(own.server.given_up.values()) == [1]


def test_the_token_is_given_up_once_when_time_is_over(tmp_path: Path) -> None:
    with Analyses(tmp_path, {"PATHSERVE_JOBS_TIMEOUT_S": 1.5}) as analyses:
        analyses.encoder.gate.clear()
        posted = analyses.click("cluster", {"ROI": ROI})
        answer = analyses.ended(posted)
        assert answer["status"] == "error"
        assert text_of(answer["output"]) == answer["message"]
        assert list(analyses.server.given_up.values()) == [1]


def test_a_setting_keeps_the_token(tmp_path: Path) -> None:
    with Analyses(tmp_path, {"PATHSERVE_SLIDESCORE_KEEP_TOKEN": "true"}) as analyses:
        assert analyses.output("cluster", {"ROI": ROI})
        assert analyses.click("cluster", {"ROI": "[]"}).status_code == 400
        analyses.all_closed()
        assert analyses.server.given_up == {}


def test_beyond_the_queue_callers_are_told_to_come_again(tmp_path: Path) -> None:
    with Analyses(tmp_path, queue=1) as analyses:
        analyses.encoder.gate.clear()
        answers = [analyses.click("cluster", {"ROI": ROI}) for _ in range(12)]
        refused = [answer for answer in answers if answer.status_code == 503]
        assert refused
        assert all(int(answer.headers["Retry-After"]) > 0 for answer in refused)
        analyses.encoder.gate.set()


def test_a_bad_region_gives_the_token_up_when_the_queue_is_full_and_a_503_leaves_it(tmp_path: Path) -> None:
    with Analyses(tmp_path, queue=1) as analyses:
        analyses.encoder.gate.clear()
        while analyses.click("cluster", {"ROI": ROI}, apitoken=(late := analyses.server.new_token())).ok:
            pass
        token = analyses.server.new_token()
        assert analyses.click("cluster", {"ROI": "[]"}, apitoken=token).status_code == 400
        analyses.encoder.gate.set()
        analyses.all_closed()
        assert analyses.server.given_up[token] == 1
        assert analyses.server.given_up[late] == 0  # Retry-After: the same request may come again
        assert analyses.output("cluster", {"ROI": ROI}, apitoken=late)


def test_an_analysis_of_image_0_is_not_taken_for_the_giving_up_of_its_token(own: Analyses) -> None:
    token = own.server.new_token()
    assert own.click("cluster", {"ROI": "[]"}, apitoken=token).status_code == 400
    assert own.ended(own.click("cluster", {"ROI": ROI}, apitoken=token, imageid=0))["status"] == "error"


def test_no_token_secret_or_name_is_in_a_log_a_row_a_file_or_an_answer(own: Analyses, tmp_path: Path) -> None:
    token = own.server.new_token()
    body = clicked(own.server, SECRET, {"ROI": ROI, "Exemplar": EXEMPLAR}, apitoken=token)
    posted = own.post("similar", body)
    job_id = posted.json()["id"]
    seen = [posted.text]
    while "output" not in (answer := own.status(job_id)).json():
        seen.append(answer.text)
    own.server.behaviour = overriding(lambda r: "Metadata" in r.path, (500, {}, token.encode()))
    failed = own.ended(own.click("cluster", {"ROI": ROI}, apitoken=own.server.new_token()))
    seen += [answer.text, json.dumps(failed), own.log(), *(repr(row) for row in own.engine.rows())]
    seen += [
        file.read_bytes().decode("latin-1")
        for file in tmp_path.rglob("*")
        if file.is_file() and not file.is_socket()
    ]
    assert len(seen) > 5
    for planted in (token, SECRET, PATIENT, CASE, "Jane Doe"):
        assert not any(planted in text for text in seen), planted
