"""Golden files: what is written is read again, and nothing else is."""

from __future__ import annotations

import base64
import json
import os
import pickle
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.golden import file as golden_file
from model.golden.file import read_golden, write_golden
from model.golden.golden import GoldenError
from tests.support.encoders import ProbeEncoder
from tests.support.golden import golden_of


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "golden.json"
    write_golden(path, golden_of(ProbeEncoder()))
    return path


def signed(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a file, and sign it as its maker would."""
    content = json.loads(path.read_text())
    change(content)
    content["digest"] = golden_file._digest(content)
    path.write_text(json.dumps(content))


def test_what_is_written_is_read_again_whatever_its_order_and_indentation(path: Path) -> None:
    made = golden_of(ProbeEncoder())
    read, digest = read_golden(path)
    for field in ("names", "model", "model_digest", "runtime", "device", "precision", "made", "made_by"):
        assert getattr(read, field) == getattr(made, field)
    np.testing.assert_array_equal(read.patches, made.patches)
    np.testing.assert_array_equal(read.vectors, made.vectors)
    content = json.loads(path.read_text())
    path.write_text(json.dumps(dict(reversed(content.items()))))
    assert read_golden(path)[1] == digest == content["digest"]
    assert path.stat().st_size < 800_000


def test_every_field_is_signed(path: Path) -> None:
    original = json.loads(path.read_text())
    for name, value in original.items():
        if name in ("format", "version"):
            continue
        other: object = (not value) if isinstance(value, bool) else value[::-1]
        path.write_text(json.dumps(original | {name: other}))
        with pytest.raises(GoldenError, match=r"was changed since it was made: its SHA-256 is sha256:"):
            read_golden(path)


def test_one_level_of_one_pixel_is_signed(path: Path) -> None:
    golden, digest = read_golden(path)
    patches = golden.patches.copy()
    patches[3, 100, 100, 1] += 1
    other = write_golden(path.with_name("other.json"), replace(golden, patches=patches))
    assert other != digest


def bomb(content: dict[str, Any]) -> None:
    content["patches"][0]["pixels"] = base64.b64encode(zlib.compress(bytes(20_000_000), 9)).decode()


WRONG: list[tuple[Callable[[dict[str, Any]], object], str]] = [
    (lambda c: c.update(format="pickle"), r'its "format" is not "pathserve-golden"'),
    (lambda c: c.update(version=2), "is of version 2; this pathserve reads version 1"),
    (lambda c: c.update(more=1), "more: Extra inputs are not permitted"),
    (lambda c: c.pop("device"), "device: Field required"),
    (lambda c: c.update(precision="float16"), "precision: "),
    (lambda c: c.update(patches=[]), "patches: "),
    (lambda c: c.update(patches=c["patches"] * 9), "patches: List should have at most 64 items"),
    (lambda c: c.update(patches=c["patches"] * 2), "two patches have one name"),
    (lambda c: c["patches"][0].update(name="../x"), "patches.0.name: "),
    (lambda c: c["patches"][0].update(vector=""), "its vectors differ in length"),
    (lambda c: c["patches"][0].update(vector="AAAA" * 2), "its vectors differ in length"),
    (lambda c: c["patches"][0].update(vector="ÄÄÄÄ"), "cannot be used"),
    (lambda c: c["patches"][0].update(pixels="AAAA"), "the pixels of stroma are damaged"),
    (lambda c: c["patches"][0].update(pixels=c["patches"][0]["pixels"][:400]), "stroma are not those of one"),
    (bomb, "the pixels of stroma are not those of one patch"),
]


@pytest.mark.parametrize(("change", "sentence"), WRONG)
def test_a_file_that_is_signed_but_wrong_is_refused_with_what_is_wrong(
    path: Path, change: Callable[[dict[str, Any]], object], sentence: str
) -> None:
    signed(path, change)
    with pytest.raises(GoldenError, match=sentence) as caught:
        read_golden(path)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_a_vector_that_is_not_finite_is_neither_written_nor_read(path: Path, number: float) -> None:
    golden, _ = read_golden(path)
    vectors = golden.vectors.copy()
    vectors[1, 2] = number
    with pytest.raises(GoldenError, match="is not written: a vector is not finite, or is zero"):
        write_golden(path.with_name("other.json"), replace(golden, vectors=vectors))
    with pytest.raises(GoldenError, match="is not written: a vector is not finite, or is zero"):
        write_golden(path.with_name("other.json"), replace(golden, vectors=0 * golden.vectors))


@pytest.mark.parametrize(
    "data", [b"", b"\x00", pickle.dumps([1]), b"[" * 100_000, b'{"format": "pathserve-head"}', b"\xff"]
)
def test_what_is_no_golden_file_runs_nothing_and_is_named(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    with pytest.raises(GoldenError, match="is not a golden file"):
        read_golden(path)


def test_reading_is_bounded_and_waits_for_nobody(path: Path, tmp_path: Path) -> None:
    with path.open("ab") as file:
        file.truncate(golden_file.MAX_BYTES + 1)
    with pytest.raises(GoldenError, match="more than 32,000,000 bytes"):
        read_golden(path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(GoldenError, match="is not a golden file"):
        read_golden(tmp_path / "pipe")
    with pytest.raises(GoldenError, match="cannot be read: No such file"):
        read_golden(tmp_path / "none")


def test_a_file_is_not_overwritten_and_a_folder_that_is_missing_is_named(path: Path, tmp_path: Path) -> None:
    with pytest.raises(GoldenError, match="is there already"):
        write_golden(path, golden_of(ProbeEncoder()))
    with pytest.raises(GoldenError, match="cannot be written: No such file"):
        write_golden(tmp_path / "none" / "golden.json", golden_of(ProbeEncoder()))


def test_a_file_of_other_weights_or_of_another_length_is_not_for_a_model() -> None:
    golden, facts = golden_of(ProbeEncoder()), ProbeEncoder.facts
    golden.require_model(facts)
    with pytest.raises(GoldenError, match=r"and poisonable \(sha256:1{16}\) was loaded: other weights"):
        golden.require_model(replace(facts, digest=f"sha256:{'1' * 64}"))
    with pytest.raises(GoldenError, match="its vectors have 384 numbers, and the model's have 385"):
        golden.require_model(replace(facts, dimension=385))
