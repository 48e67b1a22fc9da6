"""The DICOM node as a process of its own (``python -m serving.store.service.dimse``)."""

from __future__ import annotations

import signal
import sys

from serving.config.exit_status import ExitStatus
from serving.processes.child import END, begin
from serving.store.doors.c_find import Finder
from serving.store.doors.c_store import DicomNode, NodeSettings
from serving.store.service.parts import open_ingest, open_parts
from serving.store.service.starts import StoreStart
from serving.telemetry.json_log import log_as_json


def main() -> None:
    """Receive until the launcher says to end."""
    start = begin(StoreStart, END)
    signal.pthread_sigmask(signal.SIG_BLOCK, [END])
    settings, own = start.settings, start.settings.ingest
    log_as_json(settings.log.level, process="dimse")
    parts = open_parts(settings)
    ingest = open_ingest(parts, settings)
    assert own.dimse_port is not None, "the launcher starts it only with a port"
    address = (settings.http.host, own.dimse_port)
    node_settings = NodeSettings(address, own.ae_title, own.ae_peers or (), own.ae_finders or ())
    node = DicomNode(node_settings, ingest, ingest.folder, Finder(parts.index, parts.audit))
    try:
        node.start()
    except OSError as error:
        print(
            f"pathserve: cannot listen on {address[0]}:{address[1]} (PATHSERVE_HOST, "
            f"PATHSERVE_STORE_DIMSE_PORT): {error.strerror}",
            file=sys.stderr,
            flush=True,
        )
        sys.exit(ExitStatus.MISCONFIGURED)
    signal.sigwait([END])
    node.stop()
    ingest.close()
    parts.close()


if __name__ == "__main__":
    main()
