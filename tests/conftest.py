"""Fixtures: models built once; one application in this process, and one service, with the probe model."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support import models
from tests.support.app import App, ServedApp
from tests.support.certificate import self_signed
from tests.support.postgres import Postgres, missing
from tests.support.service import Service
from tests.support.techcyte import Techcyte

# Machines are shared: no timing assertions. CI judges a change by the same examples every time.
settings.register_profile("pathserve", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("pathserve")


class ModelFolders:
    """SavedModel folders by kind, all built when the first of them is wanted."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __getitem__(self, kind: str) -> str:
        if not any(self._folder.iterdir()):
            models.build(self._folder)
        return str(self._folder / kind)


@pytest.fixture(scope="session")
def model_folders(tmp_path_factory: pytest.TempPathFactory) -> ModelFolders:
    return ModelFolders(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def probe_service(model_folders: ModelFolders) -> Iterator[Service]:
    """A service that runs the poisonable probe, for requests that leave it as it was."""
    with Service({"PATHSERVE_MODEL": model_folders["poisonable"]}) as service:
        yield service.wait_healthy()


@pytest.fixture(scope="session")
def probe_app() -> Iterator[App]:
    """The application in this process with the poisonable probe, for requests that leave it as it was."""
    with App() as app:
        yield app


@pytest.fixture(scope="session")
def served_app(probe_app: App) -> Iterator[ServedApp]:
    """That application behind the front, for what needs sockets but no processes."""
    with ServedApp(probe_app) as served:
        yield served


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A real PostgreSQL; skipped where there is none, unless REQUIRE_POSTGRES is set."""
    if missing() and not os.environ.get("REQUIRE_POSTGRES"):
        pytest.skip(missing())
    with Postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def jobs_database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database for jobs: each test that asks for one runs on both kinds."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'jobs.sqlite'}"
    server: Postgres = request.getfixturevalue("postgres")
    return server.new_database()


@pytest.fixture(scope="session")
def techcyte_tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for a stand-in for Techcyte, and its key."""
    return self_signed(tmp_path_factory.mktemp("tls"), "api.localhost")


@pytest.fixture
def techcyte(techcyte_tls: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Techcyte]:
    """The stand-in; this process trusts it for the test."""
    monkeypatch.setenv("SSL_CERT_FILE", str(techcyte_tls[0]))
    with Techcyte(techcyte_tls) as server:
        yield server


@pytest.fixture
def index_database(jobs_database: str) -> str:
    """The address of an empty database for a store's index, on both kinds."""
    return jobs_database.replace("jobs.sqlite", "index.sqlite")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Make two groups for ``make test``, each of which runs in a process of its own, in its usual order."""
    for item in items:
        folder = "integration" if "integration" in item.path.parts else "others"
        item.add_marker(pytest.mark.xdist_group(folder))
