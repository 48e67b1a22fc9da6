from __future__ import annotations

import re

import pytest
from werkzeug.datastructures import Headers

from dicom_io.reading import ReadStage
from serving.telemetry.request_record import (
    RequestRecord,
    RequestStage,
    StageTimes,
    Telemetry,
    request_id,
    request_span,
)
from serving.telemetry.spans import ATTRIBUTES


def test_the_callers_request_id_is_kept() -> None:
    assert request_id(Headers({"X-Request-Id": "abc-1.2"})) == "abc-1.2"


def test_a_trace_id_serves_as_request_id() -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    assert request_id(Headers({"traceparent": f"00-{trace}-00f067aa0ba902b7-01"})) == trace


@pytest.mark.parametrize("value", ["", "a b", "x" * 129, 'a"b', "ä", "a<b>"])
def test_anything_else_gets_a_new_id(value: str) -> None:
    made = request_id(Headers({"X-Request-Id": value, "traceparent": value}))
    assert re.fullmatch("[0-9a-f]{32}", made)


def test_requests_instances_patches_and_stages_are_counted() -> None:
    telemetry = Telemetry()
    record = RequestRecord("id", instances=3, patches=7)
    record.codes.update(["IMAGE_ERROR"])
    record.patch_codes.update(["DICOM_ERROR", "DICOM_ERROR"])
    record.stages.add(ReadStage.DECODE, 0.5)
    telemetry.finish(record, 200, "ok")
    telemetry.finish(RequestRecord("id", instances=9, patches=9), 503, "SERVICE_UNAVAILABLE_ERROR")
    text = telemetry.exposition().decode()
    assert 'pathserve_requests_total{code="ok",status="200"} 1.0' in text
    assert 'pathserve_requests_total{code="SERVICE_UNAVAILABLE_ERROR",status="503"} 1.0' in text
    assert 'pathserve_instances_total{code="ok"} 2.0' in text
    assert 'pathserve_instances_total{code="IMAGE_ERROR"} 1.0' in text
    assert "pathserve_patches_total 7.0" in text
    assert 'pathserve_patch_errors_total{code="DICOM_ERROR"} 2.0' in text
    assert 'pathserve_stage_seconds_sum{stage="decode"} 0.5' in text
    for stage in (*RequestStage, *ReadStage):
        assert f'pathserve_stage_seconds_count{{stage="{stage}"}}' in text


def test_a_stage_s_seconds_are_summed_and_its_period_goes_from_the_first_beginning_to_the_last_end() -> None:
    stages = StageTimes()
    stages.add(ReadStage.DECODE, 2.0, (10.0, 12.0))
    stages.add(ReadStage.DECODE, 2.5, (9.5, 12.5))
    stages.add(ReadStage.DECODE, 1.0, (20.0, 21.0))
    assert stages.seconds == {ReadStage.DECODE: 5.5}
    assert stages.periods == {ReadStage.DECODE: (9.5, 21.0)}


def test_spans_of_stages_lie_within_their_request_s() -> None:
    record = RequestRecord("id", started=100.0, route="/predict", instances=2, patches=3)
    record.codes.update(["IMAGE_ERROR"])
    record.stages.add(RequestStage.QUEUE, 0.5, (99.9, 100.4))
    record.stages.add(RequestStage.ENCODE, 3.0, (100.4, 103.0))
    span = request_span(record, 200, "ok", 102.0)
    assert (span.name, span.began, span.ended, span.failed) == ("POST /predict", 100.0, 102.0, False)
    assert [(part.name, part.began, part.ended) for part in span.parts] == [
        ("queue", 100.0, 100.4),
        ("encode", 100.4, 102.0),
    ]
    assert [part.attributes for part in span.parts] == [{"pathserve.busy_s": 0.5}, {"pathserve.busy_s": 3.0}]
    assert span.attributes["pathserve.error_codes"] == ("IMAGE_ERROR",)
    assert set(span.attributes) <= ATTRIBUTES
