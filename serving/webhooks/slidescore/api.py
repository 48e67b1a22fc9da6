"""Calls of Slide Score's API with one caller's token, and what its answers hold.

Sources: https://www.slidescore.com/docs/api.html and the public Python SDK (slidescore-sdk 1.5.4). Names of
fields are compared without regard to case: servers differ.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode

import orjson

from dicom_io.errors import ImageCode, ImageError
from dicom_io.web.credentials import BearerToken
from serving.webhooks.transport import Call, Reply, Transport, Waits

SEGMENT = re.compile(r"[A-Za-z0-9_~=+@!-][A-Za-z0-9_~=+@!.-]*")
"""What a segment of a path that the server gave may be made of: it leads nowhere else."""

Fields = Mapping[str, str | int]


@dataclass(frozen=True, slots=True)
class Api:
    """One server, with one token.

    Attributes
    ----------
    token:
        Of the analysis; it is sent to this server alone.
    waits:
        Ends what the job waits for.
    """

    transport: Transport
    token: BearerToken = field(repr=False)
    waits: Waits

    def call(self, method: str, name: str, fields: Fields, *, repeatable: bool) -> Call:
        """Return a call: its fields are a query of a GET, a form of anything else."""
        headers = {"Accept": "application/json", "Authorization": self.token.authorization()}
        if method == "GET":
            return Call(method, ("Api", name), fields, headers, repeatable=repeatable)
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        return Call(method, ("Api", name), {}, headers, urlencode(fields).encode(), repeatable=repeatable)

    def send(self, call: Call) -> Reply:
        """Send a call and return its answer; see ``Transport.send``."""
        return self.transport.send(call, self.waits)

    def ask(self, method: str, name: str, fields: Fields) -> dict[str, object]:
        """Return an answer's fields by their names in lower case.

        Raises
        ------
        ImageError
            When there is none, it is no JSON object, or it says ``success: false``.
        """
        body = self.send(self.call(method, name, fields, repeatable=method == "GET")).body
        try:
            answer = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise unusable(f"its answer to {name} is not JSON") from error
        if not isinstance(answer, dict):
            raise unusable(f"its answer to {name} is not an object")
        found = lower(answer)
        if found.get("success") is False:
            raise ImageError(ImageCode.HTTP_ERROR, f"Slide Score refused {name} for this slide.")
        return found


def lower(fields: Mapping[str, object]) -> dict[str, object]:
    """Return fields by their names in lower case."""
    return {name.lower(): value for name, value in fields.items()}


def unusable(what: str) -> ImageError:
    """Return the fault of an answer that is not what the API documents."""
    return ImageError(ImageCode.HTTP_ERROR, f"Slide Score's answer cannot be used: {what}.")
