"""The door of the page: what it opens, its tiles, its tables, and whom it answers."""

from __future__ import annotations

import base64
import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from serving.view.folder import KEPT_OPEN, SlideFolder
from serving.view.tables import read_table
from tests.support.app import App, AppResponse
from tests.support.checking import agreed
from tests.support.local_slides import as_jpeg, write_dicom
from tests.support.models import probe
from tests.support.slides import CODINGS, Slide, stained
from tests.support.store import Behaviour, Store
from tests.support.tissue import UInt8Array, encode, tissue
from tests.support.view import SIDE, patterned, shrunk, write_slide

COLUMNS, ROWS = 5, 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("slides")
    write_slide(path / "a.svs", patterned(COLUMNS, ROWS))
    slide = Slide()
    slide.add_level(stained(1000, 700), CODINGS["explicit"])
    write_dicom(path / "below" / "dicom", slide)
    return path


@pytest.fixture(scope="module")
def app(folder: Path) -> Iterator[App]:
    with App({"PATHSERVE_VIEW": "1", "PATHSERVE_VIEW_FOLDER": str(folder)}) as found:
        yield found


def handle(app: App, name: str = "a.svs") -> str:
    listed = app.get("/view/slides").json()["slides"]
    return str(next(one["slide"] for one in listed if one["name"] == name))


def pixels_of(answer: AppResponse) -> UInt8Array:
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "image/jpeg"
    assert answer.headers["Cache-Control"] == "no-store"
    return np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGB"))


def test_the_page_is_there_only_where_it_is_wanted(probe_app: App, app: App) -> None:
    for path in ("/view", "/view/slides", "/view/static/page.css"):
        assert probe_app.get(path).status_code == 404
        assert app.get(path).status_code == 200
    names = "sorted(m for m in sys.modules if m.startswith('serving.view'))"
    code = f"import sys, serving.processes.http; print({names})"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_files_of_the_page_are_known_by_name_alone(app: App) -> None:
    page = app.get("/view")
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    script = app.get("/view/static/vendor/openseadragon.min.js")
    assert script.headers["Content-Type"] == "text/javascript; charset=utf-8"
    style = app.get("/view/static/page.css")
    again = app.get("/view/static/page.css", headers={"If-None-Match": style.headers["ETag"]})
    assert again.status_code == 304
    for name in ("../door.py", "%2e%2e/door.py", "vendor/vendor.json", "%2fetc/passwd", ""):
        assert app.get(f"/view/static/{name}").status_code in (308, 404)


def test_slides_are_listed_by_name_and_handle_never_by_path(app: App, folder: Path) -> None:
    answer = app.get("/view/slides")
    assert sorted(one["name"] for one in answer.json()["slides"]) == ["a.svs", "below/dicom"]
    assert str(folder) not in answer.text
    assert answer.json()["predict"] == "/predict"
    assert answer.json()["model"]["untrained"] is False


def test_a_slide_opens_with_levels_scale_and_patches_with_tissue(app: App) -> None:
    found = app.post("/view/open", {"slide": handle(app)}).json()
    width, height = COLUMNS * SIDE + 100, ROWS * SIDE + 60
    assert (found["width"], found["height"], found["mpp"]) == (width, height, [0.5, 0.5])
    assert [level["width"] for level in found["levels"]] == [width, width // 4]
    grid = found["grid"]
    assert (grid["columns"], grid["rows"], grid["image_dimensions"]) == (COLUMNS, ROWS, None)
    bits = np.unpackbits(np.frombuffer(base64.b64decode(grid["tissue"]), np.uint8), bitorder="little")
    assert bits[: COLUMNS * ROWS].all()
    coarser = app.post("/view/open", {"slide": handle(app), "mpp": 1}).json()["grid"]
    assert (coarser["columns"], coarser["rows"]) == (2, 2)
    assert coarser["image_dimensions"] == {"width_px": width // 2, "height_px": height // 2}


def test_patches_of_a_handle_are_embedded_by_the_predict_route(app: App) -> None:
    opened = app.post("/view/open", {"slide": handle(app)}).json()
    origins = [(0, 0), (SIDE, 2 * SIDE)]
    patches = [{"x_origin": x, "y_origin": y} for x, y in origins]
    answer = app.predict({**opened["source"], "patch_coordinates": patches}).json()["predictions"][0]
    vectors = [one["embedding_vector"] for one in answer["result"]["patch_embeddings"]]
    pixels = as_jpeg(patterned(COLUMNS, ROWS))
    truth = probe(np.stack([pixels[y : y + SIDE, x : x + SIDE] for x, y in origins]))
    assert np.abs(np.array(vectors) - truth).max() < 1e-5
    (check,) = agreed(app, {**opened["source"], "patch_coordinates": patches})["checks"]
    assert check["frames"] == len({(x // 256, y // 256) for x, y in _corners(origins)})


def _corners(origins: list[tuple[int, int]]) -> list[tuple[int, int]]:
    return [(x + right, y + down) for x, y in origins for right in (0, SIDE - 1) for down in (0, SIDE - 1)]


@pytest.mark.parametrize(
    "source",
    [
        {"slide": "f-" + "0" * 32, "level": 0},
        {"slide": "../a.svs", "level": 0},
        {"slide": 5, "level": 0},
        {"slide": "HANDLE", "level": 9},
        {"slide": "HANDLE", "level": -1},
        {"slide": "HANDLE"},
        "HANDLE",
    ],
)
def test_an_instance_that_names_no_slide_here_fails_alone(app: App, source: object) -> None:
    if isinstance(source, dict) and source["slide"] == "HANDLE":
        source = source | {"slide": handle(app)}
    item = {"view_slide": source, "patch_coordinates": [{"x_origin": 0, "y_origin": 0}]}
    assert agreed(app, item)["checks"][0]["error"]["code"]


def test_a_stored_jpeg_tile_is_passed_on_as_it_is(app: App) -> None:
    found = pixels_of(app.get(f"/view/slides/{handle(app)}/tiles/0/1_2.jpg"))
    truth = as_jpeg(patterned(COLUMNS, ROWS))[512:768, 256:512]
    assert np.array_equal(found, truth), "no second coding has changed it"


def test_other_tiles_are_encoded_here_and_end_where_the_level_does(app: App) -> None:
    slide = handle(app, "below/dicom")
    levels = app.post("/view/open", {"slide": slide}).json()["levels"]
    assert levels[0]["width"] == 1000
    tile = pixels_of(app.get(f"/view/slides/{slide}/tiles/0/3_2.jpg"))
    assert tile.shape == (700 - 512, 1000 - 768, 3)
    assert np.abs(tile.astype(int) - stained(1000, 700)[512:, 768:]).mean() < 8


def test_a_thumbnail_is_small_and_shows_its_region(app: App) -> None:
    found = pixels_of(app.get(f"/view/slides/{handle(app)}/regions/224_448_224_224.jpg"))
    assert found.shape == (128, 128, 3)
    truth = patterned(COLUMNS, ROWS)[448:672, 224:448].reshape(-1, 3).mean(axis=0)
    assert np.abs(found.reshape(-1, 3).mean(axis=0) - truth).max() < 6


@pytest.mark.parametrize(
    "rest",
    [
        "tiles/0/99_0.jpg",
        "tiles/7/0_0.jpg",
        "tiles/0/-1_0.jpg",
        "regions/9999_0_10_10.jpg",
        "regions/0_0_0_9.jpg",
    ],
)
def test_what_is_not_on_the_slide_is_said_not_to_be(app: App, rest: str) -> None:
    answer = app.get(f"/view/slides/{handle(app)}/{rest}")
    assert answer.status_code in (400, 404)
    assert answer.json()["error"]["code"] in ("NOT_FOUND_ERROR", "INVALID_REQUEST_FIELD_ERROR")


@pytest.mark.parametrize("name", ["x", "f-0", "s-!!", "s-aGVsbG8", "s-" + "A" * 5000, "..%2f..%2fetc"])
def test_a_handle_that_is_none_of_ours_is_404(app: App, name: str) -> None:
    assert app.get(f"/view/slides/{name}/tiles/0/0_0.jpg").status_code == 404


def test_a_series_is_read_with_the_callers_token_and_with_no_other(app: App) -> None:
    slide, pixels = Slide(), patterned(COLUMNS, ROWS)
    slide.add_level(pixels, CODINGS["JPEG"])
    slide.add_level(shrunk(pixels, 4), CODINGS["JPEG"])
    with Store(slide, behaviour=Behaviour(tokens={"good-token"})) as store:
        asked = {"series": store.series_path(slide)}
        found = app.post("/view/open", asked, headers={"X-Store-Token": "good-token"}).json()
        assert found["source"]["dicom_path"]["series_path"] == store.series_path(slide)
        tile = f"/view/slides/{found['slide']}/tiles/0/1_1.jpg"
        pixels_of(app.get(tile, headers={"X-Store-Token": "good-token"}))
        for headers in ({}, {"X-Store-Token": "another"}, {"X-Store-Token": "two words"}):
            answer = app.get(tile, headers=headers)
            assert answer.status_code == 422
            assert answer.json()["error"]["code"] == "INVALID_CREDENTIALS_ERROR"
    assert "good-token" not in app.log()


@pytest.mark.parametrize(
    "asked",
    [{}, [], {"slide": 5}, {"series": "ftp://x"}, {"slide": "x", "mpp": "wide"}, {"slide": "x", "mpp": 1e9}],
)
def test_what_cannot_be_opened_is_said_to_be_wrong(app: App, asked: object) -> None:
    answer = app.post("/view/open", asked)
    assert answer.status_code in (400, 404, 422)
    assert len(answer.json()["error"]["description"]) > 20


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "localhost:8080"}, 200),
        ({"Host": "127.0.0.1:8080"}, 200),
        ({"Host": "[::1]:8080"}, 200),
        ({"Host": "attacker.example"}, 403),
        ({"Host": "localhost.attacker.example"}, 403),
        ({"Host": "127.0.0.1.attacker.example"}, 403),
        ({"Host": "["}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
    ],
)
def test_other_names_and_other_sites_are_refused(app: App, headers: dict[str, str], status: int) -> None:
    for path in (
        "/view/slides",
        "/view",
        "/view/static/page.css",
        f"/view/slides/{handle(app)}/tiles/0/0_0.jpg",
    ):
        answer = app.get(path, headers=headers)
        assert answer.status_code == status, path
        if status == 403:
            assert answer.json()["error"]["code"] == "FORBIDDEN_ERROR"


def test_a_link_of_another_site_may_lead_to_the_page_and_to_nothing_else(app: App) -> None:
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert app.get("/view", headers=link).status_code == 200
    assert app.get("/view/slides", headers=link).status_code == 403


def test_a_name_of_ones_own_is_admitted_by_its_setting(folder: Path) -> None:
    with App({"PATHSERVE_VIEW": "1", "PATHSERVE_VIEW_HOSTS": "slides.lab.example"}) as app:
        assert app.get("/view", headers={"Host": "slides.lab.example"}).status_code == 200
        assert app.get("/view", headers={"Host": "other.lab.example"}).status_code == 403


def test_with_keys_only_the_page_itself_is_open_to_all(folder: Path) -> None:
    key = "a-key-that-is-long-enough"
    with App({"PATHSERVE_VIEW": "1", "PATHSERVE_VIEW_FOLDER": str(folder), "PATHSERVE_API_KEYS": key}) as app:
        assert app.get("/view").status_code == 200
        given = {"Authorization": f"Bearer {key}"}
        assert app.get("/view/slides").status_code == 401
        slide = app.get("/view/slides", headers=given).json()["slides"][0]["slide"]
        for path in (
            f"/view/slides/{slide}/tiles/0/0_0.jpg",
            f"/view/slides/{slide}/regions/0_0_224_224.jpg",
        ):
            assert app.get(path).status_code == 401
            assert app.get(path, headers=given).status_code == 200
        for path in ("/view/open", "/view/picture", "/view/parquet", "/view/parquet/read"):
            assert app.post(path, {}).status_code == 401


def test_a_picture_is_measured_and_its_tissue_found(app: App) -> None:
    pixels = np.full((500, 700, 3), 245, np.uint8)
    pixels[:224, :224] = tissue()[:224, :224]
    found = app.post("/view/picture", encode(pixels)).json()
    assert (found["width"], found["height"], found["grid"]["columns"], found["grid"]["rows"]) == (
        700,
        500,
        3,
        2,
    )
    assert base64.b64decode(found["grid"]["tissue"]) == b"\x01"
    small = app.post("/view/picture", encode(pixels[:100]))
    assert small.json()["error"]["code"] == "IMAGE_DIMENSION_ERROR"
    assert app.post("/view/picture", b"no picture").json()["error"]["code"] == "IMAGE_ERROR"


FRAME: dict[str, object] = {
    "level": 0,
    "width": 700,
    "height": 300,
    "level0_width": 1400,
    "level0_height": 600,
    "mpp": 1.0,
    "level0_mpp": 0.5,
}


def table(rows: int = 3) -> dict[str, object]:
    vectors = np.arange(rows * 4, dtype=np.float16).reshape(rows, 4)
    return {
        "frame": FRAME,
        "slide": {"study": None, "series": None, "instance": "a.svs", "format": "aperio", "digest": "d"},
        "model": "sha256:1",
        "encoder": "probe",
        "untrained": False,
        "dimension": 4,
        "x": [0, 224, 448][:rows],
        "y": [0] * rows,
        "vectors": base64.b64encode(vectors.tobytes()).decode(),
        "errors": {"1": "IMAGE_ERROR: damaged"} if rows > 1 else {},
    }


def test_vectors_become_a_parquet_that_reads_back(app: App) -> None:
    answer = app.post("/view/parquet", table())
    assert answer.status_code == 200
    found = app.post("/view/parquet/read", answer.content).json()
    assert found["x"] == [0, 224, 448]
    assert found["errors"] == {"1": "IMAGE_ERROR: damaged"}
    vectors = np.frombuffer(base64.b64decode(found["vectors"]), "<f2").reshape(3, 4)
    assert vectors[2].tolist() == [8, 9, 10, 11]
    assert np.isnan(vectors[1]).all()
    assert found["about"]["frame"]["level0_width"] == 1400
    columns = pq.read_table(io.BytesIO(answer.content))
    assert columns.column("x0").to_pylist() == [0, 448, 896]


@pytest.mark.parametrize(
    "change",
    [
        {"dimension": 5},
        {"dimension": -1},
        {"slide": {"instance": "a", "study": {}}},
        {"slide": {"instance": "a", "study": 5}},
        {"dimension": "many"},
        {"vectors": "!"},
        {"x": [1]},
        {"x": ["a", "b", "c"]},
        {"frame": {}},
        {"frame": None},
        {"slide": []},
        {"errors": {"x": 1}},
        {"x": [2**70, 1, 1]},
    ],
)
def test_vectors_that_are_none_are_refused(app: App, change: dict[str, object]) -> None:
    answer = app.post("/view/parquet", table() | change)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "INVALID_REQUEST_FIELD_ERROR"


def test_a_file_that_is_no_table_of_ours_is_refused(app: App) -> None:
    other = io.BytesIO()
    pq.write_table(pa.table({"x": [1]}), other)
    whole = app.post("/view/parquet", table()).content
    for data in (b"", b"PAR1", b"no table", other.getvalue(), whole[:-20], whole[: len(whole) // 2]):
        answer = app.post("/view/parquet/read", data)
        assert answer.status_code == 400, data[:20]
        assert "pathserve embed" in answer.json()["error"]["description"]
    assert read_table(whole).vectors.dtype == np.float16


def rewritten(whole: bytes, change: Callable[[pa.Table], pa.Table], **about: object) -> bytes:
    """Return a table with other rows, or with other words about it."""
    found = change(pq.read_table(io.BytesIO(whole)))
    said = json.loads(found.schema.metadata[b"pathserve"]) | about
    out = io.BytesIO()
    pq.write_table(found.replace_schema_metadata({"pathserve": json.dumps(said)}), out, compression="zstd")
    return out.getvalue()


def same(found: pa.Table) -> pa.Table:
    return found


@pytest.mark.parametrize(
    "about",
    [
        {"frame": {}},
        {"frame": FRAME | {"width": "700"}},
        {"frame": FRAME | {"width": 0}},
        {"frame": FRAME | {"height": -5}},
        {"frame": FRAME | {"level0_width": 1e300}},
        {"frame": FRAME | {"mpp": "<b>"}},
        {"frame": FRAME | {"mpp": float("nan")}},
        {"frame": FRAME | {"width": 1 << 30, "height": 1 << 30}},
        {"slide": None},
        {"slide": {"instance": 5}},
        {"model": None},
        {"encoder": ["x"]},
    ],
)
def test_a_table_says_what_the_page_relies_on_or_is_refused(app: App, about: dict[str, object]) -> None:
    whole = app.post("/view/parquet", table()).content
    assert app.post("/view/parquet/read", rewritten(whole, same)).status_code == 200
    answer = app.post("/view/parquet/read", rewritten(whole, same, **about))
    assert answer.status_code in (400, 422)
    assert answer.json()["error"]["code"] in ("INVALID_REQUEST_FIELD_ERROR", "TOO_MANY_PATCHES_ERROR")


def test_one_long_text_that_is_the_error_of_all_rows_is_cut(app: App) -> None:
    whole = app.post("/view/parquet", table()).content

    def with_errors(found: pa.Table) -> pa.Table:
        rows = found.take(pa.array([1] * 20_000))
        long = pa.DictionaryArray.from_arrays(pa.array([0] * 20_000), pa.array(["<" * 1_000_000]))
        return rows.set_column(rows.schema.get_field_index("error"), "error", long)

    data = rewritten(whole, with_errors)
    assert len(data) < 100_000
    answer = app.post("/view/parquet/read", data)
    assert answer.status_code == 200
    assert len(answer.content) < 50_000_000
    assert set(answer.json()["errors"].values()) == {"<" * 1000}


def test_a_slide_that_has_changed_is_opened_anew_and_few_stay_open(app: App, tmp_path: Path) -> None:
    names = [f"{i}.svs" for i in range(KEPT_OPEN + 2)]
    for i, name in enumerate(names):
        write_slide(tmp_path / name, np.ascontiguousarray(stained(600, 400)[i:, i:]))
    folder = SlideFolder(tmp_path, app.context)
    handles = {slide.name: slide.handle for slide in folder.slides()}
    first, give_back = folder.take(handles["0.svs"])
    for name in names:
        with folder.lent(handles[name]) as slide:
            assert slide.slide.width == 600 - int(name.removesuffix(".svs"))
    session_pixels = first.overview()
    assert session_pixels.shape[2] == 3, "who has it goes on reading, though others have been opened since"
    give_back()
    write_slide(tmp_path / "1.svs", np.ascontiguousarray(stained(500, 300)))
    with folder.lent(handles["1.svs"]) as changed:
        assert changed.slide.width == 500
    folder.close()
