"""What comes into the slide store, beside Orthanc: ``python -m tests.benchmarks.store_ingest``.

The store de-identifies each instance and has it on the disk before it answers. Both servers take the same
files in turns; a ratio of one run says more than its figures, which depend on what else the machine does.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import psutil

from tests.support.orthanc import Orthanc, free_port, missing
from tests.support.service import wait_until
from tests.support.slides import CODINGS, Slide, stained
from tests.support.store_service import BOUNDARY, STOW, StoreService

FRAMES = 14_641
MEGABYTE = 1_000_000
_TITLE, _PEER = "SLIDES", "BENCH"
_CHUNK = 1 << 20
_TAIL = f"\r\n--{BOUNDARY}--\r\n".encode()
_HEAD = f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()


def write_level(folder: Path, frames: int, number: int) -> Path:
    """Write an instance of JPEG frames, each of 26 kB or so; no two share a UID."""
    slide = Slide()
    (level,) = slide.add_level(
        stained(1024, 1024), CODINGS["JPEG"], BurnedInAnnotation="NO", SpecimenLabelInImage="NO"
    )
    level.frames = (level.frames * (frames // len(level.frames) + 1))[:frames]
    side = int(frames**0.5)
    level.dataset.NumberOfFrames = frames
    level.dataset.TotalPixelMatrixColumns = level.dataset.TotalPixelMatrixRows = side * 256
    path = folder / f"level-{number}.dcm"
    path.write_bytes(level.file())
    return path


def stow(port: int, path: Path, route: str, token: str = "") -> None:
    """Send a file by STOW as a stream, as its size may be any."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    connection.putrequest("POST", route)
    headers = STOW | ({"Authorization": f"Bearer {token}"} if token else {})
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.putheader("Content-Length", str(len(_HEAD) + path.stat().st_size + len(_TAIL)))
    connection.endheaders(_HEAD)
    with path.open("rb") as file:
        while piece := file.read(_CHUNK):
            connection.send(piece)
    connection.send(_TAIL)
    answer = connection.getresponse()
    assert answer.status in (200, 202), answer.read()
    answer.read()
    connection.close()


def c_store(port: int, path: Path, title: str) -> None:
    """Send a file by dcmtk's storescu."""
    command = [
        "storescu",
        "-R",
        "-xy",
        "-ts",
        "0",
        "-aec",
        title,
        "-aet",
        _PEER,
        "127.0.0.1",
        str(port),
        str(path),
    ]
    said = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert said.returncode == 0, said.stdout + said.stderr


def most_memory(process: psutil.Process) -> int:
    """Return the most bytes of memory that a process, or one of its children, has ever had."""
    found = 0
    for one in [process, *process.children(recursive=True)]:
        text = Path(f"/proc/{one.pid}/status").read_text(encoding="ascii")
        found = max(found, *(int(line.split()[1]) << 10 for line in text.splitlines() if "VmHWM" in line))
    return found


def cpu_s(process: psutil.Process) -> float:
    """Return the processor time of a process and its children."""
    times = [one.cpu_times() for one in [process, *process.children(recursive=True)]]
    return sum(t.user + t.system for t in times)


@contextlib.contextmanager
def servers(folder: Path) -> Iterator[tuple[StoreService, Orthanc, int]]:
    """Start both; yield Orthanc's DICOM port, too."""
    dicom = free_port()
    changes = {
        "DicomServerEnabled": True,
        "DicomPort": dicom,
        "DicomAet": _TITLE,
        "DicomCheckCalledAet": False,
    }
    changes |= {"DicomAlwaysAllowStore": True}
    (folder / "orthanc").mkdir()
    own = {
        "PATHSERVE_STORE_DIMSE_PORT": "0",
        "PATHSERVE_STORE_AE_TITLE": _TITLE,
        "PATHSERVE_STORE_AE_PEERS": _PEER,
    }
    with Orthanc(folder / "orthanc", changes) as orthanc, StoreService(folder / "store", **own) as service:
        wait_until(lambda: service.health() == 200, "the store", 60)
        yield service, orthanc, dicom


def timed(send: Callable[[], None], process: psutil.Process) -> tuple[float, float]:
    """Return the seconds that a sending took, and those of processor time that the server had."""
    before, started = cpu_s(process), time.perf_counter()
    send()
    return time.perf_counter() - started, cpu_s(process) - before


def compare(folder: Path, frames: int, rounds: int) -> None:
    """Print both ways in, server beside server."""
    print(f"| {frames} JPEG frames | store MB/s | Orthanc MB/s | ratio | store CPU s | Orthanc CPU s |")
    print("|---|---|---|---|---|---|")
    with servers(folder) as (service, orthanc, dicom):
        ours, theirs = psutil.Process(service.process.pid), psutil.Process(orthanc.pid)
        node = service.dimse_port()
        for name in ("STOW", "C-STORE"):
            found: list[tuple[float, float, float, float]] = []
            for number in range(rounds):
                path = write_level(folder, frames, number)
                size = path.stat().st_size / MEGABYTE
                to_us, to_them = (
                    (
                        partial(stow, service.port, path, "/dicomweb/studies", service.token),
                        partial(stow, orthanc.port, path, "/dicom-web/studies"),
                    )
                    if name == "STOW"
                    else (partial(c_store, node, path, _TITLE), partial(c_store, dicom, path, _TITLE))
                )
                a, a_cpu = timed(to_us, ours)
                b, b_cpu = timed(to_them, theirs)
                found.append((size / a, size / b, a_cpu, b_cpu))
                path.unlink()
            us, them, us_cpu, them_cpu = (statistics.median(column) for column in zip(*found, strict=True))
            print(
                f"| {name}, {size:.0f} MB | {us:.0f} | {them:.0f} | {us / them:.2f} "
                f"| {us_cpu:.2f} | {them_cpu:.2f} |",
                flush=True,
            )
        print(
            f"\nMost memory of any process: store {most_memory(ours) >> 20} MiB, "
            f"Orthanc {most_memory(theirs) >> 20} MiB."
        )


def large(folder: Path, gigabytes: float) -> None:
    """Print what a very large instance costs by C-STORE."""
    path = write_level(folder, int(gigabytes * 1e9 / 26_000), 0)
    own = {
        "PATHSERVE_STORE_DIMSE_PORT": "0",
        "PATHSERVE_STORE_AE_TITLE": _TITLE,
        "PATHSERVE_STORE_AE_PEERS": _PEER,
    }
    with StoreService(folder / "large", **own) as service:
        wait_until(lambda: service.health() == 200, "the store", 60)
        group = psutil.Process(service.process.pid).children()
        process = next(one for one in group if "serving.store.service.dimse" in one.cmdline())
        seconds, cpu = timed(lambda: c_store(service.dimse_port(), path, _TITLE), process)
        size = path.stat().st_size / MEGABYTE
        print(
            f"\nC-STORE of {size:.0f} MB: {size / seconds:.0f} MB/s, {cpu:.1f} s of processor time, "
            f"at most {most_memory(process) >> 20} MiB of memory."
        )


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=FRAMES)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--large", type=float, default=2.0, metavar="GB", help="0 leaves it out")
    parser.add_argument("--folder", type=Path, default=None, help="on the disk to be measured")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        if not missing():
            compare(folder, options.frames, options.rounds)
        if options.large:
            large(folder, options.large)


if __name__ == "__main__":
    main()
