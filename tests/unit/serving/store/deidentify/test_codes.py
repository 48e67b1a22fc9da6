from __future__ import annotations

import pytest

from serving.store.deidentify.keeping.codes import known_code


@pytest.mark.parametrize(
    ("scheme", "value", "meaning"),
    [
        ("SCT", "12710003", "hematoxylin stain"),
        ("SRT", "T-A0100", "Brain structure (body structure)"),
        ("DCM", "111744", "Brightfield illumination"),
        ("UCUM", "um", "micrometer"),
        ("UCUM", "Cel", "degrees Celsius"),
        ("NCIt", "C48512", "C48512"),
        ("SCT", "257261003", "257261003"),
    ],
)
def test_codes_of_known_schemes_stay_with_the_meaning_of_dicom_or_their_value(
    scheme: str, value: str, meaning: str
) -> None:
    assert known_code(scheme, value) == (scheme, value, meaning)


@pytest.mark.parametrize(
    ("scheme", "value"),
    [
        ("99LAB", "1"), ("", "12710003"), ("sct", "12710003"), ("SCT", "KOWALSKI"), ("SCT", "12710004"),
        ("SCT", "12345678"), ("SCT", "127100030000000000000"), ("DCM", "199999"), ("DCM", "KOWALSKI"),
        ("UCUM", "{KOWALSKI}"), ("UCUM", "18370704"), ("LN", "18370-7"), ("FMA", "183707"),
        ("SRT", "KOWALSKI"),
        ("NCIt", "CKOWALSKI"), ("SCT", ""), ("SCT", "\uff11\uff12\uff17\uff11\uff10\uff10\uff10\uff13"),
    ],
)  # fmt: skip
def test_what_is_no_code_of_a_known_scheme_goes(scheme: str, value: str) -> None:
    assert known_code(scheme, value) is None
