"""The settings of traces. All but the first are OpenTelemetry's own variables, by their own rules.

OpenTelemetry's specification has them in "OpenTelemetry Protocol Exporter" and "Environment Variable
Specification".
"""

from __future__ import annotations

from pathlib import Path
from typing import Self
from urllib.parse import unquote, urlsplit

from pydantic import model_validator

from serving.config.group import Group, Secret, revealed, setting

SAMPLERS = (
    "always_on", "always_off", "traceidratio",
    "parentbased_always_on", "parentbased_always_off", "parentbased_traceidratio",
)  # fmt: skip
"""The specification's samplers."""

_PROTOCOL = "http/protobuf"


class TraceSettings(Group):
    """Whether and where spans are sent. Off, none of the others is looked at, whatever it holds."""

    is_on: bool = setting(
        "PATHSERVE_TRACES",
        False,
        "Whether a span of each request, with its stages, is sent to an OpenTelemetry collector; needs "
        "`pathserve[traces]`. Without it none of the variables below is looked at.",
    )
    endpoint: str = setting(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "http://localhost:4318",
        "Address of the collector, to which `/v1/traces` is appended.",
    )
    traces_endpoint: str | None = setting(
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", None, "The whole address that spans are posted to, instead."
    )
    headers: Secret = setting(
        "OTEL_EXPORTER_OTLP_HEADERS",
        None,
        "Headers that spans are sent with, as `name=value,name=value`; values may be percent-encoded.",
    )
    traces_headers: Secret = setting("OTEL_EXPORTER_OTLP_TRACES_HEADERS", None, "The same, instead of those.")
    protocol: str | None = setting(
        "OTEL_EXPORTER_OTLP_PROTOCOL", None, "Only `http/protobuf` is spoken; others stop the start."
    )
    traces_protocol: str | None = setting(
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", None, "The same, instead of that."
    )
    certificate: Path | None = setting(
        "OTEL_EXPORTER_OTLP_CERTIFICATE",
        None,
        "PEM file of the authorities that vouch for the collector; by default those of certifi.",
    )
    service_name: str | None = setting(
        "OTEL_SERVICE_NAME",
        None,
        "`service.name` of the spans; by default `pathserve`, `pathserve-webhooks` or `pathserve-store`.",
    )
    resource_attributes: str | None = setting(
        "OTEL_RESOURCE_ATTRIBUTES",
        None,
        "What else is said of this service with its spans, as `deployment.environment.name=clinic,…`.",
    )
    sampler: str = setting(
        "OTEL_TRACES_SAMPLER",
        "parentbased_always_on",
        "Which requests are traced: by default all but those whose caller says no in `traceparent`. Or "
        "`always_on`, `always_off`, `traceidratio`, `parentbased_always_off`, `parentbased_traceidratio`.",
    )
    sampler_arg: str | None = setting(
        "OTEL_TRACES_SAMPLER_ARG", None, "Share of traces, 0 to 1, of the two `…traceidratio`; unset is all."
    )

    @model_validator(mode="after")
    def _can_be_used(self) -> Self:
        if self.is_on:
            _require_address(self.address)
            protocol = self.traces_protocol or self.protocol or _PROTOCOL
            if protocol != _PROTOCOL:
                raise ValueError(
                    f"OTEL_EXPORTER_OTLP_PROTOCOL must be {_PROTOCOL} (port 4318 of most collectors)"
                )
            if self.certificate is not None and not self.certificate.is_file():
                raise ValueError("OTEL_EXPORTER_OTLP_CERTIFICATE must be a file")
            if self.sampler not in SAMPLERS:
                raise ValueError(f"OTEL_TRACES_SAMPLER must be one of {', '.join(SAMPLERS)}")
            _ = self.ratio, self.sent_headers, self.of_resource
        return self

    @property
    def address(self) -> str:
        """Where spans are posted to."""
        return self.traces_endpoint or f"{self.endpoint.rstrip('/')}/v1/traces"

    @property
    def sent_headers(self) -> dict[str, str]:
        """Headers that spans are sent with, by name."""
        of_traces, of_all = revealed(self.traces_headers), revealed(self.headers)
        return _pairs(of_all if of_traces is None else of_traces, "OTEL_EXPORTER_OTLP_HEADERS")

    @property
    def of_resource(self) -> dict[str, str]:
        """What is said of the service beside its name, by attribute."""
        return _pairs(self.resource_attributes, "OTEL_RESOURCE_ATTRIBUTES")

    @property
    def ratio(self) -> float:
        """Share of traces that a sampler by ratio keeps, 0 to 1."""
        try:
            ratio = float(self.sampler_arg or 1.0)
        except ValueError:
            ratio = -1.0
        if not 0 <= ratio <= 1:
            raise ValueError("OTEL_TRACES_SAMPLER_ARG must be a number from 0 to 1")
        return ratio


def _require_address(address: str) -> None:
    # What is wrong is not quoted: an address may hold a password.
    try:
        parts = urlsplit(address)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ValueError("OTEL_EXPORTER_OTLP_ENDPOINT must be an http or https address")
    if "@" in parts.netloc:
        raise ValueError(
            "OTEL_EXPORTER_OTLP_ENDPOINT must have no user and no password in it; "
            "OTEL_EXPORTER_OTLP_HEADERS is for secrets"
        )


def _pairs(text: str | None, variable: str) -> dict[str, str]:
    """Return ``name=value,name=value`` by name (W3C Baggage's form, as the specification says)."""
    pairs: dict[str, str] = {}
    for pair in (text or "").split(","):
        name, sign, value = pair.partition("=")
        if not pair.strip():
            continue
        value = unquote(value.strip())
        if not sign or not name.strip() or not value.isprintable() or not name.strip().isascii():
            raise ValueError(f"{variable} must be name=value,name=value")
        pairs[unquote(name.strip())] = value
    return pairs
