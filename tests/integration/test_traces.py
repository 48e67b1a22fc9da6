"""Spans of real process groups: from threads made after the fork, sent to the last one before the end."""

from __future__ import annotations

from pathlib import Path

import psutil

from tests.conftest import ModelFolders
from tests.support.collector import Attribute, Collector, attributes
from tests.support.service import Service, wait_until
from tests.support.store_service import StoreService
from tests.support.tissue import encode, instance, tissue
from tests.support.webhooks import WebhookService

GOOD = instance(encode(tissue()))
KEY = "Bearer%20key-of-the-collector"


def settings(collector: Collector) -> dict[str, str]:
    return {
        "PATHSERVE_TRACES": "1",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_EXPORTER_OTLP_HEADERS": f"authorization={KEY}",
        "OTEL_PYTHON_TRACER_PROVIDER": "sdk_tracer_provider",  # would have libraries trace by themselves
    }


def seen(collector: Collector, name: str) -> list[dict[str, Attribute]]:
    return [attributes(span.attributes) for span in collector.spans() if span.name == name]


def test_a_drain_sends_the_last_span_and_no_child_inherits_a_variable_of_opentelemetry(
    model_folders: ModelFolders,
) -> None:
    environment = {"PATHSERVE_MODEL": model_folders["poisonable"], "PATHSERVE_WORKERS": "2"}
    with Collector() as collector, Service(environment | settings(collector)) as service:
        service.wait_healthy()
        inherited = [name for p in _children(service) for name in p.environ() if name.startswith("OTEL_")]
        for _ in range(8):
            assert service.predict(GOOD).status_code == 200
        assert service.stop() == 0
        roots = [span for span in collector.spans() if span.name == "POST /predict"]
    assert inherited == []
    assert len(roots) == 8
    assert all(len(collector.parts(root)) >= 5 for root in roots)
    assert {headers["authorization"] for headers in collector.headers} == {"Bearer key-of-the-collector"}


def test_a_collector_that_hangs_holds_up_neither_answers_nor_the_drain(model_folders: ModelFolders) -> None:
    environment = {"PATHSERVE_MODEL": model_folders["poisonable"], "PATHSERVE_GRACE_S": "100"}
    with Collector() as collector, Service(environment | settings(collector)) as service:
        collector.open.clear()
        service.wait_healthy()
        assert service.predict(GOOD).status_code == 200
        wait_until(lambda: bool(collector.bodies), "spans that nobody answers")
        assert service.predict(GOOD).status_code == 200
        workers = service.workers()
        assert service.stop(timeout_s=50) == 0
        assert not any(worker.is_running() for worker in workers)
        assert not collector.spans()


def test_webhooks_send_a_span_of_each_request_and_of_each_job(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path / 'jobs.sqlite'}"
    with Collector() as collector, WebhookService(database, key=True, **settings(collector)) as group:
        group.wait_healthy()
        job = group.post({}, secret="planted")
        assert group.final(job)["state"] == "finished"
        wait_until(lambda: bool(seen(collector, "job test.work")), "the job's span")
        wait_until(lambda: bool(seen(collector, "POST test.post")), "the request's span")
        assert group.stop() == 0
        (said,) = seen(collector, "job test.work")
        assert said == {"pathserve.job.kind": "test.work", "pathserve.job.state": "finished"}
        assert seen(collector, "POST test.post")[0]["http.response.status_code"] == 200
        assert {resource["service.name"] for resource in collector.resources()} == {"pathserve-webhooks"}
        sent = b"".join(collector.bodies)
    assert b"planted" not in sent
    assert job.encode() not in sent


def test_the_slide_store_sends_a_span_of_each_request_and_no_uid(tmp_path: Path) -> None:
    with Collector() as collector, StoreService(tmp_path / "store", **settings(collector)) as store:
        store.wait_healthy()
        found = store.session.get(
            f"{store.url}/dicomweb/studies/1.2.3/metadata",
            params={"PatientName": "Planted"},
            headers={"Authorization": f"Bearer {store.token}"},
            timeout=30,
        )
        assert store.stop() == 0
        roots = collector.roots()
        sent = b"".join(collector.bodies)
    assert attributes(roots[0].attributes)["http.response.status_code"] == found.status_code == 404
    assert roots[0].name.startswith("GET dicomweb.")
    assert [word for word in (b"1.2.3", b"Planted", store.token.encode()) if word in sent] == []


def _children(service: Service) -> list[psutil.Process]:
    return service.processes()[1:]
