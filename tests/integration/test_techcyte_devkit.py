"""The vendor's own clients, unchanged, take the stand-in for Techcyte.

The code of Techcyte's devkit is not kept here. Fetch it with ``git clone https://github.com/Techcyte/devkit``
and name the folder in TECHCYTE_DEVKIT; without it these tests are skipped.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from serving.webhooks.techcyte import reports
from tests.support.techcyte import Techcyte
from tests.support.techcyte_devkit import CLIENTS

ROOT = Path(__file__).parents[2]


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest) -> Path:
    folder = os.environ.get("TECHCYTE_DEVKIT")
    if not folder:
        pytest.skip("TECHCYTE_DEVKIT names no copy of https://github.com/Techcyte/devkit")
    return Path(folder) / str(request.param)


def posted(client: Path, server: Techcyte, certificate: Path, **changed: Any) -> dict[str, Any]:
    """Post the smallest report by a client of the devkit; return what it got."""
    body = server.request({"8946136": [Path("slide.svs")]})
    basic = reports.Basic(results=[reports.NamedResult(name="Count", result="4")])
    workflow = reports.Workflow(model_name="Mitosis", provider="Laboratory", ruo=True, report=basic)
    results = reports.Results(scan_results=[reports.ScanResult(scan_id="8946136", workflow=workflow)])
    posting = reports.prepare(results, {"8946136": reports.SlideSize(6000, 4000)}, reports.Api.V3)
    asked = {
        "host": f"localhost:{server.host.rpartition(':')[2]}",
        "token": body["jwt_token"],
        "task": body["task_id"],
        "results": posting.body,
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.techcyte_devkit", str(client)],
        cwd=ROOT,
        env=os.environ | {"REQUESTS_CA_BUNDLE": str(certificate), "NO_PROXY": "*"},
        input=json.dumps(asked | changed),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_the_vendors_client_posts_our_report(
    client: Path, techcyte: Techcyte, techcyte_tls: tuple[Path, Path]
) -> None:
    assert posted(client, techcyte, techcyte_tls[0]) == {"status": 201, "body": None}
    assert list(techcyte.taken().values()) == [1]


def test_the_vendors_client_is_refused_as_by_techcyte(
    client: Path, techcyte: Techcyte, techcyte_tls: tuple[Path, Path]
) -> None:
    assert "401" in posted(client, techcyte, techcyte_tls[0], token="another")["error"]
    assert "404" in posted(client, techcyte, techcyte_tls[0], task="x/y")["error"]
    nothing: dict[str, Any] = {"scanResults": [{"scanId": "1"}]}
    assert "422" in posted(client, techcyte, techcyte_tls[0], results=nothing)["error"]
    assert techcyte.taken() == {}
