"""Pictures of one's own as golden patches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from model.golden.golden import GoldenError
from serving.cli.golden import _picture
from tests.support.tissue import encode, tissue


def test_a_picture_of_one_patch_is_taken_as_it_is(tmp_path: Path) -> None:
    pixels = tissue(224, 224)
    (tmp_path / "mine.png").write_bytes(encode(pixels, "png"))
    np.testing.assert_array_equal(_picture(tmp_path / "mine.png"), pixels)


@pytest.mark.parametrize(
    ("name", "data", "sentence"),
    [
        ("small.png", encode(tissue(100, 224), "png"), r"of 3 channels; a patch has 224 x 224 of 3 \(RGB\)"),
        ("large.png", encode(tissue(448, 448), "png"), "large.png: "),
        ("none.png", None, "none.png cannot be read: No such file"),
        ("text.png", b"text", "text.png: The bytes are not a readable image"),
        ("my patch.png", b"", "cannot be the name of a patch"),
    ],
)
def test_another_picture_is_refused_with_what_is_wrong(
    tmp_path: Path, name: str, data: bytes | None, sentence: str
) -> None:
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(GoldenError, match=sentence):
        _picture(tmp_path / name)
