from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from serving.heads.head import HeadError
from serving.webhooks.heads.vectors import read_vectors
from tests.support.lattice import lattice
from tests.support.vector_table import write_first_version, write_table

PATCHES = lattice(3, 2, side=448)
VECTORS = np.arange(24, dtype=np.float32).reshape(6, 4)


def test_a_table_gives_places_in_level_0_and_what_made_it(tmp_path: Path) -> None:
    found = read_vectors(write_table(tmp_path / "a.parquet", PATCHES, VECTORS))
    assert (found.origins == PATCHES.origins).all()
    assert (found.vectors == VECTORS).all()
    assert (found.side, found.um_per_px, found.encoder_digest, found.untrained) == (
        448,
        0.5,
        "sha256:1",
        False,
    )
    assert found.slide == "a"
    assert found.names == {"a", "a.parquet", "a.svs"}


def test_patches_without_a_vector_are_left_out(tmp_path: Path) -> None:
    found = read_vectors(
        write_table(tmp_path / "a.parquet", PATCHES, VECTORS, errors={1: "HTTP_ERROR: gone"})
    )
    assert (found.vectors == VECTORS[[0, 2, 3, 4, 5]]).all()
    assert (found.origins == PATCHES.origins[[0, 2, 3, 4, 5]]).all()


def test_a_table_of_the_first_version_gives_no_resolution(tmp_path: Path) -> None:
    found = read_vectors(write_first_version(tmp_path / "a.parquet", PATCHES, VECTORS))
    assert (found.origins == PATCHES.origins).all()
    assert (found.vectors == VECTORS).all()
    assert (found.side, found.um_per_px) == (224, None)
    assert "a.png" in found.names


def test_a_smaller_level_of_the_first_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HeadError, match="embed the slide again"):
        read_vectors(write_first_version(tmp_path / "a.parquet", PATCHES, VECTORS, level=1))


def test_what_is_no_such_table_is_refused_by_name(tmp_path: Path) -> None:
    text = tmp_path / "text.parquet"
    text.write_text("not Parquet")
    plain = tmp_path / "plain.parquet"
    pq.write_table(pa.table({"x": [1]}), plain)
    other = tmp_path / "other.parquet"
    pq.write_table(pa.table({"x0": [1]}).replace_schema_metadata({"pathserve": '{"model": "m"}'}), other)
    odd = tmp_path / "odd.parquet"
    pq.write_table(pa.table({"x": [1]}).replace_schema_metadata({"pathserve": "[1]"}), odd)
    for path, says in [
        (tmp_path / "none", "cannot be read: No such file"),
        (tmp_path, "cannot be read: Is a directory"),
        (text, "not a Parquet file"),
        (plain, "does not say which model"),
        (odd, "does not say which model"),
        (other, "not a table of pathserve embed"),
    ]:
        with pytest.raises(HeadError, match=f"{path} .*{says}|{path} is {says}"):
            read_vectors(path)


def test_a_table_without_a_single_vector_is_refused(tmp_path: Path) -> None:
    errors = dict.fromkeys(range(6), "IMAGE_ERROR: no")
    with pytest.raises(HeadError, match="has no vector"):
        read_vectors(write_table(tmp_path / "a.parquet", PATCHES, VECTORS, errors=errors))
