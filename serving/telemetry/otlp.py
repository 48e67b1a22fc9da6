"""Spans, sent to a collector by OTLP over HTTP: the one file that knows OpenTelemetry.

Requests never wait for the collector: spans go to a bounded queue, which a thread of the library empties.
One that does not keep up, refuses or hangs costs spans. To be made after the fork: threads do not survive it.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import requests
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    Decision,
    ParentBased,
    Sampler,
    TraceIdRatioBased,
)
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    get_current_span,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from serving.telemetry.spans import ATTRIBUTES, Span, Value

QUEUE = 2048
"""Spans that wait for the collector; of more, the oldest are dropped. A request has at most eight."""

_BATCH = 512
_EVERY_MS = 1000
_EXPORT_S = 5.0
"""Longest time for a batch, all tries together."""

FLUSH_S = 1.0
"""How long the end of a process waits for the collector; a worker has two seconds after the grace."""

_LONGEST_TEXT = 128
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, repr=False)
class Collector:
    """Where spans are sent, and as whose.

    Attributes
    ----------
    address:
        Where they are posted.
    headers:
        Sent with them; secrets.
    certificate:
        PEM file of the authorities that vouch for the collector; by default those of certifi.
    sampler, ratio:
        One of the specification's, and the share of traces that one by ratio keeps.
    resource:
        What is said of the service: ``service.name`` and other attributes.
    use_proxy:
        Whether proxies, and authorities, of the environment count.
    """

    address: str
    headers: Mapping[str, str]
    certificate: Path | None
    sampler: str
    ratio: float
    resource: Mapping[str, str]
    use_proxy: bool = False


class OtlpSpans:
    """Sends spans to a collector, in a thread of its own.

    No tracer is made, least of all a global one: libraries that trace by themselves, as Cloud Storage's,
    would tell addresses of objects.
    """

    def __init__(self, collector: Collector) -> None:
        # Their messages quote addresses and answers; what matters of them is logged below.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        self._exporter = _exporter(collector)
        self._processor = BatchSpanProcessor(
            self._exporter,
            max_queue_size=QUEUE,
            schedule_delay_millis=_EVERY_MS,
            max_export_batch_size=_BATCH,
        )
        self._sampler = _sampler(collector.sampler, collector.ratio)
        self._resource = _resource(collector.resource)
        self._scope = InstrumentationScope("pathserve", version("pathserve"))
        self._ids = RandomIdGenerator()

    def add(self, span: Span) -> None:
        """Send a span and its parts, unless its caller or the sampler says no."""
        context, parent = Context(), None
        if span.traceparent:
            # ``tracestate`` is left out, for it may hold any text.
            context = TraceContextTextMapPropagator().extract({"traceparent": span.traceparent}, context)
            given = get_current_span(context).get_span_context()
            parent = given if given.is_valid else None
        trace = self._ids.generate_trace_id() if parent is None else parent.trace_id
        decision = self._sampler.should_sample(context, trace, span.name).decision
        if decision is Decision.RECORD_AND_SAMPLE:
            # All at one reading of both clocks, so that parts lie where they were.
            zero = time.time_ns() - int(time.perf_counter() * 1e9)
            self._send(span, trace, parent, zero)

    def close(self) -> None:
        """Send what waits, for at most FLUSH_S seconds; what comes later is dropped."""
        flush = threading.Thread(target=self._processor.shutdown, name="spans-flush", daemon=True)
        flush.start()
        flush.join(FLUSH_S)
        self._exporter.give_up()

    def _send(self, span: Span, trace: int, parent: SpanContext | None, zero: int) -> None:
        # Made as it is exported: a tracer, which is for spans that are yet to end, takes three times as long.
        context = SpanContext(trace, self._ids.generate_span_id(), is_remote=False, trace_flags=_SAMPLED)
        self._processor.on_end(
            ReadableSpan(
                span.name,
                context,
                parent,
                self._resource,
                _allowed(span.attributes),
                kind=SpanKind.SERVER if span.is_of_server else SpanKind.INTERNAL,
                status=Status(StatusCode.ERROR if span.failed else StatusCode.UNSET),
                start_time=zero + int(span.began * 1e9),
                end_time=zero + int(span.ended * 1e9),
                instrumentation_scope=self._scope,
            )
        )
        for part in span.parts:
            self._send(part, trace, context, zero)


class _Exporter(OTLPSpanExporter):
    """Says in the log when the collector stops to take spans, and when it does again."""

    _works = True
    _was_given_up = False

    def give_up(self) -> None:
        """Try no more, and say nothing of what becomes of the last batch."""
        self._was_given_up = True
        self.shutdown()  # type: ignore[no-untyped-call]

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send a batch; return how that went."""
        result = super().export(spans)
        works = result is SpanExportResult.SUCCESS
        if works != self._works and not self._was_given_up:
            self._works = works
            if works:
                log.info("the collector takes spans again")
            else:
                log.warning("the collector takes no spans, which are dropped until it does")
        return result


def _exporter(collector: Collector) -> _Exporter:
    session = requests.Session()
    session.trust_env = collector.use_proxy
    session.hooks["response"].append(_require_no_redirect)
    return _Exporter(
        collector.address,
        None if collector.certificate is None else str(collector.certificate),
        headers=dict(collector.headers),
        timeout=_EXPORT_S,
        compression=Compression.Gzip,
        session=session,
    )


def _require_no_redirect(response: requests.Response, **_: object) -> None:
    """Raise for a redirect: it is not followed, and the library would take it for success."""
    if 300 <= response.status_code < 400:
        response.close()
        raise requests.TooManyRedirects(response=response)


def _resource(given: Mapping[str, str]) -> Resource:
    """Return what is said of this process; nothing is looked up about it, its command or its machine."""
    of_process = {"service.version": version("pathserve"), "service.instance.id": str(uuid.uuid4())}
    return Resource({**of_process, **given})


def _sampler(name: str, ratio: float) -> Sampler:
    roots = {"always_on": ALWAYS_ON, "always_off": ALWAYS_OFF, "traceidratio": TraceIdRatioBased(ratio)}
    root = roots[name.removeprefix("parentbased_")]
    return ParentBased(root) if name.startswith("parentbased_") else root


def _allowed(attributes: Mapping[str, Value]) -> dict[str, Value]:
    return {name: _short(value) for name, value in attributes.items() if name in ATTRIBUTES}


def _short(value: Value) -> Value:
    return value[:_LONGEST_TEXT] if isinstance(value, str) else value
