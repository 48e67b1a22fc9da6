"""``pathserve embed`` over slides in files and stores: many of them, at a scale, in every format."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest
import tifffile

from model.transport.client import EncoderClient
from serving.config.settings import Settings
from serving.pipeline.embedder import Embedder
from serving.pipeline.outcome import Outcome
from serving.pipeline.predictor import Predictor
from serving.pipeline.types import Instance
from tests.support.app import ServedApp
from tests.support.asking import cut
from tests.support.commands import EmbedCommand, probe_in_process
from tests.support.local_slides import pyramid_of, write_dicom, write_svs
from tests.support.models import TOLERANCE, probe
from tests.support.slides import CODINGS, Slide, pyramid, stained
from tests.support.store import Store
from tests.support.tissue import UInt8Array, encode


@pytest.fixture
def embed(capsys: pytest.CaptureFixture[str]) -> EmbedCommand:
    return EmbedCommand(capsys)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "slides"
    (folder / "more").mkdir(parents=True)
    write_svs(folder / "a.svs", pyramid_of(1000, 700), mpp=0.25)
    write_svs(folder / "more/b.svs", pyramid_of(700, 500), mpp=0.5)
    return folder


def rows_of(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return rows


def about(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(pq.read_schema(path).metadata[b"pathserve"])
    return found


def test_a_folder_of_slides_is_embedded_one_output_each_and_goes_on_after_a_bad_one(
    embed: EmbedCommand, folder: Path, tmp_path: Path
) -> None:
    (folder / "cut.svs").write_bytes((folder / "a.svs").read_bytes()[:100])
    out = tmp_path / "vectors"
    done = embed(folder, "--out", out, "--all")
    assert done.status == 1
    assert sorted(path.name for path in out.iterdir()) == [
        "a.overview.png", "a.parquet", "b.overview.png", "b.parquet",
    ]  # fmt: skip
    assert len(rows_of(out / "a.parquet")) == 12
    assert "pathserve: cut: IMAGE_ERROR: " in done.err
    assert (
        f"{out / 'b.parquet'}: 6 patches of 700x500 pixels, level 0 at 0.5 µm, 0 with an error." in done.out
    )
    table = done.out[done.out.index("slide ") :].splitlines()
    assert [line.split()[0] for line in table] == ["slide", "a", "cut", "b", "2"]
    assert table[-1] == "2 of 3 slides done, 1 failed."


def test_what_is_done_is_skipped_and_the_rest_made_up_for(
    embed: EmbedCommand, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "vectors"
    assert embed(folder / "a.svs", "--out", f"{out}/", "--all").status == 0
    before = (out / "a.parquet").stat().st_mtime_ns
    done = embed(folder, "--out", out, "--all")
    assert done.status == 0
    assert f"{out / 'a.parquet'}: done already." in done.out
    assert (out / "a.parquet").stat().st_mtime_ns == before
    assert (out / "b.parquet").exists()
    changed = embed(folder, "--out", out, "--all", "--stride", "100")
    assert changed.status == 1
    assert changed.err.count("is there already, of something else") == 2


def test_a_format_that_is_asked_for_later_is_made_of_the_rows_that_are_there(
    embed: EmbedCommand, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "a.parquet"
    assert embed(folder / "a.svs", "--out", out, "--all").status == 0
    done = embed(folder / "a.svs", "--out", out, "--all", "--format", "parquet,h5,geojson")
    assert done.status == 0, done.err
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["features"].shape == (12, 384)
    assert len(json.loads((tmp_path / "a.geojson").read_text())["features"]) == 12


def test_a_list_names_slides_series_and_sizes_of_pixels(
    embed: EmbedCommand, folder: Path, tmp_path: Path
) -> None:
    stored = Slide()
    stored.add_level(stained(700, 500), CODINGS["explicit"])
    with Store(stored) as store:
        (tmp_path / "list.csv").write_text(
            f"slide,mpp,series\nslides/a.svs,0.125,\nkept.svs,,{store.series_path(stored)}\n"
        )
        out = tmp_path / "out"
        done = embed(tmp_path / "list.csv", "--out", out, "--mpp", "0.25", "--all")
        assert done.status == 1  # the store's slide has pixels of 14 µm
        assert "kept: The slide's finest pixels are 14.29 µm, too coarse for 0.25 µm" in done.err
        done = embed(tmp_path / "list.csv", "--out", out, "--all")
        assert (out / "kept.parquet").exists()
    assert "is there already" in done.err  # of another scale
    assert rows_of(out / "a.parquet")[0]["mpp"] == pytest.approx(0.25, rel=0.01)
    assert len(rows_of(out / "a.parquet")) == 2


@pytest.mark.parametrize("asked", ["0.5", "20x", "20X"])
def test_a_scale_takes_the_best_level_and_says_so(
    embed: EmbedCommand, folder: Path, tmp_path: Path, asked: str
) -> None:
    out = tmp_path / "a.parquet"
    done = embed(folder / "a.svs", "--out", out, "--mpp", asked, "--all")
    assert done.status == 0, done.err
    assert "2 patches of 500x350 pixels, level 0 at 0.5 µm" in done.out
    frame = about(out)["frame"]
    assert frame == {
        "level": 0, "width": 500, "height": 350, "level0_width": 1000, "level0_height": 700,
        "mpp": 0.5, "level0_mpp": 0.25,
    }  # fmt: skip
    assert [(row["x"], row["x0"], row["mpp"]) for row in rows_of(out)] == [(0, 0, 0.5), (224, 448, 0.5)]


def test_a_slide_a_little_coarser_than_asked_is_enlarged_to_the_scale(
    embed: EmbedCommand, tmp_path: Path
) -> None:
    slide = write_svs(tmp_path / "s.svs", pyramid_of(1000, 700), mpp=0.52)
    done = embed(slide, "--out", tmp_path / "s.parquet", "--mpp", "20x", "--all")
    assert done.status == 0, done.err
    assert "of 1040x728 pixels, level 0 at 0.5 µm" in done.out
    refused = embed(slide, "--out", tmp_path / "t.parquet", "--mpp", "0.25", "--all")
    assert "too coarse for 0.25 µm; ask for --mpp 0.52 or more" in refused.err


@pytest.mark.parametrize(
    ("mpp", "said"), [(None, "does not say how large its pixels are"), (352.8, "says 352.8 µm a pixel")]
)
def test_a_size_of_pixels_that_is_missing_or_not_believed_is_asked_for(
    embed: EmbedCommand, tmp_path: Path, mpp: float | None, said: str
) -> None:
    slide = write_svs(tmp_path / "s.svs", pyramid_of(1000, 700), mpp=mpp)
    refused = embed(slide, "--out", tmp_path / "s.parquet", "--mpp", "0.5", "--all")
    assert refused.status == 1
    assert said in refused.err
    assert "--slide-mpp" in refused.err
    done = embed(slide, "--out", tmp_path / "s.parquet", "--mpp", "0.5", "--slide-mpp", "40x", "--all")
    assert "2 patches of 500x350 pixels" in done.out
    as_it_is = embed(slide, "--out", tmp_path / "t.parquet", "--all")
    assert as_it_is.status == 0
    assert {row["mpp"] for row in rows_of(tmp_path / "t.parquet")} == {None}


def test_a_slide_in_a_file_and_in_a_store_has_the_same_vectors(embed: EmbedCommand, tmp_path: Path) -> None:
    whole, small = pyramid_of(1000, 700)
    slide = write_svs(tmp_path / "s.svs", [whole, small], mpp=10)
    pixels = level_of(slide)
    stored = Slide()
    stored.add_level(pixels, CODINGS["explicit"])
    for name, scale in (("level", ["--level", "0"]), ("scale", ["--mpp", "15"])):
        assert embed(slide, "--out", tmp_path / f"{name}.parquet", "--all", *scale).status == 0
        with Store(stored) as store:
            where = store.series_path(stored)
            assert embed(where, "--out", tmp_path / f"store-{name}.parquet", "--all", *scale).status == 0
        ours, theirs = rows_of(tmp_path / f"{name}.parquet"), rows_of(tmp_path / f"store-{name}.parquet")
        assert [(row["x0"], row["y0"], row["vector"]) for row in ours] == [
            (row["x0"], row["y0"], row["vector"]) for row in theirs
        ]
    rows = rows_of(tmp_path / "level.parquet")
    expected = probe(np.stack(cut(pixels, *[(row["x"], row["y"]) for row in rows])))
    np.testing.assert_allclose([row["vector"] for row in rows], expected, atol=TOLERANCE)


def level_of(path: Path) -> UInt8Array:
    return np.asarray(tifffile.imread(path, key=0), np.uint8)


def test_a_slide_that_a_service_cannot_reach_is_read_here_and_sent(
    embed: EmbedCommand, served_app: ServedApp, folder: Path, tmp_path: Path
) -> None:
    assert embed(folder / "a.svs", "--out", tmp_path / "here.parquet", "--mpp", "0.4", "--all").status == 0
    arguments = ("--mpp", "0.4", "--all", "--service", served_app.url)
    assert embed(folder / "a.svs", "--out", tmp_path / "sent.parquet", *arguments).status == 0
    assert rows_of(tmp_path / "here.parquet") == rows_of(tmp_path / "sent.parquet")


def test_a_patch_that_fails_has_numbers_that_are_not_numbers_and_its_error(
    embed: EmbedCommand, tmp_path: Path
) -> None:
    slide = Slide()
    level = slide.add_level(stained(1100, 700), CODINGS["JPEG"])[0]
    level.frames[3] = level.frames[3][:200]
    with Store(slide) as store:
        done = embed(
            store.series_path(slide), "--out", tmp_path / "s.parquet", "--all", "--format", "parquet,h5"
        )
    assert done.status == 0, done.err
    rows = rows_of(tmp_path / "s.parquet")
    failed = [row for row in rows if row["error"]]
    assert 0 < len(failed) < len(rows)
    assert all(np.isnan(row["vector"]).all() == bool(row["error"]) for row in rows)
    with h5py.File(tmp_path / "s.h5") as file:
        assert np.isfinite(file["features"][:]).all()
        assert len(file["coords"]) == len(rows) - len(failed)
        assert [text.decode() for text in file["failed/errors"]] == [row["error"] for row in failed]


def test_a_slide_of_which_every_patch_fails_has_failed(embed: EmbedCommand, tmp_path: Path) -> None:
    slide = Slide()
    level = slide.add_level(stained(500, 400), CODINGS["JPEG"])[0]
    level.frames[:] = [frame[:200] for frame in level.frames]
    with Store(slide) as store:
        done = embed(store.series_path(slide), "--out", tmp_path / "s.parquet", "--all")
    assert done.status == 1
    assert "Every patch failed, the first with DICOM_ERROR" in done.err
    assert not (tmp_path / "s.parquet").exists()


def test_one_that_is_read_here_and_sent_has_failed_as_well_though_nothing_is_sent(
    embed: EmbedCommand, served_app: ServedApp, tmp_path: Path
) -> None:
    slide = Slide()
    level = slide.add_level(stained(500, 400), CODINGS["JPEG"])[0]
    level.frames[:] = [frame[:200] for frame in level.frames]
    folder = write_dicom(tmp_path / "dicom", slide)
    done = embed(folder, "--out", tmp_path / "s.parquet", "--all", "--service", served_app.url)
    assert done.status == 1
    assert "Every patch failed, the first with DICOM_ERROR" in done.err


def test_a_slide_whose_metadata_has_a_pixel_that_cannot_be_is_sent_without_it(
    embed: EmbedCommand, served_app: ServedApp, tmp_path: Path
) -> None:
    slide = pyramid("explicit", [(500, 400)])
    measures = slide.instances[0].dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    measures.PixelSpacing = [5, 5]
    folder = write_dicom(tmp_path / "dicom", slide)
    found = []
    for name, more in (("here", ()), ("sent", ("--service", served_app.url))):
        done = embed(folder, "--out", tmp_path / f"{name}.parquet", "--all", *more)
        assert done.status == 0, done.err
        found.append(rows_of(tmp_path / f"{name}.parquet"))
    assert found[0] == found[1]


def test_dicom_in_a_folder_is_one_slide_and_beside_others_one_of_many(
    embed: EmbedCommand, folder: Path, tmp_path: Path
) -> None:
    slide = Slide()
    slide.add_level(stained(1000, 700), CODINGS["JPEG"], parts=2)
    slide.add_level(stained(500, 350), CODINGS["JPEG"])
    write_dicom(folder / "dicom", slide)
    alone = embed(folder / "dicom", "--out", tmp_path / "alone.parquet", "--all")
    assert alone.status == 0, alone.err
    assert embed(folder, "--out", tmp_path / "out", "--all").status == 0
    rows = rows_of(tmp_path / "alone.parquet")
    assert rows_of(tmp_path / "out/dicom.parquet") == rows
    assert {(row["study"], row["series"]) for row in rows} == {(slide.study, slide.series)}
    with Store(slide) as store:
        assert embed(store.series_path(slide), "--out", tmp_path / "store.parquet", "--all").status == 0
    assert rows_of(tmp_path / "store.parquet") == rows


def test_an_output_in_the_slides_own_folder_makes_it_no_other_slide(
    embed: EmbedCommand, tmp_path: Path
) -> None:
    slide = Slide()
    slide.add_level(stained(500, 350), CODINGS["JPEG"])
    folder = write_dicom(tmp_path / "dicom", slide)
    assert embed(folder, "--out", folder / "v.parquet", "--all").status == 0
    again = embed(folder, "--out", folder / "v.parquet", "--all")
    assert again.status == 0, again.err
    assert "done already" in again.out


@pytest.mark.parametrize("kind", ["TIFF", "PNG", "JPEG"])
def test_a_picture_that_is_no_slide_is_embedded_as_one_level(
    embed: EmbedCommand, tmp_path: Path, kind: str
) -> None:
    image = tmp_path / f"picture.{kind.lower()}"
    image.write_bytes(encode(stained(700, 500), kind))
    done = embed(image, "--out", tmp_path / "p.parquet", "--all", "--mpp", "1", "--slide-mpp", "0.5")
    assert done.status == 0, done.err
    assert "1 patch of 350x250 pixels, level 0 at 1 µm" in done.out


def test_a_slide_without_tissue_or_smaller_than_a_patch_says_so(embed: EmbedCommand, tmp_path: Path) -> None:
    (tmp_path / "glass.png").write_bytes(encode(np.full((400, 600, 3), 241, np.uint8)))
    (tmp_path / "small.png").write_bytes(encode(stained(223, 600)))
    done = embed(f"{tmp_path}/*.png", "--out", tmp_path / "out")
    assert done.status == 1
    assert "glass: No patch of 600x400 pixels shows tissue; --all takes those without, too." in done.err
    assert "small: The slide has 223x600 pixels at this scale, less than a patch of 224x224." in done.err


def test_two_slides_of_one_name_are_told_apart_before_anything_is_done(
    embed: EmbedCommand, folder: Path, tmp_path: Path
) -> None:
    (folder / "more/a.svs").write_bytes((folder / "a.svs").read_bytes())
    done = embed(folder, "--out", tmp_path / "out", "--all")
    assert done.status == 1
    assert "would both be written to 'a'" in done.err
    assert not (tmp_path / "out").exists()


def test_tissue_that_people_outlined_decides_where_patches_are(
    embed: EmbedCommand, folder: Path, tmp_path: Path
) -> None:
    mask = np.zeros((70, 100), np.uint8)
    mask[:, 70:] = 255
    (tmp_path / "a.png").write_bytes(encode(mask))
    corners = [[[700, 0], [1000, 0], [1000, 700], [700, 700], [700, 0]]]
    feature = {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": corners}}
    (tmp_path / "a.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    found = []
    for kind in ("png", "geojson"):
        out = tmp_path / f"{kind}.parquet"
        done = embed(
            folder / "a.svs", "--out", out, "--tissue", tmp_path / f"a.{kind}", "--min-tissue", "0.5"
        )
        assert done.status == 0, done.err
        found.append([(row["x"], row["y"]) for row in rows_of(out)])
    assert found == [[(672, 0), (672, 224), (672, 448)]] * 2
    out = tmp_path / "out"
    done = embed(folder, "--out", out, "--tissue", tmp_path, "--min-tissue", "0.5")
    assert len(rows_of(out / "a.parquet")) == 3
    assert "b: " in done.err
    assert "b.geojson" in done.err


@pytest.mark.parametrize("lost", [lambda size: size // 2, lambda _: 10])
def test_a_slide_that_is_cut_off_is_refused_and_never_taken_for_a_picture(
    embed: EmbedCommand, folder: Path, tmp_path: Path, lost: Callable[[int], int]
) -> None:
    path = folder / "a.svs"
    size = path.stat().st_size
    os.truncate(path, size - lost(size))
    done = embed(path, "--out", tmp_path / "a.parquet", "--all")
    assert done.status == 1
    assert "a.svs is cut off: it names data up to byte" in done.err
    assert "; copy it again." in done.err
    assert not (tmp_path / "a.parquet").exists()


class Losing:
    """An embedder that loses the slide's file when the first chunk is done, as a network folder goes."""

    def __init__(self, embedder: Embedder, path: Path) -> None:
        self._embedder, self._path = embedder, path
        self._calls = 0
        self._lock = threading.Lock()

    @property
    def metadata(self) -> Mapping[str, object]:
        return self._embedder.metadata

    def embed(self, instances: Sequence[Instance]) -> list[Outcome]:
        with self._lock:  # chunks run beside each other
            outcomes = self._embedder.embed(instances)
            self._calls += 1
            if self._calls == 1:
                os.truncate(self._path, 2000)
            return outcomes


def test_a_file_that_is_lost_while_it_is_embedded_ends_its_slide_and_what_is_done_is_kept(
    capsys: pytest.CaptureFixture[str], folder: Path, tmp_path: Path
) -> None:
    path = write_svs(tmp_path / "large.svs", pyramid_of(5000, 4500))
    kept = path.read_bytes()
    stamps = path.stat()

    @contextlib.contextmanager
    def losing(settings: Settings, make: Callable[[EncoderClient], Predictor]) -> Iterator[Losing]:
        with probe_in_process(settings, make) as embedder:
            yield Losing(embedder, path)

    out = tmp_path / "out"
    arguments = (path, folder / "a.svs", "--out", out, "--all", "--stride", "150")
    done = EmbedCommand(capsys, losing)(*arguments)
    assert done.status == 1
    assert "large: INTERNAL_ERROR: The slide's file has become shorter while it was read." in done.err
    assert "What is done is kept; the same command goes on from there." in done.err
    assert not (out / "large.parquet").exists()
    assert (out / "a.parquet").exists()
    path.write_bytes(kept)
    os.utime(path, ns=(stamps.st_atime_ns, stamps.st_mtime_ns))
    again = EmbedCommand(capsys)(*arguments)
    assert again.status == 0, again.err
    rows = rows_of(out / "large.parquet")  # the probe refuses a patch of its own accord
    assert not [row for row in rows if "INTERNAL_ERROR" in (row["error"] or "")]


class Faulty(Losing):
    """An embedder with a mistake in it, which the first slide meets."""

    def embed(self, instances: Sequence[Instance]) -> list[Outcome]:
        self._calls += 1
        if self._calls == 1:
            raise KeyError("a mistake")
        return self._embedder.embed(instances)


def test_a_mistake_that_a_slide_meets_is_logged_and_the_others_go_on(
    capsys: pytest.CaptureFixture[str], folder: Path, tmp_path: Path
) -> None:
    @contextlib.contextmanager
    def faulty(settings: Settings, make: Callable[[EncoderClient], Predictor]) -> Iterator[Faulty]:
        with probe_in_process(settings, make) as embedder:
            yield Faulty(embedder, folder)

    out = tmp_path / "out"
    done = EmbedCommand(capsys, faulty)(folder, "--out", out, "--all")
    assert done.status == 1
    assert "pathserve: a: unexpected KeyError; please report it, with the line of the log above." in done.err
    line = json.loads(done.err.splitlines()[0])
    assert (line["level"], line["exception"]) == ("ERROR", "KeyError")
    assert any("test_embed_slides.py" in place for place in line["at"])
    assert sorted(path.name for path in out.glob("*.parquet")) == ["b.parquet"]
    assert "1 of 2 slides done, 1 failed." in done.out
