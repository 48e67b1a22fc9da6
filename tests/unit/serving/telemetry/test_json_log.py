from __future__ import annotations

import json
import logging
from typing import Any

from serving.telemetry.json_log import JsonLines


def line(**record: Any) -> dict[str, Any]:
    made = logging.makeLogRecord({"msg": "hello", "levelname": "INFO"} | record)
    parsed = json.loads(JsonLines("http").format(made))
    assert isinstance(parsed, dict)
    return parsed


def test_a_line_is_json_with_time_level_and_process() -> None:
    made = line()
    assert made["message"] == "hello"
    assert made["level"] == "INFO"
    assert made["process"] == "http"
    assert made["time"].endswith("+00:00")


def test_only_fields_on_the_list_are_written() -> None:
    made = line(patches=3, bearer_token="s3cr3t", raw_image_bytes=b"pixels")
    assert made["patches"] == 3
    assert "s3cr3t" not in json.dumps(made)
    assert "pixels" not in json.dumps(made)


def test_an_exception_is_its_type_and_place_without_its_text() -> None:
    try:
        raise ValueError("patient Jane Doe")
    except ValueError as error:
        made = line(exc_info=(type(error), error, error.__traceback__))
    assert made["exception"] == "ValueError"
    assert "test_json_log.py" in made["at"][0]
    assert "Jane" not in json.dumps(made)


def test_a_value_that_is_not_plain_is_named_by_its_type() -> None:
    assert line(reason=object())["reason"] == "object"
