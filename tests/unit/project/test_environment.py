"""The environment is read for settings in one place; other uses are named here, each with its reason."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[3]
USERS = {
    "serving/config/settings.py": "reads the settings",
    "serving/processes/launcher.py": "passes on to children what libraries read",
    "serving/webhooks/service/launcher.py": "does so, too",
    "serving/store/service/launcher.py": "and so does this",
    "serving/pipeline/encoder_loading.py": "tells TensorFlow to log less",
    "serving/cli/check.py": "shows whether the hub's own variable is set",
}


def test_only_these_files_of_serving_use_the_environment() -> None:
    found = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "serving").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv", "environb")
        # A WSGI request has an environ of its own.
        if isinstance(node.value, ast.Name) and node.value.id == "os"
    }
    assert found == set(USERS)
