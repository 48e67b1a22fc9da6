"""Logs as JSON lines: only fields that are named here, only short plain values.

Image bytes, tokens and error texts with patient data cannot get into the log by accident: what is
not on the list is not written, and an exception is logged by its type and place, without its text.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from datetime import UTC, datetime

FIELDS = frozenset(
    {
        "attempt", "code", "codes", "connections", "cosine", "device", "difference", "digest",
        "encode_s", "exit_status",
        "http_status",
        "instances", "instances_failed", "job", "jobs", "kind",
        "magnification", "method", "model", "outcome", "parity", "patch", "patch_codes", "patches", "pid",
        "port", "precision", "reason", "reproducible",
        "request_bytes", "request_id", "route", "runtime", "seconds", "stages_ms", "state",
        "untrained", "workers",
    }
)  # fmt: skip
"""Fields that ``extra`` may add to a line."""

_ENCODER = json.JSONEncoder(default=lambda value: type(value).__name__)
_MAX_TEXT = 500
_FRAMES = 6


class JsonLines(logging.Formatter):
    """One JSON object a line.

    Parameters
    ----------
    process:
        The kind of process that logs: launcher, http or encoder.
    """

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of JSON."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "process": self._process,
            "message": record.getMessage()[:_MAX_TEXT],
        }
        line |= {name: value for name, value in vars(record).items() if name in FIELDS}
        if record.exc_info and record.exc_info[0] is not None:
            line["exception"] = record.exc_info[0].__name__
            line["at"] = [
                f"{frame.filename}:{frame.lineno} {frame.name}"
                for frame in traceback.extract_tb(record.exc_info[2])[-_FRAMES:]
            ]
        return _ENCODER.encode(line)


def log_as_json(level: str, *, process: str) -> None:
    """Send this process' logs to standard error as JSON lines, Python's warnings included."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(process))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.captureWarnings(True)
    for name in ("tensorflow", "absl", "PIL", "urllib3"):
        logging.getLogger(name).setLevel(logging.WARNING)
