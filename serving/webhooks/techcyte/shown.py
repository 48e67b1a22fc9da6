"""What Techcyte shows of an analysis, as reports take it: results by name, areas in colours, annotations.

Every analysis gives a ``Basic`` report, which both versions of Techcyte's page have: a table, and areas that
can be shown and hidden one by one. Scores over the slide are contours in the scan's ``geojson``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from pydantic import JsonValue
from shapely import Polygon

from serving.webhooks.analyses.areas import Area
from serving.webhooks.analyses.heatmap import HIGHEST, LOWEST, HeatMap, contours
from serving.webhooks.analyses.patches import Int64Array
from serving.webhooks.analyses.regions import Region
from serving.webhooks.techcyte import reports

MOST_AREAS = 2_000
"""Areas of one colour, or contours, that are sent: viewers and the other side's request have bounds, too."""

SCORES = (0.2, 0.4, 0.6, 0.8)
"""At which scores contours are drawn."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What an analysis shows of a scan.

    Attributes
    ----------
    title:
        Name of the analysis.
    key, value:
        The headline.
    rows:
        (name, text) of further results.
    segments:
        Areas that can be shown and hidden.
    annotations:
        Of the scan's ``geojson``.
    facts:
        Of the scan's free results.
    qc_fail_reasons:
        ``None`` where quality was not checked, or what was found has no name.
    """

    title: str
    key: str
    value: str
    rows: tuple[tuple[str, str], ...]
    segments: tuple[reports.Segment, ...] = ()
    annotations: tuple[reports.Feature, ...] = ()
    facts: Mapping[str, JsonValue] = field(default_factory=dict)
    qc_fail_reasons: tuple[str, ...] | None = None

    def result(self, scan_id: str, provider: str, summary: str) -> reports.ScanResult:
        """Return it as the result of a scan.

        Parameters
        ----------
        summary:
            Shown beside the scan.
        """
        rows = [(self.key, self.value), *self.rows]
        report = reports.Basic(
            results=[reports.NamedResult(name=name, result=text) for name, text in rows],
            segments=list(self.segments),
        )
        workflow = reports.Workflow(
            model_name=self.title,
            provider=provider,
            ruo=True,
            report=report,
            key=self.key,
            value=self.value,
        )
        annotations = list(self.annotations)
        return reports.ScanResult(
            scan_id=scan_id,
            workflow=workflow,
            results={**self.facts, "summary": summary},
            geojson=reports.FeatureCollection(features=annotations) if annotations else None,
            qc_fail_reasons=None if self.qc_fail_reasons is None else list(self.qc_fail_reasons),
        )


def segment(name: str, polygons: Sequence[Polygon], colour: str, text: str = "") -> reports.Segment:
    """Return areas of one colour, the largest of them where there are too many.

    Parameters
    ----------
    polygons:
        The largest first.
    text:
        Shown beside the name.
    """
    features = reports.polygon_features(polygons[:MOST_AREAS], {"name": name, "color": colour})
    if len(polygons) > MOST_AREAS:
        rest = f"the {MOST_AREAS:,} largest of {len(polygons):,} areas are drawn"
        text = f"{text}; {rest}" if text else rest
    return reports.Segment(
        name=name, result=text, feature_collection=reports.FeatureCollection(features=features)
    )


def legend(areas: Sequence[Area]) -> tuple[reports.Segment, ...]:
    """Return a segment for each line of a legend."""
    return tuple(segment(area.name, area.polygons, area.colour, share_of(area)) for area in areas)


def share_of(area: Area) -> str:
    """Return how much of the tissue an area is, in words."""
    return f"{area.share:.1%} of the tissue"


def heat_map(heat: HeatMap, annotation_type: str, region: Region) -> tuple[reports.Feature, ...]:
    """Return a heat map's contours at ``SCORES``, in the colours of Turbo; nothing where all of it is low.

    Parameters
    ----------
    heat:
        Of scores from 0 to 1.
    region:
        What the contours are cut to.
    """
    found = contours(heat, [LOWEST + score * (HIGHEST - LOWEST) for score in SCORES], region)
    if len(found) > MOST_AREAS:
        least = sorted((contour.polygon.area for contour in found), reverse=True)[MOST_AREAS - 1]
        found = tuple(contour for contour in found if contour.polygon.area >= least)[:MOST_AREAS]
    if not found:
        return ()
    drawn = [(contour.polygon, _turbo(contour.level)) for contour in found]
    return (reports.heat_map_feature(drawn, annotation_type),)


def points(places: Int64Array, annotation_type: str) -> tuple[reports.Feature, ...]:
    """Return places, int64 ``[n, 2]``, as one annotation; nothing where there is none."""
    if not len(places):
        return ()
    geometry = reports.MultiPoint(coordinates=places.tolist())
    return (reports.Feature(geometry=geometry, properties={"annotation_type": annotation_type}),)


def _turbo(value: float) -> str:
    colour = cv2.applyColorMap(np.full((1, 1), round(value), np.uint8), cv2.COLORMAP_TURBO)
    blue, green, red = colour[0, 0].tolist()
    return f"#{red:02X}{green:02X}{blue:02X}"
