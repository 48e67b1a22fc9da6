"""What the processes of the group are given by their launcher."""

from __future__ import annotations

import importlib
from dataclasses import dataclass

from serving.config.settings import Settings
from serving.database import Database
from serving.webhooks.jobs.endings import JobLimits
from serving.webhooks.jobs.seals import JobKeys, Seals
from serving.webhooks.jobs.tables import JOBS
from serving.webhooks.webhook import Webhook

REGISTRY = "serving.webhooks.service.registry"


@dataclass(frozen=True, slots=True)
class GroupStart:
    """What both kinds of processes are given.

    Attributes
    ----------
    launcher:
        Process id of the launcher.
    registry:
        Module whose WEBHOOKS are mounted.
    database:
        Address of the jobs' database.
    keys:
        What seals the jobs' secrets.
    bell:
        Path of the runner's Unix socket.
    status:
        Path of the file in which the runner says how it is.
    """

    launcher: int
    settings: Settings
    registry: str
    database: str
    keys: JobKeys
    bell: str
    status: str

    def webhooks(self) -> tuple[Webhook, ...]:
        """Import the services."""
        found: tuple[Webhook, ...] = importlib.import_module(self.registry).WEBHOOKS
        return found

    def open_database(self) -> Database:
        """Return new connections, which must not be taken over a fork."""
        return Database(self.database, JOBS, connections=self.settings.http.predict_slots + 8)

    def seals(self) -> Seals:
        """Return what seals secrets, and opens them."""
        return Seals(self.keys)

    @property
    def limits(self) -> JobLimits:
        """What holds for all jobs."""
        jobs = self.settings.jobs
        return JobLimits(jobs.queue, jobs.retention_s, jobs.lease_s)


@dataclass(frozen=True, slots=True)
class HttpStart:
    """What the HTTP side is given, which is no credential of the command's user.

    Attributes
    ----------
    listener:
        Descriptor of the listening socket.
    """

    group: GroupStart
    listener: int

    @property
    def launcher(self) -> int:
        """Process id of the launcher."""
        return self.group.launcher


@dataclass(frozen=True, slots=True)
class RunnerStart:
    """What the runner is given.

    Attributes
    ----------
    name:
        The name of the process group among those that own jobs.
    number:
        Counts its runners, of which there is one at a time.
    restarted:
        Whether an earlier runner died.
    """

    group: GroupStart
    name: str
    number: int
    restarted: bool

    @property
    def owner(self) -> str:
        """Its name as an owner of jobs."""
        return f"{self.name}.{self.number}"

    @property
    def launcher(self) -> int:
        """Process id of the launcher."""
        return self.group.launcher
