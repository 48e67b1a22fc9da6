"""The settings of who may trigger analyses for Techcyte, and of how their results get there."""

from __future__ import annotations

import re
from typing import Literal, Self

from pydantic import model_validator

from serving.config.group import Group, Secret, setting

_SHORTEST_SECRET = 16
_PLAIN = re.compile(r"[A-Za-z0-9._~-]+")
"""What stands in a path as it is (RFC 3986, 2.3): a slash would end its part, a question mark the path."""


class TechcyteSettings(Group):
    """Triggers and results. Without ``secret`` nobody may trigger an analysis."""

    secret: Secret = setting(
        "PATHSERVE_TECHCYTE_SECRET",
        None,
        "Last part of the path that Techcyte posts to, which nobody else must know: at least 16 characters, "
        "of letters, digits, `-`, `.`, `_` and `~`. Unset serves none.",
    )
    url: str = setting(
        "PATHSERVE_TECHCYTE_URL",
        "https://api.app.techcyte.com",
        "Address of Techcyte's API, before `/api/v3`. https, or this machine.",
    )
    api: Literal["v2", "v3"] = setting(
        "PATHSERVE_TECHCYTE_API",
        "v3",
        'Version of the page "Posting Results from an External Model" by which results are sent: `v2` or '
        "`v3`.",
    )
    key_id: str | None = setting(
        "PATHSERVE_TECHCYTE_KEY_ID",
        None,
        "Identifier of an API key of your company at Techcyte, for tasks without a token that can be used.",
    )
    key_secret: Secret = setting("PATHSERVE_TECHCYTE_KEY_SECRET", None, "The secret of that API key.")
    timeout_s: float = setting(
        "PATHSERVE_TECHCYTE_TIMEOUT_S",
        60.0,
        "Longest wait for a connection to Techcyte and for each piece of an answer.",
        gt=0,
        le=3600,
    )
    retry_s: float = setting(
        "PATHSERVE_TECHCYTE_RETRY_S",
        900.0,
        "How long results are sent again while Techcyte cannot be reached or answers 429; then they are "
        "parked.",
        ge=0,
        le=86_400,
    )
    ask_s: float = setting(
        "PATHSERVE_TECHCYTE_ASK_S",
        60.0,
        "How long Techcyte is asked whether it has results whose answer was lost; then they are parked.",
        ge=0,
        le=3600,
    )
    remember_days: float = setting(
        "PATHSERVE_TECHCYTE_REMEMBER_DAYS",
        366.0,
        "How long a task is remembered, so that it is not done twice.",
        gt=0,
        le=36_600,
    )

    @model_validator(mode="after")
    def _secrets_are_whole(self) -> Self:
        secret = None if self.secret is None else self.secret.get_secret_value()
        if secret is not None and len(secret) < _SHORTEST_SECRET:
            raise ValueError(f"PATHSERVE_TECHCYTE_SECRET must have at least {_SHORTEST_SECRET} characters")
        if secret is not None and not _PLAIN.fullmatch(secret):
            raise ValueError(
                "PATHSERVE_TECHCYTE_SECRET must have no other characters than letters, digits, -, ., _ and "
                "~, since it is a part of a URL"
            )
        if (self.key_id is None) != (self.key_secret is None):
            raise ValueError("PATHSERVE_TECHCYTE_KEY_ID and PATHSERVE_TECHCYTE_KEY_SECRET belong together")
        return self
