"""Slide Score's analyses by ``pathserve webhooks``: real processes, killed while an analysis runs."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
import requests

from tests.support.app import App, ServedApp
from tests.support.jobs import KEY
from tests.support.service import Service, wait_until
from tests.support.slidescore import CASE, PATIENT, Answer, Request, SlideScore, clicked, rect
from tests.support.slidescore_app import SECRET
from tests.support.webhook_app import QuietProbe

ROI = rect(1000, 2000, 4000, 3000)
EXEMPLAR = rect(1448, 2448, 448, 448)


class Webhooks(Service):
    """``pathserve webhooks`` beside a stand-in, embedding by a service."""

    def __init__(self, server: SlideScore, service_url: str, database: str) -> None:
        super().__init__(
            {
                "PATHSERVE_WEBHOOKS_PORT": "0",
                "PATHSERVE_JOBS_DATABASE": database,
                "PATHSERVE_JOBS_KEY": KEY,
                "PATHSERVE_JOBS_LEASE_S": "2",
                "PATHSERVE_SERVICE_URL": service_url,
                "PATHSERVE_SLIDESCORE_ORIGINS": server.origin,
                "PATHSERVE_SLIDESCORE_SECRET": SECRET,
            },
            command=(sys.executable, "-m", "serving", "webhooks"),
        )

    def runner(self) -> psutil.Process:
        """The runner's process."""
        return next(p for p in self._children() if "serving.webhooks.service.runner" in p.cmdline())

    def gunicorn(self) -> psutil.Process:
        """gunicorn's master process."""
        return next(p for p in self._children() if "serving.webhooks.service.http" in p.cmdline())

    def click(self, server: SlideScore, token: str) -> str:
        """Start an analysis; return its id."""
        body = clicked(server, SECRET, {"ROI": ROI, "Exemplar": EXEMPLAR}, apitoken=token)
        answer = self.session.post(f"{self.url}/slidescore/similar", json=body, timeout=30)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["id"])

    def status(self, job_id: str) -> dict[str, Any]:
        """Ask how far it is; what is lost with a worker is asked again."""
        while True:
            with contextlib.suppress(requests.ConnectionError):
                answer = self.session.get(f"{self.url}/slidescore/status/{job_id}", timeout=30)
                assert answer.status_code == 200, answer.text
                return dict(answer.json())

    def ended(self, job_id: str) -> dict[str, Any]:
        """Wait for the end of an analysis."""
        wait_until(lambda: "output" in self.status(job_id), "the analysis", 120)
        return self.status(job_id)


@pytest.fixture(scope="module")
def embedding() -> Iterator[ServedApp]:
    """A service with the probe, in this process."""
    with App(load=QuietProbe) as app, ServedApp(app) as served:
        wait_until(lambda: served.health() == 200, "the service")
        yield served


class Held:
    """Holds tiles back until it is let go."""

    def __init__(self) -> None:
        self.asked, self.go = threading.Event(), threading.Event()

    def __call__(self, request: Request) -> Answer | None:
        if request.is_tile:
            self.asked.set()
            assert self.go.wait(120)
        return None


def test_an_analysis_whose_runner_and_worker_are_killed_is_done_once_to_the_outside(
    embedding: ServedApp, jobs_database: str
) -> None:
    with SlideScore() as server, Webhooks(server, embedding.url, jobs_database) as webhooks:
        webhooks.wait_healthy()
        token, held = server.new_token(), Held()
        server.behaviour.override = held
        job_id = webhooks.click(server, token)
        assert held.asked.wait(60)
        os.kill(webhooks.runner().pid, signal.SIGKILL)
        os.kill(webhooks.workers()[0].pid, signal.SIGKILL)
        assert "output" not in webhooks.status(job_id)
        held.go.set()
        answer = webhooks.ended(job_id)
        assert answer["status"] == "finished", answer
        assert sorted(result["type"] for result in answer["output"]) == [
            "anno2",
            "points",
            "polygons",
            "text",
        ]
        wait_until(lambda: server.given_up[token] > 0, "the token to be given up")
        assert webhooks.stop() == 0
        assert server.given_up == {token: 1}
        assert len(server.anno2) == 1


def test_nothing_of_a_patient_or_a_token_is_in_logs_metrics_documents_or_the_database(
    embedding: ServedApp, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("jobs")
    database = f"sqlite:///{folder / 'jobs.sqlite'}"
    with SlideScore() as server, Webhooks(server, embedding.url, database) as webhooks:
        webhooks.wait_healthy()
        token = server.new_token()
        answer = webhooks.ended(webhooks.click(server, token))
        wait_until(lambda: server.given_up[token] > 0, "the token to be given up")
        session, url = webhooks.session, webhooks.url
        document = session.get(f"{url}/openapi.json", timeout=30)
        assert "/slidescore/similar" in document.json()["paths"]
        body = clicked(server, SECRET, {"ROI": "[]"})
        assert session.post(f"{url}/slidescore/cluster", json=body, timeout=30).status_code == 400
        seen = [str(answer), document.text, session.get(f"{url}/metrics", timeout=30).text, webhooks.log()]
        files = [file for file in folder.iterdir() if file.is_file()]
        assert files
        seen += [file.read_bytes().decode("latin-1") for file in files]
        for planted in (token, body["apitoken"], SECRET, PATIENT, CASE, "Jane Doe"):
            assert not any(planted in text for text in seen), planted
