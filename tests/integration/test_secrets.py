"""A planted token, image and patient are searched for in everything that the service leaves behind."""

from __future__ import annotations

import functools
import socket
from pathlib import Path

import psutil

from tests.conftest import ModelFolders
from tests.support.asking import ask
from tests.support.client_states import client_image, patches_state, slide_state
from tests.support.collector import Collector
from tests.support.service import Service, wait_until
from tests.support.slides import Slide, pyramid
from tests.support.store import Answer, Request, Store
from tests.support.tissue import base64_text, encode, instance, tissue

TOKEN = "planted-token-5f1c0a"
PATIENT = b"Planted"
IMAGE = encode(tissue()[:224, :224])


def test_nothing_planted_is_found_in_logs_metrics_errors_files_or_spans(
    model_folders: ModelFolders, tmp_path: Path
) -> None:
    environment = {
        "PATHSERVE_MODEL": model_folders["poisonable"],
        "PATHSERVE_LOG_LEVEL": "DEBUG",
        "PATHSERVE_CACHE_DIR": str(tmp_path / "cache"),
        "PATHSERVE_STORE_TIMEOUT_S": "3",
        "TMPDIR": str(tmp_path),
        "STORAGE_EMULATOR_HOST": "http://127.0.0.1:9",
        "PATHSERVE_TRACES": "1",
    }
    slide = pyramid("JPEG", [(500, 400)])
    damaged = pyramid("JPEG", [(300, 300)])
    damaged.instances[0].frames[0] = damaged.instances[0].frames[0][:200]
    with (
        Collector() as collector,
        Service(environment | {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}) as service,
        Store(slide, damaged) as store,
    ):
        service.wait_healthy()
        answers = _every_error_path(service, store, slide, damaged)
        assert len({code for answer in answers for code in _codes(answer)}) >= 12, answers
        _kill_encoder_under_a_request(service, store, slide)
        answers.append(service.session.get(f"{service.url}/metrics", timeout=10).text)
        left = [service.log().encode(), *(answer.encode() for answer in answers)]
        folders = (tmp_path, Path(service.encoder().environ()["TMPDIR"]))
        files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
        assert any(path.suffix == ".db" for path in files), (
            "the folders that are searched are those that are used"
        )
        left += [path.read_bytes() for path in files]
        assert service.stop() == 0
        assert len(collector.roots(len(answers) - 3)) >= 20, "a span of each request that was one"
        left += [*collector.bodies, repr(collector.headers).encode()]
    left += [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    text = base64_text(IMAGE)
    planted = [
        TOKEN.encode(),
        PATIENT,
        IMAGE[60:120],
        text[80:140].encode(),
        base64_text(TOKEN.encode()).encode(),
    ]
    for secret in planted:
        found = [data[max(0, data.find(secret) - 200) :][:400] for data in left if secret in data]
        assert not found, (secret, found[0][150:])


def _fixed(answer: Answer, _: Request) -> Answer:
    return answer


def _every_error_path(service: Service, store: Store, slide: Slide, damaged: Slide) -> list[str]:
    level = slide.instances[0].uid
    good = ask(store, slide, [level], token=TOKEN)
    state = slide_state(store, slide)
    answers = [service.predict(good).text]
    for status in (401, 403, 404, 429, 500):
        store.behaviour.override = functools.partial(_fixed, (status, {}, TOKEN.encode() + PATIENT))
        answers.append(service.predict(ask(store, slide, [level], token=f"{TOKEN}{status}")).text)
    for body in (b"", b"[{", b"[" * 99, b'[{"00100010": {"Value": ["Planted^Patient"]}}]'):
        store.behaviour.override = lambda _, body=body: (
            200,
            {"Content-Type": "application/dicom+json"},
            body,
        )
        answers.append(service.predict(ask(store, slide, [level], token=f"{TOKEN}{len(body)}")).text)
    store.behaviour.override = None
    bad_state = state | {"slide_path": {"study_uid": TOKEN, "series_uid": "Planted"}}
    requests: list[object] = [
        ask(store, damaged, [damaged.instances[0].uid], token=TOKEN),
        ask(store, slide, ["1.2.3"], token=TOKEN),
        ask(store, slide, [level], (9999, 0), token=TOKEN),
        ask(store, slide, [level], token=TOKEN, path=f"https://{TOKEN}@host/studies/1/series/2"),
        ask(store, slide, [level], token=TOKEN, path=f"ftp://host/{TOKEN}"),
        ask(store, slide, [level], token=TOKEN, ez_wsi_state=state),
        ask(store, slide, [level], token=TOKEN, ez_wsi_state=bad_state),
        ask(store, slide, [level], token=f"two words {TOKEN}"),
        instance(IMAGE),
        instance(IMAGE[:5000]),
        instance(base64_text(IMAGE)[:-7]),
        instance(IMAGE, (500, 0)),
        instance(IMAGE) | {"bearer_token": TOKEN},
        instance(IMAGE, extensions={"image_dimensions": {"width_px": 99_999, "height_px": 1}}),
        instance(IMAGE, extensions={"transform_imaging_to_icc_profile": TOKEN}),
        instance(IMAGE) | {"patch_coordinates": [{"x_origin": TOKEN, "y_origin": base64_text(IMAGE)}]},
        {
            "image_file_uri": f"s3://{TOKEN}",
            "bearer_token": TOKEN,
            "patch_coordinates": [{"x_origin": 0, "y_origin": 0}],
        },
        client_image(patches_state(tissue()[:224, :224], tissue()[:224, :224])),
        client_image({"image": base64_text(IMAGE)[:-7]}),
        TOKEN,
    ]
    answers += [service.predict(asked).text for asked in requests]
    answers += [service.predict(*requests).text]
    for raw in (b'{"instances": "' + TOKEN.encode() + b'"}', b"{" + base64_text(IMAGE).encode()):
        answers.append(service.session.post(f"{service.url}/predict", data=raw, timeout=60).text)
    answers.append(service.session.get(f"{service.url}/{TOKEN}", timeout=10).text)
    with socket.create_connection(("127.0.0.1", service.port), 10) as sock:
        sock.sendall(b"POST /predict HTTP/9.9\r\nAuthorization: Bearer " + TOKEN.encode() + b"\r\n\r\n")
        answers.append(sock.recv(4096).decode())
    return answers


def _kill_encoder_under_a_request(service: Service, store: Store, slide: Slide) -> None:
    encoder: psutil.Process = service.encoder()
    encoder.kill()
    service.predict(ask(store, slide, [slide.instances[0].uid], token=TOKEN))
    wait_until(lambda: service.health() == 200, "another encoder", 90)


def _codes(answer: str) -> list[str]:
    from serving.errors import TABLE

    return [code for code in TABLE if f'"{code}"' in answer]
