"""What is wrong with a report, all of it at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pydantic import ValidationError

_SHOWN = 20

_KINDS = frozenset(
    {
        "AiMitosisCounting", "AreaDifferential", "Basic", "RegionCounting", "SemiQuantitativeDifferential",
        "TumorCellularity", "WholeSlideDifferential",
        "GeometryCollection", "MultiPoint", "MultiPolygon", "Polygon",
    }
)  # fmt: skip
"""Kinds of reports and geometries: pydantic has them in the path, JSON has not."""


class ReportError(Exception):
    """Results cannot be sent, no part of them.

    Attributes
    ----------
    faults:
        A sentence for each fault, with its place in the JSON.
    """

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        more = len(self.faults) - _SHOWN
        super().__init__("; ".join([*self.faults[:_SHOWN], *([f"and {more} more"] if more > 0 else [])]))


def faults_of(error: ValidationError) -> list[str]:
    """Return what pydantic found, as sentences."""
    found = error.errors(include_url=False, include_input=False, include_context=False)
    return [f"{place(fault['loc'])}: {fault['msg'].removeprefix('Value error, ')}" for fault in found]


def place(steps: Iterable[str | int]) -> str:
    """Return a place in JSON, such as ``scanResults[0].workflow.ruo``."""
    text = ""
    for step in steps:
        if isinstance(step, int):
            text += f"[{step}]"
        elif step not in _KINDS:
            text += f".{step}" if text else step
    return text or "the results"
