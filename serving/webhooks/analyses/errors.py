"""The one exception of the analyses."""

from __future__ import annotations


class AnalysisError(Exception):
    """An analysis cannot be made of what was given; the text says why and what to do, for a user to read."""
