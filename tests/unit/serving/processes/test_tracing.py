from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import sys
sys.modules[{missing!r}] = None
from serving.config.settings import SettingsError, load_settings
from serving.processes.tracing import require_traces, spans_to_send
assert spans_to_send(load_settings(), "pathserve") is None
require_traces(load_settings())
try:
    require_traces(load_settings({{"PATHSERVE_TRACES": "1"}}))
except SettingsError as error:
    print(error)
"""


@pytest.mark.parametrize("missing", ["opentelemetry.sdk", "opentelemetry.exporter", "opentelemetry"])
def test_without_its_extra_traces_say_what_to_install_and_the_plain_service_misses_nothing(
    missing: str,
) -> None:
    code = CODE.format(missing=missing)
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "PATHSERVE_TRACES" in run.stdout
    assert "pip install 'pathserve[traces]'" in run.stdout
