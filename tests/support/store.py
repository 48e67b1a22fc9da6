"""A small DICOMweb store on loopback that can be told to misbehave as Orthanc cannot."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs

from tests.support.loopback import Handler, Loopback
from tests.support.slides import EXPLICIT, Slide, StoredInstance

PREFIX = "/v1/projects/p/dicomWeb"
BOUNDARY = "a-boundary"

ALWAYS_FOUND = ("00080016", "00080018", "00080060", "0020000D", "0020000E", "00083002")
"""What a search answers unasked: PS3.18, table 10.6.3-5, shortened."""

Answer = tuple[int, dict[str, str], bytes]
Override = Callable[["Request"], "Answer | None"]


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asked: path and query, and headers by lower-case name."""

    path: str
    headers: dict[str, str]

    @property
    def token(self) -> str | None:
        return self.headers.get("authorization")


@dataclass(slots=True)
class Behaviour:
    """How the store behaves.

    Attributes
    ----------
    tokens:
        Tokens that may read; ``None`` lets everyone in. ``denied`` ones get 403, others 401.
    override:
        Answers a request itself, unless it returns ``None``.
    says_syntax:
        Whether parts and metadata name the transfer syntax.
    bulk_icc:
        Whether ICC profiles are given by BulkDataURI, as real stores do, or inline.
    transcodes:
        Frames that are served when explicit little endian is asked for by name.
    """

    tokens: set[str] | None = None
    denied: set[str] = field(default_factory=set)
    override: Override | None = None
    says_syntax: bool = True
    bulk_icc: bool = True
    transcodes: dict[str, list[bytes]] = field(default_factory=dict)


class Store:
    """The store; use it as a context manager.

    Attributes
    ----------
    requests:
        Everything that was asked, in order.
    """

    def __init__(self, *slides: Slide, behaviour: Behaviour | None = None) -> None:
        self.slides = list(slides)
        self.behaviour = behaviour or Behaviour()
        self.requests: list[Request] = []
        store = self

        class StoreHandler(Handler):
            def respond(self) -> None:
                request = Request(self.path, {k.lower(): v for k, v in self.headers.items()})
                store.requests.append(request)
                status, headers, body = store.answer(request)
                self.answer(status, headers.items(), body)

        self._server = Loopback(StoreHandler)

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
    def url(self) -> str:
        return self.origin + PREFIX

    def series_path(self, slide: Slide) -> str:
        return f"{self.url}/studies/{slide.study}/series/{slide.series}"

    def frame_requests(self) -> list[Request]:
        return [request for request in self.requests if "/frames/" in request.path]

    def answer(self, request: Request) -> Answer:
        """Return status, headers and body for a request."""
        behaviour = self.behaviour
        if behaviour.override is not None and (special := behaviour.override(request)) is not None:
            return special
        if behaviour.tokens is not None:
            token = (request.token or "").removeprefix("Bearer ")
            if token in behaviour.denied:
                return 403, {}, b""
            if token not in behaviour.tokens:
                return 401, {}, b""
        return self._route(request)

    def _route(self, request: Request) -> Answer:
        path = request.path.partition("?")[0]
        found = re.fullmatch(rf"{PREFIX}/studies/([0-9.]+)/series/([0-9.]+)/(.*)", path)
        slide = found and next((s for s in self.slides if (s.study, s.series) == found.groups()[:2]), None)
        if not found or slide is None:
            return 404, {}, b""
        rest = found.group(3)
        if rest == "metadata":
            return self._json([self.metadata(i, slide) for i in slide.instances])
        if rest in ("instances", "instances/"):
            return self._json([self._found(self.metadata(i, slide), request) for i in slide.instances])
        if match := re.fullmatch(r"instances/([0-9.]+)/(metadata|bulkdata/icc|frames/([0-9,]+))", rest):
            instance = next((i for i in slide.instances if i.uid == match.group(1)), None)
            if instance is None:
                return 404, {}, b""
            if match.group(2) == "metadata":
                return self._json([self.metadata(instance, slide)])
            if match.group(2) == "bulkdata/icc":
                return self.multipart([("application/octet-stream", _icc(instance))])
            return self._frames(request, instance, [int(n) for n in match.group(3).split(",")])
        return 404, {}, b""

    @staticmethod
    def _found(document: dict[str, Any], request: Request) -> dict[str, Any]:
        """Return what a search tells of an instance: some attributes, and those asked for."""
        asked = parse_qs(request.path.partition("?")[2]).get("includefield", [])
        return {tag: document[tag] for tag in (*ALWAYS_FOUND, *asked) if tag in document}

    def _frames(self, request: Request, instance: StoredInstance, numbers: list[int]) -> Answer:
        frames, syntax = instance.frames, instance.syntax
        accept = request.headers.get("accept", "")
        if "transfer-syntax=*" not in accept:
            if "octet-stream" not in accept or instance.uid not in self.behaviour.transcodes:
                return 406, {}, b""
            frames, syntax = self.behaviour.transcodes[instance.uid], EXPLICIT
        if any(not 1 <= number <= len(frames) for number in numbers):
            return 400, {}, b""
        kind = "application/octet-stream"
        if self.behaviour.says_syntax:
            kind += f"; transfer-syntax={syntax}"
        return self.multipart([(kind, frames[number - 1]) for number in numbers])

    @staticmethod
    def multipart(parts: list[tuple[str, bytes]]) -> Answer:
        """Return parts as a multipart/related answer."""
        body = b""
        for kind, data in parts:
            body += f"\r\n--{BOUNDARY}\r\nContent-Type: {kind}\r\n\r\n".encode() + data
        body += f"\r\n--{BOUNDARY}--".encode()
        header = f'multipart/related; type="application/octet-stream"; boundary="{BOUNDARY}"'
        return 200, {"Content-Type": header}, body

    @staticmethod
    def _json(document: object) -> Answer:
        return 200, {"Content-Type": "application/dicom+json"}, json.dumps(document).encode()

    def metadata(self, instance: StoredInstance, slide: Slide) -> dict[str, Any]:
        """Return an instance's metadata as DICOM JSON."""
        uri = f"{self.series_path(slide)}/instances/{instance.uid}/bulkdata/icc"
        document: dict[str, Any] = instance.dataset.to_json_dict(suppress_invalid_tags=False)
        if self.behaviour.says_syntax:
            document["00083002"] = document["00020010"] = {"vr": "UI", "Value": [instance.syntax]}
        paths = document.get("00480105", {}).get("Value", [])
        for holder in [document, *paths]:
            if "00282000" in holder and self.behaviour.bulk_icc:
                holder["00282000"] = {"vr": "OB", "BulkDataURI": uri}
        return document


def _icc(instance: StoredInstance) -> bytes:
    holder = instance.dataset
    if "OpticalPathSequence" in holder:
        holder = holder.OpticalPathSequence[0]
    return bytes(holder.ICCProfile)
