"""The Slide Score door behind the real front, a runner with a probe encoder, and a stand-in server beside."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import requests

from serving.config.settings import load_settings
from serving.webhooks.slidescore.webhook import SLIDESCORE
from tests.support.slidescore import Behaviour, SlideScore, clicked
from tests.support.tiled_slide import StoredSlide
from tests.support.webhook_app import WebhookApp

SECRET = "a-secret-of-the-template"


class Analyses(WebhookApp):
    """All that an analysis goes through, in this process; use it as a context manager.

    Parameters
    ----------
    settings:
        By variable name; the stand-in's address and a secret are among them already.

    Attributes
    ----------
    server:
        The stand-in.
    """

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, object] | None = None,
        slides: dict[int, StoredSlide] | None = None,
        behaviour: Behaviour | None = None,
        queue: int = 100,
        server: SlideScore | None = None,
    ) -> None:
        self.server = server or SlideScore(slides, behaviour)
        configured = load_settings(
            {
                "PATHSERVE_SLIDESCORE_ORIGINS": self.server.origin,
                "PATHSERVE_SLIDESCORE_SECRET": SECRET,
                "PATHSERVE_STORE_TIMEOUT_S": 5,
                **(settings or {}),
            }
        )
        super().__init__(SLIDESCORE, folder, configured, queue)

    def __enter__(self) -> Self:
        self._stack.enter_context(self.server)
        return super().__enter__()

    def post(self, analysis: str, body: object, query: str = "") -> requests.Response:
        """POST a body: bytes, or anything else as JSON."""
        return self.post_to(f"/slidescore/{analysis}{query}", body)

    def click(
        self, analysis: str, answers: dict[str, Any], query: str = "", /, **changed: Any
    ) -> requests.Response:
        """POST what a user's click sends."""
        return self.post(analysis, clicked(self.server, SECRET, answers, **changed), query)

    def status(self, job_id: str, route: str = "slidescore/status/") -> requests.Response:
        """Ask how far an analysis is."""
        return self.get(f"/{route}{job_id}")

    def ended(self, posted: requests.Response, seconds: float = 60.0) -> dict[str, Any]:
        """Poll until an analysis has ended, and its token has been dealt with; return its last status."""
        assert posted.status_code == 200, posted.text
        job_id = posted.json()["id"]
        deadline = time.monotonic() + seconds
        while "output" not in (answer := self.status(job_id).json()):
            assert time.monotonic() < deadline, answer
            time.sleep(0.02)
        self.engine.closed(job_id)
        return dict(answer)

    def output(self, analysis: str, answers: dict[str, Any], **changed: Any) -> list[dict[str, Any]]:
        """Click, wait, and return the results of an analysis that must succeed."""
        answer = self.ended(self.click(analysis, answers, **changed))
        assert answer["status"] == self.settings.slidescore.finished_word, answer
        return list(answer["output"])
