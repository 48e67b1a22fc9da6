"""The examples of Techcyte's page on posting results, in its three versions, with their defects.

Values are the page's; the defects that matter: rings of the regions are open, the tumour's box is not its
polygon's, a threshold stands among scores, ``ruo`` is a text, and a number is written ``.55``.
"""

from __future__ import annotations

import copy
import json
from typing import Any

Json = dict[str, Any]

REGION_A = [
    [13048, 41942], [13040, 42042], [12986, 42316], [12960, 42404], [12872, 42560], [12830, 42610],
    [12678, 42726], [12658, 42736], [12632, 42748], [12320, 42846], [12150, 42850], [12048, 42850],
    [11590, 42568], [11568, 42544], [11522, 42414], [11512, 41664], [11526, 41632], [11610, 41510],
    [11728, 41396], [11842, 41318], [11888, 41296], [11938, 41282], [12408, 41252], [12790, 41476],
    [12852, 41526], [12878, 41556], [12944, 41644], [12984, 41722], [13020, 41824], [13044, 41912],
]  # fmt: skip
REGION_B = [
    [36298, 16998], [36284, 17064], [36276, 17094], [36108, 17504], [36052, 17570], [35528, 17812],
    [35452, 17830], [35076, 17894], [34880, 17806], [34824, 17764], [34802, 17742], [34696, 17574],
    [34664, 17322], [34682, 17272], [34710, 17196], [34774, 17080], [34800, 17050], [34908, 16934],
    [35450, 16482], [35612, 16434], [35926, 16392], [36148, 16532], [36270, 16706], [36296, 16830],
]  # fmt: skip
POINTS_A = [
    (13042, 41972, 0.32819),
    (13030, 41884, 0.33399),
    (11938, 41282, 0.32082),
    (13044, 41912, 0.63977),
]
POINTS_B = [
    (34880, 17806, 0.48057),
    (36296, 16830, 0.31419),
    (36052, 17570, 0.31906),
    (36298, 16998, 0.51786),
    (36108, 17504, 0.31818),
]
THRESHOLD, SCORE = 0.4376593987751759, 0.13330553429026412


def box(left: int, top: int, right: int, bottom: int) -> Json:
    """Return a rectangle, down first, as the page draws its squares."""
    ring = [[left, top], [left, bottom], [right, bottom], [right, top], [left, top]]
    return {"type": "Polygon", "coordinates": [ring]}


def feature(geometry: Json, **properties: Any) -> Json:
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def collection(*features: Json) -> Json:
    return {"type": "FeatureCollection", "features": list(features)}


def points(places: list[tuple[int, int, float]], kind: str = "tumor") -> list[Json]:
    return [{"x": x, "y": y, "score": score, "type": kind} for x, y, score in places]


def reported(report: Json, scan: str = "8946136", **workflow: Any) -> Json:
    """Return the results of one scan with a report."""
    said = {"model_name": "Model", "provider": "Acme AI", "ruo": True, **workflow, "report": report}
    return {"scanResults": [{"scanId": scan, "workflow": said}]}


def basic(ruo: Any = True) -> Json:
    squares = [(16716, 8400), (16716, 30798), (55746, 8400), (55746, 30798)]
    mitoses = [feature(box(x, y, x + 5598, y + 5598), name="Mitosis", color="#ff0000") for x, y in squares]
    named = {"Result": "Benign", "Mitosis Count": "4", "Dummy Score": "4+"}
    report = {
        "type": "Basic",
        "results": [{"name": name, "result": result} for name, result in named.items()],
        "segments": [
            {"name": "Tumor", "result": "Percentage: 0.80%", "feature_collection": collection()},
            {"name": "Mitosis", "result": "", "feature_collection": collection(*mitoses)},
        ],
    }
    return {"caseResults": {}} | reported(report, model_name="Mitosis Detection Model", ruo=ruo)


def annotated() -> Json:
    """Return two scans with a tumour, a heat map and mitoses; the tumour's box is wrong."""
    ring = [[250, 100], [250, 200], [300, 250], [300, 100], [250, 100]]
    tumour = feature({"type": "Polygon", "coordinates": [ring]}, annotation_type="tumor")
    contour = {"type": "Polygon", "coordinates": [[[1, 2], [3, 2], [3, 5], [1, 5], [1, 2]]]}
    heat = feature(
        {"type": "GeometryCollection", "geometries": [contour, contour, contour]},
        annotation_type="tumor_confidence",
        contour_colors=["#AA0000", "#CC0000", "#FF0000"],
    )
    places = feature(
        {"type": "MultiPoint", "coordinates": [[80, 50], [90, 49], [60, 30]]}, annotation_type="mitosis_count"
    )
    said = {
        "mitosis_count": 550,
        "ki67score": 0.55,
        "external_url": "https://fake.my-app.com/results/for/this/scan",
        "summary": "this is my summary",
    }
    return {
        "caseResults": {"mitosis_count": 1000},
        "scanResults": [
            {
                "scanId": "T1J4hvqyD4",
                "results": said,
                "qcFailReasons": [],
                "geojson": collection(tumour | {"bbox": [250, 100, 300, 200]}, heat),
            },
            {"scanId": "T1J4hvqyD5", "results": {"mitosis_count": 450}, "geojson": collection(places)},
        ],
    }


def annotated_as_written() -> str:
    """Return them as the page has them in its first two versions: not JSON."""
    return json.dumps(annotated()).replace("0.55", ".55")


def area(scan: str = "T1J4hvqyD4") -> Json:
    regions = [
        {
            "score": score,
            "weight": weight,
            "region": feature({"type": "Polygon", "coordinates": [ring]}, annotation_type="region", name=name)
            | {"bbox": bounds},
            "points": points(places),
        }
        for name, ring, bounds, score, weight, places in [
            ("Region A", REGION_A, [11512, 41252, 13048, 42850], 0.2150000035762787, 0.05, POINTS_A),
            ("Region B", REGION_B, [34664, 16392, 36298, 17894], 0.15299999713897705, 0.16, POINTS_B),
        ]
    ]
    report = {
        "type": "AreaDifferential",
        "scores": {"positivity_threshold": THRESHOLD, "proliferation_score": SCORE},
        "regions": regions,
    }
    return reported(report, scan, key="Proliferation Score", model_name="KI67 Breast-4R", provider="Mindpeak")


def whole_slide() -> Json:
    scores = {"proliferation_score": SCORE}
    report = {"type": "WholeSlideDifferential", "positivity_threshold": THRESHOLD, "scores": scores}
    return reported(report | {"points": points(POINTS_A[:3])})


def semi_quantitative() -> Json:
    kinds = ("weak", "moderate", "strong")
    places = [
        {"x": x, "y": y, "score": 0, "type": kind} for (x, y, _), kind in zip(POINTS_A, kinds, strict=False)
    ]
    scores = {"intensity": 2, "proportion": 0.35}
    return reported({"type": "SemiQuantitativeDifferential", "scores": scores, "points": places})


def counting(kind: str = "RegionCounting") -> Json:
    region = feature(box(16700, 8380, 16900, 8600), annotation_type="region", name="Region A")
    objects = [{"x": x, "y": y, "width": 64, "height": 64} for x, y in [(16716, 8400), (16780, 8460)]]
    return reported({"type": kind, "objects": objects, "regions": [region]})


def cellularity() -> Json:
    # The page's ring crosses itself.
    ring = [[23928, 56064], [23920, 56072], [23904, 56072], [24072, 56064], [23928, 56064]]
    region = feature({"type": "Polygon", "coordinates": [ring]}, annotation_type="region")
    parts = [("0.0 - 0.25", 0.1, 4.55), ("0.25 - 0.5", 0.3, 13.65), ("0.5 - 1.0", 0.6, 27.3)]
    shares = [{"label": label, "fraction": fraction, "area": size} for label, fraction, size in parts]
    thresholds = {
        f"TC {share:.2f}": {
            "tumor_cellularity": share,
            "counts": [{"label": "cancer", "count": count}],
            "region": copy.deepcopy(region),
            "area": size,
            "distributions": distributions,
        }
        for share, count, size, distributions in [
            (0.4, 12000, 45.5, {"cellularity": shares}),
            (0.5, 9000, 30.5, None),
        ]
    }
    return reported({"type": "TumorCellularity", "threshold_map": thresholds})


OF_VERSION_2 = {
    "basic": basic("True"),
    "annotations": annotated(),
    "area": area(),
    "triage": {"caseResults": {"triage": {"category": "Basaloid", "score": 0.87}}} | whole_slide(),
    "whole slide": whole_slide(),
    "semi-quantitative": semi_quantitative(),
}
OF_VERSION_3 = {
    "basic": basic(),
    "area": area("8946136"),
    "whole slide": whole_slide(),
    "semi-quantitative": semi_quantitative(),
    "region counting": counting(),
    "mitosis counting": counting("AiMitosisCounting"),
    "cellularity": cellularity(),
}
