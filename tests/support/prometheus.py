"""A real Prometheus on loopback, in a folder of its own, and its tool for rules."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests
import yaml

from tests.support.orthanc import free_port
from tests.support.service import wait_until


def missing() -> str:
    """Return why Prometheus cannot be started here; empty when it can."""
    if shutil.which("prometheus") is None or shutil.which("promtool") is None:
        return "Prometheus is not installed (Debian package prometheus)"
    return ""


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run promtool."""
    return subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)


class Prometheus:
    """The server; use it as a context manager.

    Parameters
    ----------
    scraped:
        What is collected every second, as ``scrape_configs``.
    rules:
        Files of rules.
    """

    def __init__(self, folder: Path, scraped: Sequence[Mapping[str, Any]], rules: Sequence[Path]) -> None:
        self.url = f"http://127.0.0.1:{(port := free_port())}"
        configuration = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(path) for path in rules],
            "scrape_configs": list(scraped),
        }
        path = folder / "prometheus.yml"
        path.write_text(yaml.safe_dump(configuration), encoding="utf-8")
        self._log = (folder / "prometheus.log").open("wb")
        self._process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={path}",
                f"--storage.tsdb.path={folder / 'tsdb'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=self._log,
            stderr=self._log,
        )
        self.session = requests.Session()
        self.session.trust_env = False

    def __enter__(self) -> Self:
        wait_until(self._answers, "Prometheus")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.session.close()
        self._process.terminate()
        self._process.wait(30)
        self._log.close()

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return an expression's series at this moment; one that cannot be evaluated is an error."""
        answer = self._get("query", query=expression)
        assert answer["status"] == "success", (expression, answer)
        series: list[dict[str, Any]] = answer["data"]["result"]
        return series

    def rules(self) -> list[dict[str, Any]]:
        """Return all rules with their health and state."""
        groups = self._get("rules")["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    def _get(self, what: str, **parameters: str) -> dict[str, Any]:
        found: dict[str, Any] = self.session.get(
            f"{self.url}/api/v1/{what}", params=parameters, timeout=30
        ).json()
        return found

    def _answers(self) -> bool:
        assert self._process.poll() is None, Path(self._log.name).read_text(encoding="utf-8")
        try:
            return self.session.get(f"{self.url}/-/ready", timeout=5).status_code == 200
        except requests.RequestException:
            return False
