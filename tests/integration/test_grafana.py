"""The dashboard and the alerts beside all three process groups, evaluated by a real Prometheus."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import ModelFolders
from tests.integration.test_golden import pathserve
from tests.support.grafana import ALERTS, alerts, expressions, named
from tests.support.prometheus import Prometheus, missing
from tests.support.service import Service, wait_until
from tests.support.store_service import StoreService
from tests.support.tissue import encode, instance, tissue
from tests.support.webhooks import WebhookService

OF_PROMETHEUS = {"job", "instance"}
_SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? ", re.MULTILINE)


@dataclass(frozen=True)
class Groups:
    """The service, the webhooks and the store, each of which has done something."""

    service: Service
    webhooks: WebhookService
    store: StoreService

    def exposed(self) -> dict[str, set[str]]:
        """Labels by each metric's full name."""
        authorised = {"Authorization": f"Bearer {self.store.token}"}
        found: dict[str, set[str]] = {}
        for group in (self.service, self.webhooks, self.store):
            text = group.session.get(f"{group.url}/metrics", headers=authorised, timeout=10).text
            for name, labels in _SAMPLE.findall(text):
                found.setdefault(name, set()).update(re.findall(r'(\w+)="', labels))
        return found


@pytest.fixture(scope="module")
def groups(model_folders: ModelFolders, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Groups]:
    folder = tmp_path_factory.mktemp("groups")
    model = {"PATHSERVE_MODEL": model_folders["poisonable"]}
    golden = str(folder / "golden.json")
    status, output = pathserve("golden", "make", "--out", golden, **model)
    assert status == 0, output
    with (
        Service({**model, "PATHSERVE_GOLDEN": golden, "PATHSERVE_MAGNIFICATION_GUARD": "warn"}) as service,
        WebhookService(f"sqlite:///{folder / 'jobs.sqlite'}") as webhooks,
        StoreService(folder / "store") as store,
    ):
        service.wait_healthy()
        half = instance(encode(tissue()), (0, 0), (9999, 0), extensions={"per_patch_errors": True})
        service.predict(half, instance(b"no image"))
        webhooks.wait_healthy()
        assert webhooks.final(webhooks.post({}))["state"] == "finished"
        store.wait_healthy()
        store.session.get(f"{store.url}/dicomweb/studies", timeout=30)
        yield Groups(service, webhooks, store)


def test_every_metric_and_label_of_dashboard_and_alerts_is_exposed(groups: Groups) -> None:
    exposed = groups.exposed()
    everywhere = [*expressions(), *((rule["alert"], rule["expr"]) for rule in alerts())]
    assert len(everywhere) > 40
    for where, expression in everywhere:
        for metric, labels in named(expression):
            assert metric in exposed, where
            assert labels - OF_PROMETHEUS <= set().union(*(exposed[m] for m, _ in named(expression))), where
    shown = {metric for _, expression in everywhere for metric, _ in named(expression)}
    counted = {re.sub(r"_(bucket|sum|count)$", "", metric) for metric in exposed}
    assert counted - {re.sub(r"_(bucket|sum|count)$", "", metric) for metric in shown} == set()


def test_prometheus_answers_every_panel_and_no_alert_fires_where_all_is_well(
    groups: Groups, tmp_path: Path
) -> None:
    if missing() and not os.environ.get("REQUIRE_PROMETHEUS"):
        pytest.skip(missing())
    of_store = {"authorization": {"credentials": groups.store.token}}
    scraped = [
        _scraped("pathserve", groups.service),
        _scraped("pathserve-webhooks", groups.webhooks),
        _scraped("pathserve-store", groups.store) | of_store,
    ]
    with Prometheus(tmp_path, scraped, [ALERTS]) as prometheus:
        wait_until(
            lambda: (
                len(prometheus.query("count_over_time(pathserve_store_studies[1m]) > 2")) == 1
                and len(prometheus.query("sum by (job) (count_over_time(up[1m])) > 2")) == 3
            ),
            "three scrapes of each",
            60,
        )
        assert {s["metric"]["job"]: s["value"][1] for s in prometheus.query("up")} == {
            "pathserve": "1",
            "pathserve-webhooks": "1",
            "pathserve-store": "1",
        }
        for where, expression in expressions():
            assert prometheus.query(expression), where
        wait_until(lambda: all(r["health"] != "unknown" for r in prometheus.rules()), "the rules", 60)
        rules = prometheus.rules()
    assert {rule["name"] for rule in rules} == {rule["alert"] for rule in alerts()}
    assert [(rule["name"], rule["lastError"]) for rule in rules if rule["health"] != "ok"] == []
    assert [rule["name"] for rule in rules if rule["state"] == "firing"] == []


def _scraped(job: str, group: Service) -> dict[str, object]:
    return {"job_name": job, "static_configs": [{"targets": [f"127.0.0.1:{group.port}"]}]}
