"""The settings of ``pathserve webhooks``: its own, beside those that it shares with the service."""

from __future__ import annotations

from serving.config.group import Group, Secret, SecretList, setting


class WebhookSettings(Group):
    """The HTTP side of ``pathserve webhooks``, and what embeds for it."""

    port: int = setting(
        "PATHSERVE_WEBHOOKS_PORT",
        8081,
        "Port that `pathserve webhooks` listens on, at PATHSERVE_HOST; 0 takes a free one.",
        ge=0,
        le=65535,
    )
    http_workers: int = setting(
        "PATHSERVE_WEBHOOKS_WORKERS", 2, "HTTP worker processes of `pathserve webhooks`.", ge=1, le=64
    )
    service_url: str | None = setting(
        "PATHSERVE_SERVICE_URL",
        None,
        "A running service, or the whole address of a predict route (a Vertex AI endpoint's, say), that "
        "embeds for `pathserve webhooks`, with the key in PATHSERVE_API_KEY; unset embeds in its runner.",
    )


class JobSettings(Group):
    """The jobs of ``pathserve webhooks``."""

    database: Secret = setting(
        "PATHSERVE_JOBS_DATABASE",
        None,
        "Where jobs are kept: `sqlite:////path/to/jobs.sqlite` (a local disk, one machine) or "
        "`postgresql+psycopg://user:password@host/name`; by default `.local/state/pathserve/jobs.sqlite` in "
        "the user's home.",
    )
    keys: SecretList = setting(
        "PATHSERVE_JOBS_KEY",
        None,
        "Seals the secrets of jobs (32 random bytes in url-safe base64), so that jobs go on after a restart; "
        "of several, separated by commas, the first seals and all open. Unset makes a key that lives in "
        "memory only.",
    )
    at_once: int = setting(
        "PATHSERVE_JOBS_AT_ONCE", 2, "Jobs that a runner does at the same time.", ge=1, le=8
    )
    queue: int = setting(
        "PATHSERVE_JOBS_QUEUE",
        100,
        "Jobs that may wait; beyond them, posts are answered 503.",
        ge=1,
        le=100_000,
    )
    timeout_s: float = setting(
        "PATHSERVE_JOBS_TIMEOUT_S",
        10_800.0,
        "A job that has not ended so long after it was posted is an error.",
        gt=0,
        le=30 * 86_400,
    )
    retention_s: float = setting(
        "PATHSERVE_JOBS_RETENTION_S",
        12_600.0,
        "How long a job's result can be fetched after its end; then it is deleted.",
        ge=60,
        le=366 * 86_400,
    )
    lease_s: float = setting(
        "PATHSERVE_JOBS_LEASE_S",
        15.0,
        "A job whose process has given no sign of life for so long is taken over by another.",
        ge=1,
        le=3600,
    )
