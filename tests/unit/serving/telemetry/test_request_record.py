from __future__ import annotations

import re

import pytest
from werkzeug.datastructures import Headers

from dicom_io.reading import ReadStage
from serving.telemetry.request_record import RequestRecord, RequestStage, Telemetry, request_id


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
