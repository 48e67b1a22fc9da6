"""The planted slide through every door: nothing planted is left, and the store has the same each time."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.support.dicom_node import without_dcmtk
from tests.support.orthanc import Orthanc, missing
from tests.support.planted import PlantedSlide, planted_slide
from tests.support.service import wait_until
from tests.support.store_ingest import files_in
from tests.support.store_service import STOW, StoreService, multipart, shareable

TITLE, PEER, FINDER = "SLIDES", "SCANNER", "VIEWER"


class Started:
    """A store with all its doors open, and what came through one of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.watched = folder / "watched"
        self.watched.mkdir(parents=True)
        self.service = StoreService(
            folder / "store",
            PATHSERVE_STORE_WATCH=str(self.watched),
            PATHSERVE_STORE_WATCH_QUIET_S="0.5",
            PATHSERVE_STORE_WATCH_MODE="move",
            PATHSERVE_STORE_DIMSE_PORT="0",
            PATHSERVE_STORE_AE_TITLE=TITLE,
            PATHSERVE_STORE_AE_PEERS=f"{PEER},ORTHANC",
            PATHSERVE_STORE_AE_FINDERS=FINDER,
        )
        wait_until(lambda: self.service.health() == 200, "the store", 120)

    def stored(self) -> dict[str, bytes]:
        """The files of instances by their paths."""
        root = self.service.folder / "instances"
        return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*.dcm")}

    def arrivals(self) -> list[str]:
        """The files that are on their way."""
        names = files_in(self.service.folder / "incoming", self.service.folder)
        return [name for name in names if not name.endswith(".lock")]

    def studies(self) -> list[str]:
        answer = self.service.ask("GET", "/dicomweb/studies", headers={"Accept": "application/dicom+json"})
        return [row["0020000D"]["Value"][0] for row in answer.json()] if answer.status_code == 200 else []


@pytest.fixture(scope="module")
def planted() -> PlantedSlide:
    return planted_slide()


@pytest.fixture(scope="module")
def file(planted: PlantedSlide, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("planted") / "KOWALSKI^ANNA 1954.dcm"
    path.write_bytes(planted.files[0])
    return path


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    started = Started(tmp_path_factory.mktemp("doors"))
    with started.service:
        yield started


def by_stow(store: Started, file: Path) -> None:
    answer = store.service.ask("POST", "/dicomweb/studies", data=multipart(file.read_bytes()), headers=STOW)
    assert answer.status_code == 202, answer.text
    (item,) = answer.json()["00081199"]["Value"]
    assert item["00081196"]["Value"] == [0xB000]


def by_c_store(store: Started, file: Path) -> None:
    command = ["storescu", "-R", "-xy", "-v", "-aec", TITLE, "-aet", PEER, "127.0.0.1"]
    command += [str(store.service.dimse_port()), str(file)]
    said = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert "Coercion" in said.stdout + said.stderr


def by_watching(store: Started, file: Path) -> None:
    (store.watched / "2024" / "ANNA").mkdir(parents=True)
    shutil.copy(file, store.watched / "2024" / "ANNA" / file.name)
    wait_until(lambda: not list(store.watched.rglob("*.dcm")), "the file to be taken in", 120)


def by_command(store: Started, file: Path) -> None:
    run = store.service.command("add", str(file))
    assert run.returncode == 0, run.stderr


DOORS = {"stow": by_stow, "c-store": by_c_store, "watch": by_watching, "add": by_command}


@pytest.mark.timeout(600)
def test_each_door_gives_the_same_file_of_which_nothing_planted_is_left(
    store: Started, planted: PlantedSlide, file: Path
) -> None:
    kept = None
    for name, door in DOORS.items():
        door(store, file)
        stored = store.stored()
        assert len(stored) == 1, name
        assert kept in (None, stored), name
        kept = stored
    assert kept is not None
    rows = [row for row in store.service.command("audit").stdout.splitlines() if "110107" in row]
    assert len(rows) == len(DOORS)
    secrets = ("deid.key", "mapping.sqlite", "mapping.sqlite-wal", "mapping.sqlite-shm")
    for path in store.service.folder.rglob("*"):
        if path.is_file() and path.name not in secrets:
            assert planted.words.left_in(path.read_bytes()) == [], path
            assert planted.words.left_in(str(path)) == []
            assert b"ANNA" not in path.read_bytes(), path
    assert planted.words.left_in(store.service.log()) == []
    assert "ANNA" not in store.service.log()
    (study,) = store.studies()
    store.service.ask("DELETE", f"/dicomweb/studies/{study}")


@pytest.mark.parametrize("chunked", [False, True])
def test_a_stow_that_is_cut_midway_leaves_nothing(store: Started, chunked: bool) -> None:
    before = store.stored()
    body = multipart(shareable(sizes=((2000, 1500),)).instances[0].file())
    length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"
    head = f"POST /dicomweb/studies HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer {store.service.token}\r\n"
    head += f"Content-Type: {STOW['Content-Type']}\r\n{length}\r\n\r\n"
    half = body[: len(body) // 2]
    with socket.create_connection(("127.0.0.1", store.service.port), 60) as client:
        client.sendall(head.encode() + (f"{len(half):x}\r\n".encode() + half + b"\r\n" if chunked else half))
        wait_until(lambda: store.arrivals() != [], "a file on its way", 60)
    wait_until(lambda: store.arrivals() == [], "an empty folder", 60)
    assert store.stored() == before


@pytest.mark.skipif(bool(missing()), reason=missing())
def test_orthanc_pushes_by_c_store_and_by_stow(store: Started, tmp_path: Path) -> None:
    web = {
        "Url": f"{store.service.dicomweb}/",
        "HttpHeaders": {"Authorization": f"Bearer {store.service.token}"},
    }
    changes = {
        "DicomAet": "ORTHANC",
        "DicomModalities": {"store": [TITLE, "127.0.0.1", store.service.dimse_port()]},
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "Servers": {"store": web}},
    }
    slides = [shareable(), shareable()]
    with Orthanc(tmp_path, changes) as orthanc:
        for slide in slides:
            orthanc.store(slide)
        ids = requests.get(f"{orthanc.rest}/instances", timeout=60).json()
        sent = requests.post(f"{orthanc.rest}/modalities/store/store", json=ids, timeout=120)
        assert sent.status_code == 200, sent.text
        assert len(store.studies()) == 2
        before = store.stored()
        sent = requests.post(f"{orthanc.url}/servers/store/stow", json={"Resources": ids}, timeout=120)
        assert sent.status_code == 200, sent.text
    assert store.stored() == before, "the same by either way"


@without_dcmtk
@pytest.mark.parametrize(
    ("calling", "said"),
    [(FINDER, "Received Final Find Response (Success)"), (PEER, "No Acceptable Presentation Contexts")],
)
def test_who_is_named_by_the_setting_may_query(store: Started, calling: str, said: str) -> None:
    command = ["findscu", "-S", "-v", "-aec", TITLE, "-aet", calling, "127.0.0.1"]
    command += [str(store.service.dimse_port()), "-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert said in done.stdout + done.stderr
