"""What a build needs is there: files of the context, one TensorFlow a lock, one recipe to install it."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path, PurePosixPath
from threading import Thread

import pytest

ROOT = Path(__file__).parents[3]
RECIPES = ("Makefile", "Dockerfile", ".ci/run")
CLIENTS = {"ez-wsi-6.0.lock", "serving-clients.lock", "slidescore-sdk.lock", "wsidicom.lock"}
"""What tests have as clients, in folders of their own."""

LOCKS = sorted(path.name for path in (ROOT / "locks").glob("*.lock") if path.name not in CLIENTS)


def files() -> list[str]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return listed.stdout.splitlines()


def copied() -> list[str]:
    """Return what the Dockerfile copies from its context."""
    lines = (ROOT / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    steps = [shlex.split(line) for line in lines if line.startswith(("COPY ", "ADD "))]
    return [source for step in steps if "--from=" not in step[1] for source in step[1:-1]]


def instruction(name: str) -> str:
    """Return what follows the last instruction of this name in the Dockerfile."""
    lines = (ROOT / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    return [line for line in lines if line.startswith(f"{name} ")][-1].removeprefix(f"{name} ").strip()


def test_the_argument_that_sagemaker_gives_is_the_images_command() -> None:
    assert json.loads(instruction("ENTRYPOINT")) == ["pathserve"]
    assert json.loads(instruction("CMD")) == ["serve"]
    assert instruction("LABEL") == "com.amazonaws.sagemaker.capabilities.accept-bind-to-port=true"


@pytest.mark.parametrize(
    "environment",
    [
        {"AIP_HTTP_PORT": "PORT", "AIP_HEALTH_ROUTE": "/healthy"},
        {"AIP_HTTP_PORT": "1", "SAGEMAKER_BIND_TO_PORT": "PORT", "AIP_HEALTH_ROUTE": "/healthy"},
    ],
)
def test_the_health_check_asks_where_the_service_listens(environment: dict[str, str]) -> None:
    asked: list[str] = []

    class Healthy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    command = json.loads(instruction("HEALTHCHECK").partition(" CMD ")[2])
    with HTTPServer(("127.0.0.1", 0), Healthy) as server:
        port = str(server.server_port)
        Thread(target=server.handle_request, daemon=True).start()
        given = {name: port if value == "PORT" else value for name, value in environment.items()}
        run = subprocess.run([sys.executable, *command[1:]], env=given, check=False, timeout=60)
    assert (run.returncode, asked) == (0, ["/healthy"])


def as_expression(pattern: str) -> re.Pattern[str]:
    """Translate a pattern of .dockerignore: ``**`` crosses folders, ``*`` and ``?`` do not."""
    whole = re.escape(pattern.strip("/")).replace(r"\*\*/", "(.*/)?").replace(r"\*\*", ".*")
    return re.compile(whole.replace(r"\*", "[^/]*").replace(r"\?", "[^/]"))


def in_context(path: str, rules: Iterable[str]) -> bool:
    """Say whether .dockerignore lets a file in: the last rule counts that names it or a folder above it."""
    names = [path, *map(str, PurePosixPath(path).parents)][:-1]
    kept = True
    for rule in rules:
        if any(as_expression(rule.removeprefix("!")).fullmatch(name) for name in names):
            kept = rule.startswith("!")
    return kept


def rules() -> list[str]:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


@pytest.mark.parametrize("source", copied())
def test_what_the_dockerfile_copies_is_in_the_build_context(source: str) -> None:
    named = [path for path in files() if path == source or path.startswith(f"{source}/")]
    assert named, f"{source} is in no commit"
    assert [path for path in named if not in_context(path, rules())] == []


def test_the_build_context_holds_nothing_else() -> None:
    wanted = copied()
    kept = [path for path in files() if in_context(path, rules())]
    assert [p for p in kept if not any(p == s or p.startswith(f"{s}/") for s in wanted)] == []


@pytest.mark.parametrize(
    ("path", "rules", "kept"),
    [
        ("a.lock", ["*"], False),
        ("a.lock", ["*", "!a.lock"], True),
        ("b/c/d.py", ["*", "!b"], True),
        ("b/c/d.pyc", ["*", "!b", "**/*.pyc"], False),
        ("b/__pycache__/d", ["*", "!b", "**/__pycache__"], False),
        ("b/c/d.py", ["*.py"], True),
    ],
)
def test_dockerignore_is_read_by_its_own_rules(path: str, rules: list[str], kept: bool) -> None:
    assert in_context(path, rules) is kept


@pytest.mark.parametrize("name", RECIPES)
def test_locks_are_installed_by_the_one_recipe_that_does_not_resolve(name: str) -> None:
    text = (ROOT / name).read_text().replace("\\\n", " ")
    assert not re.search(r"pip install[^\n]*(\s-r|--requirement)", text)
    assert ".ci/install-lock" in text or name == ".ci/run"


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_holds_one_tensorflow_for_x86(name: str) -> None:
    lines = [
        line for line in (ROOT / "locks" / name).read_text().splitlines() if line.startswith("tensorflow")
    ]
    here = [line.split("==")[0] for line in lines if "platform_machine != 'x86_64'" not in line]
    assert here == (["tensorflow"] if "gpu" in name else ["tensorflow-cpu"])


def test_the_gpu_build_differs_in_tensorflow_alone() -> None:
    sed = ["sed", "-f", str(ROOT / ".ci/gpu.sed"), str(ROOT / "pyproject.toml")]
    changed = tomllib.loads(subprocess.run(sed, stdout=subprocess.PIPE, text=True, check=True).stdout)
    usual = tomllib.loads((ROOT / "pyproject.toml").read_text())
    ours, theirs = (set(found["project"].pop("dependencies")) for found in (usual, changed))
    assert changed == usual
    assert theirs - ours == {"tensorflow[and-cuda]>=2.21; platform_machine == 'x86_64'"}
    assert ours - theirs == {"tensorflow-cpu>=2.21; platform_machine == 'x86_64'"}


def licences(name: str) -> list[str]:
    found = metadata(name)
    classified = [c for c in found.get_all("Classifier", []) if c.startswith("License")]
    return [*found.get_all("License-Expression", []), *found.get_all("License", []), *classified]


def test_no_package_of_the_images_is_under_the_gpl() -> None:
    gpl = re.compile(r"(?<![AL])GPL|(?<!Lesser )General Public License")
    for lock in LOCKS:
        if "dev" in lock:
            continue
        for name in re.findall(r"^([\w.-]+)==", (ROOT / "locks" / lock).read_text(), re.MULTILINE):
            try:
                said = licences(name)
            except PackageNotFoundError:  # of another platform, or of CUDA
                continue
            assert not [text for text in said if gpl.search(text[:200])], name
