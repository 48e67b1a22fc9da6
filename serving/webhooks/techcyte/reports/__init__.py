"""Results as Techcyte takes them: typed records, what is mended, and what is refused. Pure data, no I/O.

Build ``Results`` from the records here, or read them from JSON by ``read_results``; then ``prepare`` makes
the bodies to send, or raises ``ReportError`` with all faults at once. Coordinates are pixels of the slide's
largest level, x to the right, y down.

The records follow the page "Posting Results from an External Model" of Techcyte's devkit: its second version
(``Api.V2``), and the third, of 2026 (``Api.V3``), which adds three kinds of reports.

    results = reports.Results(
        scan_results=[
            reports.ScanResult(
                scan_id="8946136",
                workflow=reports.Workflow(
                    model_name="Mitosis",
                    provider="Our laboratory",
                    ruo=True,
                    report=reports.Basic(results=[reports.NamedResult(name="Count", result="4")]),
                ),
            )
        ]
    )
    posting = reports.prepare(results, {"8946136": reports.SlideSize(60_000, 40_000)}, reports.Api.V3)
    requests.post(url, json=posting.body, ...)
"""

from serving.webhooks.techcyte.reports.faults import ReportError
from serving.webhooks.techcyte.reports.geojson import (
    Feature,
    FeatureCollection,
    GeometryCollection,
    MultiPoint,
    MultiPolygon,
    Polygon,
    heat_map_feature,
    polygon_features,
)
from serving.webhooks.techcyte.reports.mending import SlideSize
from serving.webhooks.techcyte.reports.posting import Api, Posting, prepare
from serving.webhooks.techcyte.reports.results import Results, ScanResult, Triage, Workflow, read_results
from serving.webhooks.techcyte.reports.workflows import (
    AiMitosisCounting,
    AreaDifferential,
    Basic,
    BoundingBox,
    Count,
    DifferentialRegion,
    NamedResult,
    Part,
    RegionCounting,
    Report,
    ScoredPoint,
    Segment,
    SemiQuantitativeDifferential,
    ThresholdResult,
    TumorCellularity,
    TypedPoint,
    WholeSlideDifferential,
)

__all__ = [
    "AiMitosisCounting",
    "Api",
    "AreaDifferential",
    "Basic",
    "BoundingBox",
    "Count",
    "DifferentialRegion",
    "Feature",
    "FeatureCollection",
    "GeometryCollection",
    "MultiPoint",
    "MultiPolygon",
    "NamedResult",
    "Part",
    "Polygon",
    "Posting",
    "RegionCounting",
    "Report",
    "ReportError",
    "Results",
    "ScanResult",
    "ScoredPoint",
    "Segment",
    "SemiQuantitativeDifferential",
    "SlideSize",
    "ThresholdResult",
    "Triage",
    "TumorCellularity",
    "TypedPoint",
    "WholeSlideDifferential",
    "Workflow",
    "heat_map_feature",
    "polygon_features",
    "prepare",
    "read_results",
]
