"""What each analysis over embeddings shows."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from shapely import MultiPolygon

from serving.heads.head import Head
from serving.webhooks.analyses.areas import Area, outline
from serving.webhooks.analyses.clusters import cluster
from serving.webhooks.analyses.heatmap import heat_map as heat_map_of
from serving.webhooks.analyses.patches import Float32Array, Patches
from serving.webhooks.analyses.regions import Region, polygonal
from serving.webhooks.analyses.similarity import find_similar
from serving.webhooks.analyses.summary import RESEARCH_USE_ONLY, Summary, model_in_words
from serving.webhooks.embedding import Made
from serving.webhooks.heads.classes import classify
from serving.webhooks.techcyte.reference import Reference
from serving.webhooks.techcyte.reports import Feature
from serving.webhooks.techcyte.shown import Shown, heat_map, legend, points, segment, share_of
from serving.webhooks.techcyte.slide_patches import SlidePatches

_MARKED = "#FFD400"


def similar(patches: Patches, vectors: Float32Array, reference: Reference, top: int) -> Shown:
    """Find what looks like the reference."""
    found = find_similar(patches, vectors, reference.vectors, top=top)
    best = float(found.scores[found.best[0]])
    return Shown(
        title=f"Similar to {reference.name}",
        key="Highest similarity",
        value=f"{best:.2f}",
        rows=(("Reference", f"{reference.name}, {len(reference.vectors):,} patches"),),
        segments=(segment("Most similar", found.polygons, _MARKED, f"the best {len(found.best)} patches"),),
        annotations=(
            *heat_map(found.heat, "similarity", _covered(patches)),
            *points(found.points, "most similar"),
        ),
        facts={"highest_similarity": round(best, 4)},
    )


def clusters(patches: Patches, vectors: Float32Array, k: int) -> Shown:
    """Find which kinds of tissue there are."""
    found = cluster(patches, vectors, k)
    return _areas(found.areas, "Kinds of tissue", "Clusters", str(k))


def classes(patches: Patches, vectors: Float32Array, head: Head) -> Shown:
    """Name each patch's class; of two classes, the second's probability is a heat map, too."""
    found = classify(patches, vectors, head)
    largest = max(found.areas, key=lambda area: area.patches)
    shown: tuple[Feature, ...] = ()
    if len(head.classes) == 2:
        likely = np.ascontiguousarray(found.probabilities[:, 1])
        shown = heat_map(heat_map_of(patches, likely), "class probability", _covered(patches))
    return _areas(found.areas, head.name, "Largest class", f"{largest.name}, {share_of(largest)}", shown)


def _covered(patches: Patches) -> Region:
    return polygonal(MultiPolygon(outline(patches, np.ones(len(patches), np.bool_))))


def _areas(
    areas: tuple[Area, ...], title: str, key: str, value: str, annotations: tuple[Feature, ...] = ()
) -> Shown:
    return Shown(
        title=title,
        key=key,
        value=value,
        rows=tuple((area.name, share_of(area)) for area in areas),
        segments=legend(areas),
        annotations=annotations,
        facts={f"share of {area.name}": round(area.share, 4) for area in areas},
    )


def in_short(shown: Shown) -> str:
    """Return what is found, for where there is room for a line."""
    return f"{shown.key}: {shown.value}. {RESEARCH_USE_ONLY}"


def summary(
    shown: Shown,
    patches: SlidePatches,
    encoder: Mapping[str, object],
    made: Made,
    head: Head | None,
    reference: Reference | None,
) -> str:
    """Return the facts of a run in words."""
    of_target = [one.untrained for one in (head, reference) if one is not None]
    facts = Summary(
        patches=len(patches),
        tissue=patches.of_all,
        um_per_px=patches.um_per_px,
        model=model_in_words(encoder),
        untrained=bool(encoder.get("untrained")) or any(of_target),
        head=None if head is None else head.name,
        provenance=made.provenance,
        warning=made.warning,
    )
    return f"{shown.key}: {shown.value}.\n{facts.text()}"
