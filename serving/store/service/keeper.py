"""What looks after folders, in a process of its own (``python -m serving.store.service.keeper``).

Takes in what comes into the watched folder; deletes what has been kept for long enough.
"""

from __future__ import annotations

import signal
import threading

from serving.processes.child import END, begin
from serving.store.doors.watch import open_watched_folder
from serving.store.service.parts import open_ingest, open_parts
from serving.store.service.retention import Retention
from serving.store.service.starts import StoreStart
from serving.telemetry.json_log import log_as_json


def main() -> None:
    """Look after folders until the launcher says to end."""
    start = begin(StoreStart, END)
    signal.pthread_sigmask(signal.SIG_BLOCK, [END])
    settings = start.settings
    log_as_json(settings.log.level, process="keeper")
    parts = open_parts(settings)
    ingest = open_ingest(parts, settings)
    stopped = threading.Event()
    tasks = []
    if settings.ingest.watch is not None:
        tasks.append(open_watched_folder(ingest, settings.ingest, parts.folder).run)
    if settings.slide_store.retention_days is not None:
        tasks.append(Retention(parts, settings.slide_store.retention_days).run)
    threads = [threading.Thread(target=task, args=(stopped,)) for task in tasks]
    for thread in threads:
        thread.start()
    signal.sigwait([END])
    stopped.set()
    for thread in threads:
        thread.join()  # an instance at hand is finished; the launcher waits for so long as its grace is
    ingest.close()
    parts.close()


if __name__ == "__main__":
    main()
