"""A stand-in for Techcyte on TLS loopback: its API, its bucket, and a user who asks for an analysis.

What it does is held to the vendor's own client by ``tests/integration/test_techcyte_devkit.py``.
"""

from __future__ import annotations

import base64
import json
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support.loopback import Handler, Loopback

Json = dict[str, Any]
Answer = tuple[int, dict[str, str], bytes]

HANG_UP: Answer = (0, {}, b"")
"""No answer: the connection ends."""

REPORTS = frozenset(
    {
        "Basic", "WholeSlideDifferential", "AreaDifferential", "SemiQuantitativeDifferential",
        "RegionCounting", "AiMitosisCounting", "TumorCellularity",
    }
)  # fmt: skip
CASE = "aHVtYW5DYXNlOjI0MjEzNjY="


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asked; names of headers in lower case."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes

    @property
    def token(self) -> str:
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token if scheme == "Bearer" else ""

    @property
    def is_post(self) -> bool:
        return self.method == "POST" and "/external/results/" in self.path

    @property
    def is_question(self) -> bool:
        return "/external/case_evaluations/" in self.path

    @property
    def is_file(self) -> bool:
        return self.path.startswith("/bucket/")


@dataclass(slots=True)
class Behaviour:
    """How the server behaves.

    Attributes
    ----------
    before:
        Answers a request itself, before anything is done, unless it returns ``None``.
    after:
        Answers in place of what was to be answered, once all is done, unless it returns ``None``.
    shows:
        Whether evaluations are shown to who asks.
    """

    before: Callable[[Request], Answer | None] | None = None
    after: Callable[[Request], Answer | None] | None = None
    shows: bool = True


@dataclass(slots=True)
class Task:
    """A task: what may be posted for it."""

    number: str
    token: str
    scans: tuple[str, ...]


@dataclass(slots=True)
class State:
    """What the server has.

    Attributes
    ----------
    accepted:
        The bodies that were taken, by task.
    cases:
        What was set on the case of a task.
    """

    accepted: dict[str, list[Json]] = field(default_factory=dict)
    cases: dict[str, list[Json]] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)


class Techcyte:
    """The server; use it as a context manager.

    Parameters
    ----------
    tls:
        Its certificate and the key of that.
    port:
        0 takes a free one.
    """

    def __init__(self, tls: tuple[Path, Path], behaviour: Behaviour | None = None, port: int = 0) -> None:
        self.behaviour = behaviour or Behaviour()
        self.state = State()
        self.tasks: dict[str, Task] = {}
        self.keys: dict[str, str] = {}
        self._key_tokens: set[str] = set()
        self._files: dict[str, tuple[str, Path]] = {}
        self._lock = threading.Lock()
        self._number = 185_713
        server = self

        class TechcyteHandler(Handler):
            def respond(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length)
                if len(body) < length:  # a request that has come in part is none
                    self.close_connection = True
                    return
                path, _, query = self.path.partition("?")
                headers = {name.lower(): value for name, value in self.headers.items()}
                status, more, answer = server.answer(Request(self.command, path, query, headers, body))
                if status:
                    self.answer(status, more.items(), answer)
                else:
                    self.close_connection = True

            def do_PATCH(self) -> None:  # noqa: N802 -- http.server looks for it
                self.respond()

        self._server = Loopback(TechcyteHandler, tls, port)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.end()

    @property
    def origin(self) -> str:
        return self._server.origin

    @property
    def host(self) -> str:
        """Its address and port."""
        return self.origin.partition("//")[2]

    def settings(self, secret: str) -> dict[str, str]:
        """Return the settings with which a service serves it."""
        return {
            "PATHSERVE_TECHCYTE_SECRET": secret,
            "PATHSERVE_TECHCYTE_URL": self.origin,
            "PATHSERVE_TECHCYTE_DOWNLOAD_HOSTS": self.host,
            "PATHSERVE_TECHCYTE_RETRY_S": "30",
            "PATHSERVE_TECHCYTE_ASK_S": "2",
            "PATHSERVE_TECHCYTE_TIMEOUT_S": "20",
        }

    def posts(self, task: str = "") -> int:
        """Return how many posts were made, taken or not."""
        return sum(request.is_post and request.path.endswith(task) for request in self.state.requests)

    def taken(self) -> Counter[str]:
        """Return how many posts were taken, by task."""
        return Counter({number: len(bodies) for number, bodies in self.state.accepted.items()})

    # What a user does

    def request(self, scans: Mapping[str, Sequence[Path]], /, **changed: Any) -> Json:
        """Ask for an analysis; return what the webhook is posted. ``...`` takes a field out."""
        with self._lock:
            self._number += 1
            number = str(self._number)
        task = Task(number, jwt(), tuple(scans))
        self.tasks[number] = task
        urls = {scan: [self._presigned(file) for file in files] for scan, files in scans.items()}
        body = {
            "company_id": "2380941",
            "scans": {scan: links[0] for scan, links in urls.items()},
            "scan_urls": urls,
            "stains": {scan: {"value": "HE", "stain_code": "HE", "label": "H&E"} for scan in scans},
            "case_id": CASE,
            "task_id": base64.b64encode(f"task:{number}".encode()).decode(),
            "model_id": "",
            "jwt_token": task.token,
        } | changed
        return {name: value for name, value in body.items() if value is not ...}

    def number_of(self, body: Json) -> str:
        """Return the number of a task that ``request`` has made."""
        return base64.b64decode(body["task_id"]).decode().partition(":")[2]

    def _presigned(self, file: Path) -> str:
        name, signature = secrets.token_hex(8), f"planted{secrets.token_hex(16)}"
        self._files[name] = (signature, file)
        query = f"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature={signature}"
        return f"{self.origin}/bucket/files_uuid/{name}{file.suffix}?{query}"

    # What it answers

    def answer(self, request: Request) -> Answer:
        """Return status, headers and body."""
        with self._lock:
            self.state.requests.append(request)
        behaviour = self.behaviour
        if behaviour.before is not None and (early := behaviour.before(request)) is not None:
            return early
        found = self._answer(request)
        late = None if behaviour.after is None else behaviour.after(request)
        return found if late is None else late

    def _answer(self, request: Request) -> Answer:
        if request.is_file:
            return self._file(request)
        *above, what, number = request.path.split("/")
        if above == ["", "api"] and (what, number) == ("v3", "token"):
            return self._new_token(request)
        if above != ["", "api", "v3", "external"]:
            return 404, {}, b""
        task = self.tasks.get(_number(number))
        if request.token not in self._key_tokens and (task is None or request.token != task.token):
            return 401, {}, b'{"error": "unauthorized"}'
        if task is None:
            return 404, {}, b""
        views: dict[tuple[str, str], Callable[[Request, Task], Answer]] = {
            ("POST", "results"): self._results,
            ("GET", "case_evaluations"): self._evaluations,
            ("PATCH", "case"): self._case,
        }
        view = views.get((request.method, what))
        return (404, {}, b"") if view is None else view(request, task)

    def _results(self, request: Request, task: Task) -> Answer:
        if (fault := fault_of(request.body, task.scans)) is not None:
            return 422, {}, json.dumps({"error": fault}).encode()
        with self._lock:
            self.state.accepted.setdefault(task.number, []).append(json.loads(request.body))
        return 201, {"Content-Type": "application/json"}, b"null"

    def _evaluations(self, _: Request, task: Task) -> Answer:
        found: list[Json] = [{"id": 1, "sample_id": 1, "case_id": 7, "task_id": None, "details": None}]
        shown = self.state.accepted if self.behaviour.shows else {}
        for number, bodies in shown.items():
            for scan in (scan for body in bodies for scan in body["scanResults"]):
                report = {k: v for k, v in (scan.get("results") or {}).items() if k != "external_url"}
                details = {"report": report}
                found.append({"id": len(found) + 1, "case_id": 7, "task_id": int(number), "details": details})
        return 200, {"Content-Type": "application/json"}, json.dumps(found).encode()

    def _case(self, request: Request, task: Task) -> Answer:
        with self._lock:
            self.state.cases.setdefault(task.number, []).append(json.loads(request.body))
        return 204, {}, b""

    def _new_token(self, request: Request) -> Answer:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        key, _, secret = base64.b64decode(given).decode().partition(":")
        if scheme != "Basic" or self.keys.get(key) != secret or b"client_credentials" not in request.body:
            return 401, {}, b""
        token = jwt()
        self._key_tokens.add(token)
        return 200, {"Content-Type": "application/json"}, json.dumps({"access_token": token}).encode()

    def _file(self, request: Request) -> Answer:
        name = request.path.rpartition("/")[2].partition(".")[0]
        signature, file = self._files.get(name, ("", Path()))
        if not signature or not request.query.endswith(f"X-Amz-Signature={signature}"):
            return 403, {}, b"<Error><Code>AccessDenied</Code></Error>"
        return 200, {"ETag": f'"{name}"', "Content-Type": "image/svs"}, file.read_bytes()


def fault_of(body: bytes, scans: Sequence[str]) -> str | None:
    """Return what the API would refuse of a post; it is refused as a whole."""
    try:
        document = json.loads(body, parse_constant=lambda name: 1 / 0)
        for scan in document["scanResults"]:
            if not isinstance(scan["scanId"], str) or scan["scanId"] not in scans:
                return "a scan is not the task's"
            if not isinstance(scan.get("results", {}).get("summary", ""), str):
                return "summary is no text"
            if "workflow" in scan and (
                not isinstance(scan["workflow"]["ruo"], bool)
                or scan["workflow"]["report"]["type"] not in REPORTS
            ):
                return "a workflow is malformed"
    except (ArithmeticError, ValueError, KeyError, TypeError, AttributeError) as error:
        return type(error).__name__
    return None if document["scanResults"] else "no scans"


def jwt(*, expires_in_s: float = 3600.0) -> str:
    """Return a token as a task has one; nobody could verify it."""
    claims = json.dumps({"exp": int(time.time() + expires_in_s), "planted": secrets.token_hex(16)})
    parts = (b'{"alg":"HS256","typ":"JWT"}', claims.encode(), secrets.token_bytes(32))
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


def _number(text: str) -> str:
    if text.isdigit():
        return text
    try:
        return base64.b64decode(text).decode().partition(":")[2]
    except ValueError:
        return ""
