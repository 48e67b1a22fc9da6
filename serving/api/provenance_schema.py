"""The JSON Schema of a record of provenance: written to docs/provenance.schema.json by ``make schemata``.

In the dialect of OpenAPI 3.1, JSON Schema 2020-12, as values may be null.
"""

from __future__ import annotations

from dicom_io.colour.profiles import IccTarget
from dicom_io.made_of import INTENT, UNREAD
from dicom_io.resampling import Resampling
from serving.api.json_schema import Schema

_DIGEST = "^sha256:[0-9a-f]{64}$"


def provenance() -> Schema:
    """Return the schema of a record."""
    return {
        "type": "object",
        "title": "PathserveProvenance",
        "description": "What the vectors of an image's patches are made of. With the patches themselves, two "
        "records that are equal but for service.time give equal vectors on one machine.",
        "properties": {
            "version": {"const": 1, "description": "Of the record."},
            "image": _image(),
            "read": _read(),
            "model": _model(),
            "service": _service(),
        },
        **_closed("version", "image", "read", "model", "service"),
    }


def document() -> Schema:
    """Return the schema as a document of its own."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **provenance()}


def _image() -> Schema:
    fields: dict[str, Schema] = {
        "kind": {
            "enum": ["level", "image", "patches", "tiles"],
            "description": "A level of a slide, an encoded image, patches that came each by itself, or tiles "
            "of a viewer's server.",
        },
        "format": _text("DICOM, an image file's format, or OpenSlide's name of a slide's."),
        "name": _text("What its server calls it, of tiles.", null=True),
        "digest": _text(
            "SHA-256 of an encoded image, or of a slide's files (docs/outputs.md); null of a store's.",
            null=True,
            pattern=_DIGEST,
        ),
        "study_instance_uid": _text("Of a DICOM image.", null=True),
        "series_instance_uid": _text("Of a DICOM image.", null=True),
        "sop_instance_uids": _texts("Of a DICOM image: its parts, by the offset of their frames."),
        "level": _number("Index of the level in its slide, where that is known.", "integer", null=True),
        "width": _number("Pixels as stored.", "integer"),
        "height": _number("Pixels as stored.", "integer"),
        "um_per_px": _pair("Size of a pixel as stored; null where nothing tells."),
        "um_per_px_from": {
            "enum": ["image", "caller", None],
            "description": "Who says how large the pixels are.",
        },
    }
    return {"type": "object", "properties": fields, **_closed(*fields)}


def _read() -> Schema:
    fields: dict[str, Schema] = {
        "width": _number("Pixels of the whole, after any resize.", "integer"),
        "height": _number("Pixels of the whole, after any resize.", "integer"),
        "um_per_px": _pair("Size of a pixel as the model sees it; null where nothing tells."),
        "resampling": {"enum": [str(one) for one in Resampling], "description": "How it was resized."},
        "resizer": _text("Library that resized, with its version.", null=True),
        "outside": {
            "enum": ["refused", "black"],
            "description": "What became of patches that are partly outside of the image.",
        },
        "transfer_syntaxes": _texts("UIDs of those in which the frames came that were read."),
        "decoders": _texts("Libraries that decode these, with their versions."),
        "icc_profile": _text(
            f"SHA-256 of the image's own ICC profile, without padding; null where it has none, `{UNREAD}` "
            "where it could not be read, or is not known.",
            null=True,
            pattern=f"{_DIGEST}|^{UNREAD}$",
        ),
        "transform": {
            "enum": [str(one) for one in IccTarget],
            "description": "Colour space that pixels were transformed to; NONE for colours as stored.",
        },
        "target_profile": _text("SHA-256 of that colour space's profile.", null=True, pattern=_DIGEST),
        "rendering_intent": {"enum": [INTENT, None], "description": "Of that transform."},
        "colour_engine": _text("Library that transformed, with its version.", null=True),
        "transformed_by": {
            "enum": ["service", "client", None],
            "description": "Whether colours were transformed here, or before the pixels were sent.",
        },
        "reader": _text("Program that read the pixels, with its version."),
    }
    return {"type": "object", "properties": fields, **_closed(*fields)}


def _model() -> Schema:
    fields: dict[str, Schema] = {
        "name": _text("What the model is called."),
        "digest": _text("SHA-256 of its files or weights.", pattern=_DIGEST),
        "untrained": {"type": "boolean", "description": "Whether its weights are random."},
        "runtime": _text("What computes it, with its version."),
        "precision": {"enum": ["float32", "bfloat16", "int8"], "description": "In which it is computed."},
        "device": _text("Where it is computed."),
        "reproducible": {
            "type": "boolean",
            "description": "Whether a vector is the same to the last bit whatever else is embedded with it.",
        },
    }
    return {"type": "object", "properties": fields, **_closed(*fields)}


def _service() -> Schema:
    fields: dict[str, Schema] = {
        "version": _text("Version of pathserve that embedded."),
        "time": _text("When, in UTC; of several parts, the first.", format="date-time"),
        "until": _text("When the last of several parts was embedded, in UTC.", format="date-time"),
    }
    return {"type": "object", "properties": fields, **_closed("version", "time")}


def _closed(*required: str) -> Schema:
    return {"required": list(required), "additionalProperties": False}


def _text(description: str, *, null: bool = False, **more: object) -> Schema:
    return {"type": ["string", "null"] if null else "string", "description": description, **more}


def _texts(description: str) -> Schema:
    return {"type": "array", "items": {"type": "string"}, "description": description}


def _number(description: str, kind: str, *, null: bool = False) -> Schema:
    return {"type": [kind, "null"] if null else kind, "minimum": 0, "description": description}


def _pair(description: str) -> Schema:
    side = {"type": "number", "exclusiveMinimum": 0}
    return {
        "type": ["array", "null"],
        "items": side,
        "minItems": 2,
        "maxItems": 2,
        "description": f"{description} In µm, along a row and down a column.",
    }
