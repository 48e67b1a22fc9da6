"""The Techcyte door behind the real front, a runner with a probe encoder, and a stand-in server beside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import requests

from serving.config.settings import load_settings
from serving.webhooks.techcyte.webhook import TECHCYTE
from tests.support.service import wait_until
from tests.support.techcyte import Json, Techcyte
from tests.support.webhook_app import WebhookApp

SECRET = "a-path-that-nobody-knows"


class Tasks(WebhookApp):
    """All that a task goes through, in this process; use it as a context manager.

    Parameters
    ----------
    server:
        The stand-in, which this process must trust.
    settings:
        By variable name; the stand-in's address and a secret are among them already. ``None`` unsets one.
    """

    def __init__(
        self, server: Techcyte, folder: Path, settings: Mapping[str, str | None] | None = None
    ) -> None:
        self.server = server
        self.slides = folder / "slides"
        usual: dict[str, str | None] = {
            **server.settings(SECRET),
            "PATHSERVE_TECHCYTE_FOLDER": str(self.slides),
            "PATHSERVE_TECHCYTE_KEEP_FREE_BYTES": "0",
            "PATHSERVE_TECHCYTE_UM_PER_PX": "1",
            **(settings or {}),
        }
        configured = load_settings({name: text for name, text in usual.items() if text is not None}, {})
        super().__init__(TECHCYTE, folder, configured)

    def trigger(self, body: object, analysis: str = "qc", secret: str = SECRET) -> requests.Response:
        """POST what Techcyte posts."""
        return self.post_to(f"/techcyte/{analysis}/{secret}", body)

    def ended(self, posted: requests.Response) -> Json:
        """Wait until a task has ended; return its last status."""
        assert posted.status_code == 200, posted.text
        path = f"/techcyte/status/{posted.json()['id']}"
        wait_until(
            lambda: self.get(path).json()["state"] not in ("queued", "running"), "the task to end", 120
        )
        return dict(self.get(path).json())

    def run(self, scans: Mapping[str, Sequence[Path]], analysis: str = "qc", /, **changed: Any) -> Json:
        """Trigger a task and wait for its end."""
        return self.ended(self.trigger(self.server.request(scans, **changed), analysis))

    def sent(self, body: Json) -> list[Json]:
        """Return the bodies that were taken for a task."""
        return self.server.state.accepted.get(self.server.number_of(body), [])
