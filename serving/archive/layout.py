"""The names in an output; docs/archive.md draws them."""

from __future__ import annotations

import os
from pathlib import PurePosixPath
from urllib.parse import quote, unquote_to_bytes

ARCHIVE = "archive.json"
"""What was asked for, written by the first run."""

MODEL = "model.json"
"""What makes the vectors, written by the first worker."""

PLANS, PARTS, SHARDS, DONE, FAILED, RUNS = "plans", "parts", "shards", "done", "failed", "runs"
INDEX = "index"

_OF_PLAN = "plan"


def plan_of(slide: str) -> str:
    """Return the name of a slide's plan."""
    return f"{PLANS}/{_quoted(slide)}.jsonl"


def parts_of(slide: str) -> str:
    """Return the folder of a slide's parts."""
    return f"{PARTS}/{_quoted(slide)}"


def part_of(slide: str, block: int) -> str:
    """Return the name of a block's rows."""
    return f"{parts_of(slide)}/{block:06}.parquet"


def shard_of(slide: str) -> str:
    """Return the name of a slide's rows."""
    return f"{SHARDS}/{_quoted(slide)}.parquet"


def done_of(slide: str) -> str:
    """Return the name of the record that a slide is whole."""
    return f"{DONE}/{_quoted(slide)}.json"


def failures_of(slide: str) -> str:
    """Return the folder of what failed of a slide."""
    return f"{FAILED}/{_quoted(slide)}"


def failure_of(slide: str, block: int | None) -> str:
    """Return the name of the record that a block failed, or the whole slide."""
    return f"{failures_of(slide)}/{_OF_PLAN if block is None else f'{block:06}'}.json"


def block_in(name: str) -> int | None:
    """Return the number of a part's or a failure's block; ``None`` for a whole slide."""
    stem = PurePosixPath(name).stem
    return None if stem == _OF_PLAN else int(stem)


def slide_in(name: str) -> str:
    """Return the slide of a plan's or a record's name."""
    return os.fsdecode(unquote_to_bytes(PurePosixPath(name).name.rpartition(".")[0]))


def _quoted(slide: str) -> str:
    """Return a name that is one segment in any store; a name on this system may be any bytes."""
    text = quote(os.fsencode(slide), safe="")
    return f"%2E{text[1:]}" if text.startswith(".") else text
