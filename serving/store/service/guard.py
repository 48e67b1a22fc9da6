"""Before and after each request of the store: who asks, may they, and a row of the audit trail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from flask import Flask, Response, g, request

from serving.errors import Code, ServiceError
from serving.front.wsgi_bridge import RECEIVED, Received
from serving.store.access.audit import Audit, Event, Result
from serving.store.access.roles import NOBODY, Caller, Role
from serving.store.access.tokens import Tokens
from serving.store.service.rights import Rights
from serving.store.uids import is_uid

_UIDS = ("study", "series", "instance")


class Guard:
    """Lets requests in, and writes down what they did.

    A view is called only when its right has been held to the caller's token, its UIDs are UIDs, and its
    study is one that the caller may see.
    """

    def __init__(self, rights: Rights, tokens: Tokens, audit: Audit) -> None:
        self._rights = rights
        self._tokens = tokens
        self._audit = audit

    def watch(self, app: Flask) -> None:
        """Stand before an application."""
        app.before_request(self.admit)
        app.after_request(self.note)

    def admit(self) -> None:
        """Let the present request in.

        Raises
        ------
        ServiceError
            When it may not be, or was refused before it came here.
        Abandoned
            When its client has gone.
        """
        g.caller = NOBODY
        received: Received | None = request.environ.get(RECEIVED)
        if received is not None:
            received.require_wanted()
        if request.endpoint is None or request.method == "OPTIONS":
            return  # not a view: Flask answers 404 or 405, or the methods that there are
        right = self._rights.of(request.endpoint)
        if right.role is not None:
            g.caller = self._tokens.authorise(request.headers.get("Authorization"), right.role)
        _require_uids(request.view_args or {})
        # Who stores may name a study that is not here yet, by its UID there.
        if right.role not in (None, Role.WRITE):
            _require_in_scope(g.caller, request.view_args or {})

    def note(self, response: Response) -> Response:
        """Write the row of the present request."""
        if request.endpoint is None or request.method == "OPTIONS":
            return response
        status = response.status_code
        event = self._rights.of(request.endpoint).event
        if event is None and status in (401, 403):
            event = Event.SECURITY_ALERT
        if event is None:
            return response
        asks: Caller = g.get("caller", NOBODY)
        if status < 400:
            # What has been given out is here under this name: it is a UID of ours. What is searched for need
            # not be here, and may be somebody's original UID.
            uids = () if event is Event.QUERY else _uids(request.view_args or {})
            self._audit.write(event, asks.token_id, uids, Result.SUCCESS)
        else:
            result = Result.REFUSED if status in (401, 403) else Result.FAILED
            self._audit.write(event, asks.token_id, (), result, str(g.get("outcome", status)))
        return response


def _uids(arguments: Mapping[str, object]) -> Sequence[str]:
    return [str(arguments[name]) for name in _UIDS if name in arguments]


def _require_uids(arguments: Mapping[str, object]) -> None:
    for name in _UIDS:
        if name in arguments and not is_uid(str(arguments[name])):
            raise ServiceError(
                Code.INVALID_REQUEST_FIELD_ERROR,
                f"The {name} in the path is not a DICOM UID: digits and dots, at most 64.",
            )


def _require_in_scope(asks: Caller, arguments: Mapping[str, object]) -> None:
    if "study" in arguments and not asks.permission.allows(str(arguments["study"])):
        raise ServiceError(Code.NOT_FOUND_ERROR, "There is no such study in this store.")
