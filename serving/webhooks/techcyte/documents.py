"""The routes in the API document."""

from __future__ import annotations

from collections.abc import Mapping

from serving.api.json_schema import Schema, a_list, a_string, an_object
from serving.config.settings import Settings
from serving.webhooks.techcyte.trigger import AnalysisName

_ABOUT = {
    AnalysisName.SIMILAR: "Find what looks as the reference set does.",
    AnalysisName.CLUSTER: "Find which kinds of tissue there are.",
    AnalysisName.CLASSIFY: "Name each patch's class by a trained head.",
    AnalysisName.QC: "Measure tissue, blur and pen marks.",
}


def paths(_: Settings) -> Mapping[str, Mapping[str, Schema]]:
    """Return the operations by path and method."""
    found: dict[str, Mapping[str, Schema]] = {}
    reference = {"schema": {"$ref": "#/components/schemas/TechcyteTrigger"}}
    for name, about in _ABOUT.items():
        operation = _answered(about, "TechcyteTriggered", "secret")
        operation["requestBody"] = {"required": True, "content": {"application/json": reference}}
        found[f"/techcyte/{name}/{{secret}}"] = {"post": operation}
    status = _answered("What became of a task.", "TechcyteStatus", "id")
    return found | {"/techcyte/status/{id}": {"get": status}}


def schemas() -> Mapping[str, Schema]:
    """Return the schemas of these operations."""
    identifier: Schema = {"anyOf": [{"type": "integer"}, {"type": "string"}]}
    addresses: Schema = {"type": "object", "additionalProperties": {"type": "string"}}
    lists: Schema = {
        "type": "object",
        "additionalProperties": a_list({"type": "string"}, "All files of the scan."),
    }
    return {
        "TechcyteTrigger": an_object(
            {
                "task_id": identifier,
                "case_id": identifier,
                "company_id": identifier,
                "scans": addresses,
                "scan_urls": lists,
                "jwt_token": a_string("Token of the task."),
            },
            ["task_id"],
            "What Techcyte posts; scan_urls win over scans, and further fields are ignored.",
        ),
        "TechcyteTriggered": an_object(
            {
                "message": a_string("Accepted"),
                "id": a_string("Of the job, for its status."),
                "duplicate": {"type": "boolean", "description": "Whether the task was taken before."},
            },
            ["message", "id", "duplicate"],
            "Taken.",
        ),
        "TechcyteStatus": an_object(
            {
                "state": a_string("queued, running, finished, error, interrupted or cancelled."),
                "message": a_string("How far it is, or why it failed."),
                "output": {"type": "object", "description": "Faults, where there are some."},
            },
            ["state", "message"],
            "State of a task.",
        ),
    }


def _answered(about: str, schema: str, parameter: str) -> dict[str, object]:
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {
        "summary": about,
        "responses": {"200": {"description": "OK", "content": content}},
        "parameters": [{"name": parameter, "in": "path", "required": True, "schema": {"type": "string"}}],
    }
