"""The store's DICOM node as a process: ``python -m tests.support.dicom_node`` with its arguments."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil
import pytest

from serving.store.doors.c_find import MOST_MATCHES, Finder
from serving.store.doors.c_store import DicomNode, NodeSettings
from serving.store.ingest.ingest import Step
from tests.support.store_ingest import OpenStore

without_dcmtk = pytest.mark.skipif(
    shutil.which("storescu") is None and not os.environ.get("REQUIRE_ORTHANC"),
    reason="dcmtk is not installed",
)
"""For tests whose peers are dcmtk's programs; where Orthanc must be, they must be, too."""

TITLE, PEER, FINDER = "SLIDES", "SCANNER", "VIEWER"


class NodeProcess:
    """The process; use it as a context manager.

    Parameters
    ----------
    slow_s:
        Each instance takes so much longer than it has to.
    most:
        Matches of one query.
    """

    def __init__(
        self,
        folder: Path,
        *,
        max_bytes: int = 1 << 33,
        min_free: int = 0,
        silence_s: float = 60.0,
        slow_s: float = 0.0,
        most: int = MOST_MATCHES,
    ) -> None:
        self.folder = folder
        self.errors = folder.with_name(f"{folder.name}.errors")
        command = [sys.executable, "-m", "tests.support.dicom_node", str(folder)]
        command += [str(number) for number in (max_bytes, min_free, silence_s, slow_s, most)]
        self._errors = self.errors.open("wb")
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self._errors)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self.stop()

    def stop(self) -> int:
        """End it, and return its exit status."""
        self._process.send_signal(signal.SIGTERM)
        status = self._process.wait(60)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._errors.close()
        return status

    @property
    def most_memory(self) -> int:
        """The most bytes of memory that it has ever had."""
        text = Path(f"/proc/{self._process.pid}/status").read_text(encoding="ascii")
        line = next(line for line in text.splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) << 10

    @property
    def cpu_s(self) -> float:
        """Seconds of processor time that it has had."""
        times = psutil.Process(self._process.pid).cpu_times()
        return float(times.user + times.system)


def dcmtk(
    program: str, node: NodeProcess, *arguments: str | Path, called: str = TITLE, calling: str = PEER
) -> str:
    """Run one of dcmtk's programs with a node as its peer; return what it says."""
    command = [program, "-v", "-aec", called, "-aet", calling, "127.0.0.1", str(node.port), *arguments]
    return subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120, check=False
    ).stdout


def main(folder: str, max_bytes: str, min_free: str, silence_s: str, slow_s: str, most: str) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])

    def slowly(step: Step) -> None:
        if step is Step.CHECKED:
            threading.Event().wait(float(slow_s))

    store = OpenStore(Path(folder), max_bytes=int(max_bytes), min_free=int(min_free), after=slowly)
    settings = NodeSettings(("127.0.0.1", 0), TITLE, (PEER,), (FINDER,), float(silence_s))
    finder = Finder(store.index, store.audit, int(most))
    node = DicomNode(settings, store.ingest, store.ingest.folder, finder)
    node.start()
    sys.stdout.write(f"{node.port}\n")
    sys.stdout.flush()
    signal.sigwait([signal.SIGTERM])
    node.stop()
    store.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
