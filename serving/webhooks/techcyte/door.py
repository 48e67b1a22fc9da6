"""The door: ``POST /techcyte/<analysis>/<secret>``, and where an operator sees what became of a task.

Techcyte signs nothing: who knows the last part of the path may trigger an analysis. It does not come back
either; results are posted to it by the job.
"""

from __future__ import annotations

import hmac

import orjson
from flask import Blueprint, Response, request

from serving.api.fields import bad
from serving.config.group import revealed
from serving.errors import Code, ServiceError
from serving.front.wsgi_bridge import RECEIVED, Received
from serving.http.answers import JSON
from serving.http.door import Door
from serving.webhooks.jobs.job import JobState, NewJob, Posted
from serving.webhooks.techcyte.job import ANALYSE, RESEND
from serving.webhooks.techcyte.trigger import AnalysisName, Trigger, parse_trigger
from serving.webhooks.webhook import DoorTools

_DAY_S = 86_400.0


def techcyte_door(tools: DoorTools) -> Door:
    """Return the door."""
    routes = Blueprint("techcyte", __name__)
    views = _Views(tools)
    names = ", ".join(AnalysisName)
    routes.add_url_rule(
        f"/techcyte/<any({names}):analysis>/<secret>", "trigger", views.trigger, methods=["POST"]
    )
    routes.add_url_rule("/techcyte/status/<job_id>", "status", views.status)
    return Door(routes, frozenset({"trigger"}))


class _Views:
    def __init__(self, tools: DoorTools) -> None:
        self._settings = tools.settings.techcyte
        self._timeout_s = tools.settings.jobs.timeout_s
        self._jobs = tools.jobs

    def trigger(self, analysis: str, secret: str) -> Response:
        """Take a task; the same one again is answered alike, and not done again."""
        received: Received = request.environ[RECEIVED]
        data = received.take_body()
        self._require_secret(secret)
        if not data:
            raise ServiceError(Code.BODY_REQUIRED_ERROR, "A trigger has a JSON body.")
        trigger = parse_trigger(data, AnalysisName(analysis))
        if trigger.token is None and self._settings.key_id is None:
            raise bad(
                "jwt_token is missing, malformed or has expired, and this service has no key of its own "
                "(PATHSERVE_TECHCYTE_KEY_ID): results could not be sent."
            )
        if self._settings.api == "v3" and not all(scan.scan_id.isdigit() for scan in trigger.scans):
            raise bad(
                "A scan's id is not a number, as version 3 of the API has them (PATHSERVE_TECHCYTE_API)."
            )
        posted = self._post(trigger)
        answer = {"message": "Accepted", "id": posted.job_id, "duplicate": not posted.is_new}
        return _json(answer)

    def status(self, job_id: str) -> Response:
        """Say how far a task is."""
        view = self._jobs.get(job_id)
        if view is None or view.kind not in (ANALYSE, RESEND):
            raise ServiceError(Code.NOT_FOUND_ERROR, "There is no task of this id, or not any more.")
        answer: dict[str, object] = {"state": view.state, "message": view.error or view.progress}
        if view.output is not None and view.state.is_final:
            answer["output"] = orjson.Fragment(view.output)
        if view.state is JobState.FINISHED:
            answer["message"] = "Techcyte has the results."
        return _json(answer)

    def _require_secret(self, given: str) -> None:
        """Let a caller in who knows the secret; how long a refusal takes tells nothing about it."""
        wanted = revealed(self._settings.secret)
        known = given.encode("utf-8", "replace")
        if wanted is None or not hmac.compare_digest(known, wanted.encode("utf-8")):
            raise ServiceError(
                Code.API_KEY_ERROR,
                "The last part of the path is not this service's (PATHSERVE_TECHCYTE_SECRET).",
            )

    def _post(self, trigger: Trigger) -> Posted:
        job = NewJob(
            ANALYSE,
            trigger.payload(),
            self._timeout_s,
            trigger.secret(),
            trigger.key,
            self._settings.remember_days * _DAY_S,
        )
        posted = self._jobs.post(job)
        if not isinstance(posted, Posted):
            raise posted.as_error()
        return posted


def _json(document: object) -> Response:
    return Response(orjson.dumps(document), content_type=JSON)
