"""An encoder inside this process, behind the same client: for unit tests and batch pipelines."""

from __future__ import annotations

import contextlib
import tempfile
import threading
from collections.abc import Iterator

from model.transport.client import EncoderClient
from model.transport.engine import Load
from model.transport.server import EncoderServer, listen


@contextlib.contextmanager
def encoder_in_process(
    load: Load,
    *,
    streams: int = 8,
    quota: int = 64,
) -> Iterator[EncoderClient]:
    """Run an encoder server in a thread and yield a client that is linking to it.

    Parameters
    ----------
    load:
        Makes the encoder; called in the server's engine thread.
    streams, quota:
        Requests that run at once, and patches that each may have in the slab.
    """
    with tempfile.TemporaryDirectory(prefix="pathserve-") as folder:
        address = f"{folder}/encoder.sock"
        server = EncoderServer(load, listen(address))
        thread = threading.Thread(target=server.run, name="encoder-server", daemon=True)
        thread.start()
        client = EncoderClient(address, streams=streams, quota=quota)
        client.start()
        try:
            yield client
        finally:
            client.stop()
            server.stop()
            thread.join()
