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
MODEL_FLOORS = {"encoder": 1, "batching": 2, "transport": 3, "weights": 3, "runtimes": 4}
TENSORFLOW_FILES = {"model/runtimes/tensorflow.py", "model/runtimes/vit.py"}


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


def test_the_service_imports_nothing_when_its_room_is_entered() -> None:
    assert not imports(ROOT / "serving/__init__.py")


def test_arrows_inside_the_model_room_point_down() -> None:
    files = sorted((ROOT / "model").rglob("*.py"))
    floors = {path: floor_in_model(".".join(path.relative_to(ROOT).with_suffix("").parts)) for path in files}
    assert set(floors.values()) == {0, 1, 2, 3, 4}
    for path, floor in floors.items():
        for name in imports(path):
            if name.startswith("model.") and not same_package(path, name):
                assert floor_in_model(name) < floor, f"{path} imports {name}"


def floor_in_model(name: str) -> int:
    part = name.split(".")[1]
    return 0 if part == "__init__" else MODEL_FLOORS[part]


def same_package(path: Path, name: str) -> bool:
    return path.parent == ROOT / "model" / name.split(".")[1]


def test_the_model_room_names_no_setting_of_the_service() -> None:
    for path in (ROOT / "model").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert "PATHSERVE_" not in text, path
        assert "AIP_" not in text, path


def test_only_two_files_import_tensorflow() -> None:
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
    ["serving.http.app", "serving.processes.http", "serving.processes.launcher", "model.transport.client"],
)
def test_http_processes_do_not_import_tensorflow(module: str) -> None:
    code = f"import sys, {module}; print(sorted(m for m in sys.modules if m in ('tensorflow', 'keras')))"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
