"""The settings of Slide Score's external analyses."""

from __future__ import annotations

from typing import Self

from pydantic import FilePath, model_validator

from serving.config.group import Group, Secret, StringList, setting

_SHORTEST_SECRET = 16


class SlideScoreSettings(Group):
    """Who may ask for analyses, and what they may take. Without ``origins`` nobody may."""

    origins: StringList = setting(
        "PATHSERVE_SLIDESCORE_ORIGINS",
        None,
        "Addresses of the Slide Score servers that are served, as a JSON list or separated by commas: "
        "a request's `host` must be exactly one of them. https, or this machine. Unset serves none.",
    )
    secret: Secret = setting(
        "PATHSERVE_SLIDESCORE_SECRET",
        None,
        'What callers must send: `"secret"` in the body template, or a part of the path. At least '
        "16 characters; required with PATHSERVE_SLIDESCORE_ORIGINS.",
    )
    um_per_px: float = setting(
        "PATHSERVE_SLIDESCORE_UM_PER_PX",
        0.5,
        "Resolution that is embedded, in µm a pixel, where no answer `Magnification` says another.",
        gt=0,
        le=32,
    )
    max_patches: int = setting(
        "PATHSERVE_SLIDESCORE_MAX_PATCHES",
        50_000,
        "Patches with tissue that one analysis may have; more are refused with their number.",
        ge=1,
        le=1_000_000,
    )
    clusters: int = setting(
        "PATHSERVE_SLIDESCORE_CLUSTERS",
        6,
        "Clusters where no answer `Clusters` says how many.",
        ge=2,
        le=12,
    )
    most_similar: int = setting(
        "PATHSERVE_SLIDESCORE_MOST_SIMILAR",
        20,
        "Patches that `similar` marks as the most similar ones.",
        ge=1,
        le=1000,
    )
    head: FilePath | None = setting(
        "PATHSERVE_SLIDESCORE_HEAD",
        None,
        "File of the head that `classify` uses (`pathserve head train` makes one). Without it `classify` "
        "says so.",
    )
    finished_word: str = setting(
        "PATHSERVE_SLIDESCORE_FINISHED_WORD",
        "finished",
        "Status of an analysis that has its output; servers that follow the vendor's example want `done`.",
    )
    keep_token: bool = setting(
        "PATHSERVE_SLIDESCORE_KEEP_TOKEN",
        False,
        "Whether the analysis' token is left to expire instead of being given up at its end: for a batch "
        "whose slides share one.",
    )
    sync_patches: int = setting(
        "PATHSERVE_SLIDESCORE_SYNC_PATCHES",
        500,
        "Patches that an analysis with `?mode=sync` may have.",
        ge=1,
        le=10_000,
    )
    sync_timeout_s: float = setting(
        "PATHSERVE_SLIDESCORE_SYNC_TIMEOUT_S",
        55.0,
        "An analysis with `?mode=sync` that takes longer is ended and answered 503.",
        gt=0,
        le=600,
    )

    @model_validator(mode="after")
    def _callers_are_known(self) -> Self:
        length = 0 if self.secret is None else len(self.secret.get_secret_value())
        if self.origins and length < _SHORTEST_SECRET:
            raise ValueError(
                f"PATHSERVE_SLIDESCORE_SECRET must be set with PATHSERVE_SLIDESCORE_ORIGINS, to at least "
                f"{_SHORTEST_SECRET} characters"
            )
        return self

    @model_validator(mode="after")
    def _words_differ(self) -> Self:
        if self.finished_word in ("", "error", "queued", "processing"):
            raise ValueError("PATHSERVE_SLIDESCORE_FINISHED_WORD must differ from the other statuses")
        return self
