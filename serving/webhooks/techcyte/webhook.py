"""Techcyte as the process group mounts it."""

from __future__ import annotations

from collections.abc import Mapping

from serving.config.settings import Settings
from serving.webhooks.jobs.handler import JobKind
from serving.webhooks.techcyte.analysis import kit_of
from serving.webhooks.techcyte.documents import paths, schemas
from serving.webhooks.techcyte.door import techcyte_door
from serving.webhooks.techcyte.download import limits_of
from serving.webhooks.techcyte.job import Jobs
from serving.webhooks.techcyte.server import server_of
from serving.webhooks.webhook import RunnerTools, Webhook


def _kinds(tools: RunnerTools) -> Mapping[str, JobKind]:
    # Who does not serve Techcyte needs neither its folder nor the libraries that read slides.
    return {} if tools.settings.techcyte.secret is None else Jobs(tools).kinds()


def _require_usable(settings: Settings) -> None:
    if settings.techcyte.secret is not None:
        server_of(settings)
        limits_of(settings)
        kit_of(settings)


TECHCYTE = Webhook("techcyte", techcyte_door, _kinds, _require_usable, paths, schemas)
