"""From results to the bodies that are sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from serving.webhooks.techcyte.reports.faults import ReportError
from serving.webhooks.techcyte.reports.geojson import Feature, Polygon
from serving.webhooks.techcyte.reports.mending import SlideSize, boxes_on, mended_feature, points_on
from serving.webhooks.techcyte.reports.results import Results, ScanResult, Triage, Workflow
from serving.webhooks.techcyte.reports.workflows import (
    AiMitosisCounting,
    AreaDifferential,
    Basic,
    RegionCounting,
    Report,
    ScoredPoint,
    SemiQuantitativeDifferential,
    TumorCellularity,
    TypedPoint,
    WholeSlideDifferential,
)

Json = dict[str, Any]


class Api(StrEnum):
    """Which version of Techcyte's interface is spoken to."""

    V2 = "v2"
    V3 = "v3"


@dataclass(frozen=True, slots=True)
class Posting:
    """What is sent for a task.

    Attributes
    ----------
    body:
        Of ``POST /api/v3/external/results/{task_id}``.
    case:
        Of ``PATCH /api/v3/external/case/{task_id}``; ``None`` where nothing is to be said.
    left_out:
        A sentence for each place where something had no area or was off the slide.
    """

    body: Json
    case: Json | None
    left_out: tuple[str, ...]


def prepare(results: Results, scans: Mapping[str, SlideSize | None], api: Api) -> Posting:
    """Mend what can be mended, and return what is to be sent.

    Open rings are closed, areas of nothing and what is off the slide are left out, polygons are cut at its
    border, those of several parts become a feature each, and bounding boxes are computed. All of it is to be
    sent or, with one fault anywhere, none.

    Parameters
    ----------
    scans:
        The scans of the task, with the sizes of their slides where they are known.
    api:
        The version that is spoken.

    Raises
    ------
    ReportError
        With all faults: a scan that the task does not have, a report that the version does not know, a region
        without an area on its slide.
    """
    found = _Found([], [])
    sent = [
        _scan(scan, f"scanResults[{number}]", scans, api, found)
        for number, scan in enumerate(results.scan_results)
    ]
    if found.faults:
        raise ReportError(found.faults)
    case = dict(results.case_results or {})
    triage = results.triage
    if triage is not None and api is Api.V2:
        case["triage"] = {"category": triage.category, "score": triage.score}
    body = {"caseResults": case, "scanResults": sent} if case else {"scanResults": sent}
    return Posting(body, _case(triage) if api is Api.V3 else None, tuple(found.left_out))


def _case(triage: Triage | None) -> Json | None:
    return None if triage is None else {"triage_category": triage.category, "triage_score": triage.score}


@dataclass(frozen=True, slots=True)
class _Found:
    """What is found on the way through all results."""

    faults: list[str]
    left_out: list[str]

    def less(self, where: str, before: int, after: int) -> None:
        """Note what was left out of a list."""
        if after < before:
            self.left_out.append(f"{where}: {before - after} of {before} left out, off the slide or empty")


def _scan(
    scan: ScanResult, where: str, scans: Mapping[str, SlideSize | None], api: Api, found: _Found
) -> Json:
    if scan.scan_id not in scans:
        found.faults.append(f"{where}.scanId: {scan.scan_id} is not a scan of the task")
    elif api is Api.V3 and not (scan.scan_id.isascii() and scan.scan_id.isdigit()):
        found.faults.append(f"{where}.scanId: {scan.scan_id} is not a number, as version 3 wants it")
    slide = scans.get(scan.scan_id)
    sent: Json = {"scanId": scan.scan_id}
    if scan.workflow is not None:
        sent["workflow"] = _workflow(scan.workflow, f"{where}.workflow", slide, api, found)
    if scan.results is not None:
        sent["results"] = scan.results
    if scan.geojson is not None:
        sent["geojson"] = _collection(scan.geojson.features, slide, f"{where}.geojson.features", found)
    if scan.qc_fail_reasons is not None:
        sent["qcFailReasons"] = scan.qc_fail_reasons
    return sent


def _workflow(workflow: Workflow, where: str, slide: SlideSize | None, api: Api, found: _Found) -> Json:
    headline = {name: text for name in ("key", "value") if (text := getattr(workflow, name)) is not None}
    return {
        **headline,
        "model_name": workflow.model_name,
        "provider": workflow.provider,
        "ruo": workflow.ruo,
        "report": _Mended(slide, api, f"{where}.report", found).report(workflow.report),
    }


def _collection(features: Sequence[Feature], slide: SlideSize | None, where: str, found: _Found) -> Json:
    mended = [mended_feature(feature, slide) for feature in features]
    found.less(where, len(features), sum(bool(parts) for parts in mended))
    return {
        "type": "FeatureCollection",
        "features": [part.model_dump() for parts in mended for part in parts],
    }


@dataclass(frozen=True, slots=True)
class _Mended:
    """A report on its way.

    Attributes
    ----------
    where:
        Its place in the JSON.
    """

    slide: SlideSize | None
    api: Api
    where: str
    found: _Found

    def report(self, report: Report) -> Json:
        if self.api is Api.V2 and isinstance(report, RegionCounting | AiMitosisCounting | TumorCellularity):
            self.found.faults.append(f"{self.where}.type: version 2 knows no {report.type}")
        match report:
            case Basic():
                return self._basic(report)
            case WholeSlideDifferential() | SemiQuantitativeDifferential():
                return self._whole_slide(report)
            case AreaDifferential():
                return self._area(report)
            case RegionCounting() | AiMitosisCounting():
                return self._counting(report)
            case TumorCellularity():
                return self._cellularity(report)

    def _basic(self, report: Basic) -> Json:
        segments = [
            segment.model_dump()
            | {
                "feature_collection": _collection(
                    segment.feature_collection.features,
                    self.slide,
                    f"{self.where}.segments[{number}].feature_collection.features",
                    self.found,
                )
            }
            for number, segment in enumerate(report.segments)
        ]
        return report.model_dump() | {"segments": segments}

    def _whole_slide(self, report: WholeSlideDifferential | SemiQuantitativeDifferential) -> Json:
        points = self._points(report.points, "points")
        if self.api is Api.V2 and isinstance(report, SemiQuantitativeDifferential):
            for point in points:  # the second version's have no score
                del point["score"]
        return report.model_dump() | {"points": points}

    def _points(self, points: Sequence[ScoredPoint] | Sequence[TypedPoint], place: str) -> list[Json]:
        kept = points_on(points, self.slide)
        self.found.less(f"{self.where}.{place}", len(points), len(kept))
        return [point.model_dump() for point in kept]

    def _area(self, report: AreaDifferential) -> Json:
        regions = [
            one.model_dump()
            | {
                "region": self._region(one.region, f"regions[{number}].region"),
                "points": self._points(one.points, f"regions[{number}].points"),
            }
            for number, one in enumerate(report.regions)
        ]
        return report.model_dump() | {"regions": regions}

    def _counting(self, report: RegionCounting | AiMitosisCounting) -> Json:
        boxes = boxes_on(report.objects, self.slide)
        self.found.less(f"{self.where}.objects", len(report.objects), len(boxes))
        regions = [self._region(region, f"regions[{number}]") for number, region in enumerate(report.regions)]
        return {"type": report.type, "objects": [box.model_dump() for box in boxes], "regions": regions}

    def _cellularity(self, report: TumorCellularity) -> Json:
        results = {
            label: one.model_dump() | {"region": self._region(one.region, f"threshold_map.{label}.region")}
            for label, one in report.threshold_map.items()
        }
        return {"type": report.type, "threshold_map": results}

    def _region(self, region: Feature, place: str) -> Json:
        """Return a region that a report counts on: it is one polygon, and cannot be left out."""
        where = f"{self.where}.{place}.geometry"
        if not isinstance(region.geometry, Polygon):
            self.found.faults.append(f"{where}: should be a Polygon, not a {region.geometry.type}")
            return {}
        parts = mended_feature(region, self.slide)
        if len(parts) != 1:
            what = "has no area" if not parts else f"is in {len(parts)} parts"
            self.found.faults.append(f"{where}: {what}" + ("" if self.slide is None else " on the slide"))
            return {}
        typed = {"annotation_type": "region", **parts[0].properties}
        return parts[0].model_dump() | {"properties": typed}
