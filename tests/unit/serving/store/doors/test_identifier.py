from __future__ import annotations

from io import BytesIO

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pynetdicom.dsutils import decode, encode

from serving.store.doors.find_status import BadIdentifier, FindStatus
from serving.store.doors.identifier import Asked, answer_of, parse_identifier
from serving.store.index.attributes import Level
from serving.store.index.query import Found

STUDY, SERIES, SOP = "1.2.3", "1.2.3.4", "1.2.3.4.5"


def identifier(level: str | None, **keys: object) -> Dataset:
    made = Dataset()
    if level is not None:
        made.QueryRetrieveLevel = level
    for keyword, value in keys.items():
        setattr(made, keyword, value)
    return made


def asked(made: Dataset, *, is_implicit: bool = True) -> Asked:
    data = encode(made, is_implicit, True)
    assert data is not None
    return parse_identifier(decode(BytesIO(data), is_implicit, True))


@pytest.mark.parametrize("is_implicit", [True, False])
def test_keys_are_conditions_and_empty_ones_are_answered_only(is_implicit: bool) -> None:
    found = asked(
        identifier(
            "STUDY", StudyInstanceUID=[STUDY, "1.2.4"], StudyDate="20260101-", PatientID="A*", StudyID="*",
            ModalitiesInStudy="SM", AccessionNumber="",
        ),
        is_implicit=is_implicit,
    )  # fmt: skip
    assert found.level is Level.STUDY
    assert found.query.study == (STUDY, "1.2.4")
    assert found.query.modalities == ("SM",)
    conditions = {match.attribute.keyword: match.values for match in found.query.matches}
    assert conditions == {"StudyDate": ("20260101-",), "PatientID": ("A*",)}
    assert found.keys == ("00080020", "00080050", "00080061", "00100020", "0020000D", "00200010")
    assert found.pending is FindStatus.PENDING


def test_numbers_and_names_in_other_alphabets_are_understood() -> None:
    of_image = asked(
        identifier("IMAGE", StudyInstanceUID=STUDY, SeriesInstanceUID=SERIES, Rows=512, InstanceNumber="07")
    )
    assert {match.values for match in of_image.query.matches} == {("512",), ("7",)}
    of_study = asked(identifier("STUDY", SpecificCharacterSet="ISO_IR 192", PatientName="Łoś^*"))
    assert of_study.query.matches[0].values == ("Łoś^*",)


@pytest.mark.parametrize(
    "more",
    [
        {"Modality": "SM"},
        {"PatientComments": "x"},
        {"PatientComments": ""},
        {"InstanceAvailability": "OFFLINE"},
        {"RequestAttributesSequence": Sequence([identifier(None, StudyID="1")])},
    ],
    ids=["of a lower level", "not in the index", "not answered", "not matched", "a sequence"],
)
def test_what_is_not_supported_is_ignored_and_said(more: dict[str, object]) -> None:
    found = asked(identifier("STUDY", PatientID="", **more))
    assert found.query.matches == ()
    assert found.pending is FindStatus.PENDING_WITHOUT_SOME_KEYS


@pytest.mark.parametrize(
    ("level", "keys"),
    [
        (None, {}),
        ("PATIENT", {}),
        ("study", {}),
        ("SERIES", {}),
        ("SERIES", {"StudyInstanceUID": "*"}),
        ("SERIES", {"StudyInstanceUID": [STUDY, "1.2"]}),
        ("IMAGE", {"StudyInstanceUID": STUDY}),
        ("STUDY", {"SeriesInstanceUID": SERIES}),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's, as these are written
def test_what_does_not_fit_the_model_is_a900(level: str | None, keys: dict[str, object]) -> None:
    with pytest.raises(BadIdentifier) as bad:
        asked(identifier(level, **keys))
    assert bad.value.status == 0xA900


@pytest.mark.parametrize(
    "keys",
    [
        {"StudyDate": "yesterday"},
        {"StudyInstanceUID": "1.2.x"},
        {"StudyInstanceUID": ["1.2"] * 1001},
        {"StudyID": "x" * 5000},
        {"SpecificCharacterSet": "KLINGON"},
    ],
    ids=["a date", "a UID", "too many UIDs", "too long", "a character set"],
)
@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's, as these are written
def test_a_value_that_is_none_is_c000_and_is_not_repeated(keys: dict[str, object]) -> None:
    with pytest.raises(BadIdentifier) as bad:
        asked(identifier("STUDY", **keys))
    assert bad.value.status == 0xC000
    assert not any(str(value) in bad.value.reason for value in keys.values())


def test_a_match_has_what_was_asked_for_and_no_more() -> None:
    wanted = asked(
        identifier("STUDY", PatientName="", PatientSex="", NumberOfStudyRelatedInstances="", StudyID="")
    )
    found = Found(
        Level.STUDY, STUDY, values={"patientname": "Łoś", "studydate": "20260101"}, instance_count=3
    )
    answer = answer_of(wanted, found)
    assert answer.SpecificCharacterSet == "ISO_IR 192"
    assert (answer.PatientName, answer.NumberOfStudyRelatedInstances, answer.StudyID) == ("Łoś", 3, None)
    assert len(answer) == 6, "these, the level and the character set"


def test_a_stored_value_that_is_no_number_is_answered_empty() -> None:
    wanted = asked(identifier("SERIES", StudyInstanceUID=STUDY, SeriesNumber=""))
    answer = answer_of(wanted, Found(Level.SERIES, STUDY, SERIES, values={"seriesnumber": "first"}))
    assert answer.SeriesNumber is None
    assert "SpecificCharacterSet" not in answer
