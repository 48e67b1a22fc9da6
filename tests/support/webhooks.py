"""A webhook service of a few lines, mounted by the real process group; and that group as a user starts it.

``python -m tests.support.webhooks`` is ``pathserve webhooks`` with this service in place of the product's.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import requests
from flask import Blueprint, Response, request
from pydantic import SecretBytes

from serving.config.settings import load_settings
from serving.errors import Code, ServiceError
from serving.front.wsgi_bridge import RECEIVED, Received
from serving.http.door import Door
from serving.telemetry.json_log import log_as_json
from serving.webhooks.jobs.handler import Closing, JobContext, JobKind
from serving.webhooks.jobs.job import NewJob, QueueFull
from serving.webhooks.service.launcher import WebhooksLauncher
from serving.webhooks.webhook import DoorTools, RunnerTools, Webhook
from tests.support.jobs import KEY
from tests.support.service import Service, wait_until

ROOT = Path(__file__).parents[2]


def door(tools: DoorTools) -> Door:
    """Return the routes: POST /test/jobs, GET and DELETE /test/jobs/ID."""
    routes = Blueprint("test", __name__)

    def post() -> Response:
        received: Received = request.environ[RECEIVED]
        asked = json.loads(bytes(received.take_body()))
        job = NewJob(
            "test.work",
            json.dumps(asked["work"]).encode(),
            deadline_s=asked.get("deadline_s", 60),
            secret=SecretBytes(asked["secret"].encode()) if "secret" in asked else None,
            key=asked.get("key"),
        )
        posted = tools.jobs.post(job)
        if isinstance(posted, QueueFull):
            raise posted.as_error()
        return Response(
            json.dumps({"id": posted.job_id, "new": posted.is_new}), content_type="application/json"
        )

    def status(job_id: str) -> Response:
        view = tools.jobs.get(job_id)
        if view is None:
            raise ServiceError(Code.NOT_FOUND_ERROR, "There is no such job.")
        body = {
            "state": view.state,
            "progress": view.progress,
            "error": view.error,
            "attempt": view.attempt,
            "output": None if view.output is None else json.loads(view.output),
        }
        return Response(json.dumps(body), content_type="application/json")

    def cancel(job_id: str) -> Response:
        tools.jobs.cancel(job_id)
        return Response(status=204)

    routes.add_url_rule("/test/jobs", "post", post, methods=["POST"])
    routes.add_url_rule("/test/jobs/<job_id>", "status", status)
    routes.add_url_rule("/test/jobs/<job_id>", "cancel", cancel, methods=["DELETE"])
    return Door(routes, frozenset({"post"}))


def work(context: JobContext) -> bytes:
    """Wait, be seen outside (a line in a file), and answer with the process that did it.

    With ``until``, wait for that file to be there.
    """
    asked: dict[str, Any] = json.loads(context.payload)
    context.progress(f"by {os.getpid()}")
    if asked.get("crash"):
        os._exit(99)
    if "until" in asked:
        _wait(context, Path(asked["until"]))
    context.waits.stop.wait(asked.get("seconds", 0.0))
    if "file" in asked:
        context.require_lease()
        append(asked["file"], f"did {context.job_id}")
    secret = None if context.secret is None else len(context.secret.get_secret_value())
    return json.dumps({"pid": os.getpid(), "secret": secret}).encode()


def _wait(context: JobContext, path: Path) -> None:
    while not path.exists():
        if context.waits.stop.wait(0.01):
            raise TimeoutError


def close(closing: Closing) -> None:
    """Be seen outside once: who cannot know whether it was done looks first."""
    asked = json.loads(closing.payload)
    if "closed" in asked:
        line = f"closed {closing.job_id}"
        if closing.is_repeated and line in Path(asked["closed"]).read_text(encoding="ascii").splitlines():
            return
        append(asked["closed"], line)


def append(path: str, line: str) -> None:
    """Add a line in one write: two processes do not mix theirs."""
    with open(path, "ab", buffering=0) as file:
        file.write(f"{line}\n".encode("ascii"))


def kinds(_: RunnerTools) -> Mapping[str, JobKind]:
    """Return the handlers."""
    return {"test.work": JobKind(work, close)}


WEBHOOKS = (Webhook("test", door, kinds),)


class WebhookService(Service):
    """The process group as a user starts it, with the service above; it embeds with nothing.

    Parameters
    ----------
    database:
        Address of the jobs' database.
    key:
        Whether it has the operator's key.
    """

    def __init__(self, database: str, *, key: bool = True, **settings: str) -> None:
        environment = {
            "PATHSERVE_WEBHOOKS_PORT": "0",
            "PATHSERVE_JOBS_DATABASE": database,
            # Nothing listens there, and nothing of this service embeds: the runner need not load a model.
            "PATHSERVE_SERVICE_URL": "http://127.0.0.1:9",
            "PATHSERVE_JOBS_LEASE_S": "2",
            "PYTHONPATH": str(ROOT),
        }
        if key:
            environment["PATHSERVE_JOBS_KEY"] = KEY
        command = (sys.executable, "-m", "tests.support.webhooks")
        super().__init__(environment | settings, command=command, folder=ROOT)

    def runner(self) -> psutil.Process:
        """The runner's process."""
        return next(p for p in self._children() if "serving.webhooks.service.runner" in p.cmdline())

    def gunicorn(self) -> psutil.Process:
        """gunicorn's master process."""
        return next(p for p in self._children() if "serving.webhooks.service.http" in p.cmdline())

    def post(self, work: object, **more: object) -> str:
        """Post a job that must be taken; return its id."""
        answer = self.session.post(f"{self.url}/test/jobs", json={"work": work, **more}, timeout=30)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["id"])

    def job(self, job_id: str) -> dict[str, Any]:
        """Return a job as its caller sees it; what is lost with a worker is asked again."""
        while True:
            with contextlib.suppress(requests.ConnectionError):
                answer = self.session.get(f"{self.url}/test/jobs/{job_id}", timeout=30)
                assert answer.status_code == 200, answer.text
                return dict(answer.json())

    def final(self, job_id: str, seconds: float = 60.0) -> dict[str, Any]:
        """Return a job once it has ended."""
        wait_until(
            lambda: self.job(job_id)["state"] not in ("queued", "running"), f"job {job_id} to end", seconds
        )
        return self.job(job_id)


if __name__ == "__main__":
    configured = load_settings()
    log_as_json(configured.log.level, process="launcher")
    sys.exit(WebhooksLauncher(configured, "tests.support.webhooks").run())
