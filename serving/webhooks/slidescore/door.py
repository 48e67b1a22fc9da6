"""The door: ``POST /slidescore/<analysis>``, and where Slide Score asks what became of it.

A caller proves itself first, then names one of the servers of the settings. Only after that is anything done
with its token: whatever else is wrong, it is given up.
"""

from __future__ import annotations

import hmac
import logging

import orjson
from flask import Blueprint, Response, request
from pydantic import SecretBytes

from dicom_io.web.credentials import BearerToken
from dicom_io.web.urls import StoreUrl
from serving.api.fields import bad
from serving.config.group import revealed
from serving.config.slidescore_group import SlideScoreSettings
from serving.errors import Code, ServiceError, unavailable
from serving.front.wsgi_bridge import RECEIVED, Received
from serving.http.answers import JSON
from serving.http.door import Door
from serving.webhooks.jobs.job import JobState, JobView, NewJob, Posted, QueueFull
from serving.webhooks.jobs.store import JobStore
from serving.webhooks.slidescore import results
from serving.webhooks.slidescore.body import AnalysisName, Asked, Body, key_of, parse_body
from serving.webhooks.slidescore.job import ANALYSE, RELEASE
from serving.webhooks.slidescore.servers import allowed_servers, server_of
from serving.webhooks.webhook import DoorTools

_RELEASE_S = 120.0
_RELEASES_WAIT = 1000
"""Beside a full queue, how many tokens may wait to be given up: these jobs take no time."""

_SYNC_SLACK_S = 30.0
"""The caller's time ends first: what it does not wait for is cancelled, or ends so much later."""

_STATUSES = {JobState.QUEUED: "queued", JobState.RUNNING: "processing"}

log = logging.getLogger(__name__)


def slidescore_door(tools: DoorTools) -> Door:
    """Return the door."""
    routes = Blueprint("slidescore", __name__)
    views = _Views(tools)
    names = ", ".join(AnalysisName)
    for prefix in ("/slidescore", "/slidescore/<secret>"):
        name = "post" if prefix == "/slidescore" else "post_secret"
        routes.add_url_rule(f"{prefix}/<any({names}):analysis>", name, views.post, methods=["POST"])
    routes.add_url_rule("/slidescore/status/<job_id>", "status", views.status)
    routes.add_url_rule("/slidescore/check/<job_id>", "check", views.status)
    routes.add_url_rule("/check", "check_query", views.check)
    return Door(routes, frozenset({"post", "post_secret"}))


class _Views:
    def __init__(self, tools: DoorTools) -> None:
        self._settings: SlideScoreSettings = tools.settings.slidescore
        self._job_timeout_s = tools.settings.jobs.timeout_s
        self._servers = allowed_servers(tools.settings)
        self._jobs: JobStore = tools.jobs

    def post(self, analysis: str, secret: str | None = None) -> Response:
        """Take an analysis."""
        received: Received = request.environ[RECEIVED]
        data = received.take_body()
        if not data:
            raise ServiceError(
                Code.BODY_REQUIRED_ERROR, "Send the body template that Slide Score has loaded."
            )
        body = parse_body(data)
        self._require_secret(secret or body.secret)
        server = server_of(body.host, self._servers)
        if server is None:
            raise ServiceError(
                Code.FORBIDDEN_ERROR,
                "The body's `host` is not one of the Slide Score servers that this service is set up for "
                "(PATHSERVE_SLIDESCORE_ORIGINS).",
            )
        token = body.token()
        asked = self._asked(body, AnalysisName(analysis), server, token)
        if request.args.get("mode") == "sync":
            return self._in_one_answer(
                self._post(asked, token, self._settings.sync_timeout_s + _SYNC_SLACK_S)
            )
        job_id = self._post(asked, token, self._job_timeout_s)
        return _json({"id": job_id, "status": _STATUSES[JobState.RUNNING]})

    def status(self, job_id: str) -> Response:
        """Say how far a job is."""
        view = self._jobs.get(job_id)
        if view is None or view.kind != ANALYSE:
            raise ServiceError(Code.NOT_FOUND_ERROR, "There is no analysis of this id, or not any more.")
        return _json(self._described(view))

    def check(self) -> Response:
        """Say the same, asked for as the vendor's example does."""
        return self.status(request.args.get("id", ""))

    def _require_secret(self, given: object) -> None:
        """Let a caller in who knows the secret; how long a refusal takes tells nothing about it."""
        wanted = revealed(self._settings.secret)
        known = given.encode("utf-8", "replace") if isinstance(given, str) else b""
        if wanted is None or not hmac.compare_digest(known, wanted.encode("utf-8")):
            raise ServiceError(
                Code.API_KEY_ERROR,
                "The body's \"secret\", or the one in the path, is not this service's "
                "(PATHSERVE_SLIDESCORE_SECRET).",
            )

    def _asked(self, body: Body, analysis: AnalysisName, server: StoreUrl, token: BearerToken) -> Asked:
        """Return what is to be done; where it cannot be understood, the token is given up."""
        try:
            asked = body.asked(analysis, str(server))
            if request.args.get("mode") not in (None, "", "sync", "async"):
                raise bad("mode must be sync or async.")
            if request.args.get("mode") == "sync":
                if asked.region is None:
                    raise bad("mode=sync needs an ROI; whole slides are for the asynchronous mode.")
                return asked.within(self._settings.sync_patches)
            return asked
        except ServiceError:
            nothing = Asked(analysis, str(server), 0)
            job = NewJob(
                RELEASE,
                nothing.payload(),
                _RELEASE_S,
                _sealed(token),
                key_of(RELEASE, token, nothing),
                beyond_queue=_RELEASES_WAIT,
            )
            if isinstance(self._jobs.post(job), QueueFull):
                log.warning("a token was not given up", extra={"reason": "the queue is full"})
            raise

    def _post(self, asked: Asked, token: BearerToken, deadline_s: float) -> str:
        job = NewJob(ANALYSE, asked.payload(), deadline_s, _sealed(token), key_of(ANALYSE, token, asked))
        posted = self._jobs.post(job)
        if not isinstance(posted, Posted):
            raise posted.as_error()
        return posted.job_id

    def _in_one_answer(self, job_id: str) -> Response:
        view = self._jobs.wait(job_id, self._settings.sync_timeout_s)
        if view is None or not view.state.is_final:
            self._jobs.cancel(job_id)
            raise unavailable("The analysis took too long for mode=sync; choose a smaller region.")
        if view.state is JobState.FINISHED and view.output is not None:
            return Response(view.output, content_type=JSON)
        return _json(_output(view))

    def _described(self, view: JobView) -> dict[str, object]:
        if view.state is JobState.FINISHED:
            return {"status": self._settings.finished_word, "output": _output(view)}
        if view.state.is_final:
            return {"status": "error", "message": view.error, "output": _output(view)}
        # The user reads this word in the browser.
        return {"status": view.progress or _STATUSES[view.state]}


def _output(view: JobView) -> object:
    return orjson.Fragment(view.output) if view.output is not None else results.failure(view.error)


def _sealed(token: BearerToken) -> SecretBytes:
    return SecretBytes(token.reveal().encode("ascii"))


def _json(document: object) -> Response:
    return Response(orjson.dumps(document), content_type=JSON)
