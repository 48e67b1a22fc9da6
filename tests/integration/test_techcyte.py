"""Techcyte's tasks by ``pathserve webhooks``: real processes, killed at every step; posts are counted."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
import pytest
import requests

from tests.support.app import App, ServedApp
from tests.support.jobs import KEY
from tests.support.service import Service, wait_until
from tests.support.techcyte import HANG_UP, Answer, Behaviour, Json, Request, Techcyte
from tests.support.techcyte_app import SECRET
from tests.support.techcyte_slides import slide_pixels, write_slide
from tests.support.webhook_app import QuietProbe

SCAN = "8823846"


class Webhooks(Service):
    """``pathserve webhooks`` beside a stand-in, embedding by a service."""

    def __init__(
        self, server: Techcyte, certificate: Path, service_url: str, folder: Path, **settings: str
    ) -> None:
        self.slides, self.folder = folder / "slides", folder
        self.settings = {
            "PATHSERVE_WEBHOOKS_PORT": "0",
            "PATHSERVE_JOBS_DATABASE": f"sqlite:///{folder / 'jobs.sqlite'}",
            "PATHSERVE_JOBS_KEY": KEY,
            "PATHSERVE_JOBS_LEASE_S": "2",
            "PATHSERVE_SERVICE_URL": service_url,
            "SSL_CERT_FILE": str(certificate),
            **server.settings(SECRET),
            "PATHSERVE_TECHCYTE_FOLDER": str(self.slides),
            "PATHSERVE_TECHCYTE_KEEP_FREE_BYTES": "0",
            "PATHSERVE_TECHCYTE_UM_PER_PX": "1",
            "PATHSERVE_TECHCYTE_CLUSTERS": "2",
            **settings,
        }
        super().__init__(self.settings, command=(sys.executable, "-m", "serving", "webhooks"))

    def runner(self) -> psutil.Process:
        """The runner's process."""
        return next(p for p in self._children() if "serving.webhooks.service.runner" in p.cmdline())

    def gunicorn(self) -> psutil.Process:
        """gunicorn's master process."""
        return next(p for p in self._children() if "serving.webhooks.service.http" in p.cmdline())

    def trigger(self, body: Json, analysis: str = "qc") -> str:
        """Trigger a task; return its job's id."""
        answer = self.session.post(f"{self.url}/techcyte/{analysis}/{SECRET}", json=body, timeout=60)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["id"])

    def status(self, job_id: str) -> Json:
        """Ask how far it is; what is lost with a worker is asked again."""
        while True:
            with contextlib.suppress(requests.ConnectionError):
                answer = self.session.get(f"{self.url}/techcyte/status/{job_id}", timeout=60)
                assert answer.status_code == 200, answer.text
                return dict(answer.json())

    def ended(self, job_id: str) -> Json:
        """Wait for the end of a task."""
        wait_until(lambda: self.status(job_id)["state"] not in ("queued", "running"), "the task", 180)
        return self.status(job_id)

    def parked(self, *arguments: str) -> str:
        """Call ``pathserve webhooks parked`` as an operator does; return what it prints."""
        inherited = {name: text for name, text in os.environ.items() if not name.startswith("PATHSERVE_")}
        done = subprocess.run(
            [sys.executable, "-m", "serving", "webhooks", "parked", *arguments],
            env=inherited | self.settings,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


class HeldProbe(QuietProbe):
    """The probe, whose batches can be held."""

    asked, go = threading.Event(), threading.Event()

    def embed(self, patches: np.ndarray) -> np.ndarray:
        """Wait until it may, and embed."""
        self.asked.set()
        assert self.go.wait(180)
        return super().embed(patches)


@dataclass(slots=True)
class Moment:
    """A moment in a task's life at which everything stands still."""

    asked: threading.Event = field(default_factory=threading.Event)
    go: threading.Event = field(default_factory=threading.Event)

    def hold(self, answer: Answer | None = None) -> Answer | None:
        """Be there, and go on when told to."""
        self.asked.set()
        assert self.go.wait(180)
        return answer


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_slide(tmp_path_factory.mktemp("slides") / "Jane Doe.svs", slide_pixels()[:1344, :1792])


@pytest.fixture(scope="module")
def embedding() -> Iterator[ServedApp]:
    """A service with the probe, in this process."""
    with App(load=HeldProbe) as app, ServedApp(app) as served:
        wait_until(lambda: served.health() == 200, "the service")
        yield served


@pytest.fixture(scope="module")
def server(techcyte_tls: tuple[Path, Path]) -> Iterator[Techcyte]:
    with Techcyte(techcyte_tls) as server:
        yield server


@pytest.fixture(scope="module")
def webhooks(
    server: Techcyte,
    techcyte_tls: tuple[Path, Path],
    embedding: ServedApp,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Webhooks]:
    """A group whose runner is killed again and again."""
    folder = tmp_path_factory.mktemp("group")
    with Webhooks(server, techcyte_tls[0], embedding.url, folder) as webhooks:
        yield webhooks.wait_healthy()


def at(which: Callable[[Request], bool], moment: Moment, *, after: bool, then: Answer | None) -> Behaviour:
    """Return a server that holds the first such request, and then answers it so."""
    left = [moment]

    def hold(request: Request) -> Answer | None:
        return left.pop().hold(then) if which(request) and left else None

    return Behaviour(after=hold) if after else Behaviour(before=hold)


def is_file(request: Request) -> bool:
    return request.is_file


def is_post(request: Request) -> bool:
    return request.is_post


STEPS = [
    # While what happens the runner dies, whether what it has asked for is done, how often it is posted then.
    pytest.param(is_file, False, None, "finished", 1, 1, id="a slide is asked for"),
    pytest.param(is_file, True, None, "finished", 1, 1, id="a slide arrives"),
    pytest.param(is_post, False, None, "finished", 1, 1, id="results have left and are taken later"),
    pytest.param(is_post, False, HANG_UP, "error", 1, 0, id="results have left and are never taken"),
    pytest.param(is_post, True, None, "finished", 1, 1, id="results were taken and not answered"),
]


@pytest.mark.parametrize(("which", "after", "then", "state", "posts", "taken"), STEPS)
def test_a_task_whose_runner_is_killed_is_posted_once_or_parked(
    webhooks: Webhooks,
    server: Techcyte,
    slide: Path,
    which: Callable[[Request], bool],
    after: bool,
    then: Answer | None,
    state: str,
    posts: int,
    taken: int,
) -> None:
    moment = Moment()
    server.behaviour = at(which, moment, after=after, then=then)
    body = server.request({SCAN: [slide]})
    job = webhooks.trigger(body)
    assert moment.asked.wait(120)
    os.kill(webhooks.runner().pid, signal.SIGKILL)
    moment.go.set()
    ended = webhooks.ended(job)
    number = server.number_of(body)
    assert (ended["state"], server.posts(number), server.taken()[number]) == (state, posts, taken), ended
    assert list(webhooks.slides.glob("pathserve-task-*")) == [], "nothing is left of the killed one's slides"
    if state == "error":
        assert number in webhooks.parked("list")
        entry = webhooks.parked("list").split()[0]
        server.behaviour = Behaviour()
        assert "has it" in webhooks.parked("resend", entry)
        assert (server.posts(number), server.taken()[number]) == (2, 1)
    assert webhooks.parked("list") == "Nothing is parked.\n"


def test_a_task_whose_runner_is_killed_while_it_embeds_is_posted_once(
    webhooks: Webhooks, server: Techcyte, slide: Path
) -> None:
    server.behaviour = Behaviour()
    HeldProbe.asked.clear()
    HeldProbe.go.clear()
    body = server.request({SCAN: [slide]})
    job = webhooks.trigger(body, "cluster")
    assert HeldProbe.asked.wait(120)
    os.kill(webhooks.runner().pid, signal.SIGKILL)
    HeldProbe.go.set()
    assert webhooks.ended(job)["state"] == "finished"
    number = server.number_of(body)
    assert (server.posts(number), server.taken()[number]) == (1, 1)


def test_a_task_whose_runner_is_killed_while_it_asks_is_posted_once(
    webhooks: Webhooks, server: Techcyte, slide: Path
) -> None:
    moment, lost = Moment(), [HANG_UP]

    def after(request: Request) -> Answer | None:
        if request.is_post and lost:
            return lost.pop()
        return moment.hold() if request.is_question and not moment.go.is_set() else None

    server.behaviour = Behaviour(after=after)
    body = server.request({SCAN: [slide]})
    job = webhooks.trigger(body)
    assert moment.asked.wait(120)
    os.kill(webhooks.runner().pid, signal.SIGKILL)
    moment.go.set()
    assert webhooks.ended(job)["state"] == "finished"
    number = server.number_of(body)
    assert (server.posts(number), server.taken()[number]) == (1, 1)


def test_after_a_loss_of_the_whole_machine_the_results_are_asked_for_and_no_secret_was_on_its_disk(
    server: Techcyte,
    techcyte_tls: tuple[Path, Path],
    embedding: ServedApp,
    slide: Path,
    tmp_path: Path,
) -> None:
    key = {"PATHSERVE_TECHCYTE_KEY_ID": "key-1", "PATHSERVE_TECHCYTE_KEY_SECRET": "planted-key-of-a-company"}
    moment = Moment()
    server.behaviour = at(is_post, moment, after=True, then=HANG_UP)
    body = server.request({SCAN: [slide]})
    seen: list[bytes] = []
    with Webhooks(server, techcyte_tls[0], embedding.url, tmp_path, **key) as webhooks:
        webhooks.wait_healthy()
        job = webhooks.trigger(body)
        assert moment.asked.wait(120)
        small_files = Path(webhooks.runner().environ()["TMPDIR"])
        for process in webhooks.processes()[1:]:  # the launcher has what the operator gave it
            with contextlib.suppress(psutil.NoSuchProcess):
                seen.append((str(process.environ()) + str(process.cmdline())).encode())
        seen += [path.read_bytes() for path in small_files.rglob("*") if path.is_file()]
        seen += [path.read_bytes() for path in tmp_path.glob("jobs*")]
        seen += [
            webhooks.session.get(f"{webhooks.url}/{page}", timeout=60).content
            for page in ("metrics", "openapi.json", "docs", f"techcyte/status/{job}")
        ]
        for process in webhooks.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        seen.append(webhooks.log().encode())
    moment.go.set()
    with Webhooks(server, techcyte_tls[0], embedding.url, tmp_path, **key) as webhooks:
        webhooks.wait_healthy()
        assert webhooks.ended(job)["state"] == "finished"
        seen += [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
        seen.append(webhooks.log().encode())
    number = server.number_of(body)
    assert (server.posts(number), server.taken()[number]) == (1, 1)
    assert any(job.encode() in data for data in seen), "what is searched is what is used"
    hidden = [SECRET, "Jane Doe", "X-Amz-Signature", "files_uuid", "planted", body["jwt_token"]]
    hidden += body["jwt_token"].split(".")[1:]
    for planted in hidden:
        assert not [data[:200] for data in seen if planted.encode() in data], planted
