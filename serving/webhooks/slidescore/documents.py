"""The routes in the API document."""

from __future__ import annotations

from collections.abc import Mapping

from serving.api.json_schema import Schema, a_list, a_string, an_object
from serving.config.settings import Settings
from serving.webhooks.slidescore.body import AnalysisName

_ABOUT = {
    AnalysisName.SIMILAR: "Find what looks as the answer `Exemplar` does.",
    AnalysisName.CLUSTER: "Find which kinds of tissue there are.",
    AnalysisName.CLASSIFY: "Name each patch's class by a trained head.",
}


def paths(_: Settings) -> Mapping[str, Mapping[str, Schema]]:
    """Return the operations by path and method."""
    found: dict[str, Mapping[str, Schema]] = {}
    for name, about in _ABOUT.items():
        found[f"/slidescore/{name}"] = {"post": _posting(about)}
    asking = _answered("How far the analysis is; with `output` once it has ended.", "SlideScoreStatus")
    asking["parameters"] = [{"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}]
    found["/slidescore/status/{id}"] = {"get": asking}
    return found


def schemas() -> Mapping[str, Schema]:
    """Return the schemas of these operations."""
    identifier: Schema = {"anyOf": [{"type": "integer"}, {"type": "string", "pattern": "^[0-9]+$"}]}
    result = an_object(
        {
            "type": {"enum": ["polygons", "points", "anno2", "text"]},
            "name": a_string("Shown to the user."),
            "value": {"description": "By type: shapes, points, a UUID, a text."},
            "color": a_string("#RRGGBB, or a colormap's name."),
        },
        ["type", "name", "value"],
        "One result.",
    )
    return {
        "SlideScoreRequest": an_object(
            {
                "secret": a_string("PATHSERVE_SLIDESCORE_SECRET, unless it is in the path."),
                "host": a_string("One of PATHSERVE_SLIDESCORE_ORIGINS."),
                "imageid": identifier,
                "studyid": identifier,
                "caseid": identifier,
                "analysisid": identifier,
                "answers": a_list(
                    an_object({"name": a_string("Question."), "value": {}}, ["name"], "An answer."),
                    "Answers of the user: ROI, Exemplar, Magnification, Clusters.",
                ),
                "apitoken": a_string("Token of this analysis."),
            },
            ["host", "imageid", "apitoken"],
            "What Slide Score posts; further fields are ignored.",
        ),
        "SlideScorePosted": an_object(
            {"id": a_string("Of the analysis."), "status": a_string("processing")}, ["id", "status"], "Taken."
        ),
        "SlideScoreStatus": an_object(
            {
                "status": a_string("Progress, PATHSERVE_SLIDESCORE_FINISHED_WORD, or error."),
                "message": a_string("Why it failed."),
                "output": a_list(result, "What is shown."),
            },
            ["status"],
            "State of an analysis.",
        ),
    }


def _posting(about: str) -> Schema:
    operation = _answered(about, "SlideScorePosted")
    reference = {"schema": {"$ref": "#/components/schemas/SlideScoreRequest"}}
    operation["requestBody"] = {"required": True, "content": {"application/json": reference}}
    return operation


def _answered(about: str, schema: str) -> dict[str, object]:
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {"summary": about, "responses": {"200": {"description": "OK", "content": content}}}
