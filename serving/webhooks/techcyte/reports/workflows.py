"""The kinds of reports, each of which Techcyte shows in a way of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from serving.webhooks.techcyte.reports.geojson import Feature, FeatureCollection
from serving.webhooks.techcyte.reports.values import Amount, Name, Number, Record, Scores, Share, Shown, Whole


class _WithThreshold(Record):
    scores: Scores
    positivity_threshold: Number

    @model_validator(mode="before")
    @classmethod
    def _threshold_out_of_scores(cls, data: Any) -> Any:
        """Take a threshold that stands among the scores, as in the page's older examples, for what it is."""
        scores = data.get("scores") if isinstance(data, Mapping) else None
        if not isinstance(scores, Mapping) or "positivity_threshold" not in scores:
            return data
        rest = {name: score for name, score in scores.items() if name != "positivity_threshold"}
        return {"positivity_threshold": scores["positivity_threshold"], **data, "scores": rest}


class NamedResult(Record):
    """A line of a table; a number becomes a text."""

    name: Name
    result: Shown


class Segment(Record):
    """Annotations of one kind, which can be shown and hidden.

    Attributes
    ----------
    result:
        A text beside the name; always sent, as the third version of the page wants it.
    feature_collection:
        Its features have ``name`` and ``color`` among their properties.
    """

    name: Name
    result: Shown = ""
    feature_collection: FeatureCollection


class Basic(Record):
    """Results by name, and annotations."""

    type: Literal["Basic"] = "Basic"
    results: list[NamedResult] = Field(default_factory=list)
    segments: list[Segment] = Field(default_factory=list)


class ScoredPoint(Record):
    """A cell or an object with the score that a threshold is applied to."""

    x: Number
    y: Number
    score: Number
    type: Name


class TypedPoint(Record):
    """A cell or an object of a kind; the third version of the page gives it a score, too."""

    x: Number
    y: Number
    type: Name
    score: Number = 0


class WholeSlideDifferential(_WithThreshold):
    """Scored cells on the whole slide."""

    type: Literal["WholeSlideDifferential"] = "WholeSlideDifferential"
    points: list[ScoredPoint]


class DifferentialRegion(Record):
    """A region and its cells.

    Attributes
    ----------
    region:
        A feature with one polygon.
    weight:
        Of the region in the whole's score.
    """

    region: Feature
    weight: Number
    score: Number
    points: list[ScoredPoint]


class AreaDifferential(_WithThreshold):
    """Scored cells in weighted regions."""

    type: Literal["AreaDifferential"] = "AreaDifferential"
    regions: list[DifferentialRegion]


class SemiQuantitativeDifferential(Record):
    """Cells of several kinds on the whole slide."""

    type: Literal["SemiQuantitativeDifferential"] = "SemiQuantitativeDifferential"
    points: list[TypedPoint]
    scores: Scores


class BoundingBox(Record):
    """An object: its upper left corner and its size."""

    x: Number
    y: Number
    width: Amount
    height: Amount


class RegionCounting(Record):
    """Objects counted in regions (third version)."""

    type: Literal["RegionCounting"] = "RegionCounting"
    objects: list[BoundingBox]
    regions: list[Feature]


class AiMitosisCounting(Record):
    """Mitotic figures counted in regions, such as the hot spot (third version)."""

    type: Literal["AiMitosisCounting"] = "AiMitosisCounting"
    objects: list[BoundingBox]
    regions: list[Feature]


class Count(Record):
    """How many objects of a kind."""

    label: Name
    count: Whole


class Part(Record):
    """A part of a distribution."""

    label: Name
    fraction: Share
    area: Amount


class ThresholdResult(Record):
    """What was measured at a threshold.

    Attributes
    ----------
    tumor_cellularity:
        Share, 0 to 1.
    region:
        A feature with one polygon.
    area:
        Of the region; the page names no unit.
    """

    tumor_cellularity: Share
    counts: list[Count]
    region: Feature
    area: Amount
    distributions: dict[Name, list[Part]] | None = None


class TumorCellularity(Record):
    """Tumor cellularity at one threshold or several, each under its label (third version)."""

    type: Literal["TumorCellularity"] = "TumorCellularity"
    threshold_map: Annotated[dict[Name, ThresholdResult], Field(min_length=1)]


Report = Annotated[
    Basic
    | WholeSlideDifferential
    | AreaDifferential
    | SemiQuantitativeDifferential
    | RegionCounting
    | AiMitosisCounting
    | TumorCellularity,
    Field(discriminator="type"),
]
