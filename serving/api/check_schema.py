"""The answer of ``POST /check`` as a schema; see ``schema``."""

from __future__ import annotations

from dicom_io.slides.findings import RuleOutcome
from dicom_io.slides.requirements import Grade
from serving.api.json_schema import Schema, a_list, a_string, an_integer, an_object
from serving.api.schema import error
from serving.pipeline.magnification import Verdict


def check_response() -> Schema:
    """Return the schema of a checked request."""
    return an_object(
        {
            "checks": a_list(_check(), "One for each instance, in the order of the request."),
            "levels": a_list(_level(), "Levels that instances name in DICOMweb stores, each once."),
            "total": _total(),
        },
        ["checks", "levels", "total"],
        "What a prediction of the same request would come to.",
    )


def _check() -> Schema:
    verdict = a_string("What the magnification guard says.", enum=[*Verdict])
    return an_object(
        {
            "ok": {"type": "boolean", "enum": [True], "description": "The instance would be embedded."},
            "error": error(),
            "level": _or_null(an_integer("Index in levels.", minimum=0)),
            "patches": an_integer("Patches of the instance that would be embedded."),
            "patch_errors": a_list(
                an_object(
                    {
                        "patch": an_integer("Index in patch_coordinates."),
                        "code": a_string("A row of the table of errors."),
                        "description": a_string("What to do about it."),
                    },
                    ["patch", "code", "description"],
                    "A patch that would not be.",
                ),
                "Where extensions.per_patch_errors allows patches errors of their own.",
            ),
            "frames": _or_null(
                an_integer("Frames that they touch; null for an image that is decoded whole.")
            ),
            "bytes": _or_null(an_integer("Encoded bytes that would be fetched; null where nothing tells.")),
            "bytes_basis": a_string("How bytes is known, or why it is not."),
            "seconds": _or_null(_number("About how long it would take.")),
            "seconds_basis": a_string("What seconds rests on, or why it is not known."),
            "stored": _size("The whole image as it is stored."),
            "read": _size("The whole image as patches are cut from it, after any resize."),
            "magnification": an_object(
                {"verdict": verdict, "description": a_string("What is wrong, and what to ask for instead.")},
                ["verdict", "description"],
                "Whether the size of a pixel is one that the model is made for.",
            ),
        },
        ["level"],
        "The instance's plan, or the error that its prediction would have.",
        oneOf=[{"required": ["ok"]}, {"required": ["error"]}],
    )


def _size(description: str) -> Schema:
    spacing = a_list({"type": "number"}, "µm along a row and down a column; null where nothing tells.")
    return an_object(
        {
            "width_px": an_integer("Width in pixels."),
            "height_px": an_integer("Height in pixels."),
            "um_per_px": _or_null(spacing),
        },
        ["width_px", "height_px", "um_per_px"],
        description,
    )


def _level() -> Schema:
    return an_object(
        {
            "study_uid": a_string("Its study."),
            "series_uid": a_string("Its series."),
            "instance_uids": a_list({"type": "string"}, "As the instances name it."),
            "requirements": a_list(_requirement(), "Every requirement, whether it is met or not."),
        },
        ["study_uid", "series_uid", "instance_uids", "requirements"],
        "A level, and what every DICOM requirement comes to for it.",
    )


def _requirement() -> Schema:
    return an_object(
        {
            "tag": a_string("The attribute's tag."),
            "keyword": a_string("The attribute's keyword (PS3.6)."),
            "rule": a_string("What is asked of it."),
            "grade": a_string("Whether pixels could not be read rightly without it.", enum=[*Grade]),
            "outcome": a_string("What it comes to; a level with a fail is refused.", enum=[*RuleOutcome]),
            "found": _or_null(a_string("What there is; null where it is missing or malformed.")),
            "instance_uid": _or_null(a_string("First SOP instance that breaks it.")),
            "source": a_string("Where the rule comes from."),
        },
        ["tag", "keyword", "rule", "grade", "outcome", "found", "instance_uid", "source"],
        "A requirement.",
    )


def _total() -> Schema:
    return an_object(
        {
            "instances_ok": an_integer("Instances that would be embedded."),
            "patches": an_integer("Their patches."),
            "frames": an_integer("Their frames: one that two instances touch counts for both."),
            "bytes": _or_null(
                an_integer("Their bytes, counted likewise; null where those of one are not known.")
            ),
            "seconds": _or_null(_number("Their seconds, one after the other.")),
        },
        ["instances_ok", "patches", "frames", "bytes", "seconds"],
        "Sums over the instances that would be embedded.",
    )


def _number(description: str) -> Schema:
    return {"type": "number", "description": description}


def _or_null(schema: Schema) -> Schema:
    description = schema["description"]
    return {"oneOf": [schema, {"type": "null"}], "description": description}
