"""Plans of slides, as they are written."""

from __future__ import annotations

import pytest

from dicom_io.colour.profiles import IccTarget
from dicom_io.reading import ReadOptions
from serving.archive.plans import Head, SlidePlan, from_bytes, head_from, to_bytes
from serving.output.files import OutputError
from serving.output.table import Identity, Model, PatchFrame

HEAD = Head(
    "slide",
    {"run": {"stride": 224}},
    Identity("1.2", None, "file"),
    PatchFrame(0, 1000, 800, 2000, 1600, 0.5, 0.25),
    ReadOptions((1000, 800), IccTarget.SRGB),
    Model("sha256:0", "model", False),
    384,
    3,
    2,
    ((0,), (1,)),
)
PLAN = SlidePlan(HEAD, (((0, 0), (224, 0)), ((0, 224),)))


def test_a_plan_is_read_as_it_was_written() -> None:
    assert from_bytes(to_bytes(PLAN), "plan") == PLAN


def test_its_head_is_read_without_its_blocks() -> None:
    data = to_bytes(PLAN)
    assert head_from(data[: data.index(b"\n") + 5], "plan") == HEAD


@pytest.mark.parametrize(
    "harm",
    [
        lambda data: b"",
        lambda data: data[:40],
        lambda data: data.replace(b'"blocks"', b'"bl"'),
        lambda data: data[: data.rindex(b"[[0,224")],
        lambda data: data.replace(b"[[0,224]]", b"[[0,"),
        lambda data: data.replace(b'"version": 1', b'"version": 9'),
    ],
)
def test_a_plan_that_is_damaged_is_said_to_be(harm: object) -> None:
    assert callable(harm)
    with pytest.raises(OutputError, match="plans/a"):
        from_bytes(harm(to_bytes(PLAN)), "plans/a")
