"""The HTTP side of the group: gunicorn and its workers (``python -m serving.webhooks.service.http``).

What has threads or sockets (connections to the database) is made after the fork, in each worker.
"""

from __future__ import annotations

import sys
from dataclasses import replace

from serving.config.exit_status import ExitStatus
from serving.config.settings import SettingsError
from serving.front.application import HttpApplication
from serving.front.workers import GunicornApplication
from serving.processes.child import begin
from serving.processes.tracing import require_traces, spans_to_send
from serving.telemetry.json_log import log_as_json
from serving.webhooks.jobs.doorbell import ring
from serving.webhooks.jobs.parked import Parked
from serving.webhooks.jobs.store import JobStore
from serving.webhooks.service.app import webhooks_application
from serving.webhooks.service.starts import HttpStart


def main() -> None:
    """Serve until SIGTERM."""
    start = begin(HttpStart)
    group = start.group
    log_as_json(group.settings.log.level, process="http")
    webhooks = group.webhooks()
    try:
        for webhook in webhooks:
            webhook.require_usable(group.settings)
        require_traces(group.settings)
    except SettingsError as error:
        print(f"pathserve: {error}", file=sys.stderr, flush=True)
        sys.exit(ExitStatus.MISCONFIGURED)

    def make() -> HttpApplication:
        database = group.open_database()
        jobs = JobStore(database, group.seals(), group.limits, lambda why: ring(group.bell, why))
        spans = spans_to_send(group.settings, "pathserve-webhooks")
        application = webhooks_application(group, webhooks, jobs, Parked(database), spans)
        return application if spans is None else replace(application, at_end=spans.close)

    GunicornApplication(group.settings, start.listener, make).run()


if __name__ == "__main__":
    main()
