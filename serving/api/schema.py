"""The predict API as schemas: plain data in the part of JSON Schema that OpenAPI 3.0 and 3.1 share.

``vertex_schemata/`` holds the instance and the prediction as Vertex AI's PredictSchemata wants them (an
OpenAPI 3.0.2 schema object in YAML); ``make schemata`` writes them and a test holds them to this file.
"""

from __future__ import annotations

from dicom_io.colour.profiles import IccTarget
from model.encoder import PATCH_SIDE
from serving.api.request import SOURCE_FIELDS, Encoding
from serving.errors import MAX_DESCRIPTION_LENGTH, TABLE

Schema = dict[str, object]


def _object(properties: dict[str, Schema], required: list[str], description: str, **more: object) -> Schema:
    return {
        "type": "object",
        "description": description,
        "properties": properties,
        "required": required,
        **more,
    }


def _string(description: str, **more: object) -> Schema:
    return {"type": "string", "description": description, **more}


def _integer(description: str, **more: object) -> Schema:
    return {"type": "integer", "description": description, **more}


def _list(items: Schema, description: str, **more: object) -> Schema:
    return {"type": "array", "description": description, "items": items, **more}


def _boolean(description: str) -> Schema:
    texts = {"type": "string", "enum": ["true", "false", "True", "False"]}
    return {"oneOf": [{"type": "boolean"}, texts], "description": description}


def patch_coordinate() -> Schema:
    """Return the schema of a patch, as it is asked for and as it comes back."""
    side = {"minimum": PATCH_SIDE, "maximum": PATCH_SIDE, "default": PATCH_SIDE}
    bounds = {"minimum": -(2**63), "maximum": 2**63 - 1}
    return _object(
        {
            "x_origin": _integer("Left edge, in pixels from the image's left edge.", **bounds),
            "y_origin": _integer("Upper edge, in pixels from the image's upper edge.", **bounds),
            "width": _integer("Width in pixels.", **side),
            "height": _integer("Height in pixels.", **side),
        },
        ["x_origin", "y_origin"],
        "A patch, in pixels of the image after any resize to extensions.image_dimensions.",
    )


def instance() -> Schema:
    """Return the schema of one instance: an image and the patches wanted of it."""
    dicom_path = _object(
        {
            "series_path": _string("https://HOST/PREFIX/studies/STUDY_UID/series/SERIES_UID"),
            "instance_uids": _list(
                _string("SOP instance UID.", pattern=r"^[0-9]+(\.[0-9]+)*$", maxLength=64),
                "The level: one SOP instance, or parts of one concatenation.",
                minItems=1,
            ),
        },
        ["series_path", "instance_uids"],
        "A level of a slide, or a microscope image, in a DICOMweb store.",
    )
    return _object(
        {
            "dicom_path": dicom_path,
            "image_file_uri": _string(
                "An image in Cloud Storage, gs://BUCKET/OBJECT: an encoded image or a DICOM file."
            ),
            "raw_image_bytes": _string("An encoded image as base64 (RFC 4648, section 4)."),
            "bearer_token": _string("The caller's token for the store; none reads what is public."),
            "patch_coordinates": _list(patch_coordinate(), "The patches to embed.", minItems=1),
            "extensions": _extensions(),
        },
        ["patch_coordinates"],
        f"An image, named by exactly one of {', '.join(SOURCE_FIELDS)}, and the patches wanted of it.",
        title="PathserveInstance",
        oneOf=[{"required": [name]} for name in SOURCE_FIELDS],
    )


def _extensions() -> Schema:
    dimensions = _object(
        {
            "width_px": _integer("Width in pixels.", minimum=1),
            "height_px": _integer("Height in pixels.", minimum=1),
        },
        ["width_px", "height_px"],
        "Size to bring the image to before patches are cut: at most 10,000 pixels a side; at most 8 times "
        "smaller than a DICOM level.",
    )
    return _object(
        {
            "image_dimensions": dimensions,
            "transform_imaging_to_icc_profile": _string(
                "Colour space to transform to by the image's own ICC profile; an image without one is left "
                "as it is. Names are understood in any case.",
                enum=[*IccTarget],
                default=IccTarget.NONE,
            ),
            "require_patches_fully_in_source_image": _boolean(
                "Whether a patch that is partly outside of the image is an error; else it is black there. "
                "By default true."
            ),
            "ez_wsi_state": {
                "type": "object",
                "description": "What ez-wsi-dicomweb already knows of the image. Other clients leave it out.",
            },
        },
        [],
        "How the image is read.",
    )


def parameters() -> Schema:
    """Return the schema of a request's parameters."""
    encoding = _string(
        "How vectors are written: as lists of numbers, or as base64 of little-endian float32, which is half "
        "as long.",
        enum=[*Encoding],
        default=Encoding.JSON,
    )
    return _object({"encoding": encoding}, [], "What holds for all instances.", title="PathserveParameters")


def error() -> Schema:
    """Return the schema of a coded error."""
    return _object(
        {
            "code": _string("A row of the table of errors.", enum=[*TABLE]),
            "description": _string("What to do about it.", maxLength=MAX_DESCRIPTION_LENGTH),
        },
        ["code", "description"],
        "Why there is no result.",
    )


def prediction() -> Schema:
    """Return the schema of one prediction: what an instance gave."""
    vector: Schema = {
        "oneOf": [
            _list({"type": "number"}, "The vector's numbers, exact as float32."),
            _string("Base64 of the vector as little-endian float32."),
        ],
        "description": "The patch's embedding, by parameters.encoding.",
    }
    embedding = _object(
        {"patch_coordinate": patch_coordinate(), "embedding_vector": vector},
        ["patch_coordinate", "embedding_vector"],
        "A patch and its embedding.",
    )
    result = _object(
        {"patch_embeddings": _list(embedding, "In the order of patch_coordinates.")},
        ["patch_embeddings"],
        "The embeddings.",
    )
    return _object(
        {"result": result, "error": error()},
        [],
        "The embeddings of one instance, or the one error that it met.",
        title="PathservePrediction",
        oneOf=[{"required": ["result"]}, {"required": ["error"]}],
    )


def predict_request() -> Schema:
    """Return the schema of a predict request's body."""
    properties = {
        "instances": _list(instance(), "Images with their patches.", minItems=1),
        "parameters": parameters(),
    }
    return _object(properties, ["instances"], "Images, and the patches to embed.")


def predict_response() -> Schema:
    """Return the schema of an answered predict request's body."""
    return _object(
        {
            "predictions": _list(prediction(), "One for each instance, in the order of the request."),
            "deployedModelId": _string("As Vertex AI knows it."),
            "model": _string("The model's name."),
            "modelVersionId": _string("Beginning of the weights' digest."),
            "modelDisplayName": _string("The model's name for people."),
            "metadata": {"type": "object", "description": "Facts about the encoder that made the vectors."},
        },
        ["predictions", "deployedModelId", "model", "modelVersionId", "modelDisplayName", "metadata"],
        "What every instance gave.",
    )


def failed_request() -> Schema:
    """Return the schema of the body of a request that failed whole."""
    return _object({"error": error()}, ["error"], "Why the whole request failed.")
