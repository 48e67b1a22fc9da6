"""An OpenTelemetry collector's OTLP receiver on loopback: real HTTP, and bodies that are parsed as OTLP."""

from __future__ import annotations

import gzip
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.support.loopback import Handler, Loopback
from tests.support.service import wait_until

Attribute = str | int | float | list[str]


class Collector:
    """Takes spans; use it as a context manager.

    Parameters
    ----------
    tls:
        A certificate and its key; without them it speaks plain HTTP.

    Attributes
    ----------
    status:
        What posts are answered with.
    open:
        Posts that have arrived are answered while this is set: cleared, the collector hangs.
    paths, headers:
        Of each post.
    bodies:
        Of each post, inflated.
    """

    def __init__(self, tls: tuple[Path, Path] | None = None) -> None:
        self.status = 200
        self.open = threading.Event()
        self.open.set()
        self.paths: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.bodies: list[bytes] = []
        self._accepted: list[bytes] = []
        collector = self

        class Receiver(Handler):
            def respond(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                data = gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body
                collector.paths.append(self.path)
                collector.headers.append({name.lower(): value for name, value in self.headers.items()})
                collector.bodies.append(data)
                collector.open.wait()
                if collector.status == 200:
                    collector._accepted.append(data)
                self.answer(collector.status, (), b"")

        self._server = Loopback(Receiver, tls)
        self.url = self._server.origin

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.open.set()
        self._server.end()

    def requests(self) -> list[ExportTraceServiceRequest]:
        """Return what was accepted, parsed."""
        return [ExportTraceServiceRequest.FromString(data) for data in self._accepted]

    def spans(self) -> list[Span]:
        """Return all spans that were accepted, in order."""
        return [
            span
            for request in self.requests()
            for of_resource in request.resource_spans
            for of_scope in of_resource.scope_spans
            for span in of_scope.spans
        ]

    def resources(self) -> list[dict[str, Attribute]]:
        """Return who has sent them."""
        return [attributes(r.resource.attributes) for q in self.requests() for r in q.resource_spans]

    def roots(self, count: int = 1) -> list[Span]:
        """Wait for requests' spans; return them."""

        def found() -> list[Span]:
            return [span for span in self.spans() if span.kind == Span.SPAN_KIND_SERVER]

        wait_until(lambda: len(found()) >= count, f"{count} spans of requests")
        return found()

    def parts(self, root: Span) -> dict[str, Span]:
        """Return the spans right below another by name."""
        return {span.name: span for span in self.spans() if span.parent_span_id == root.span_id}


def attributes(pairs: object) -> dict[str, Attribute]:
    """Return attributes by name."""
    return {pair.key: _value(pair) for pair in pairs}  # type: ignore[attr-defined]


def _value(pair: KeyValue) -> Attribute:
    value = pair.value
    match value.WhichOneof("value"):
        case "string_value":
            return value.string_value
        case "int_value":
            return value.int_value
        case "double_value":
            return value.double_value
        case "array_value":
            return [each.string_value for each in value.array_value.values]
    raise AssertionError(f"{pair.key}: an attribute of another kind")
