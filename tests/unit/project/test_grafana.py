"""The dashboard can be imported, and each alert fires when it should and not else."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.support.grafana import ALERTS, alerts, dashboard, expressions
from tests.support.prometheus import missing, promtool

OPERATIONS = ALERTS.parents[1] / "operations.md"
Series = dict[str, str]


@dataclass(frozen=True)
class Case:
    """Series in promtool's notation, one value a minute.

    Attributes
    ----------
    at:
        Minutes after the beginning.
    fires:
        What sets the alert off by then.
    silent:
        What does not.
    also:
        Further alerts that the same series set off.
    fires_too:
        Other series that set it off, each by themselves.
    """

    alert: str
    at: int
    fires: Series
    silent: tuple[Series, ...]
    also: tuple[str, ...] = ()
    fires_too: tuple[Series, ...] = ()


def outcomes(metric: str, rest: str, ok: str, bad: str) -> Series:
    """Return requests of two statuses."""
    return {f'{metric}{{status="200"{rest}}}': ok, f'{metric}{{status="503"{rest}}}': bad}


def instances(ok: str, failed: str) -> Series:
    """Return images that were embedded, and that were not."""
    metric = "pathserve_instances_total"
    return {f'{metric}{{code="ok"}}': ok, f'{metric}{{code="HTTP_ERROR"}}': failed}


def jobs(finished: str, other: str, state: str) -> Series:
    """Return jobs that finished, and that ended otherwise."""
    metric = "pathserve_jobs_ended_total"
    return {
        f'{metric}{{kind="a",state="finished"}}': finished,
        f'{metric}{{kind="a",state="{state}"}}': other,
    }


def slow(within_a_minute: str) -> Series:
    """Return a hundred requests a minute, and those of them that took no longer."""
    bucket, every = "pathserve_request_seconds_bucket", "0+100x90"
    longer = {f'{bucket}{{le="300"}}': every, f'{bucket}{{le="+Inf"}}': every}
    return longer | {"pathserve_request_seconds_count": every, f'{bucket}{{le="60"}}': within_a_minute}


def queue(depth: str, embedded: str) -> Series:
    """Return patches that wait, and those that the encoder was given."""
    return {"pathserve_queue_depth": depth, "pathserve_batch_size_sum": embedded}


def patches(requests: str, embedded: str) -> Series:
    """Return requests that were answered, and patches that were embedded."""
    return {f'{SERVICE}{{status="200"}}': requests, "pathserve_patches_total": embedded}


SERVICE = "pathserve_requests_total"
WEBHOOK, STORE = "pathserve_webhook_requests_total", "pathserve_store_requests_total"
FAILED, BUSY = "pathserve_failed_patches_total", "pathserve_encoder_busy_seconds_total"
DEATHS, OF_RUNNERS = "pathserve_encoder_restarts_total", "pathserve_runner_restarts_total"
MISSED = 'pathserve_golden_checks_total{outcome="missed"}'
QUEUED, FREE = 'pathserve_jobs{state="queued"}', "pathserve_store_free_bytes"
HEALTH = ',route="status.health"'
CASES = (
    Case("PathserveDown", 9, {"up": "1x5 0x10"}, ({"up": "1x5 0 1x10"}, {"up": "1x15"})),
    Case("PathserveNotReady", 10, {"pathserve_ready": "0x20"}, ({"pathserve_ready": "0x3 1x20"},)),
    Case(
        "PathserveErrorRatio", 30, outcomes(SERVICE, "", "0+9x40", "0+1x40"),
        (outcomes(SERVICE, "", "0+99x40", "0+1x40"), outcomes(SERVICE, "", "0+0.5x40", "0+0.5x40")),
    ),
    Case(
        "PathserveInstancesFail", 60, instances("0+7x90", "0+3x90"),
        (instances("0+9x90", "0+1x90"), instances("0x90", "0+1x90")),
    ),
    Case("PathserveFailedPatches", 15, {FAILED: "0x10 3x20"}, ({FAILED: "3x40"},)),
    Case(
        "PathserveNoPatches", 30, patches("0+1x40", "5x40"),
        (patches("0+1x40", "5+1x40"), patches("4x40", "5x40")),
    ),
    Case("PathserveEncoderRestarts", 20, {DEATHS: "0x10 1x30"}, ({DEATHS: "1x40"},)),
    Case(
        "PathserveEncoderKeepsDying", 30, {DEATHS: "0x10 1x5 2x5 3x30"},
        ({DEATHS: "2x40"},), also=("PathserveEncoderRestarts",),
    ),
    Case(
        "PathserveGoldenMissed", 90, {MISSED: "0x80 1x30"},
        ({MISSED: "0x120"}, {MISSED: "1x120"}), fires_too=({MISSED: "_x80 1x30"},),
    ),
    Case(
        "PathserveQueueDepth", 40, queue("600x60", "0+600x60"),
        (queue("200x60", "0+600x60"), queue("1x60", "7x60")),
    ),
    Case("PathserveEncoderBusy", 60, {BUSY: "0+59x90"}, ({BUSY: "0+30x90"},)),
    Case("PathserveSlow", 60, slow("0+90x90"), (slow("0+100x90"),)),
    Case(
        "PathserveWebhooksErrorRatio", 30, outcomes(WEBHOOK, ',route="a.post"', "0+9x40", "0+1x40"),
        (outcomes(WEBHOOK, HEALTH, "0+1x40", "0+9x40"),),
    ),
    Case(
        "PathserveJobsFail", 60, jobs("0+0.2x90", "0+0.1x90", "error"),
        (jobs("0+0.2x90", "0+0.1x90", "cancelled"),),
    ),
    Case("PathserveJobsWait", 30, {QUEUED: "60x60"}, ({QUEUED: "60x20 10 60x40"},)),
    Case("PathserveRunnerRestarts", 20, {OF_RUNNERS: "0x10 1x30"}, ({OF_RUNNERS: "1x40"},)),
    Case("PathserveParked", 90, {"pathserve_parked": "1x120"}, ({"pathserve_parked": "1x70 0 1x50"},)),
    Case(
        "PathserveStoreErrorRatio", 30, outcomes(STORE, ',route="dicomweb.frames"', "0+9x40", "0+1x40"),
        (outcomes(STORE, HEALTH, "0+1x40", "0+9x40"),),
    ),
    Case("PathserveStoreDiskFills", 10, {FREE: "5000000000x20"}, ({FREE: "50000000000x20"},)),
    Case(
        "PathserveStoreDiskFull", 10, {FREE: "500000000x20"},
        ({FREE: "50000000000x20"},), also=("PathserveStoreDiskFills",),
    ),
)  # fmt: skip


def as_test(series: Series, at: int, *fired: str) -> dict[str, object]:
    """Return a test of promtool that these alerts, and no others, fire."""
    given = [{"series": _of_a_target(name), "values": values} for name, values in series.items()]
    found = [{"labels": f'{{alertname="{alert}"}}', "value": 1} for alert in fired]
    query = {
        "expr": 'sum by (alertname) (ALERTS{alertstate="firing"})',
        "eval_time": f"{at}m",
        "exp_samples": found,
    }
    return {"interval": "1m", "input_series": given, "promql_expr_test": [query]}


def _of_a_target(series: str) -> str:
    name, _, labels = series.partition("{")
    return f'{name}{{job="pathserve",instance="a",{labels or "}"}'


def test_each_alert_has_a_case_and_its_row_in_the_documentation() -> None:
    names = [rule["alert"] for rule in alerts()]
    assert names == [case.alert for case in CASES]
    text = OPERATIONS.read_text(encoding="utf-8")
    assert [name for name in names if f"| `{name}` |" not in text] == []


@pytest.mark.skipif(bool(missing()) and not os.environ.get("REQUIRE_PROMETHEUS"), reason=missing())
def test_each_alert_fires_when_it_should_and_not_else(tmp_path: Path) -> None:
    tests = [as_test(case.fires, case.at, case.alert, *case.also) for case in CASES]
    tests += [as_test(series, case.at, case.alert) for case in CASES for series in case.fires_too]
    tests += [as_test(series, case.at) for case in CASES for series in case.silent]
    path = tmp_path / "alerts.test.yml"
    document = {"rule_files": [str(ALERTS)], "evaluation_interval": "1m", "tests": tests}
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    run = promtool("test", "rules", str(path))
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.skipif(bool(missing()) and not os.environ.get("REQUIRE_PROMETHEUS"), reason=missing())
def test_promtool_finds_no_fault_in_any_expression(tmp_path: Path) -> None:
    run = promtool("check", "rules", str(ALERTS))
    assert run.returncode == 0, run.stdout + run.stderr
    rules = [{"record": f"panel:{number}", "expr": sent} for number, (_, sent) in enumerate(expressions())]
    path = tmp_path / "panels.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}), encoding="utf-8")
    run = promtool("check", "rules", str(path))
    assert run.returncode == 0, run.stdout + run.stderr


def test_every_alert_says_how_bad_it_is_what_happened_and_what_it_means() -> None:
    for rule in alerts():
        assert rule["labels"]["severity"] in ("critical", "warning", "info"), rule["alert"]
        assert set(rule["annotations"]) == {"summary", "description"}, rule["alert"]


def test_the_dashboard_can_be_imported_into_any_grafana() -> None:
    board = dashboard()
    assert board["schemaVersion"] >= 36
    assert "id" not in board, "an id of another Grafana's database"
    variables = {variable["name"]: variable for variable in board["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        if panel["type"] != "row":
            assert panel["description"], panel["title"]
            sources = [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
            assert all(source["uid"] == "${datasource}" for source in sources), panel["title"]


def test_no_panel_lies_on_another() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24, panel["title"]
        assert not cells & taken, panel["title"]
        taken |= cells
