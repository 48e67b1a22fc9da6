"""Preflights, and that predictions come to the same."""

from __future__ import annotations

from typing import Any

from tests.support.app import App

ABOUT_THE_METADATA = {
    "DICOM_ERROR",
    "DICOM_TILED_FULL_ERROR",
    "LEVEL_NOT_FOUND_ERROR",
    "INSTANCES_NOT_CONCATENATED_ERROR",
}


def checked(app: App, *instances: object) -> dict[str, Any]:
    answer = app.post("/check", {"instances": list(instances)})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def errors(answers: list[dict[str, Any]]) -> list[dict[str, str] | None]:
    return [answer.get("error") for answer in answers]


def agreed(app: App, *instances: object) -> dict[str, Any]:
    """Check instances, embed them, and hold the answers to each other; return the first."""
    found = checked(app, *instances)
    answer = app.predict(*instances)
    assert answer.status_code == 200
    assert errors(found["checks"]) == errors(answer.json()["predictions"])
    assert [check.get("ok", False) for check in found["checks"]] == [
        "result" in prediction for prediction in answer.json()["predictions"]
    ]
    for check in found["checks"]:
        if check["level"] is not None:
            failed = failures(found["levels"][check["level"]])
            code = check.get("error", {}).get("code")
            assert not failed or code is not None
            if code in ABOUT_THE_METADATA:
                assert failed, check
    return found


def failures(level: dict[str, Any]) -> list[str]:
    return [row["keyword"] for row in level["requirements"] if row["outcome"] == "fail"]


def outcomes(level: dict[str, Any], keyword: str) -> list[str]:
    return [row["outcome"] for row in level["requirements"] if row["keyword"] == keyword]
