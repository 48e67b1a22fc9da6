"""What an engine is told: the job as a whole, and the pieces that it hands out. All of it may be pickled."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from serving.batch.asked import quality_of
from serving.batch.min_quality import Bounds
from serving.batch.worklist import NamedSlide


class Credentials(StrEnum):
    """Where a worker has its token for the slides' store from."""

    ENVIRONMENT = "environment"
    """PATHSERVE_STORE_TOKEN, or none."""

    GOOGLE = "google"
    """Application default credentials: a service account's, or those of the machine."""

    COMMAND = "command"
    """What a command prints."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked for of every slide: ``serving.batch.asked.SlideOptions``."""

    level: int | None = None
    mpp: float | None = None
    slide_mpp: float | None = None
    stride: int = 224
    everything: bool = False
    min_tissue: float = 0.05
    tissue: Path | None = None
    icc: str = "NONE"
    quality: bool = False
    min_quality: Bounds = ()

    def as_json(self) -> Mapping[str, Any]:
        """Return it as JSON: outputs that differ in it are not mixed."""
        facts = dataclasses.asdict(self)
        facts["tissue"] = None if self.tissue is None else str(self.tissue)
        del facts["quality"], facts["min_quality"]
        return {**facts, **quality_of(self)}


@dataclass(frozen=True, slots=True)
class Job:
    """One run of the command, as each of its workers is told. It holds no secret.

    Attributes
    ----------
    out:
        Address of the output.
    service:
        Address of a running service that embeds; ``None`` embeds in the workers.
    credentials, token_command:
        Where workers have their token for the slides' store from; the command is run without a shell.
    at_once:
        Most requests that one worker has in flight to one store.
    retry_failed:
        Whether nothing but what has failed before is done.
    """

    out: str
    asked: Asked
    service: str | None = None
    credentials: Credentials = Credentials.ENVIRONMENT
    token_command: tuple[str, ...] = field(default=(), repr=False)
    at_once: int = 32
    retry_failed: bool = False


@dataclass(frozen=True, slots=True)
class Piece:
    """What an engine hands out after planning: a block of a slide, by its number.

    Attributes
    ----------
    slide:
        Its name, and where it is.
    block:
        ``None`` where all blocks are there and only have to be put together.
    """

    slide: NamedSlide
    block: int | None


@dataclass(frozen=True, slots=True)
class Done:
    """What became of a piece, for the engine's counters.

    Attributes
    ----------
    patches, errors:
        Rows that were written now, and how many of them have an error in place of a vector.
    failed:
        Code of what the piece failed by.
    slides:
        1 where a slide became whole by it.
    """

    patches: int = 0
    errors: int = 0
    failed: str | None = None
    slides: int = 0


def as_json(facts: object) -> bytes:
    """Return facts as the output's files have them."""
    return json.dumps(facts, indent=1, sort_keys=True).encode()
