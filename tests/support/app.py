"""The whole service in this process: its doors, its pipeline and its sources, without sockets and TensorFlow.

Requests pass the same gate and the same views as those that the front reads from connections; the
encoder is the probe in NumPy. Stores are real servers on loopback.
"""

from __future__ import annotations

import io
import json
import logging
import time
from types import TracebackType
from typing import Any, Protocol, Self
from urllib.parse import unquote_to_bytes

import requests
from flask import Flask

from model.transport.engine import Load
from model.transport.local import encoder_in_process
from serving.config.settings import load_settings
from serving.errors import ServiceError
from serving.front.application import Course
from serving.front.body import Body, is_gzip
from serving.front.head import Head
from serving.front.wsgi_bridge import RECEIVED, Received
from serving.http.app import http_application
from serving.pipeline.predictor import Predictor
from serving.processes.assembly import additions, magnification_guard, read_context
from serving.processes.tracing import spans_to_send
from serving.telemetry.json_log import JsonLines
from serving.telemetry.request_record import Telemetry
from tests.support.encoders import ProbeEncoder
from tests.support.front import Front
from tests.support.service import samples, wait_until


class Response(Protocol):
    """What tests read of an answer, whether it came over a socket or not."""

    @property
    def status_code(self) -> int: ...
    @property
    def headers(self) -> Any: ...
    @property
    def text(self) -> str: ...
    def json(self) -> Any: ...


class Predicts(Protocol):
    """A service or an application: whatever answers predictions."""

    def predict(self, *instances: object) -> Response: ...


class AppResponse:
    """An answer of the application."""

    def __init__(self, status_code: int, headers: Any, body: bytes) -> None:
        self.status_code, self.headers, self.content = status_code, headers, body

    @property
    def text(self) -> str:
        """The body as text."""
        return self.content.decode()

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.content)


class App:
    """The service's application; use it as a context manager.

    Parameters
    ----------
    settings:
        By variable name.
    load:
        Makes the encoder; by default the poisonable probe. One that does not return at once is not waited
        for.

    Attributes
    ----------
    settings:
        What it runs with.
    context:
        What its sources share.
    application:
        What the front serves.
    """

    def __init__(self, settings: dict[str, object] | None = None, load: Load | None = None) -> None:
        self.settings = load_settings(settings or {})
        self.context = read_context(self.settings)
        self._encoder = encoder_in_process(load or ProbeEncoder)
        self._waits = load is None
        self._lines = io.StringIO()
        self._handler = logging.StreamHandler(self._lines)
        self._handler.setFormatter(JsonLines("http"))

    def __enter__(self) -> Self:
        logging.getLogger().addHandler(self._handler)
        self.encoder = self._encoder.__enter__()
        if self._waits:
            wait_until(lambda: self.encoder.facts is not None, "the encoder")
        self.predictor = Predictor(
            self.encoder,
            self.context,
            threads=2,
            max_reads=self.settings.requests.max_patches,
            guard=magnification_guard(self.settings),
        )
        more = additions(self.settings, self.predictor, self.context)
        self.spans = spans_to_send(self.settings, "pathserve")
        telemetry = Telemetry(spans=self.spans)
        application = http_application(self.settings, self.predictor, telemetry, more)
        self.application = application
        self._gate, flask = application.gate, application.wsgi
        assert isinstance(flask, Flask)
        self._flask = flask
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._encoder.__exit__(kind, error, trace)
        if self.spans is not None:
            self.spans.close()
        self.context.decoders.close()
        logging.getLogger().removeHandler(self._handler)

    def request(
        self, method: str, target: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> AppResponse:
        """Send a request that has arrived completely, as the front hands it on."""
        path, _, query = target.partition("?")
        named = {"content-length": str(len(body))} | {k.lower(): v for k, v in (headers or {}).items()}
        head = Head(
            method=method,
            path=unquote_to_bytes(path).decode("latin-1"),
            query=query,
            headers=tuple(named.items()),
            version=(1, 1),
            content_length=len(body),
            is_chunked=False,
            keep_alive=True,
        )
        answer = self._flask.test_client().open(
            path,
            method=method,
            query_string=query,
            headers=list(named.items()),
            environ_overrides={RECEIVED: self._received(head, body)},
        )
        return AppResponse(answer.status_code, answer.headers, answer.get_data())

    def get(self, target: str, **options: Any) -> AppResponse:
        """GET a path."""
        return self.request("GET", target, **options)

    def post(self, target: str, body: object, **options: Any) -> AppResponse:
        """POST bytes, or anything else as JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.request("POST", target, data, **options)

    def predict(self, *instances: object, **options: Any) -> AppResponse:
        """POST instances to the predict route."""
        return self.post("/predict", {"instances": list(instances)}, **options)

    def log(self) -> str:
        """Everything that this process has logged since the application was made, as the service does."""
        return self._lines.getvalue()

    def log_lines(self) -> list[dict[str, Any]]:
        """The lines of the log, parsed."""
        return [json.loads(line) for line in self.log().splitlines()]

    def _received(self, head: Head, body: bytes) -> Received:
        started = time.perf_counter()
        try:
            if self._gate.course(head) is not Course.WHOLE:
                return Received(started)
            arriving = Body(self._gate.limit, gzip=is_gzip(head.header("content-encoding")))
            arriving.add(body)
            return Received(started, arriving.end())
        except ServiceError as refusal:
            return Received(started, refusal=refusal)


class ServedApp:
    """An application behind the front, on a free port: all of the service but its processes.

    Its clients are those of a service: ``url``, ``port``, ``session``.
    """

    def __init__(self, app: App) -> None:
        self.app = app
        self._front = Front(application=app.application, configured=app.settings)
        self.port = self._front.port
        self.url = f"http://127.0.0.1:{self.port}"
        self.session = requests.Session()
        self.session.trust_env = False

    def __enter__(self) -> Self:
        self._front.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.session.close()
        self._front.__exit__(kind, error, trace)

    def predict(self, *instances: object) -> requests.Response:
        """POST instances to the predict route."""
        return self.session.post(f"{self.url}/predict", json={"instances": list(instances)}, timeout=300)

    def health(self) -> int:
        """Status of the health route."""
        return self.session.get(f"{self.url}/health", timeout=10).status_code

    def metrics(self) -> dict[str, float]:
        """Samples of the metrics route by their full name."""
        return samples(self.session.get(f"{self.url}/metrics", timeout=10).text)
