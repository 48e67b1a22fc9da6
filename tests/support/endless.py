"""A server whose answers never end."""

from __future__ import annotations

import threading

from tests.support.loopback import Handler, Loopback


class Endless:
    """A store whose answers never end: as fast as they are read, or a byte now and then."""

    def __init__(self, pause_s: float, piece: bytes) -> None:
        endless = self
        self.stop = threading.Event()
        self.begun = 0

        class EndlessHandler(Handler):
            def respond(self) -> None:
                endless.begun += 1
                self.send_response(200)
                self.send_header("Content-Type", "application/dicom+json")
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                while not endless.stop.wait(pause_s):
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                self.close_connection = True

        self.server = Loopback(EndlessHandler)

    @property
    def path(self) -> str:
        return f"{self.server.origin}/studies/1.2/series/3.4"

    def end(self) -> None:
        self.stop.set()
        self.server.end()
