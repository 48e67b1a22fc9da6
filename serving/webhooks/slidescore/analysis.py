"""From embeddings to what Slide Score shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from serving.heads.head import Head
from serving.webhooks.analyses import regions
from serving.webhooks.analyses.areas import Area
from serving.webhooks.analyses.clusters import cluster
from serving.webhooks.analyses.heatmap import HeatMap, heat_map
from serving.webhooks.analyses.patches import BoolArray, Float32Array, Int64Array, Patches
from serving.webhooks.analyses.similarity import find_similar
from serving.webhooks.analyses.summary import Summary, model_in_words
from serving.webhooks.embedding import Made
from serving.webhooks.heads.classes import classify
from serving.webhooks.slidescore import results
from serving.webhooks.slidescore.plan import Plan

_MARKED = "#FFD400"
_POINTS = "#00A0FF"


@dataclass(frozen=True, slots=True)
class Finding:
    """What an analysis has found.

    Attributes
    ----------
    shown:
        Results that are given as they are.
    heat:
        What is uploaded, with its name; ``None`` where there is nothing.
    areas:
        The legend.
    """

    shown: tuple[results.Result, ...]
    heat: tuple[str, HeatMap] | None = None
    areas: tuple[Area, ...] = ()


@dataclass(frozen=True, slots=True)
class Embedded:
    """The patches of a region with their embeddings.

    Attributes
    ----------
    vectors:
        float32 ``[n, dimension]``.
    side:
        Of a patch in level-0 pixels.
    encoder:
        Facts about the encoder, as the API's ``metadata`` has them.
    made:
        What there is to say of the vectors, and of the exemplar's.
    """

    plan: Plan
    vectors: Float32Array
    side: int
    um_per_px: float
    encoder: Mapping[str, object]
    made: Made

    @property
    def patches(self) -> Patches:
        """The patches for an analysis."""
        return Patches(self.plan.origins, self.side)

    def summary(self, finding: Finding, head: Head | None, remarks: tuple[str, ...]) -> results.Result:
        """Return the facts of the run, which are always given."""
        summary = Summary(
            patches=len(self.vectors),
            tissue=self.plan.tissue,
            um_per_px=self.um_per_px,
            model=model_in_words(self.encoder),
            untrained=bool(self.encoder.get("untrained")),
            head=None if head is None else head.name,
            areas=finding.areas,
            remarks=remarks,
            provenance=self.made.provenance,
            warning=self.made.warning,
        )
        return results.text("Description of results", summary.text())


@dataclass(frozen=True, slots=True)
class Exemplars:
    """The patches of an exemplar with their embeddings.

    Attributes
    ----------
    origins:
        int64 ``[m, 2]``: (x, y) of the upper left corners.
    vectors:
        float32 ``[m, dimension]``.
    """

    origins: Int64Array
    vectors: Float32Array

    def cover(self, origins: Int64Array, side: int) -> BoolArray:
        """Return which squares have their centre in one of these, bool ``[n]``."""
        return regions.centres_inside(origins, side, regions.squares(self.origins, side))


def similar(embedded: Embedded, exemplars: Exemplars, top: int) -> Finding:
    """Find what looks like the exemplar, whose own patches are not marked: the user has done so."""
    plan = embedded.plan
    own = exemplars.cover(plan.origins, embedded.side)
    found = find_similar(
        embedded.patches,
        embedded.vectors,
        exemplars.vectors,
        top=top,
        exclude=None if own.all() else own,
        region=plan.region,
    )
    builder = results.Builder(plan.region)
    shown = (
        builder.polygons("Most similar", found.polygons, _MARKED),
        builder.points("Most similar, best first", found.points, _POINTS),
    )
    return Finding(shown, ("Similarity", found.heat))


def clusters(embedded: Embedded, k: int) -> Finding:
    """Find which kinds of tissue there are."""
    found = cluster(embedded.patches, embedded.vectors, k, region=embedded.plan.region)
    return Finding(_areas(embedded, found.areas), areas=found.areas)


def classes(embedded: Embedded, head: Head) -> Finding:
    """Name each patch's class; of two classes, the second's probability is a heat map, too.

    Raises
    ------
    HeadError
        When the head is made for another encoder or resolution.
    """
    head.require(str(embedded.encoder.get("digest", "")), embedded.um_per_px)
    found = classify(embedded.patches, embedded.vectors, head, region=embedded.plan.region)
    heat = None
    if len(head.classes) == 2:
        likely = np.ascontiguousarray(found.probabilities[:, 1])
        heat = (f"Probability of {head.classes[1]}", heat_map(embedded.patches, likely))
    return Finding(_areas(embedded, found.areas), heat, found.areas)


def _areas(embedded: Embedded, areas: tuple[Area, ...]) -> tuple[results.Result, ...]:
    builder = results.Builder(embedded.plan.region)
    return tuple(
        builder.polygons(f"{area.name} ({area.share:.0%})", area.polygons, area.colour)
        for area in areas
        if area.polygons
    )
