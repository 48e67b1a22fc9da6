"""Pulling from a Slicebox, sending that breaks off, exports, and digests of data sets."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Self
from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import SecretStr

from serving.store.access.audit import Audit
from serving.store.index.query import Stored
from serving.store.ingest.outcome import Door, Origin
from serving.store.peers.data_set import DataSetDigest, data_set_digest
from serving.store.peers.export import ExportFailed, export
from serving.store.peers.http import PeerFailed, Web
from serving.store.peers.ledger import Ledger
from serving.store.peers.peer import WebPeer
from serving.store.peers.pulling import Pulling
from serving.store.peers.sender import Verified, name_of
from serving.store.peers.sending import Sending
from serving.store.peers.slicebox import SliceboxSource
from serving.store.peers.source import Remote
from serving.store.peers.stow import StowSender
from tests.support.loopback import Handler, Loopback
from tests.support.slides import StoredInstance
from tests.support.store_ingest import OpenStore
from tests.support.store_service import shareable

STUDY = "1.2.826.0.1"


class Slicebox:
    """A stand-in for a Slicebox's REST API with one series; images are numbered from 100.

    Attributes
    ----------
    breaks:
        Numbers of images whose next answer is cut off in the middle.
    """

    def __init__(self, instances: list[StoredInstance], page: int = 20) -> None:
        box = self
        self.instances = {100 + number: instance for number, instance in enumerate(instances)}
        self.breaks: set[int] = set()
        self.fetched: list[int] = []
        self.posted: list[dict[str, object]] = []

        class Rest(Handler):
            def respond(self) -> None:
                assert self.headers["Authorization"] == "Basic cmVhZGVyOnNlY3JldA=="
                parts = urlsplit(self.path)
                query = {name: int(values[0]) for name, values in parse_qs(parts.query).items()}
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if self.command == "POST":
                    box.posted.append(json.loads(body))
                    self.json([{"id": 7}])
                elif parts.path == "/api/metadata/series":
                    self.json([{"id": 7}])
                elif parts.path == "/api/metadata/images":
                    begin = query["startindex"]
                    numbers = sorted(box.instances)[begin : begin + min(query["count"], page)]
                    self.json([box.row(number) for number in numbers])
                else:
                    self.image(int(parts.path.rsplit("/", 1)[1]))

            def image(self, number: int) -> None:
                box.fetched.append(number)
                data = box.instances[number].file()
                if number in box.breaks:
                    box.breaks.discard(number)
                    self.answer(200, [("Content-Length", str(len(data)))], data[: len(data) // 2])
                else:
                    self.answer(200, [("Content-Type", "application/octet-stream")], data)

            def json(self, rows: object) -> None:
                self.answer(200, [("Content-Type", "application/json")], json.dumps(rows).encode())

        self.server = Loopback(Rest)

    def row(self, number: int) -> dict[str, object]:
        return {"id": number, "seriesId": 7, "sopInstanceUID": {"value": self.instances[number].uid}}

    @property
    def peer(self) -> WebPeer:
        return WebPeer("box", "slicebox", self.server.origin, user="reader", password=SecretStr("secret"))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[OpenStore]:
    store = OpenStore(tmp_path / "store")
    yield store
    store.close()


def many(count: int) -> list[StoredInstance]:
    """Return instances of one series."""
    sizes = tuple((64 + 8 * number, 64) for number in range(count))
    return shareable(sizes=sizes).instances


def pulling(store: OpenStore, web: Web, known: set[str]) -> Pulling:
    def has(remote: Remote) -> bool:
        return remote.sop in known

    return Pulling(SliceboxSource(web), store.ingest, Origin(Door.PULL, "pull:box"), has, lambda _: None)


def test_a_series_of_25_images_comes_from_a_slicebox_over_pages_and_breaks(store: OpenStore) -> None:
    instances = many(25)
    box = Slicebox(instances)
    box.breaks = {103, 120}
    try:
        with Web(box.peer) as web:
            pulled = pulling(store, web, set()).pull(STUDY, "1.2.3")
            assert (pulled.stored, pulled.skipped, pulled.is_whole) == (25, 0, True)
            assert len(box.fetched) == 27
            assert len(store.indexed()) == 25
            assert store.arrivals() == []
            again = pulling(store, web, {instance.uid for instance in instances}).pull(STUDY)
            assert (again.stored, again.skipped) == (0, 25)
            assert len(box.fetched) == 27
    finally:
        box.server.end()
    names = [query["queryProperties"][0]["propertyName"] for query in box.posted]  # type: ignore[index]
    assert names == ["seriesInstanceUID", "studyInstanceUID"]


def test_a_pull_that_breaks_off_for_good_says_so_and_keeps_what_is_whole(store: OpenStore) -> None:
    box = Slicebox(many(3))

    class Stubborn(set[int]):
        def discard(self, element: object) -> None:
            pass

    box.breaks = Stubborn({101})
    try:
        with Web(box.peer) as web:
            pulled = pulling(store, web, set()).pull(STUDY, "1.2.3")
    finally:
        box.server.end()
    assert pulled.stored == 1
    assert not pulled.is_whole
    assert pulled.failure
    assert box.fetched.count(101) == 4
    assert store.arrivals() == []


class Flaky:
    """Sends to nobody: fails as told, and keeps what it was given."""

    def __init__(self, *failures: PeerFailed) -> None:
        self.failures = list(failures)
        self.has: dict[str, Verified] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def send(self, stored: Stored, path: Path) -> str:
        if self.failures:
            raise self.failures.pop(0)
        assert path.exists()
        self.has[stored.sop] = Verified.SAME
        return name_of(stored)

    def verify(self, stored: Stored, path: Path, became: str) -> Verified:
        assert became == name_of(stored)
        return self.has.get(stored.sop, Verified.MISSING)


def stored_of(store: OpenStore, count: int) -> list[Stored]:
    for instance in many(count):
        store.add(instance.file())
    (study,) = store.index.studies()
    return store.index.instances(study)


def test_a_transfer_that_broke_off_goes_on_where_it_ended(store: OpenStore, tmp_path: Path) -> None:
    instances, ledger = stored_of(store, 3), Ledger(tmp_path / "sent.sqlite")
    audit = Audit(tmp_path / "audit")
    waits: list[float] = []

    def sending(flaky: Flaky) -> Sending:
        return Sending(store.folder, flaky, ledger, audit, "peer", "tests", waits.append)

    passing, lasting = PeerFailed("busy", may_pass=True), PeerFailed("refused")
    flaky = Flaky(passing, passing)
    first = sending(flaky).send(instances[:1])
    assert (first.sent, first.is_whole, len(waits)) == (1, True, 2)
    broken = sending(Flaky(lasting)).send(instances)
    assert (broken.sent, broken.skipped, broken.failure) == (0, 1, "refused")
    second = Flaky()
    second.has = dict(flaky.has)
    last = sending(second).send(instances)
    assert (last.sent, last.skipped, last.is_whole) == (2, 1, True)
    del second.has[instances[0].sop]
    assert sending(second).send(instances).verified[Verified.MISSING] == 1
    assert sending(second).send(instances).sent == 1
    assert [row["outcome"] for row in audit.rows()] == ["success", "failed", "success", "failed", "success"]


def test_an_instance_that_is_refused_keeps_none_of_the_others_back(store: OpenStore, tmp_path: Path) -> None:
    instances, audit = stored_of(store, 3), Audit(tmp_path / "audit")
    ledger, peer = Ledger(tmp_path / "sent.sqlite"), Flaky(PeerFailed("too odd", is_of_instance=True))
    transfer = Sending(store.folder, peer, ledger, audit, "peer", "tests").send(instances)
    assert (transfer.sent, transfer.is_whole, transfer.failure) == (2, False, "too odd")
    assert (transfer.verified[Verified.SAME], transfer.verified[Verified.MISSING]) == (2, 1)
    assert ledger.became("peer", instances[0]) is None
    assert [row["outcome"] for row in audit.rows()] == ["failed"]


def test_what_is_deleted_while_it_is_sent_ends_the_transfer_and_is_said(
    store: OpenStore, tmp_path: Path
) -> None:
    class Reading(Flaky):
        def send(self, stored: Stored, path: Path) -> str:
            path.read_bytes()
            return super().send(stored, path)

    instances, audit = stored_of(store, 2), Audit(tmp_path / "audit")
    (store.folder / instances[1].path).unlink()
    sending = Sending(store.folder, Reading(), Ledger(tmp_path / "sent.sqlite"), audit, "peer", "tests")
    transfer = sending.send(instances)
    assert (transfer.sent, transfer.is_whole) == (1, False)
    assert "deleted here" in transfer.failure
    assert [row["outcome"] for row in audit.rows()] == ["failed"]


@pytest.mark.parametrize(("status", "is_missing"), [(404, True), (410, True), (401, False), (403, False)])
def test_who_may_not_look_for_what_was_sent_does_not_call_it_missing(
    store: OpenStore, status: int, is_missing: bool
) -> None:
    class Silent(Handler):
        def respond(self) -> None:
            self.answer(status, [], b"")

    (stored,) = stored_of(store, 1)
    server = Loopback(Silent)
    try:
        with StowSender(WebPeer("x", "dicomweb", server.origin)) as sender:
            if is_missing:
                found = sender.verify(stored, store.folder / stored.path, name_of(stored))
                assert found is Verified.MISSING
            else:
                with pytest.raises(PeerFailed, match=f"HTTP {status}"):
                    sender.verify(stored, store.folder / stored.path, name_of(stored))
    finally:
        server.end()


def test_an_export_is_whole_or_not_there_and_can_be_checked(store: OpenStore, tmp_path: Path) -> None:
    instances = stored_of(store, 2)
    folder, archive = tmp_path / "out", tmp_path / "out.zip"
    assert export(store.folder, instances, folder).instances == 2
    export(store.folder, instances, archive)
    with zipfile.ZipFile(archive) as opened:
        names = opened.namelist()
        listed = opened.read("SHA256SUMS").decode().splitlines()
        for line in listed:
            digest, name = line.split("  ")
            data = (folder / name).read_bytes()
            assert hashlib.sha256(data).hexdigest() == digest
            assert opened.read(name) == data
    assert len(names) == 3
    with pytest.raises(ExportFailed, match="exists"):
        export(store.folder, instances, folder)
    path = store.folder / instances[1].path
    path.write_bytes(path.read_bytes()[:-2] + b"xx")
    with pytest.raises(ExportFailed, match="damaged"):
        export(store.folder, instances, tmp_path / "new")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "out.zip", "store"]


@pytest.mark.parametrize("step", [1, 7, 131, 133, 145, 1 << 20])
def test_the_digest_of_a_data_set_is_the_same_under_another_file_meta_group(
    tmp_path: Path, step: int
) -> None:
    data = many(1)[0].file()
    length = int.from_bytes(data[140:144], "little")
    body = data[144 + length :]
    other = bytes(128) + b"DICM\x02\x00\x00\x00UL\x04\x00\x00\x00\x00\x00" + body
    digest = DataSetDigest()
    for at in range(0, len(other), step):
        digest.add(other[at : at + step])
    path = tmp_path / "x.dcm"
    path.write_bytes(data)
    assert digest.value == data_set_digest(path) == hashlib.sha256(body).hexdigest()
