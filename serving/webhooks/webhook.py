"""A webhook service, as the process group mounts it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from dicom_io.sources.session import ReadContext
from serving.api.json_schema import Schema
from serving.config.settings import Settings
from serving.http.door import Door
from serving.webhooks.jobs.handler import JobKind
from serving.webhooks.jobs.store import JobStore


@dataclass(frozen=True, slots=True)
class DoorTools:
    """What a door is made of, in each HTTP worker."""

    settings: Settings
    jobs: JobStore


@dataclass(frozen=True, slots=True)
class RunnerTools:
    """What handlers are made of, once in the runner.

    Attributes
    ----------
    context:
        What sources of images share: connections, caches, threads that wait, decoding helpers.
    """

    settings: Settings
    context: ReadContext


@dataclass(frozen=True, slots=True)
class Webhook:
    """One service: a new one is a folder beside this one, and a line in ``registry.py``.

    Attributes
    ----------
    name:
        Its name in metrics and documents.
    door:
        Makes its routes. Those with a body (``Door.with_body``) wait for their turn, at most 1 MiB each.
    kinds:
        Makes the handlers of its jobs, by the names that ``NewJob.kind`` has.
    require_usable:
        Raises SettingsError where the settings cannot be used; called before anything is started.
    paths:
        Returns its part of the OpenAPI document: path to method to operation.
    schemas:
        Returns the schemas that these operations refer to.
    """

    name: str
    door: Callable[[DoorTools], Door]
    kinds: Callable[[RunnerTools], Mapping[str, JobKind]]
    require_usable: Callable[[Settings], None] = lambda _: None
    paths: Callable[[Settings], Mapping[str, Mapping[str, Schema]]] = field(default=lambda _: {})
    schemas: Callable[[], Mapping[str, Schema]] = dict
