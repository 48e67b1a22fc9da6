"""``pathserve embed``: a table of vectors of an image or a level."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.conftest import ModelFolders
from tests.support.asking import cut
from tests.support.loopback import Handler, Loopback
from tests.support.models import TOLERANCE, probe
from tests.support.service import Service
from tests.support.slides import CODINGS, TILE, Slide, stained
from tests.support.store import Answer, Request, Store
from tests.support.tissue import UInt8Array, encode, tissue


@pytest.fixture(scope="module")
def service(model_folders: ModelFolders) -> Iterator[Service]:
    with Service({"PATHSERVE_MODEL": model_folders["probe"]}) as running:
        yield running.wait_healthy()


COLUMNS = ["study", "series", "instance", "level", "x", "y", "x0", "y0", "mpp", "vector", "error"]


def run(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PATHSERVE_", "AIP_"))}
    return subprocess.run(
        [sys.executable, "-m", "serving", "embed", *map(str, arguments)],
        env=inherited | environment,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )


def assert_table(path: Path, truth: UInt8Array, origins: set[tuple[int, int]]) -> None:
    """Hold a table to an image: every patch once, every vector of the pixels at its place."""
    rows = pq.read_table(path).to_pylist()
    assert [(row["x"], row["y"]) for row in rows] == sorted(origins, key=lambda origin: origin[::-1])
    assert all(row["error"] is None for row in rows)
    expected = probe(np.stack(cut(truth, *[(row["x"], row["y"]) for row in rows])))
    np.testing.assert_allclose([row["vector"] for row in rows], expected, atol=TOLERANCE)


def half_glass(width: int, height: int) -> UInt8Array:
    pixels = stained(width, height).copy()
    pixels[:, width // 2 :] = (243, 241, 244)
    return pixels


def test_a_file_is_embedded_in_process_where_tissue_is(model_folders: ModelFolders, tmp_path: Path) -> None:
    image, out = tmp_path / "half.png", tmp_path / "half.parquet"
    pixels = half_glass(1344, 500)
    image.write_bytes(encode(pixels))
    done = run(image, "--out", out, PATHSERVE_MODEL=model_folders["probe"])
    assert done.returncode == 0, done.stderr
    assert_table(out, pixels, {(x, y) for y in (0, 224) for x in (0, 224, 448)})
    assert pq.read_schema(out).names == COLUMNS
    assert pq.read_table(out).to_pylist()[0]["instance"] == str(image)
    again = run(image, "--out", out, PATHSERVE_MODEL=model_folders["probe"])
    assert again.returncode == 0
    assert "done already" in again.stdout
    other = run(image, "--out", out, "--stride", "100", PATHSERVE_MODEL=model_folders["probe"])
    assert other.returncode == 1
    assert "is there already, of something else" in other.stderr


def test_all_patches_of_a_file_through_a_service(service: Service, tmp_path: Path) -> None:
    image, out = tmp_path / "half.png", tmp_path / "half.parquet"
    pixels = half_glass(700, 300)
    image.write_bytes(encode(pixels))
    done = run(image, "--out", out, "--all", "--stride", "100", "--service", service.url)
    assert done.returncode == 0, done.stderr
    assert "10 patches" not in done.stdout
    assert_table(out, pixels, {(x, 0) for x in range(0, 477, 100)})


@pytest.fixture
def slide() -> Slide:
    slide = Slide()
    slide.add_level(half_glass(3000, 2000), CODINGS["JPEG"], parts=2)
    slide.add_level(half_glass(750, 500), CODINGS["JPEG"])
    return slide


def test_a_level_of_a_series(service: Service, slide: Slide, tmp_path: Path) -> None:
    """Tissue is looked for in the small level; a stopped run goes on; a bad frame costs its patches alone."""
    first, second = slide.instances[:2]
    out = tmp_path / "slide.parquet"
    last_row = len(second.frames) - -(-3000 // TILE)

    def interrupted(request: Request) -> Answer | None:
        where, _, numbers = request.path.partition("/frames/")
        late = second.uid in where and any(int(number) > last_row for number in numbers.split(","))
        return (401, {}, b"") if late else None  # the token grows old before the last row is read

    with Store(slide) as store:
        store.behaviour.tokens = {"planted-token"}
        arguments: list[str | Path] = [
            store.series_path(slide),
            "--out",
            out,
            "--stride",
            "60",
            "--service",
            service.url,
        ]
        refused = run(*arguments, PATHSERVE_STORE_TOKEN="expired-token")
        assert refused.returncode == 1
        assert "INVALID_CREDENTIALS_ERROR" in refused.stderr
        store.behaviour.override = interrupted
        stopped = run(*arguments, PATHSERVE_STORE_TOKEN="planted-token")
        assert stopped.returncode == 1
        assert "INVALID_CREDENTIALS_ERROR" in stopped.stderr
        parts = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "slide.parquet.parts").glob("0*")}
        assert not out.exists()
        store.behaviour.override = None
        other = run(*arguments, "--level", "1", PATHSERVE_STORE_TOKEN="planted-token")
        assert "another run" in other.stderr
        damaged = second.frames[last_row + 3]
        second.frames[last_row + 3] = damaged[: len(damaged) // 2]
        done = run(*arguments, PATHSERVE_STORE_TOKEN="planted-token")
        assert done.returncode == 0, done.stderr
    assert parts
    rows = pq.read_table(out).to_pylist()
    failed = [row for row in rows if row["error"] is not None]
    assert failed
    assert all(row["error"].startswith("DICOM_ERROR") for row in failed)
    assert all(np.isnan(row["vector"]).all() for row in failed)
    good = [row for row in rows if row["error"] is None]
    expected = probe(np.stack(cut(first.truth, *[(row["x"], row["y"]) for row in good])))
    np.testing.assert_allclose([row["vector"] for row in good], expected, atol=TOLERANCE)
    origins = {(row["x"], row["y"]) for row in rows}
    assert len(origins) == len(rows)
    inside = {(x, y) for y in range(0, 1777, 60) for x in range(0, 2777, 60)}
    assert {o for o in inside if o[0] + 224 <= 1480} <= origins <= {o for o in inside if o[0] <= 1510}
    assert {row["study"] for row in rows} == {slide.study}
    assert {(row["series"], row["instance"], row["level"]) for row in rows} == {(slide.series, first.uid, 0)}
    assert not (tmp_path / "slide.parquet.parts").exists()
    assert "planted-token" not in done.stdout + done.stderr + stopped.stderr


def test_another_level_by_its_index(service: Service, slide: Slide, tmp_path: Path) -> None:
    out = tmp_path / "small.parquet"
    with Store(slide) as store:
        where = store.series_path(slide)
        done = run(where, "--out", out, "--level", "1", "--all", "--service", service.url)
        assert done.returncode == 0, done.stderr
        missing = run(where, "--out", tmp_path / "no", "--level", "2", "--service", service.url)
    assert_table(out, slide.instances[-1].truth, {(x, y) for y in (0, 224) for x in (0, 224, 448)})
    assert missing.returncode == 1
    assert "no level 2; it has 0: 3000x2000, 1: 750x500" in missing.stderr
    assert all(
        (row["x0"], row["y0"]) == (4 * row["x"], 4 * row["y"]) for row in pq.read_table(out).to_pylist()
    )


def test_a_store_that_fails_for_long_stops_the_run(service: Service, slide: Slide, tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    with Store(slide) as store:
        store.behaviour.override = lambda r: (500, {}, b"") if "/frames/" in r.path else None
        done = run(store.series_path(slide), "--out", out, "--all", "--service", service.url)
    assert done.returncode == 1
    assert "HTTP_ERROR" in done.stderr
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.png"], "nowhere.png cannot be read"),
        (["gs://no"], "GCS_IMAGE_PATH_FORMAT_ERROR"),
        (["https://host/studies/x"], "DICOM_PATH_ERROR"),
    ],
)
def test_what_cannot_be_embedded_is_said_to_be_so(tmp_path: Path, arguments: list[str], message: str) -> None:
    done = run(*arguments, "--out", tmp_path / "out.parquet", "--service", "http://127.0.0.1:9")
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_an_image_without_tissue_says_how_to_embed_it_all_the_same(tmp_path: Path) -> None:
    image = tmp_path / "white.png"
    image.write_bytes(encode(np.full((300, 300, 3), 250, np.uint8)))
    done = run(image, "--out", tmp_path / "out.parquet", "--service", "http://127.0.0.1:9")
    assert done.returncode == 1
    assert "--all" in done.stderr
    assert tissue().mean() < 250


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "picture.png"
    path.write_bytes(encode(stained(700, 500)))
    return path


def assert_sentence(done: subprocess.CompletedProcess[str], said: str) -> None:
    assert done.returncode != 0
    assert [line for line in done.stderr.splitlines() if line.startswith("pathserve: ") and said in line]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--service", "127.0.0.1:8080"], "must be http://HOST:PORT"),
        (["--service", "localhost"], "must be http://HOST:PORT"),
        (["--service", "ftp://host/"], "must be http://HOST:PORT"),
        (["--service", "http://"], "must be http://HOST:PORT"),
        (["--service", "http://host:port"], "must be http://HOST:PORT"),
        (["--icc", "SGRB"], "there are NONE, SRGB, ADOBERGB"),
    ],
)
def test_what_is_mistyped_is_said_before_anything_is_written(
    picture: Path, tmp_path: Path, arguments: list[str], said: str
) -> None:
    assert_sentence(run(picture, "--out", tmp_path / "out.parquet", "--all", *arguments), said)
    assert list(tmp_path.iterdir()) == [picture]


def test_what_is_no_service_is_said_to_be_none(picture: Path, tmp_path: Path) -> None:
    class Page(Handler):
        def respond(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.answer(200, [("Content-Type", "text/html")], b"<p>welcome")

    elsewhere = Loopback(Page)
    try:
        done = run(picture, "--out", tmp_path / "o.parquet", "--all", "--service", elsewhere.origin)
    finally:
        elsewhere.end()
    assert_sentence(done, "is the service's address right?")
    assert list(tmp_path.iterdir()) == [picture]


def test_a_name_that_is_no_text_is_embedded_all_the_same(
    service: Service, picture: Path, tmp_path: Path
) -> None:
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png"))
    picture.rename(odd)
    out = odd.with_suffix(".parquet")
    done = run(odd, "--out", out, "--all", "--service", service.url)
    assert done.returncode == 0, done.stderr
    with out.open("rb") as file:
        rows = pq.read_table(file).to_pylist()
    assert len(rows) == 6
    assert rows[0]["instance"].endswith("/caf\ufffd.png")


def test_a_disk_that_is_full_stops_the_run_and_leaves_what_is_done(
    service: Service, picture: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.parquet"
    arguments = (picture, "--out", out, "--all", "--stride", "14", "--service", service.url)
    command = [sys.executable, "-m", "serving", "embed", *map(str, arguments)]
    for kilobytes in (0, 8, 340):  # nothing, no part, and the parts but not the table can be written
        limited = ["bash", "-c", f'ulimit -f {kilobytes}; exec "$@"', "bash", *command]
        done = subprocess.run(limited, capture_output=True, text=True, timeout=100, check=False)
        assert_sentence(done, "cannot be written: File too large. Make room")
        assert not out.exists()
        assert not list(tmp_path.rglob("*.tmp"))
        assert any(tmp_path.glob("*.parts/0*")) == (kilobytes == 340)
    done = run(*arguments)
    assert done.returncode == 0, done.stderr
    assert_table(out, stained(700, 500), {(x, y) for y in range(0, 277, 14) for x in range(0, 477, 14)})


def test_a_run_that_has_written_nothing_keeps_no_other_from_the_output(
    service: Service, picture: Path, tmp_path: Path
) -> None:
    out, parts = tmp_path / "out.parquet", tmp_path / "out.parquet.parts"
    parts.mkdir()
    (parts / "run.json").write_text('{"where": "another')  # cut off when the disk was full
    (parts / "model").write_text("another")
    done = run(picture, "--out", out, "--all", "--service", service.url)
    assert done.returncode == 0, done.stderr
    assert not parts.exists()


def test_a_damaged_part_is_named(service: Service, picture: Path, tmp_path: Path) -> None:
    out, parts = tmp_path / "out.parquet", tmp_path / "out.parquet.parts"
    arguments = (picture, "--out", out, "--all", "--stride", "14", "--service", service.url)
    command = [sys.executable, "-m", "serving", "embed", *map(str, arguments)]
    limited = ["bash", "-c", 'ulimit -f 340; exec "$@"', "bash", *command]
    subprocess.run(limited, capture_output=True, timeout=100, check=False)
    damaged = min(parts.glob("0*"))
    damaged.write_bytes(b"")
    done = run(*arguments)
    assert_sentence(done, f"{damaged} is damaged; remove it")
    damaged.unlink()
    assert run(*arguments).returncode == 0


def test_a_run_that_is_killed_goes_on_to_the_same_rows(service: Service, tmp_path: Path) -> None:
    image = tmp_path / "large.png"
    image.write_bytes(encode(stained(2000, 1500)))

    def arguments(out: Path) -> list[str]:
        given = ["--all", "--stride", "30", "--format", "parquet,h5", "--service", service.url]
        return [str(image), "--out", str(out), *given]

    out, parts = tmp_path / "killed.parquet", tmp_path / "killed.parquet.parts"
    with subprocess.Popen([sys.executable, "-m", "serving", "embed", *arguments(out)]) as process:
        while not any(parts.glob("0*.parquet")):
            with contextlib.suppress(subprocess.TimeoutExpired):
                pytest.fail(f"it ended by itself: {process.wait(0.02)}")
        process.kill()
    assert process.returncode == -signal.SIGKILL
    kept = {path.name: path.stat().st_mtime_ns for path in parts.glob("0*.parquet")}
    assert 0 < len(kept) < 6
    assert not out.exists()
    done = run(*arguments(out))
    assert done.returncode == 0, done.stderr
    assert run(*arguments(tmp_path / "whole.parquet")).returncode == 0
    assert pq.read_table(out).equals(pq.read_table(tmp_path / "whole.parquet"))
    with h5py.File(out.with_suffix(".h5")) as ours, h5py.File(tmp_path / "whole.h5") as theirs:
        np.testing.assert_array_equal(ours["features"][:], theirs["features"][:])
    assert not parts.exists()


@pytest.mark.parametrize("out", ["/proc/out.parquet", "picture.png/out.parquet", "x" * 300])
def test_an_output_that_cannot_be_written_is_named(picture: Path, tmp_path: Path, out: str) -> None:
    done = run(picture, "--out", tmp_path / out, "--all", "--service", "http://127.0.0.1:9")
    assert_sentence(done, "cannot be written")


def test_a_folder_without_slides_says_what_it_is_searched_for(tmp_path: Path) -> None:
    done = run(tmp_path, "--out", tmp_path / "out.parquet", "--all")
    assert_sentence(done, f"{tmp_path} names no slide; a folder is searched for .bif")


def test_ctrl_c_ends_a_run_with_a_sentence(picture: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        where = f"http://127.0.0.1:{silent.getsockname()[1]}"
        arguments = (picture, "--out", tmp_path / "out.parquet", "--all", "--service", where)
        # What is started in the background of a shell begins with SIGINT ignored.
        wanted = ["env", "--default-signal=INT"]
        command = [*wanted, sys.executable, "-m", "serving", "embed", *map(str, arguments)]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            silent.settimeout(60)
            silent.accept()[0].close()  # it is asked again
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "pathserve: stopped; the same command goes on from here." in said
    assert "Traceback" not in said
    assert list(tmp_path.iterdir()) == [picture]
