"""Scans are fetched from presigned links: whole, once, within bounds, and from nowhere else."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dicom_io.waiting import Cancellation, Cancelled
from serving.config.settings import SettingsError, load_settings
from serving.webhooks.techcyte.download import fetch_scan, limits_of
from serving.webhooks.techcyte.faults import ScanError
from serving.webhooks.techcyte.links import named_hosts
from serving.webhooks.techcyte.scratch import Scratch, TaskFolder
from tests.support.presigned import SIGNATURE, Act, Bucket, scan_of

TIFF = b"II*\0" + bytes(range(256)) * 800
DICOM = bytes(128) + b"DICM" + bytes(500)
HALF = len(TIFF) // 2


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    with Bucket(tmp_path_factory.mktemp("bucket")) as running:
        yield running


@pytest.fixture(autouse=True)
def _trusted(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(bucket.certificate))
    bucket.requests.clear()


class Fetching:
    """Fetches scans into a task's folder, as a job does."""

    def __init__(self, root: Path, bucket: Bucket) -> None:
        self._root = root
        self.named = {"PATHSERVE_TECHCYTE_DOWNLOAD_HOSTS": bucket.host}
        self.waits = Cancellation(time.monotonic() + 60)

    def __call__(self, *links: str, **settings: object) -> bytes | list[bytes]:
        """Return the bytes of what was fetched: of a file, or of those of a folder."""
        given = {"PATHSERVE_TECHCYTE_FOLDER": self._root, **self.named, **settings}
        loaded = load_settings({"PATHSERVE_STORE_TIMEOUT_S": 20, **given}, {})
        with Scratch(loaded).task() as folder:
            self.folder: TaskFolder = folder
            path = fetch_scan(scan_of(*links), folder, limits_of(loaded), self.waits)
            if path.is_file():
                return path.read_bytes()
            return [file.read_bytes() for file in sorted(path.iterdir()) if file.is_file()]

    def refusal(self, *links: str, **settings: object) -> str:
        """Return why nothing was fetched; it never says more of a link than its host."""
        with pytest.raises(ScanError) as caught:
            self(*links, **settings)
        assert not self._root.exists() or not [*self._root.glob("pathserve-task-*")], "nothing is left"
        told = f"{caught.value!r} {caught.value.__cause__!r}"
        assert SIGNATURE not in told
        assert "/slide" not in told
        return str(caught.value)


@pytest.fixture
def fetch(tmp_path: Path, bucket: Bucket) -> Fetching:
    return Fetching(tmp_path / "scratch", bucket)


def test_a_file_is_fetched_whole_and_nothing_of_it_is_left(
    bucket: Bucket, fetch: Fetching, tmp_path: Path
) -> None:
    assert fetch(bucket.put("/slide%20one.svs", TIFF)) == TIFF
    assert [path for path, _ in bucket.requests] == ["/slide%20one.svs"], "as it was signed"
    assert sorted(path.name for path in (tmp_path / "scratch").iterdir()) == ["lock"]


def test_the_files_of_a_dicom_series_lie_in_one_folder_under_names_of_our_own(
    bucket: Bucket, fetch: Fetching
) -> None:
    links = [bucket.put(f"/slide/Doe,Jane-{number}.dcm", DICOM + bytes([number])) for number in range(3)]
    assert fetch(*links) == [DICOM + bytes([number]) for number in range(3)]


def test_two_scans_of_a_task_do_not_share_a_folder(bucket: Bucket, tmp_path: Path) -> None:
    settings = load_settings(
        {"PATHSERVE_TECHCYTE_FOLDER": tmp_path, "PATHSERVE_TECHCYTE_DOWNLOAD_HOSTS": bucket.host}, {}
    )
    link = bucket.put("/slide.svs", TIFF)
    waits = Cancellation(time.monotonic() + 60)
    with Scratch(settings).task() as one, Scratch(settings).task() as other:
        paths = [
            fetch_scan(scan_of(link, name=name), folder, limits_of(settings), waits)
            for folder in (one, other)
            for name in ("scan-1", "scan-2")
        ]
        assert len(set(paths)) == 4
        assert all(path.read_bytes() == TIFF for path in paths)


def test_a_connection_that_breaks_is_resumed_where_it_broke(bucket: Bucket, fetch: Fetching) -> None:
    assert fetch(bucket.put("/slide.svs", TIFF, Act(cut=HALF))) == TIFF
    (_, first), (_, second) = bucket.requests
    assert "range" not in first
    start = int(second["range"].removeprefix("bytes=").removesuffix("-"))
    assert 0 < start <= HALF
    assert second["if-range"] == '"v1"'


def test_bytes_of_a_file_that_has_changed_meanwhile_are_not_glued_on(bucket: Bucket, fetch: Fetching) -> None:
    """A server whose file has another tag by then answers with the whole of it."""
    newer = b"MM\0*" + bytes(len(TIFF))
    link = bucket.put("/slide.svs", TIFF, Act(cut=HALF), Act(data=newer, takes_range=False))
    assert fetch(link) == newer


@pytest.mark.parametrize(
    "headers",
    [
        {"ETag": '"v2"'},
        {"ETag": None},
        {"Content-Range": f"bytes 0-{len(TIFF) - 1}/{len(TIFF)}"},
        {"Content-Range": f"bytes {HALF}-{len(TIFF) - 2}/{len(TIFF)}"},
        {"Content-Range": f"bytes {HALF}-{len(TIFF) - 1}/*"},
        {"Content-Range": None},
    ],
)
def test_a_rest_that_may_be_another_files_is_refused(
    bucket: Bucket, fetch: Fetching, headers: dict[str, str | None]
) -> None:
    link = bucket.put("/slide.svs", TIFF, Act(cut=HALF), Act(headers=headers))
    assert "another part of a file" in fetch.refusal(link)


@pytest.mark.parametrize("tag", ["", 'W/"weak"', "bare"])
def test_without_a_tag_that_tells_bytes_apart_a_file_is_fetched_anew(
    bucket: Bucket, fetch: Fetching, tag: str
) -> None:
    assert fetch(bucket.put("/slide.svs", TIFF, Act(cut=HALF), tag=tag)) == TIFF
    assert "range" not in bucket.requests[1][1]


def test_a_connection_that_breaks_twice_is_given_up(bucket: Bucket, fetch: Fetching) -> None:
    link = bucket.put("/slide.svs", TIFF, Act(cut=HALF), Act(cut=HALF // 2))
    assert "broke twice" in fetch.refusal(link)
    assert len(bucket.requests) == 2


def test_a_store_that_is_busy_is_asked_again(bucket: Bucket, fetch: Fetching) -> None:
    assert fetch(bucket.put("/slide.svs", TIFF, Act(503), Act(429, headers={"Retry-After": "0"}))) == TIFF


@pytest.mark.parametrize(
    ("status", "said"),
    [(400, "has expired"), (401, "has expired"), (403, "has expired"), (404, "no such file"), (418, "418")],
)
def test_a_link_that_is_refused_is_said_in_words(
    bucket: Bucket, fetch: Fetching, status: int, said: str
) -> None:
    assert said in fetch.refusal(bucket.put("/slide.svs", TIFF, Act(status)))
    assert len(bucket.requests) == 1


def test_a_link_that_expires_before_a_broken_file_is_resumed_is_said_so(
    bucket: Bucket, fetch: Fetching
) -> None:
    assert "has expired" in fetch.refusal(bucket.put("/slide.svs", TIFF, Act(cut=HALF), Act(403)))


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (Act(headers={"Content-Length": None, "Connection": "close"}, cut=10**9), "does not say how long"),
        (Act(headers={"Content-Length": "-5"}), "does not say how long"),
        (Act(headers={"Content-Encoding": "gzip"}), "compressed"),
    ],
)
def test_a_file_whose_length_cannot_be_checked_is_refused(
    bucket: Bucket, fetch: Fetching, act: Act, said: str
) -> None:
    assert said in fetch.refusal(bucket.put("/slide.svs", TIFF, act))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "empty"),
        (b"\xff\xd8\xff" + bytes(500), "a JPEG picture"),
        (b"<?xml version='1.0'?><Error><Code>ExpiredToken</Code></Error>", "ExpiredToken"),
        (b"<!doctype html><title>Sign in</title>", "HTML"),
        (b"\x1f\x8b" + bytes(50), "gzip"),
        (bytes(4096), "zeros"),
        (b"PK\x05\x06" + bytes(18), "not known"),
    ],
)
def test_what_is_no_slide_is_named_whatever_its_link_is_called(
    bucket: Bucket, fetch: Fetching, data: bytes, said: str
) -> None:
    assert said in fetch.refusal(bucket.put("/slide.svs", data))


def test_a_scan_of_several_files_is_dicom(bucket: Bucket, fetch: Fetching) -> None:
    links = bucket.put("/slide/1", DICOM), bucket.put("/slide/2", TIFF)
    assert "not all of them are DICOM" in fetch.refusal(*links)


def test_bounds_on_a_file_a_task_and_the_disk_hold(bucket: Bucket, fetch: Fetching) -> None:
    link = bucket.put("/slide/1.dcm", DICOM)
    other = bucket.put("/slide/2.dcm", DICOM)
    size = len(DICOM)
    assert f"{size:,} bytes" in fetch.refusal(link, PATHSERVE_TECHCYTE_MAX_FILE_BYTES=size - 1)
    assert fetch(link, PATHSERVE_TECHCYTE_MAX_FILE_BYTES=size, PATHSERVE_TECHCYTE_MAX_TASK_BYTES=size)
    assert "TASK_BYTES" in fetch.refusal(link, other, PATHSERVE_TECHCYTE_MAX_TASK_BYTES=2 * size - 1)
    assert "no room" in fetch.refusal(link, PATHSERVE_TECHCYTE_KEEP_FREE_BYTES=1 << 60)


def test_more_bytes_than_were_announced_are_not_taken(bucket: Bucket, fetch: Fetching) -> None:
    """What comes behind the announced length is no part of the answer."""
    link = bucket.put("/slide.svs", TIFF, Act(headers={"Content-Length": str(HALF)}))
    assert fetch(link) == TIFF[:HALF]


def test_plain_http_and_other_schemes_are_not_followed(bucket: Bucket, fetch: Fetching) -> None:
    assert "https://" in fetch.refusal(bucket.link("/slide.svs").replace("https", "http"))
    assert not bucket.requests


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "10.1.2.3"])
def test_private_addresses_are_refused_unless_the_settings_name_them(
    bucket: Bucket, fetch: Fetching, host: str
) -> None:
    fetch.named = {}
    link = bucket.put("/slide.svs", TIFF).replace("127.0.0.1", host)
    assert "not on the public internet" in fetch.refusal(link)
    assert not bucket.requests


def test_another_port_of_a_named_host_is_not_named(bucket: Bucket, fetch: Fetching) -> None:
    fetch.named = {"PATHSERVE_TECHCYTE_DOWNLOAD_HOSTS": "127.0.0.1"}
    assert "not on the public internet" in fetch.refusal(bucket.put("/slide.svs", TIFF))


@pytest.mark.parametrize("host", ["169.254.169.254", "metadata.google.internal", "169.254.1.1:8443"])
def test_metadata_services_cannot_even_be_named(host: str) -> None:
    with pytest.raises(SettingsError, match="metadata service"):
        named_hosts(load_settings({"PATHSERVE_TECHCYTE_DOWNLOAD_HOSTS": host}, {}))


@pytest.mark.parametrize("host", ["https://bucket", "bucket/path", "user@bucket", "bucket:0", "buck et", "*"])
def test_a_host_of_the_settings_that_is_none_stops_the_start(host: str) -> None:
    with pytest.raises(SettingsError, match="PATHSERVE_TECHCYTE_DOWNLOAD_HOSTS"):
        named_hosts(load_settings({"PATHSERVE_TECHCYTE_DOWNLOAD_HOSTS": [host]}, {}))


def test_redirects_are_followed_at_the_same_host_and_to_named_ones(
    bucket: Bucket, fetch: Fetching, tmp_path: Path
) -> None:
    to = bucket.put("/slide/new.svs", TIFF)
    assert fetch(bucket.put("/slide/old.svs", b"", Act(302, headers={"Location": to}))) == TIFF
    relative = {"Location": f"/slide/new.svs?{SIGNATURE}"}
    assert fetch(bucket.put("/slide/old.svs", b"", Act(307, headers=relative))) == TIFF


def test_redirects_elsewhere_or_without_end_are_refused(
    bucket: Bucket, fetch: Fetching, tmp_path: Path
) -> None:
    def refusal(location: str, times: int = 1) -> str:
        acts = [Act(302, headers={"Location": location}) for _ in range(times)]
        return fetch.refusal(bucket.put("/slide/old.svs", b"", *acts))

    (tmp_path / "other").mkdir()
    with Bucket(tmp_path / "other") as other:
        assert "is not followed" in refusal(other.put("/slide.svs", TIFF))
        assert not other.requests
    assert "is not followed" in refusal("https://elsewhere.example/slide.svs")
    assert "https://" in refusal(bucket.link("/slide.svs").replace("https", "http"))
    assert "not an address" in refusal("https://user@127.0.0.1/slide.svs")
    for location in ("ftp:///slide.svs", "https://[slide.svs", "//[::1/slide.svs", "https://[v1.x]]/slide"):
        assert "not an address" in refusal(location)
    assert "too often" in refusal(bucket.link("/slide/old.svs"), times=9)


def test_a_server_that_cannot_prove_who_it_is_gets_no_second_look(
    bucket: Bucket, fetch: Fetching, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "empty.pem").touch()
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "empty.pem"))
    assert "could not prove who it is" in fetch.refusal(bucket.put("/slide.svs", TIFF))
    assert not bucket.requests


def test_a_server_that_is_not_there_is_said_so(
    fetch: Fetching, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    with Bucket(tmp_path / "gone") as gone:
        monkeypatch.setenv("SSL_CERT_FILE", str(gone.certificate))
        link = gone.put("/slide.svs", TIFF)
    assert "could not be reached" in fetch.refusal(link, PATHSERVE_TECHCYTE_DOWNLOAD_HOSTS=gone.host)


def test_a_job_that_ends_ends_its_download(bucket: Bucket, fetch: Fetching, tmp_path: Path) -> None:
    held = Act(cut=HALF, gate=threading.Event())
    link = bucket.put("/slide.svs", TIFF, held)

    def end_the_job() -> None:
        held.halfway.wait(60)
        fetch.waits.cancel()

    threading.Thread(target=end_the_job).start()
    with pytest.raises(Cancelled):
        fetch(link)
    held.gate.set()
    fetch.waits = Cancellation(time.monotonic() - 1)
    with pytest.raises(TimeoutError):
        fetch(bucket.put("/slide.svs", TIFF))
    assert not [*(tmp_path / "scratch").glob("pathserve-task-*")]
