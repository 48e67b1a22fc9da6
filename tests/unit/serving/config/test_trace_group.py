from __future__ import annotations

from pathlib import Path

import pytest

from serving.config.settings import SettingsError, load_settings
from serving.config.trace_group import TraceSettings

ON = {"PATHSERVE_TRACES": "1"}


def traces(**variables: str) -> TraceSettings:
    return load_settings(environment=ON | variables).traces


def test_spans_go_where_opentelemetrys_variables_say() -> None:
    assert traces().address == "http://localhost:4318/v1/traces"
    general = {"OTEL_EXPORTER_OTLP_ENDPOINT": "https://collector.example/otlp/"}
    assert traces(**general).address == "https://collector.example/otlp/v1/traces"
    whole = general | {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://traces.example/api"}
    assert traces(**whole).address == "https://traces.example/api"


def test_headers_of_traces_replace_those_of_all() -> None:
    of_all = {"OTEL_EXPORTER_OTLP_HEADERS": "authorization=Basic%20a%3D, x-team = path,"}
    assert traces(**of_all).sent_headers == {"authorization": "Basic a=", "x-team": "path"}
    of_traces = of_all | {"OTEL_EXPORTER_OTLP_TRACES_HEADERS": "x-team=other"}
    assert traces(**of_traces).sent_headers == {"x-team": "other"}


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4317"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://host:port"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:planted@host:4318"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/no/such/file"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "Bearer planted"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=planted%0d%0ax: y"),
        ("OTEL_RESOURCE_ATTRIBUTES", "clinic"),
        ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
        ("OTEL_TRACES_SAMPLER_ARG", "2"),
        ("OTEL_TRACES_SAMPLER_ARG", "half"),
        ("OTEL_TRACES_SAMPLER_ARG", "nan"),
    ],
)
def test_a_value_that_cannot_be_used_stops_the_start_by_its_name_and_only_with_traces(
    variable: str, value: str
) -> None:
    with pytest.raises(SettingsError, match=variable) as refused:
        traces(**{variable: value})
    assert "planted" not in str(refused.value)
    assert not load_settings(environment={variable: value}).traces.is_on


def test_a_protocol_of_traces_counts_before_that_of_all(tmp_path: Path) -> None:
    more = {
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_CERTIFICATE": str(tmp_path / "ca.pem"),
    }
    (tmp_path / "ca.pem").touch()
    assert traces(**more).certificate == tmp_path / "ca.pem"
