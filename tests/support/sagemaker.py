"""A stand-in for SageMaker's front: it takes InvokeEndpoint and passes it on to a container.

Source: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html. Headers
that it does not name are stripped, the signature among them; a container's failure becomes a ModelError.
"""

from __future__ import annotations

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

import requests

CUSTOM_ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"
PASSED_ON = ("Content-Type", "Accept", CUSTOM_ATTRIBUTES)


class SageMaker:
    """The front of one endpoint; use it as a context manager.

    Parameters
    ----------
    container:
        Address of the container.
    """

    def __init__(self, container: str, endpoint: str = "pathology") -> None:
        self.container, self.endpoint = container, endpoint
        self.session = requests.Session()
        self.session.trust_env = False
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                owner.pass_on(self)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self.session.close()

    def pass_on(self, request: BaseHTTPRequestHandler) -> None:
        """Answer InvokeEndpoint with what the container answers."""
        body = request.rfile.read(int(request.headers["Content-Length"]))
        assert request.headers["Authorization"].startswith("AWS4-HMAC-SHA256 ")
        assert re.fullmatch(rf"/endpoints/{self.endpoint}/invocations", request.path)
        headers = {name: value for name in PASSED_ON if (value := request.headers[name])}
        found = self.session.post(f"{self.container}/invocations", body, headers=headers, timeout=60)
        status, content, sent = (
            found.status_code,
            found.content,
            {"x-Amzn-Invoked-Production-Variant": "only"},
        )
        if CUSTOM_ATTRIBUTES in found.headers:
            sent[CUSTOM_ATTRIBUTES] = found.headers[CUSTOM_ATTRIBUTES]
        if not found.ok:
            message = {"Message": "Received an error from the model", "OriginalStatusCode": status}
            content = json.dumps(message | {"OriginalMessage": found.text}).encode()
            status, sent["x-amzn-ErrorType"] = 424, "ModelError"
        request.send_response(status)
        for name, value in (sent | {"Content-Type": found.headers["Content-Type"]}).items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)
