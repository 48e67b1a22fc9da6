"""Spans of requests, as a collector receives them: real OTLP over real HTTP."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from model.encoder import Encoder
from serving.telemetry.otlp import QUEUE
from serving.telemetry.spans import ATTRIBUTES, Span
from tests.support.app import App
from tests.support.asking import ask
from tests.support.certificate import self_signed
from tests.support.collector import Collector, attributes
from tests.support.encoders import ProbeEncoder
from tests.support.service import wait_until
from tests.support.slides import pyramid
from tests.support.store import Store
from tests.support.tissue import base64_text, encode, instance, tissue

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GOOD = instance(encode(tissue()), (0, 0), (100, 100))


def traced(collector: Collector, load: Callable[[], Encoder] | None = None, **more: object) -> App:
    return App({"PATHSERVE_TRACES": True, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url} | more, load)


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as started:
        yield started


def test_a_request_is_a_span_with_one_for_each_of_its_stages(collector: Collector) -> None:
    slide = pyramid("JPEG", [(600, 500)])
    with Store(slide) as store, traced(collector) as app:
        asked = ask(store, slide, [slide.instances[0].uid], transform_imaging_to_icc_profile="ADOBERGB")
        sent = {"X-Request-Id": "mine"}
        assert "result" in app.predict(asked, GOOD, headers=sent).json()["predictions"][0]
        (root,) = collector.roots()
        wait_until(lambda: len(collector.parts(root)) == 7, "seven stages")
    assert collector.paths == ["/v1/traces"]
    assert root.name == "POST /predict"
    said = attributes(root.attributes)
    assert said.pop("http.request.body.size") == len(json.dumps({"instances": [asked, GOOD]}))
    assert said == {
        "http.request.method": "POST",
        "http.route": "/predict",
        "http.response.status_code": 200,
        "pathserve.request_id": "mine",
        "pathserve.instances": 2,
        "pathserve.instances_failed": 0,
        "pathserve.patches": 3,
    }
    parts = collector.parts(root)
    assert set(parts) == {"parse", "fetch", "decode", "colour", "queue", "encode", "serialise"}
    for part in parts.values():
        assert part.trace_id == root.trace_id
        start, end = part.start_time_unix_nano, part.end_time_unix_nano
        assert root.start_time_unix_nano <= start <= end <= root.end_time_unix_nano
        assert set(attributes(part.attributes)) == {"pathserve.busy_s"}
    assert parts["parse"].end_time_unix_nano <= parts["fetch"].start_time_unix_nano
    assert parts["fetch"].start_time_unix_nano <= parts["decode"].start_time_unix_nano
    assert parts["encode"].end_time_unix_nano <= parts["serialise"].start_time_unix_nano


def test_the_service_says_who_it_is_and_nothing_of_its_machine(collector: Collector) -> None:
    said = "deployment.environment.name=clinic%201,team=path"
    with traced(collector, OTEL_RESOURCE_ATTRIBUTES=said) as app:
        app.predict(GOOD)
        collector.roots()
    (resource,) = collector.resources()
    assert set(resource) == {
        "service.name", "service.version", "service.instance.id", "deployment.environment.name", "team",
    }  # fmt: skip
    assert (resource["service.name"], resource["deployment.environment.name"]) == ("pathserve", "clinic 1")


@pytest.mark.parametrize(
    ("flags", "sampler", "is_traced"),
    [
        ("01", "parentbased_always_on", True),
        ("00", "parentbased_always_on", False),
        ("00", "always_on", True),
        ("01", "always_off", False),
        ("01", "parentbased_always_off", True),
        ("00", "parentbased_traceidratio", False),
    ],
)
def test_the_callers_trace_goes_on_as_it_and_the_sampler_say(
    collector: Collector, flags: str, sampler: str, is_traced: bool
) -> None:
    with traced(collector, OTEL_TRACES_SAMPLER=sampler) as app:
        headers = {"traceparent": f"00-{TRACE}-{PARENT}-{flags}", "tracestate": "vendor=planted"}
        answer = app.predict(GOOD, headers=headers)
    # Closed: all that was to be sent has been sent.
    roots = collector.roots(int(is_traced))
    assert [(root.trace_id.hex(), root.parent_span_id.hex()) for root in roots] == [(TRACE, PARENT)][
        :is_traced
    ]
    assert answer.headers["X-Request-Id"] == TRACE


@pytest.mark.parametrize("given", ["", "garbage", f"00-{'0' * 32}-{PARENT}-01", f"ff-{TRACE}-{PARENT}-01"])
def test_without_a_parent_that_is_one_a_trace_begins(collector: Collector, given: str) -> None:
    with traced(collector) as app:
        app.predict(GOOD, headers={"traceparent": given} if given else {})
    (root,) = collector.roots()
    assert root.parent_span_id == b""
    assert root.trace_id.hex() not in (TRACE, "0" * 32)


def test_a_share_of_traces_is_kept_where_a_share_is_asked_for(collector: Collector) -> None:
    with traced(collector, OTEL_TRACES_SAMPLER="traceidratio", OTEL_TRACES_SAMPLER_ARG="0.5") as app:
        for number in range(64):
            app.post(
                "/predict", b"[", headers={"traceparent": f"00-{TRACE[:16]}{number << 58:016x}-{PARENT}-01"}
            )
    assert len(collector.roots()) == 32


def test_what_failed_is_said_by_its_code(collector: Collector) -> None:
    with traced(collector) as app:
        app.predict(GOOD, instance(b"no image"), instance(b"none either"), {"what": "?"})
        app.post("/predict", b"[")
    loading = threading.Event()

    def load() -> Encoder:
        loading.wait()
        return ProbeEncoder()

    with traced(collector, load) as app:
        app.predict(GOOD)
        loading.set()
    some, malformed, unavailable = collector.roots(3)
    said = attributes(some.attributes)
    assert said["pathserve.error_codes"] == ["IMAGE_ERROR", "INVALID_REQUEST_FIELD_ERROR"]
    assert (said["pathserve.instances"], said["pathserve.instances_failed"], said["pathserve.patches"]) == (
        4,
        3,
        2,
    )
    assert "error.type" not in said
    said = attributes(malformed.attributes)
    assert (said["http.response.status_code"], said["error.type"]) == (400, "INVALID_REQUEST_FIELD_ERROR")
    assert malformed.status.code == Status.STATUS_CODE_UNSET, "a span of a server that is not at fault"
    said = attributes(unavailable.attributes)
    assert (said["http.response.status_code"], said["error.type"]) == (503, "SERVICE_UNAVAILABLE_ERROR")
    assert unavailable.status.code == Status.STATUS_CODE_ERROR


def test_nothing_planted_leaves_with_spans(collector: Collector) -> None:
    slide = pyramid("JPEG", [(500, 400)])
    image, token = encode(tissue()[:224, :224]), "planted-token-5f1c0a"
    with Store(slide) as store, traced(collector) as app:
        uid = slide.instances[0].uid
        asked = ask(store, slide, [uid], token=token)
        strange = {
            "Authorization": f"Bearer {token}", "tracestate": "vendor=planted-state",
            "User-Agent": "planted-agent", "baggage": "patient=planted-baggage",
            "X-Planted": "planted-header", "Cookie": "planted=cookie",
        }  # fmt: skip
        traceparent = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
        answers = [app.predict(asked, instance(image), headers=strange | traceparent)]
        answers.append(app.predict(ask(store, slide, ["1.2.3"], token=token), headers=strange))
        answers.append(
            app.predict({"bearer_token": token, "image_file_uri": f"s3://{token}"}, headers=strange)
        )
        answers.append(app.post("/predict?planted-query=1", token.encode(), headers=strange))
        vertex = "/v1/projects/planted-project/locations/planted-place/endpoints/planted-end:rawPredict"
        answers.append(app.post(vertex, {"instances": [asked]}, headers=strange))
        assert app.get("/planted-path").status_code == 404
        # What any code might add by mistake is held back, too.
        assert app.spans is not None
        app.spans.add(Span("name", 0.0, 1.0, {"url.full": "planted-url", "pathserve.request_id": "x" * 999}))
    assert [answer.status_code for answer in answers] == [200, 200, 200, 400, 200]
    spans = collector.spans()
    assert {root.name for root in collector.roots(5)} == {
        "POST /predict", "POST /v1/projects/<project>/locations/<location>/endpoints/<endpoint>:rawPredict",
    }  # fmt: skip
    for span in spans:
        said = attributes(span.attributes)
        assert set(said) <= ATTRIBUTES
        assert all(len(value) <= 128 for value in said.values() if isinstance(value, str))
    sent = b"".join(collector.bodies) + repr((collector.headers, collector.paths)).encode()
    planted = [
        "planted", "Planted", token, store.origin, str(slide.study), str(slide.series), str(uid), "s3:",
        "1.2.3", base64_text(image)[80:140],
    ]  # fmt: skip
    assert [secret for secret in planted if secret.encode() in sent] == []
    assert TRACE in {span.trace_id.hex() for span in spans}, "what was searched is what was sent"


def test_headers_for_the_collector_are_sent_and_shown_nowhere(collector: Collector) -> None:
    with traced(collector, OTEL_EXPORTER_OTLP_HEADERS="authorization=Bearer%20of-all,x-scope=one") as app:
        app.predict(GOOD)
        collector.roots()
        shown = app.log() + repr(app.settings)
    assert collector.headers[0]["authorization"] == "Bearer of-all"
    assert collector.headers[0]["x-scope"] == "one"
    assert "of-all" not in shown


def test_a_collector_is_believed_by_the_certificate_that_is_named_and_by_no_other(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    with Collector((certificate, key)) as collector:
        with traced(collector, OTEL_EXPORTER_OTLP_CERTIFICATE=str(certificate)) as app:
            app.predict(GOOD)
        assert len(collector.roots()) == 1
        with traced(collector) as app:
            assert app.predict(GOOD).status_code == 200
        assert len(collector.bodies) == 1


@pytest.mark.parametrize("status", [401, 307])
def test_a_collector_that_refuses_or_moved_is_said_once_and_costs_no_answer(
    collector: Collector, status: int
) -> None:
    collector.status = status
    with traced(collector) as app:
        assert app.predict(GOOD).status_code == 200
        wait_until(lambda: len(collector.bodies) == 1, "a refused post")
        assert app.predict(GOOD).status_code == 200
        wait_until(lambda: len(collector.bodies) == 2, "another")
        collector.status = 200
        assert app.predict(GOOD).status_code == 200
        collector.roots()
        wait_until(lambda: "takes spans again" in app.log(), "that it works again")
        lines = [line for line in app.log_lines() if "collector" in line["message"]]
    assert [line["level"] for line in lines] == ["WARNING", "INFO"]
    assert collector.url.removeprefix("http://") not in app.log()


def test_a_collector_that_is_not_there_costs_no_answer() -> None:
    with Collector() as gone:
        pass
    with traced(gone) as app:
        assert app.predict(GOOD).status_code == 200
        assert app.spans is not None
        app.spans.close()
        assert app.predict(GOOD).status_code == 200, "what comes late is dropped"


def test_a_collector_that_hangs_costs_no_answer_and_what_waits_for_it_has_a_bound(
    collector: Collector,
) -> None:
    collector.open.clear()
    with traced(collector) as app:
        assert app.predict(GOOD).status_code == 200
        assert app.spans is not None
        for number in range(3 * QUEUE):
            app.spans.add(Span("many", float(number), number + 1.0, is_of_server=True))
        assert app.predict(GOOD).status_code == 200
        app.spans.close()  # returns, though nobody answers
        assert not collector.spans()
        on_their_way = len(collector.bodies)
        collector.open.set()
    assert len(collector.spans()) <= QUEUE + on_their_way * 512, "the queue, and batches of at most 512"
