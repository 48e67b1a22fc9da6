"""The dashboard and the alerts that come with the documentation, and what their expressions name."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parents[2] / "docs/grafana"
ALERTS = FOLDER / "alerts.yml"
DASHBOARD = FOLDER / "dashboard.json"

_SELECTOR = re.compile(r"\b(pathserve_\w+)(?:\{([^}]*)\})?")
_LABEL = re.compile(r'(\w+)\s*(?:=~|!~|!=|=)\s*"')
_GROUPED = re.compile(r"\bby \(([^)]*)\)")


def alerts() -> list[dict[str, Any]]:
    """Return the rules of all groups."""
    document = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))
    return [rule for group in document["groups"] for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    """Return the dashboard."""
    found: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return found


def expressions() -> Iterator[tuple[str, str]]:
    """Yield (where it stands, expression) of every query of the dashboard, as Grafana would send it."""
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", ()):
            sent = target["expr"].replace("$__rate_interval", "1m").replace("$job", ".*")
            yield f"{panel['title']} ({panel['id']} {target['refId']})", sent


def named(expression: str) -> Iterator[tuple[str, set[str]]]:
    """Yield (metric, labels that it is chosen or grouped by) of an expression."""
    grouped = {label.strip() for labels in _GROUPED.findall(expression) for label in labels.split(",")}
    for metric, chosen in _SELECTOR.findall(expression):
        yield metric, set(_LABEL.findall(chosen)) | grouped
