"""The shape of the tree: arrows point down, and TensorFlow stays in the encoder process."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
ROOMS = ("serving", "model", "dicom_io")
ALLOWED = {"serving": {"model", "dicom_io"}, "model": set[str](), "dicom_io": set[str]()}
FLOORS = {
    "dicom_io": {
        "errors": 1, "waiting": 1, "cache": 1, "io_threads": 1, "json_size": 1,
        "geometry": 2, "once": 2,
        "colour": 3,
        "resampling": 4,
        "codecs": 5, "made_of": 5,
        "decoding": 6,
        "reading": 7,
        "slides": 8,
        "quality": 9, "web": 9,
        "sources": 10,
        "local": 11,
    },
    "model": {"encoder": 1, "batching": 2, "golden": 3, "transport": 4, "weights": 4, "runtimes": 5},
    "serving": {
        "config": 1, "errors": 1, "heads": 1, "output": 1, "schema": 1, "provenance": 0,
        "telemetry": 1,
        "database": 2, "front": 2, "pipeline": 2,
        "api": 3,
        "client": 4, "http": 4,
        "view": 5,
        "processes": 6,
        "batch": 7, "store": 7, "webhooks": 7,
        "archive": 8,
        "cli": 9,
        "__main__": 10,
    },
    "serving/webhooks": {
        "analyses": 1, "jobs": 1, "transport": 1,
        "embedding": 2, "heads": 2, "webhook": 2,
        "slidescore": 3, "techcyte": 3,
        "service": 4,
    },
    "serving/store": {
        "access": 1, "uids": 1,
        "deidentify": 2, "door": 2, "files": 2,
        "index": 3,
        "ingest": 4, "reader": 4,
        "stored_series": 5,
        "dicomweb": 6,
        "doors": 7, "peers": 7,
        "browse": 8,
        "service": 9,
        "predict": 10,
    },
}  # fmt: skip
"""The floor of each file and folder of a room: what it imports is on a lower floor, or in itself."""

DATABASES = (
    "serving/database.py",
    "serving/schema.py",
    "serving/webhooks/jobs/",
    "serving/store/index/",
    "serving/store/access/",
)
"""Where libraries of databases, and of sealing what is in them, are imported."""

TENSORFLOW_FILES = {"model/runtimes/import_tensorflow.py"}


def imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("room", ROOMS)
def test_arrows_point_down(room: str) -> None:
    files = sorted((ROOT / room).rglob("*.py"))
    assert len(files) > 5
    for path in files:
        for name in imports(path):
            top = name.split(".")[0]
            if top in ROOMS and top != room:
                assert top in ALLOWED[room], f"{path} imports {name}"


@pytest.mark.parametrize("room", sorted(FLOORS))
def test_arrows_point_down_inside_a_room(room: str) -> None:
    floors = FLOORS[room]
    depth = room.count("/") + 1
    files = [path for path in (ROOT / room).rglob("*.py") if path != ROOT / room / "__init__.py"]
    parts = {path: path.relative_to(ROOT).with_suffix("").parts[depth] for path in files}
    assert set(parts.values()) == set(floors), "each part has a floor, and each floor a part"
    for path, mine in parts.items():
        for name in imports(path):
            if name.startswith(f"{room.replace('/', '.')}."):
                part = name.split(".")[depth]
                assert part == mine or floors[part] < floors[mine], f"{path} imports {name}"


def test_sqlalchemy_is_imported_where_tables_are_and_the_service_needs_no_webhooks_and_no_store() -> None:
    for path in (ROOT / "serving").rglob("*.py"):
        room = path.relative_to(ROOT).as_posix()
        for name in imports(path):
            if name.split(".")[0] in ("sqlalchemy", "cryptography", "psycopg"):
                assert room.startswith(DATABASES), f"{path} imports {name}"
            for extra in ("webhooks", "store"):
                if name.startswith(f"serving.{extra}"):
                    users = (f"serving/{extra}/", "serving/cli/", "serving/__main__.py")
                    assert room.startswith(users), f"{path} imports {name}"


def test_an_archive_s_engine_is_known_to_one_file_and_only_the_command_knows_archives() -> None:
    for path in (ROOT / "serving").rglob("*.py"):
        room = path.relative_to(ROOT).as_posix()
        for name in imports(path):
            if name.split(".")[0] == "apache_beam":
                assert room == "serving/archive/engine.py", f"{path} imports {name}"
            if name.split(".")[0] in ("faiss", "matplotlib"):
                assert room.startswith("serving/archive/"), f"{path} imports {name}"
            if name.startswith("serving.archive"):
                assert room.startswith(("serving/archive/", "serving/cli/archive")), f"{path} imports {name}"


def test_a_store_of_objects_loads_no_codec() -> None:
    code = "import sys, dicom_io.web.gcs; print({'cv2', 'imagecodecs', 'PIL'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"


@pytest.mark.parametrize("word", ["extensions.", "PATHSERVE_"])
def test_who_reads_images_names_no_field_and_no_setting_of_the_service(word: str) -> None:
    """What is wrong with an image is said below; what a request or a service could change is said above."""
    files = sorted((ROOT / "dicom_io").rglob("*.py"))
    assert len(files) > 40
    assert [path for path in files if word in path.read_text(encoding="utf-8")] == []


def test_the_service_imports_nothing_when_its_room_is_entered() -> None:
    assert not imports(ROOT / "serving/__init__.py")


def test_the_model_room_names_no_setting_of_the_service() -> None:
    for path in (ROOT / "model").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert "PATHSERVE_" not in text, path
        assert "AIP_" not in text, path


def test_one_file_imports_tensorflow() -> None:
    users = {
        path.relative_to(ROOT).as_posix()
        for room in ROOMS
        for path in (ROOT / room).rglob("*.py")
        if any(name.split(".")[0] in ("tensorflow", "keras") for name in imports(path))
    }
    assert users == TENSORFLOW_FILES


def test_gunicorn_is_imported_in_one_folder() -> None:
    users = {
        path.parent.relative_to(ROOT).as_posix()
        for room in ROOMS
        for path in (ROOT / room).rglob("*.py")
        if any(name.split(".")[0] == "gunicorn" for name in imports(path))
    }
    assert users == {"serving/front"}


def test_the_front_knows_no_route() -> None:
    files = sorted((ROOT / "serving/front").glob("*.py"))
    assert len(files) > 5
    for path in files:
        for name in imports(path):
            assert not name.startswith(("flask", "serving.http", "serving.api", "serving.pipeline")), path


@pytest.mark.parametrize(
    "module",
    [
        "serving.http.app",
        "serving.processes.http",
        "serving.processes.launcher",
        "serving.webhooks.service.http",
        "serving.webhooks.service.launcher",
        "model.transport.client",
    ],
)
def test_http_processes_do_not_import_tensorflow(module: str) -> None:
    code = f"import sys, {module}; print(sorted(m for m in sys.modules if m in ('tensorflow', 'keras')))"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_a_service_without_a_store_of_its_own_loads_nothing_of_the_store() -> None:
    code = (
        "import sys, serving.processes.http, serving.processes.launcher, serving.__main__; "
        "print([m for m in sys.modules if m.startswith(('serving.store', 'sqlalchemy', 'pynetdicom'))])"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_one_file_imports_opentelemetry_and_the_plain_service_loads_none_of_what_it_needs() -> None:
    users = {
        path.relative_to(ROOT).as_posix()
        for room in ROOMS
        for path in (ROOT / room).rglob("*.py")
        if any(name.split(".")[0] == "opentelemetry" for name in imports(path))
    }
    assert users == {"serving/telemetry/otlp.py"}
    # Cloud Storage's library imports the bare interface, where it is installed.
    heavy = "('opentelemetry.sdk', 'opentelemetry.exporter', 'opentelemetry.proto', 'serving.telemetry.otlp')"
    code = (
        "import sys, serving.processes.http, serving.processes.launcher, serving.__main__; "
        "import serving.webhooks.service.http, serving.webhooks.service.runner, serving.store.service.http; "
        f"print([m for m in sys.modules if m.startswith({heavy})])"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_the_launcher_starts_the_encoder_before_it_loads_anything_large() -> None:
    large = "{'numpy', 'prometheus_client', 'flask'}"
    code = f"import sys, serving.processes.launcher; print({large} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"
