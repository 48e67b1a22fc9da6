"""What a trace says of a request: which, how it ended, and when its stages were at work; no word of its text.

Nothing here knows OpenTelemetry: ``serving.telemetry.otlp`` sends spans, where it is installed and wanted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

Value = str | int | float | tuple[str, ...]

ATTRIBUTES = frozenset(
    {
        "error.type",
        "http.request.body.size",
        "http.request.method",
        "http.response.status_code",
        "http.route",
        "pathserve.busy_s",
        "pathserve.error_codes",
        "pathserve.instances",
        "pathserve.instances_failed",
        "pathserve.job.kind",
        "pathserve.job.state",
        "pathserve.patches",
        "pathserve.request_id",
        "pathserve.view",
    }
)
"""All that a span may say. Names with ``http`` and ``error`` are of OpenTelemetry's conventions for HTTP."""


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of work that has ended.

    Attributes
    ----------
    began, ended:
        ``time.perf_counter()`` seconds.
    attributes:
        By names of ``ATTRIBUTES``; others are not sent.
    failed:
        Whether the service is at fault.
    traceparent:
        The header of that name (W3C Trace Context, section 3.2), as the caller sent it: the span's parent.
    is_of_server:
        Whether it answers another process.
    parts:
        What it consists of.
    """

    name: str
    began: float
    ended: float
    attributes: Mapping[str, Value] = field(default_factory=dict)
    failed: bool = False
    traceparent: str = ""
    is_of_server: bool = False
    parts: tuple[Span, ...] = ()


class Spans(Protocol):
    """Where spans go. Neither waits nor raises: what cannot be kept is dropped."""

    def add(self, span: Span) -> None:
        """Take a span."""
