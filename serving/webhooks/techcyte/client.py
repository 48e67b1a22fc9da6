"""The part of Techcyte's API that a task needs: posting results, asking what there is, setting the triage.

Sources: "Posting Results from an External Model" and the clients in Techcyte's devkit.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import orjson

from dicom_io.errors import ImageCode, ImageError
from dicom_io.waiting import Cancellation
from dicom_io.web.credentials import BearerToken
from serving.config.group import revealed
from serving.config.techcyte_group import TechcyteSettings
from serving.errors import ServiceError
from serving.webhooks.techcyte.trigger import task_number
from serving.webhooks.transport import Call, StatusError, Transport, Waits

RUN_FIELD = "pathserve_run"
"""Among a scan's results: says which run they are of. Of a workflow's report Techcyte gives nothing back."""

_API = ("api", "v3")
_MOST_EVALUATIONS = 64 << 20
_DENIED = (401, 403)
_JSON = {"Content-Type": "application/json"}
_HEADERS = {"Accept": "application/json", "Connection": "close"}
"""Of all requests: on a connection that one of them had left open, and that is half dead hours later, results
would seem to have left."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A company's key, for tasks without a token."""

    key_id: str
    secret: str = field(repr=False)

    def basic(self) -> str:
        """Return the value of the Authorization header that asks for a token (RFC 7617)."""
        return "Basic " + base64.b64encode(f"{self.key_id}:{self.secret}".encode()).decode("ascii")


def api_key(settings: TechcyteSettings) -> ApiKey | None:
    """Return the key of the settings, if there is one."""
    secret = revealed(settings.key_secret)
    return None if settings.key_id is None or secret is None else ApiKey(settings.key_id, secret)


class TechcyteClient:
    """Talks about one task.

    Parameters
    ----------
    token:
        The task's own; it is tried first.
    key:
        Used where there is no token, or it is refused.
    """

    def __init__(
        self,
        transport: Transport,
        task_id: str,
        token: BearerToken | None,
        key: ApiKey | None,
        waits: Cancellation,
    ) -> None:
        self._transport = transport
        self._task_id = task_id
        self._key = key
        self._waits = Waits(waits.deadline, waits.stop)
        self._token = token

    def use_key(self) -> bool:
        """Use the key from now on; return whether there is one that has not been used yet."""
        if self._key is None or self._token is None:
            return False
        self._token = self._of_key(self._key)
        self._key = None
        return True

    def ready(self) -> None:
        """Have a token.

        Raises
        ------
        ImageError
            When there is none, and none can be had.
        """
        if self._token is not None:
            return
        if self._key is None:
            raise ImageError(
                ImageCode.INVALID_CREDENTIALS_ERROR,
                "There is no token for the task any more, and no key (PATHSERVE_TECHCYTE_KEY_ID).",
            )
        self._token = self._of_key(self._key)
        self._key = None

    def post_results(self, body: bytes, before_last: Callable[[], None]) -> None:
        """Post results, once: no part of it is tried again here.

        Parameters
        ----------
        before_last:
            Called right before the last bytes are sent: as long as it has not returned, Techcyte cannot have
            taken anything.

        Raises
        ------
        StatusError
        ImageError
            When there is no answer.
        """
        self._send("POST", "results", body, _JSON, before_last)

    def set_triage(self, body: bytes) -> None:
        """Set fields of the case; it may be done again."""
        self._allowed(lambda: self._send("PATCH", "case", body, _JSON))

    def has_run(self, marker: str) -> bool:
        """Return whether the task has results of a run.

        Raises
        ------
        ImageError
            When it cannot be known.
        """
        reply = self._allowed(lambda: self._send("GET", "case_evaluations", None, {}))
        try:
            found = orjson.loads(reply)
        except orjson.JSONDecodeError as error:
            raise _unreadable() from error
        if not isinstance(found, list):
            raise _unreadable()
        return any(self._is_of_run(evaluation, marker) for evaluation in found)

    def _is_of_run(self, evaluation: object, marker: str) -> bool:
        for name in ("details", "report"):
            if not isinstance(evaluation, dict):
                return False
            if name == "details" and not self._is_of_task(evaluation.get("task_id")):
                return False
            evaluation = evaluation.get(name)
        return isinstance(evaluation, dict) and evaluation.get(RUN_FIELD) == marker

    def _is_of_task(self, task_id: object) -> bool:
        try:
            return task_number(task_id) == self._task_id
        except ServiceError:
            return False

    def _allowed(self, send: Callable[[], bytes]) -> bytes:
        """Send, once more with the key where the token is refused."""
        self.ready()
        try:
            return send()
        except StatusError as error:
            if error.status not in _DENIED or not self.use_key():
                raise
        return send()

    def _send(
        self,
        method: str,
        what: str,
        body: bytes | None,
        headers: Mapping[str, str],
        before_last: Callable[[], None] | None = None,
    ) -> bytes:
        assert self._token is not None
        call = Call(
            method,
            (*_API, "external", what, self._task_id),
            headers={**_HEADERS, "Authorization": self._token.authorization(), **headers},
            body=body,
            limit=_MOST_EVALUATIONS,
            repeatable=before_last is None,
            before_last=before_last,
        )
        return self._transport.send(call, self._waits).body

    def _of_key(self, key: ApiKey) -> BearerToken:
        call = Call(
            "POST",
            (*_API, "token"),
            headers={
                **_HEADERS,
                "Authorization": key.basic(),
                "Content-Type": "application/x-www-form-urlencoded",
            },
            body=b"grant_type=client_credentials",
        )
        reply = self._transport.send(call, self._waits)
        try:
            answer = orjson.loads(reply.body)
            return BearerToken(answer["access_token"])
        except (orjson.JSONDecodeError, KeyError, TypeError) as error:
            raise ImageError(
                ImageCode.INVALID_CREDENTIALS_ERROR, "Techcyte gave no token for the key."
            ) from error


def _unreadable() -> ImageError:
    return ImageError(ImageCode.HTTP_ERROR, "Techcyte's list of evaluations cannot be read.")
