"""From the settings to what sends spans; OpenTelemetry is loaded where they ask for it, and nowhere else."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from serving.config.settings import Settings, SettingsError

if TYPE_CHECKING:
    from serving.telemetry.otlp import OtlpSpans


def require_traces(settings: Settings) -> None:
    """Load what ``spans_to_send`` needs: before a fork, so that workers share its memory.

    Raises
    ------
    SettingsError
        When traces are on and OpenTelemetry is not installed.
    """
    if not settings.traces.is_on:
        return
    try:
        import serving.telemetry.otlp  # noqa: F401
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "opentelemetry":
            raise
        raise SettingsError(
            "bad setting: PATHSERVE_TRACES: traces need more libraries: pip install 'pathserve[traces]'"
        ) from error


def spans_to_send(settings: Settings, service: str) -> OtlpSpans | None:
    """Return what sends spans, with a thread of its own; nothing where traces are off.

    Parameters
    ----------
    service:
        ``service.name`` where no setting gives another.
    """
    traces = settings.traces
    if not traces.is_on:
        return None
    from serving.telemetry.otlp import Collector, OtlpSpans

    resource = {"service.name": service} | traces.of_resource
    if traces.service_name is not None:
        resource["service.name"] = traces.service_name
    return OtlpSpans(
        Collector(
            address=traces.address,
            headers=traces.sent_headers,
            certificate=traces.certificate,
            sampler=traces.sampler,
            ratio=traces.ratio,
            resource=resource,
            use_proxy=settings.stores.use_proxy,
        )
    )


@contextlib.contextmanager
def spans_sent(settings: Settings, service: str) -> Iterator[OtlpSpans | None]:
    """Give what ``spans_to_send`` does, and send at the end what waits.

    Raises
    ------
    SettingsError
        As ``require_traces``.
    """
    require_traces(settings)
    spans = spans_to_send(settings, service)
    try:
        yield spans
    finally:
        if spans is not None:
            spans.close()
