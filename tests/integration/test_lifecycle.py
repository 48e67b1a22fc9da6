"""Starting, failing, recovering and stopping: real processes, real signals."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest
import requests

from serving.client import Image, PathserveClient
from serving.config.settings import load_settings
from serving.processes.launcher import Launcher
from tests.conftest import ModelFolders
from tests.support.models import TOLERANCE, probe
from tests.support.service import Service, wait_until
from tests.support.tissue import encode, instance, tissue


def started(model_folders: ModelFolders) -> Service:
    # The model computes all the time: on a machine that does much else it takes several times as long.
    return Service(
        {
            "PATHSERVE_MODEL": model_folders["slow"],
            "PATHSERVE_MAX_BATCH": "4",
            "PATHSERVE_GRACE_S": "100",
        }
    )


@pytest.fixture
def slow_service(model_folders: ModelFolders) -> Iterator[Service]:
    """A service whose model takes about a tenth of a second a patch."""
    with started(model_folders) as service:
        yield service.wait_healthy()


@pytest.fixture(scope="module")
def shared_slow_service(model_folders: ModelFolders) -> Iterator[Service]:
    with started(model_folders) as service:
        yield service


@pytest.fixture
def lasting(shared_slow_service: Service) -> Service:
    """The same for several tests: each hurts it, and finds it as it has recovered from those before."""
    shared_slow_service.wait_healthy()
    wait_until(lambda: len(shared_slow_service.workers()) == 2, "two workers")
    return shared_slow_service


def large_request(patches: int) -> dict[str, object]:
    return instance(encode(tissue(), "JPEG"), *[(i % 288, 0) for i in range(patches)])


def post(service: Service, sent: dict[str, object], route: str = "/predict") -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False
        return session.post(f"{service.url}{route}", json={"instances": [sent]}, timeout=120)


def batches(service: Service) -> float:
    return service.metrics().get("pathserve_batch_size_count", 0.0)


def wait_for_work(service: Service, before: float = 0.0) -> None:
    wait_until(lambda: batches(service) > before, "the first batch")


def test_sigterm_answers_what_is_in_flight_then_exits_0(slow_service: Service) -> None:
    port = slow_service.port
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(post, slow_service, large_request(30))
        wait_for_work(slow_service)
        everyone = slow_service.processes()
        slow_service.process.send_signal(signal.SIGTERM)

        def refused() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) != 0

        wait_until(refused, "the listener to close")
        assert answer.result().status_code == 200
    assert slow_service.process.wait(60) == 0
    wait_until(lambda: not any(p.is_running() for p in everyone), "every process to end")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_all_processes_at_once_drains_as_well(
    slow_service: Service, number: signal.Signals
) -> None:
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(post, slow_service, large_request(30))
        wait_for_work(slow_service)
        everyone = slow_service.processes()
        for process in everyone:
            process.send_signal(number)
        assert answer.result().status_code == 200
    assert slow_service.process.wait(60) == 0
    wait_until(lambda: not any(p.is_running() for p in everyone), "every process to end")


def test_a_reload_replaces_the_workers_and_loses_no_request(lasting: Service) -> None:
    first, before = {worker.pid for worker in lasting.workers()}, batches(lasting)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(post, lasting, large_request(60))
        wait_for_work(lasting, before)
        lasting.process.send_signal(signal.SIGHUP)
        wait_until(lambda: not first & {worker.pid for worker in lasting.workers()}, "new workers", 60)
        assert answer.result(60).status_code == 200
    wait_until(lambda: lasting.health() == 200, "health")
    assert post(lasting, large_request(2)).status_code == 200


def test_a_killed_encoder_gives_503_at_once_and_is_replaced(lasting: Service) -> None:
    restarts = lasting.metrics()["pathserve_encoder_restarts_total"]
    before = batches(lasting)
    with ThreadPoolExecutor(3) as pool:
        answers = [pool.submit(post, lasting, large_request(60)) for _ in range(3)]
        wait_for_work(lasting, before)
        encoder = lasting.encoder()
        encoder.send_signal(signal.SIGKILL)
        wait_until(lambda: lasting.health() == 503, "health to turn 503")
        for answer in answers:
            response = answer.result()
            assert response.status_code == 503
            assert int(response.headers["Retry-After"]) > 0
            assert response.json()["error"]["code"] == "SERVICE_UNAVAILABLE_ERROR"
    lasting.wait_healthy()
    assert lasting.encoder().pid != encoder.pid
    assert post(lasting, large_request(2)).status_code == 200
    wait_until(
        lambda: lasting.metrics()["pathserve_encoder_restarts_total"] == restarts + 1,
        "the restart to be counted",
    )


def test_a_stopped_encoder_turns_health_503_until_it_goes_on(lasting: Service) -> None:
    encoder = lasting.encoder()
    encoder.suspend()
    try:
        wait_until(lambda: lasting.health() == 503, "health to turn 503")
    finally:
        encoder.resume()
    wait_until(lambda: lasting.health() == 200, "health to return")


def test_an_encoder_that_stays_stuck_is_replaced(lasting: Service) -> None:
    before = batches(lasting)
    stuck = lasting.encoder()
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(post, lasting, large_request(200))
        wait_for_work(lasting, before)
        stuck.suspend()
        assert answer.result(60).status_code == 503
    wait_until(lambda: lasting.health() == 200, "another encoder", 90)
    assert not stuck.is_running()
    assert lasting.encoder().pid != stuck.pid
    assert post(lasting, large_request(3)).status_code == 200


def test_no_process_may_leave_a_core_file(lasting: Service) -> None:
    for process in lasting.processes():
        limits = Path(f"/proc/{process.pid}/limits").read_text()
        assert any(line.split()[-3:-1] == ["0", "0"] for line in limits.splitlines() if "core file" in line)


def test_a_killed_worker_is_replaced_and_nothing_leaks(slow_service: Service) -> None:
    encoder = slow_service.encoder()
    descriptors = encoder.num_fds()
    for _ in range(3):
        victim, before = slow_service.workers()[0], batches(slow_service)
        with ThreadPoolExecutor(2) as pool:
            answers = [pool.submit(post, slow_service, large_request(20)) for _ in range(2)]
            wait_for_work(slow_service, before)
            victim.send_signal(signal.SIGKILL)
            for answer in answers:  # the other worker answers; this one's clients see a closed connection
                with contextlib.suppress(requests.ConnectionError):
                    assert answer.result().status_code == 200
        wait_until(lambda: not _alive(victim), "its end")  # noqa: B023  (called at once)
        wait_until(lambda: len(slow_service.workers()) == 2, "a new worker")
        wait_until(lambda: slow_service.health() == 200, "health")
    assert post(slow_service, large_request(2)).status_code == 200
    wait_until(lambda: encoder.num_fds() <= descriptors + 1, "descriptors to be closed")
    wait_until(lambda: slow_service.metrics()["pathserve_queue_depth"] == 0, "the queue to empty")


def test_callers_of_the_client_do_not_notice_that_workers_are_killed(lasting: Service) -> None:
    truth = probe(tissue()[np.newaxis, :224, 3:227])
    stop = threading.Event()
    killed: list[int] = []

    def call() -> int:
        calls = 0
        with PathserveClient(lasting.url) as client:
            while not stop.is_set() or not calls:
                (found,) = client.embed([Image.of_bytes(encode(tissue()), [(3, 0)] * 6)])
                assert isinstance(found, np.ndarray)
                np.testing.assert_allclose(found, np.repeat(truth, 6, axis=0), atol=TOLERANCE)
                calls += 1
        return calls

    with ThreadPoolExecutor(4) as pool:
        callers = [pool.submit(call) for _ in range(4)]
        for _ in range(3):
            wait_until(lambda: len(lasting.workers()) == 2, "two workers")
            wait_until(lambda: lasting.metrics()["pathserve_queue_depth"] > 0, "work")
            for worker in lasting.workers():
                worker.kill()
                killed.append(worker.pid)
            wait_until(lambda: not set(killed) & {w.pid for w in lasting.workers()}, "other workers")
            wait_until(lambda: lasting.health() == 200, "health")
        stop.set()
        assert all(caller.result(120) for caller in callers)


def _new_health(service: Service) -> int:
    """Ask on a new connection, which any worker may take."""
    return requests.get(f"{service.url}/health", timeout=10).status_code


@pytest.mark.parametrize("spare", [0, 1])
def test_an_encoder_without_descriptors_serves_whom_it_has_and_later_the_others(
    slow_service: Service, spare: int
) -> None:
    """A new worker's connection, or the slab that it sends, finds no descriptor in the encoder."""
    encoder = slow_service.encoder()
    usual = encoder.rlimit(psutil.RLIMIT_NOFILE)
    taken = {int(name) for name in os.listdir(f"/proc/{encoder.pid}/fd")}
    free = [number for number in range(1000) if number not in taken]
    encoder.rlimit(psutil.RLIMIT_NOFILE, (free[spare], usual[1]))
    try:
        slow_service.gunicorn().send_signal(signal.SIGTTIN)  # one worker more
        said = "client connection closed" if spare else "a client cannot be connected"
        wait_until(lambda: said in slow_service.log(), said)
        assert encoder.is_running()
    finally:
        encoder.rlimit(psutil.RLIMIT_NOFILE, usual)
    wait_until(lambda: encoder.num_fds() > len(taken), "the third worker's connection")
    wait_until(lambda: all(_new_health(slow_service) == 200 for _ in range(12)), "health of each worker")
    assert slow_service.encoder().pid == encoder.pid
    assert post(slow_service, large_request(2)).status_code == 200


def test_a_launcher_that_cannot_start_a_process_tries_again(slow_service: Service) -> None:
    """Even at the first death, when it could have wanted to read code that it has not needed before."""
    launcher = slow_service.launcher()
    usual = launcher.rlimit(psutil.RLIMIT_NOFILE)
    launcher.rlimit(psutil.RLIMIT_NOFILE, (3, usual[1]))
    try:
        slow_service.encoder().kill()
        wait_until(lambda: "encoder cannot be started" in slow_service.log(), "the launcher's complaint")
    finally:
        launcher.rlimit(psutil.RLIMIT_NOFILE, usual)
    slow_service.wait_healthy()
    assert post(slow_service, large_request(1)).status_code == 200


def test_a_killed_gunicorn_is_replaced_on_the_same_port(lasting: Service) -> None:
    first = lasting.gunicorn()
    workers = lasting.workers()
    first.send_signal(signal.SIGKILL)
    wait_until(lambda: not any(w.is_running() for w in workers), "its workers to end")
    wait_until(lambda: lasting.health() == 200, "health")
    assert lasting.gunicorn().pid != first.pid
    assert post(lasting, large_request(1)).status_code == 200


def test_when_the_launcher_is_killed_everything_ends(slow_service: Service) -> None:
    everyone = slow_service.processes()
    slow_service.process.kill()
    slow_service.process.wait()
    wait_until(lambda: not any(_alive(p) for p in everyone), "every process to end")


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_health_and_metrics_are_answered_while_every_prediction_turn_is_taken(
    model_folders: ModelFolders,
) -> None:
    environment = {
        "PATHSERVE_MODEL": model_folders["slow"],
        "PATHSERVE_MAX_BATCH": "4",
        "PATHSERVE_THREADS": "8",
        "PATHSERVE_WORKERS": "1",
        "PATHSERVE_ADMISSION_TIMEOUT_S": "0.2",
    }
    with Service(environment) as service, ThreadPoolExecutor(12) as pool:
        service.wait_healthy()
        running = [pool.submit(post, service, large_request(40)) for _ in range(2)]
        wait_for_work(service)
        routes = ("/predict", "/invocations", "/v1/models/slow:predict", "/predict", "/invocations") * 2
        crowd = [pool.submit(post, service, large_request(1), route) for route in routes]
        assert service.health() == 200
        for probe in ("/ping", "/v1/models/slow", "/v1/models", "/"):
            assert service.session.get(f"{service.url}{probe}", timeout=10).status_code == 200
        assert "pathserve_queue_depth" in service.metrics()
        refused = [answer.result() for answer in crowd]
        assert {response.status_code for response in refused} <= {200, 503}
        assert 503 in {response.status_code for response in refused}
        for response in refused:
            if response.status_code == 503:
                assert int(response.headers["Retry-After"]) > 0
        assert [answer.result().status_code for answer in running] == [200, 200]


def test_what_is_queued_for_a_client_that_hangs_up_is_dropped(lasting: Service) -> None:
    before, sent = batches(lasting), lasting.metrics().get("pathserve_batch_size_sum", 0.0)
    body = json.dumps({"instances": [large_request(400)]}).encode()
    with socket.create_connection(("127.0.0.1", lasting.port)) as client:
        head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        client.sendall(head.encode() + body)
        wait_for_work(lasting, before)
    wait_until(
        lambda: any(line.get("outcome") == "client gone" for line in lasting.log_lines()),
        "the line",
    )
    assert lasting.metrics()["pathserve_batch_size_sum"] - sent < 200
    answer = post(lasting, large_request(2))
    assert "result" in answer.json()["predictions"][0]
    wait_until(lambda: lasting.metrics()["pathserve_queue_depth"] == 0, "an empty queue")


def test_a_request_beyond_its_time_is_answered_503(model_folders: ModelFolders) -> None:
    environment = {
        "PATHSERVE_MODEL": model_folders["slow"],
        "PATHSERVE_MAX_BATCH": "2",
        "PATHSERVE_REQUEST_TIMEOUT_S": "0.5",
    }
    with Service(environment) as service:
        service.wait_healthy()
        response = post(service, large_request(100))
        assert response.status_code == 503
        assert "time limit" in response.json()["error"]["description"]
        wait_until(lambda: service.metrics()["pathserve_queue_depth"] == 0, "its patches to be dropped")


def test_a_large_request_is_never_held_whole(model_folders: ModelFolders) -> None:
    """4,000 patches are 602 MB of pixels; the service may grow by a fraction of that."""
    environment = {"PATHSERVE_MODEL": model_folders["probe"], "PATHSERVE_WORKERS": "1"}
    with Service(environment) as service:
        service.wait_healthy()
        image = encode(tissue(2048, 2048), "JPEG", quality=80)
        origins = [(i % 1824, (i * 7) % 1824) for i in range(4000)]
        post(service, instance(image, *origins[:200]))
        before = _memory(service)
        peak, done = [before], threading.Event()

        def watch() -> None:
            while not done.wait(0.05):
                peak.append(_memory(service))

        watcher = threading.Thread(target=watch)
        watcher.start()
        response = post(service, instance(image, *origins))
        done.set()
        watcher.join()
        assert response.status_code == 200
        assert len(response.json()["predictions"][0]["result"]["patch_embeddings"]) == 4000
        assert max(peak) - before < 200e6


def _memory(service: Service) -> int:
    """Return proportional memory of all processes, in bytes."""
    return sum(process.memory_full_info().pss for process in service.processes())


def test_metrics_add_up_over_workers(model_folders: ModelFolders) -> None:
    with Service({"PATHSERVE_MODEL": model_folders["probe"], "PATHSERVE_WORKERS": "3"}) as service:
        service.wait_healthy()
        with ThreadPoolExecutor(6) as pool:
            answers = list(pool.map(lambda _: post(service, large_request(3)), range(24)))
        assert [a.status_code for a in answers] == [200] * 24
        metrics = service.metrics()
        assert metrics['pathserve_requests_total{code="ok",status="200"}'] == 24
        assert metrics["pathserve_patches_total"] == 72
        wait_until(lambda: service.metrics()["pathserve_batch_size_sum"] == 72, "the encoder's count")
        assert metrics['pathserve_stage_seconds_count{stage="decode"}'] == 24


def start_and_fail(environment: dict[str, str]) -> tuple[int, str]:
    run = subprocess.run(
        [sys.executable, "-m", "serving", "serve"],
        env=os.environ | {"AIP_HTTP_PORT": "0"} | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return run.returncode, run.stderr


@pytest.mark.parametrize("kind", ["wrong_size", "no_signature"])
def test_a_wrong_model_stops_the_start_with_one_sentence(model_folders: ModelFolders, kind: str) -> None:
    status, output = start_and_fail({"PATHSERVE_MODEL": model_folders[kind]})
    assert status != 0
    assert [line for line in output.splitlines() if line.startswith("pathserve: The SavedModel")]
    assert "Traceback" not in output


def test_a_model_that_ran_and_is_away_for_a_while_is_tried_again(
    model_folders: ModelFolders, tmp_path: Path
) -> None:
    model, away = tmp_path / "model", tmp_path / "away"
    shutil.copytree(model_folders["probe"], model)
    with Service({"PATHSERVE_MODEL": str(model)}) as service:
        service.wait_healthy()
        model.rename(away)
        service.encoder().kill()
        wait_until(lambda: service.log().count("encoder died") > 2, "the encoder to fail again")
        away.rename(model)
        service.wait_healthy()
        assert post(service, large_request(1)).status_code == 200


def test_a_bad_setting_stops_the_start_with_its_name() -> None:
    status, output = start_and_fail({"PATHSERVE_WORKERS": "many"})
    assert status == 78
    assert "PATHSERVE_WORKERS" in output
    assert "Traceback" not in output


@pytest.mark.parametrize("variable", ["AIP_HTTP_PORT", "SAGEMAKER_BIND_TO_PORT"])
def test_a_port_in_use_stops_the_start_with_a_sentence_and_leaves_nothing(
    tmp_path: Path, variable: str
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        status, output = start_and_fail({variable: port, "TMPDIR": str(tmp_path)})
    assert list(tmp_path.iterdir()) == []
    assert status != 0
    assert f"127.0.0.1:{port} (PATHSERVE_HOST, {variable})" in output
    assert "Traceback" not in output


def test_a_start_that_fails_has_made_no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.mkdtemp", lambda *_, **__: pytest.fail("a folder was made"))
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        Launcher(load_settings({"AIP_HTTP_PORT": taken.getsockname()[1]}))


def test_the_log_is_json_and_says_untrained() -> None:
    with Service({"PATHSERVE_MODEL": "builtin:vit-s16", "PATHSERVE_MAX_BATCH": "2"}) as service:
        service.wait_healthy()
        answer = service.predict(instance(encode(tissue()))).json()
        (ready,) = [line for line in service.log_lines() if line["message"].startswith("encoder ready")]
        assert "UNTRAINED" in ready["message"]
    assert answer["metadata"]["untrained"] is True
    assert "untrained" in answer["model"]
    assert "untrained" in answer["modelDisplayName"]


@pytest.mark.parametrize(
    ("demo", "said"),
    [("demo", {"norm": 5, "IMAGE_ERROR": 1}), ("demo_store", {"norm": 6, "HTTP 200": 1, "HTTP 404": 1})],
)
def test_the_demos_show_what_they_promise_and_leave_nothing_running(
    demo: str, said: dict[str, int], tmp_path: Path
) -> None:
    # What all its processes inherit, decoding helpers included: other tests may run services meanwhile.
    mark = f"/mark-of-{uuid.uuid4().hex}"
    run = subprocess.run(
        [sys.executable, "-m", f"scripts.{demo}"],
        cwd=Path(__file__).parents[2],
        env=os.environ | {"VIRTUAL_ENV": mark, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert run.returncode == 0, run.stderr + run.stdout
    assert {text: run.stdout.count(text) for text in said} == said
    assert [p for p in psutil.process_iter() if _environment(p).get("VIRTUAL_ENV") == mark] == []


def _environment(process: psutil.Process) -> dict[str, str]:
    try:
        return process.environ()
    except psutil.Error:  # it has ended, or is another user's
        return {}
