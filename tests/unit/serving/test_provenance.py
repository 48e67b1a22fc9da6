"""Records of one slide's parts become few, and words."""

from __future__ import annotations

import copy
from typing import Any

from serving.provenance import as_one, merged, records_of, sentence


def record(time: str = "2026-01-01T10:00:00+00:00", **changes: Any) -> dict[str, Any]:
    made = {
        "version": 1,
        "image": {"level": 2},
        "read": {
            "um_per_px": [0.5, 0.5], "resampling": "area", "transfer_syntaxes": ["1"], "decoders": ["a"],
        },
        "model": {"name": "m", "digest": "sha256:0", "runtime": "NumPy 2", "precision": "float32"},
        "service": {"version": "1.2.3", "time": time},
    }  # fmt: skip
    for part, values in changes.items():
        made[part] = {**made[part], **values}  # type: ignore[dict-item]
    return made


def test_parts_that_differ_only_in_time_and_in_which_frames_came_are_one() -> None:
    parts = [
        record("2026-01-01T10:00:05+00:00"),
        record("2026-01-01T10:00:01+00:00", read={"transfer_syntaxes": ["2"], "decoders": ["b"]}),
        record("2026-01-01T10:00:09+00:00"),
    ]
    kept = copy.deepcopy(parts)
    (one,) = merged(parts)

    assert parts == kept
    assert (one["read"]["transfer_syntaxes"], one["read"]["decoders"]) == (["1", "2"], ["a", "b"])
    assert one["service"] == {
        "version": "1.2.3",
        "time": "2026-01-01T10:00:01+00:00",
        "until": "2026-01-01T10:00:09+00:00",
    }
    assert merged([one, *parts]) == [one]


def test_a_run_that_went_on_with_another_version_or_model_keeps_both() -> None:
    parts = [record(), record(service={"version": "1.2.4"}), record(model={"digest": "sha256:1"}), record()]

    assert [one["service"]["version"] for one in merged(parts)] == ["1.2.3", "1.2.4", "1.2.3"]
    assert records_of(as_one(parts)) == merged(parts)
    assert records_of(as_one([record()])) == [record()]
    assert records_of(as_one([])) == []


def test_in_words_it_says_the_level_the_scale_the_runtime_and_the_version() -> None:
    assert sentence([record()]) == (
        "Pixels of level 2 of 0.5 µm, resized by area; NumPy 2, float32; pathserve 1.2.3, "
        "2026-01-01T10:00:00+00:00."
    )
    unknown = record(image={"level": None}, read={"um_per_px": None, "resampling": "none"})
    assert sentence([unknown]).startswith("Pixels of unknown size; ")
    assert sentence([]) == ""
