"""Stages of reading an image that are worth timing."""

from __future__ import annotations

from enum import StrEnum


class ReadStage(StrEnum):
    """What time is spent on between naming an image and having its pixels.

    A caller that times more than reading adds stages of its own beside these.
    """

    FETCH = "fetch"
    DECODE = "decode"
    COLOUR = "colour"
