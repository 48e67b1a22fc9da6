"""A process that takes an instance in is killed at each step; the next start finds it whole or absent."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from serving.store.ingest.ingest import Step
from serving.store.ingest.outcome import Verdict
from tests.support.postgres import Postgres
from tests.support.slides import pyramid
from tests.support.store_ingest import HERE, OpenStore

_NOT_PLACED = (Step.RECEIVED, Step.CHECKED, Step.CLEANED, Step.NOTED)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    slide = pyramid("JPEG", [(500, 300)], BurnedInAnnotation="NO", SpecimenLabelInImage="NO")
    path = tmp_path_factory.mktemp("slides") / "slide.dcm"
    path.write_bytes(slide.instances[0].file())
    return path


def kill_at(step: Step, folder: Path, file: Path, database: str = "") -> None:
    command = [sys.executable, "-m", "tests.support.store_ingest", str(folder), str(file), step, database]
    killed = subprocess.run(command, capture_output=True, timeout=120, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr


def require_whole_or_absent(step: Step, folder: Path, file: Path, database: str = "") -> None:
    store = OpenStore(folder, database=database)  # the next start
    try:
        assert store.arrivals() == []
        assert len(store.files()) == (0 if step in _NOT_PLACED else 1)
        assert store.indexed() == store.files()
        rows = [row for row in store.audit.rows() if row["outcome"] == "success"]
        # Killed just after its row, an instance gets one more: two rows are better than none.
        assert len(rows) == (0 if step in _NOT_PLACED else 2 if step is Step.AUDITED else 1)

        again = store.add(file.read_bytes())
        assert again.verdict is (Verdict.STORED if step in _NOT_PLACED else Verdict.SAME)
        assert store.indexed() == store.files()
        assert len(store.files()) == 1
        assert store.arrivals() == []
    finally:
        store.close()


@pytest.mark.parametrize("step", list(Step))
def test_an_instance_is_whole_or_absent_whenever_its_process_is_killed(
    step: Step, file: Path, tmp_path: Path
) -> None:
    kill_at(step, tmp_path / "store", file)
    require_whole_or_absent(step, tmp_path / "store", file)


@pytest.mark.parametrize("step", [Step.NOTED, Step.PLACED, Step.INDEXED])
def test_so_it_is_with_postgresql(step: Step, file: Path, tmp_path: Path, postgres: Postgres) -> None:
    database = postgres.new_database()
    kill_at(step, tmp_path / "store", file, database)
    require_whole_or_absent(step, tmp_path / "store", file, database)


def test_a_start_leaves_alone_what_living_processes_receive(tmp_path: Path, file: Path) -> None:
    living = OpenStore(tmp_path / "store")
    with living.ingest.arrival() as arrival:
        arrival.write(file.read_bytes())
        OpenStore(tmp_path / "store").close()
        arrival.close()
        assert living.ingest.add(arrival.path, HERE).verdict is Verdict.STORED
    living.close()
    assert living.arrivals() == []


_ADDS = """
import sys
from collections import Counter
from pathlib import Path
from tests.support.store_ingest import HERE, OpenStore
store = OpenStore(Path(sys.argv[1]))
files = [path.read_bytes() for path in sorted(Path(sys.argv[2]).iterdir())]
for number in range(int(sys.argv[3])):
    print(store.add(files[number % len(files)]).verdict.value, flush=True)
store.close()
"""


@pytest.mark.timeout(600)
def test_four_processes_take_in_300_each_without_waiting_in_vain(tmp_path: Path) -> None:
    """And the same 300, so that each instance is stored once and found three times."""
    slides = tmp_path / "slides"
    slides.mkdir()
    original = pyramid("JPEG", [(256, 256)], BurnedInAnnotation="NO", SpecimenLabelInImage="NO").instances[0]
    for number in range(300):
        original.dataset.SOPInstanceUID = f"1.2.3.{number + 1}"
        (slides / f"{number:03}").write_bytes(original.file())
    command = [sys.executable, "-c", _ADDS, str(tmp_path / "store"), str(slides), "300"]
    OpenStore(tmp_path / "store").close()
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(4)]
    became = Counter[str]()
    for process in processes:
        out, errors = process.communicate(timeout=500)
        assert (process.returncode, errors) == (0, b"")
        became.update(out.decode("ascii").split())
    assert became == {"stored": 300, "same": 900}
    store = OpenStore(tmp_path / "store")
    assert store.indexed() == store.files()
    assert len(store.files()) == 300
    assert store.arrivals() == []
    store.close()
