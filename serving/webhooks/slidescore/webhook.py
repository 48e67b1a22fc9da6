"""Slide Score as the process group mounts it."""

from __future__ import annotations

from collections.abc import Mapping

from serving.config.settings import Settings, SettingsError
from serving.heads.file import read_head
from serving.heads.head import HeadError
from serving.webhooks.jobs.handler import JobKind
from serving.webhooks.slidescore.documents import paths, schemas
from serving.webhooks.slidescore.door import slidescore_door
from serving.webhooks.slidescore.job import Jobs
from serving.webhooks.slidescore.servers import allowed_servers
from serving.webhooks.webhook import RunnerTools, Webhook


def _kinds(tools: RunnerTools) -> Mapping[str, JobKind]:
    return Jobs(tools.settings).kinds()


def _require_usable(settings: Settings) -> None:
    allowed_servers(settings)
    if settings.slidescore.head is not None:
        try:
            read_head(settings.slidescore.head)
        except HeadError as error:
            raise SettingsError(f"PATHSERVE_SLIDESCORE_HEAD: {error}") from error


SLIDESCORE = Webhook("slidescore", slidescore_door, _kinds, _require_usable, paths, schemas)
