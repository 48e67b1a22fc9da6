"""Real peers of the slide store: Orthanc in both directions, dcmtk's storescp, another store of ours."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pydicom
import pytest
import requests

from serving.store.access.roles import Role
from tests.support import orthanc
from tests.support.dicom_node import without_dcmtk
from tests.support.orthanc import Orthanc, free_port
from tests.support.service import wait_until
from tests.support.slides import Slide
from tests.support.store_service import StoreService, shareable

needs_orthanc = pytest.mark.skipif(bool(orthanc.missing()), reason=orthanc.missing())


@pytest.fixture(scope="module")
def slide() -> Slide:
    return shareable(sizes=((700, 500), (350, 250)))


@pytest.fixture(scope="module")
def peers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("peers") / "peers.toml"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, peers: Path) -> Iterator[StoreService]:
    peers.write_text("", encoding="utf-8")
    folder = tmp_path_factory.mktemp("slides") / "store"
    with StoreService(folder, PATHSERVE_STORE_PEERS_FILE=str(peers)) as store:
        yield store.wait_healthy()


@pytest.fixture(scope="module")
def study(store: StoreService, slide: Slide) -> str:
    return store.store(slide)[0]["study"]


def write(peers: Path, name: str, **keys: object) -> None:
    lines = [f"{key} = {value!r}".replace("'", '"') for key, value in keys.items()]
    peers.write_text("\n".join([f"[{name}]", *lines, ""]), encoding="utf-8")


@contextmanager
def storescp(folder: Path, *options: str) -> Iterator[int]:
    """Run dcmtk's receiver on a port of 127.0.0.1."""
    folder.mkdir()
    port = free_port()
    process = subprocess.Popen(
        ["storescp", "-aet", "DCMTK", "-od", str(folder), "+xa", "+B", *options, str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: _listens(port), "storescp", 60)
        yield port
    finally:
        process.terminate()
        process.wait(30)


def _listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


@needs_orthanc
def test_a_study_goes_to_orthanc_by_stow_once_and_is_verified_byte_by_byte(
    store: StoreService, peers: Path, study: str, tmp_path: Path
) -> None:
    with Orthanc(tmp_path) as archive:
        write(peers, "orthanc", kind="dicomweb", url=archive.url)
        first = store.command("send", "orthanc", study)
        assert first.returncode == 0, first.stderr + first.stdout
        assert "2 instances sent" in first.stdout
        assert "2 are the same" in first.stdout
        second = store.command("send", "orthanc", study)
        assert "0 instances sent (0.0 MB), 2 were sent before" in second.stdout
        # What is missing there is found out, and sent by the next run.
        instances = requests.get(f"http://127.0.0.1:{archive.port}/instances", timeout=30).json()
        requests.delete(f"http://127.0.0.1:{archive.port}/instances/{instances[0]}", timeout=30)
        lost = store.command("send", "orthanc", study)
        assert (lost.returncode, "1 are missing" in lost.stdout) == (1, True)
        mended = store.command("send", "orthanc", study)
        assert (mended.returncode, "1 instances sent" in mended.stdout) == (0, True)
    trail = store.command("audit", "--event", "110104", "--who", "command").stdout
    assert trail.count('"peer":"orthanc"') == 4
    away = store.command("send", "orthanc", study, "--again")
    assert away.returncode == 1
    assert "orthanc cannot be reached" in away.stderr


@needs_orthanc
def test_a_study_is_pulled_from_orthancs_dicomweb_through_the_pipeline(
    store: StoreService, peers: Path, tmp_path: Path
) -> None:
    fresh = shareable(sizes=((600, 400), (300, 200)))
    with Orthanc(tmp_path) as archive:
        archive.store(fresh)
        write(peers, "orthanc", kind="dicomweb", url=archive.url)
        first = store.command("pull", "orthanc", fresh.study)
        assert first.returncode == 0, first.stderr + first.stdout
        assert first.stdout == "2 instances stored, 0 were here, 0 refused\n"
        assert store.command("pull", "orthanc", fresh.study).stdout.startswith("0 instances stored, 2 were")
        nothing = store.command("pull", "orthanc", "1.2.3")
        assert nothing.returncode == 1
    told = store.command("mapping", "--all").stdout
    (study,) = [line.split(",")[0] for line in told.splitlines() if line.endswith(f",uid,{fresh.study}")]
    assert store.ask("GET", f"/dicomweb/studies/{study}/instances").json()


@needs_orthanc
def test_a_study_goes_to_orthanc_by_c_store(
    store: StoreService, peers: Path, study: str, tmp_path: Path
) -> None:
    port = free_port()
    changes = {"DicomServerEnabled": True, "DicomPort": port, "DicomAet": "ORTHANC"}
    with Orthanc(tmp_path, changes) as archive:
        write(peers, "node", kind="dicom", host="127.0.0.1", port=port, ae_title="ORTHANC")
        sent = store.command("send", "node", study)
        assert sent.returncode == 0, sent.stderr + sent.stdout
        assert "2 instances sent" in sent.stdout
        instances = requests.get(f"http://127.0.0.1:{archive.port}/instances", timeout=30).json()
        assert len(instances) == 2


@without_dcmtk
def test_dcmtks_receiver_gets_what_is_stored_and_nothing_more(
    store: StoreService, peers: Path, study: str, slide: Slide, tmp_path: Path
) -> None:
    with storescp(tmp_path / "received") as port:
        write(peers, "dcmtk", kind="dicom", host="127.0.0.1", port=port, ae_title="DCMTK")
        sent = store.command("send", "dcmtk", study, "--again")
        assert sent.returncode == 0, sent.stderr + sent.stdout
    received = [pydicom.dcmread(path) for path in (tmp_path / "received").iterdir()]
    assert {one.StudyInstanceUID for one in received} == {study}
    assert len(received) == 2
    for data in (path.read_bytes() for path in (tmp_path / "received").iterdir()):
        assert slide.study.encode() not in data


@without_dcmtk
def test_a_node_that_refuses_is_said(store: StoreService, peers: Path, study: str, tmp_path: Path) -> None:
    with storescp(tmp_path / "refused", "--refuse") as port:
        write(peers, "dcmtk", kind="dicom", host="127.0.0.1", port=port, ae_title="DCMTK")
        refused = store.command("send", "dcmtk", study, "--again")
        assert refused.returncode == 1
        assert "rejected the association" in refused.stderr


def test_another_store_of_ours_gives_new_uids_which_are_looked_for_there(
    store: StoreService, peers: Path, study: str, tmp_path: Path
) -> None:
    with StoreService(tmp_path / "other") as other:
        other.wait_healthy()
        (tmp_path / "token").write_text(other.token_of(Role.WRITE, Role.READ), encoding="ascii")
        write(peers, "other", kind="dicomweb", url=other.dicomweb, token_file=str(tmp_path / "token"))
        sent = store.command("send", "other", study)
        assert sent.returncode == 0, sent.stderr + sent.stdout
        assert "0 are the same, 2 are there, 0 have other bytes, 0 are missing" in sent.stdout
        rows = other.ask("GET", "/dicomweb/studies").json()
        assert len(rows) == 1
        assert rows[0]["0020000D"]["Value"] != [study]
        (tmp_path / "token").write_text("wrong", encoding="ascii")
        refused = store.command("send", "other", study, "--again")
        assert "it wants a token" in refused.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[x", "is not TOML"),
        ('[x]\nkind = "ftp"', "kind must be"),
        ('[x]\nkind = "dicomweb"\nurl = "http://10.0.0.1/dicomweb"', "plain http to another machine"),
        ('[x]\nkind = "dicomweb"\nurl = "https://me:secret@host/x"', "without a user"),
        (
            '[x]\nkind = "dicomweb"\nurl = "https://host"\ntoken_file = "/nowhere"',
            "cannot be read",
        ),
        ('[x]\nkind = "dicomweb"\nurl = "https://host"\nuser = "me"', "user and password_file"),
        ('[x]\nkind = "dicom"\nhost = "h"\nport = 104\nae_title = "MUCH TOO LONG A TITLE"', "AE title"),
        ('[x]\nkind = "dicom"\nhost = "h"\nport = 0\nae_title = "A"', "port must be"),
        ('[y]\nkind = "dicom"\nhost = "h"\nport = 104\nae_title = "A"', "no peer 'x'; there are y"),
    ],
)
def test_a_file_of_peers_that_cannot_be_used_is_said(
    peers: Path, tmp_path: Path, text: str, said: str
) -> None:
    from serving.cli.store.exchange import _peer
    from serving.config.settings import SettingsError, load_settings

    path = tmp_path / "peers.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match=said):
        _peer("x", load_settings({"PATHSERVE_STORE_PEERS_FILE": str(path)}, {}))
