from __future__ import annotations

import dataclasses
import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.heads.file import MAX_BYTES, read_head, write_head
from serving.heads.head import Head, HeadError

RANDOM = np.random.default_rng(0)
HEAD = Head(
    name="Tumour, breast",
    classes=("tumour", "Störung", "other"),
    colours=("#FF0000", "#00ff00", "#0000FF"),
    weights=RANDOM.normal(size=(3, 16)).astype(np.float32),
    bias=RANDOM.normal(size=3).astype(np.float32),
    um_per_px=0.5,
    encoder_digest="sha256:abc",
    untrained=True,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "head.json"


def changed(path: Path, *keys: str | int, to: Any) -> Path:
    """Write a head in which a value is another."""
    write_head(path, HEAD)
    content = inner = json.loads(path.read_text())
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = to
    path.write_text(json.dumps(content))
    return path


def test_a_head_is_read_back_to_the_bit(path: Path) -> None:
    write_head(path, HEAD, {"accuracy": 0.9})
    found = read_head(path)
    assert (found.weights == HEAD.weights).all()
    assert (found.bias == HEAD.bias).all()
    for name in ("name", "classes", "colours", "um_per_px", "encoder_digest", "untrained"):
        assert getattr(found, name) == getattr(HEAD, name)
    assert json.loads(path.read_text())["held_out"] == {"accuracy": 0.9}
    assert list(path.parent.iterdir()) == [path], "nothing is left beside it"


def test_a_file_that_is_there_is_not_replaced(path: Path) -> None:
    path.write_text("mine")
    with pytest.raises(HeadError, match="there already"):
        write_head(path, HEAD)
    assert path.read_text() == "mine"


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(HeadError, match=r"missing/head\.json cannot be written: No such file"):
        write_head(tmp_path / "missing" / "head.json", HEAD)


def test_what_could_not_be_read_again_is_not_written(path: Path) -> None:
    faulty = Head(HEAD.name, ("a", "b"), ("#000000", "#000000"), np.full((2, 2), np.nan, np.float32),
                  np.zeros(2, np.float32), 0.5, "sha256:1")  # fmt: skip
    with pytest.raises(HeadError, match=r"not written: weights\.0\.0: Input should be a finite number"):
        write_head(path, faulty)
    with pytest.raises(HeadError, match="not written: name: "):
        write_head(path, dataclasses.replace(HEAD, name=""))
    assert not path.exists()


class _Touches:
    """What a pickle would do to whoever loads it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self._path),)


def test_a_pickle_is_refused_and_runs_nothing(path: Path) -> None:
    touched = path.with_name("touched")
    path.write_bytes(pickle.dumps(_Touches(touched)))
    with pytest.raises(HeadError, match=f"{path} is not a head's file: it is not JSON"):
        read_head(path)
    assert not touched.exists()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x93NUMPY\x01\x00",
        b"PK\x03\x04",
        b"{",
        b'{"format": "pathserve-head", "version": NaN}',
        b"[" * 100_000,
        b"\xff\xfe",
        b"1" * 10_000 + b".",
    ],
)
def test_what_is_not_json_is_refused_by_name(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    with pytest.raises(HeadError, match=f"{path} is not a head's file: it is not JSON"):
        read_head(path)


@pytest.mark.parametrize(
    "content", ["[]", "1", "null", '"text"', "{}", '{"format": "other"}', '{"format": []}']
)
def test_json_of_something_else_is_refused_by_name(path: Path, content: str) -> None:
    path.write_text(content)
    with pytest.raises(HeadError, match='is not a head\'s file: its "format"'):
        read_head(path)


@pytest.mark.parametrize("version", [2, 0, "1", None, [1] * 1000])
def test_another_version_is_refused_with_the_one_that_is_read(path: Path, version: object) -> None:
    with pytest.raises(HeadError, match="this pathserve reads version 1") as caught:
        read_head(changed(path, "version", to=version))
    assert len(str(caught.value)) < 200 + len(str(path))


@pytest.mark.parametrize(
    ("keys", "value", "says"),
    [
        (("name",), "", "name"),
        (("name",), 5, "name"),
        (("encoder_digest",), None, "encoder_digest"),
        (("untrained",), "false", "untrained"),
        (("um_per_px",), 0, "um_per_px"),
        (("um_per_px",), 352, "um_per_px"),
        (("um_per_px",), "0.5", "um_per_px"),
        (("classes",), [{"name": "one", "colour": "#FFFFFF"}], "classes"),
        (("classes", 0, "colour"), "red", "classes.0.colour"),
        (("classes", 0, "colour"), "#FF0000\n", "classes.0.colour"),
        (("classes", 0, "name"), "other", "two classes have one name"),
        (("classes", 0), {"name": "one"}, "classes.0.colour"),
        (("weights",), [[1.0]], "3 classes need as many rows of weights"),
        (("weights", 0), [1.0], "rows of weights differ in length"),
        (("weights", 0), [], "weights.0"),
        (("weights", 1, 2), 1e39, "weights.1.2"),
        (("weights", 1, 2), None, "weights.1.2"),
        (("weights", 1, 2), "1", "weights.1.2"),
        (("weights",), "abc", "weights"),
        (("bias",), [1.0, 2.0], "3 classes need as many"),
        (("bias", 0), True, "bias.0"),
        (("surprise",), 1, "surprise"),
        (("held_out",), 1, "held_out"),
    ],
)
def test_a_field_that_is_wrong_is_named(
    path: Path, keys: tuple[str | int, ...], value: Any, says: str
) -> None:
    with pytest.raises(HeadError, match=f"{path} cannot be used: {says}"):
        read_head(changed(path, *keys, to=value))


def test_a_file_that_is_too_large_is_refused_unread(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(10 * MAX_BYTES)
    with pytest.raises(HeadError, match="more than 32,000,000 bytes"):
        read_head(path)


def test_a_folder_a_missing_file_and_a_pipe_are_refused_by_name(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path, says in [(tmp_path, "directory"), (tmp_path / "none", "No such file"), (pipe, "not JSON")]:
        with pytest.raises(HeadError, match=f"{path} .*{says}"):
            read_head(path)


@pytest.mark.parametrize(
    ("digest", "um_per_px", "says"),
    [
        ("sha256:other", 0.5, "made for the encoder sha256:abc, but sha256:other runs"),
        ("sha256:abc", 0.25, "made for 0.5 µm/px, not for 0.25"),
        ("sha256:abc", 0.52, "made for 0.5 µm/px"),
        ("sha256:abc", float("nan"), "made for 0.5 µm/px"),
    ],
)
def test_a_head_refuses_what_it_was_not_made_for(digest: str, um_per_px: float, says: str) -> None:
    with pytest.raises(HeadError, match=says):
        HEAD.require(digest, um_per_px)


@pytest.mark.parametrize("um_per_px", [0.5, 0.4952, 0.5049])
def test_a_head_takes_a_resolution_as_scanners_round_it(um_per_px: float) -> None:
    HEAD.require("sha256:abc", um_per_px)
