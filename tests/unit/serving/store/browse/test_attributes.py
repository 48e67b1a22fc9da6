"""Attributes as rows: every one, in order, as text that people can read."""

from __future__ import annotations

from serving.store.browse.attributes import Row, rows_of


def test_sequences_are_followed_by_their_items() -> None:
    document = {
        "00400560": {"vr": "SQ", "Value": [{"00400551": {"vr": "LO", "Value": ["A"]}}, {}]},
        "00080060": {"vr": "CS", "Value": ["SM"]},
    }
    assert list(rows_of(document)) == [
        Row(0, "(0008,0060)", "Modality", "CS", "SM"),
        Row(0, "(0040,0560)", "Specimen Description Sequence", "SQ", "2 items"),
        Row(1, "item 1", "", "", ""),
        Row(2, "(0040,0551)", "Specimen Identifier", "LO", "A"),
        Row(1, "item 2", "", "", ""),
    ]


def test_values_of_every_kind_become_text() -> None:
    document = {
        "00080008": {"vr": "CS", "Value": ["DERIVED", "PRIMARY"]},
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": "A^B", "Ideographic": "C"}]},
        "00282000": {"vr": "OB", "BulkDataURI": "x"},
        "00090010": {"vr": "LO"},
        "00480006": {"vr": "UL", "Value": [7, None]},
    }
    assert [row.text for row in rows_of(document)] == ["DERIVED \\ PRIMARY", "", "A^B=C", "binary", "7 \\ "]


def test_many_and_long_values_are_cut_and_said_to_be() -> None:
    document = {
        "00409096": {"vr": "US", "Value": list(range(1000))},
        "00204000": {"vr": "LT", "Value": ["x" * 100_000]},
    }
    long, many = rows_of(document)
    assert many.text.endswith("… (1000 values)")
    assert len(long.text) < 600
