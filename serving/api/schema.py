"""The predict API as schemas: plain data, see ``json_schema``.

``vertex_schemata/`` holds the instance and the prediction as Vertex AI's PredictSchemata wants them (an
OpenAPI 3.0.2 schema object in YAML); ``make schemata`` writes them and a test holds them to this file.
"""

from __future__ import annotations

from dicom_io.colour.profiles import IccTarget
from dicom_io.quality.measures import MEANINGS, Measure
from model.encoder import PATCH_SIDE
from serving.api.encodings import Encoding
from serving.api.fields import LEAST_UM, MOST_UM
from serving.api.json_schema import Schema, a_boolean, a_list, a_string, an_integer, an_object
from serving.api.sources.registry import FIELDS, KINDS
from serving.errors import MAX_DESCRIPTION_LENGTH, TABLE


def patch_coordinate() -> Schema:
    """Return the schema of a patch, as it is asked for and as it comes back."""
    side = {"minimum": PATCH_SIDE, "maximum": PATCH_SIDE, "default": PATCH_SIDE}
    bounds = {"minimum": -(2**63), "maximum": 2**63 - 1}
    return an_object(
        {
            "x_origin": an_integer("Left edge, in pixels from the image's left edge.", **bounds),
            "y_origin": an_integer("Upper edge, in pixels from the image's upper edge.", **bounds),
            "width": an_integer("Width in pixels.", **side),
            "height": an_integer("Height in pixels.", **side),
        },
        ["x_origin", "y_origin"],
        "A patch, in pixels of the image after any resize to extensions.image_dimensions.",
    )


def instance() -> Schema:
    """Return the schema of one instance: an image and the patches wanted of it."""
    return an_object(
        {
            **{kind.field: kind.schema() for kind in KINDS},
            "bearer_token": a_string("The caller's token for the store; none reads what is public."),
            "patch_coordinates": a_list(patch_coordinate(), "The patches to embed.", minItems=1),
            "extensions": _extensions(),
        },
        ["patch_coordinates"],
        f"An image, named by exactly one of {', '.join(FIELDS)}, and the patches wanted of it.",
        title="PathserveInstance",
        oneOf=[{"required": [name]} for name in FIELDS],
    )


def _extensions() -> Schema:
    dimensions = an_object(
        {
            "width_px": an_integer("Width in pixels.", minimum=1),
            "height_px": an_integer("Height in pixels.", minimum=1),
        },
        ["width_px", "height_px"],
        "Size to bring the image to before patches are cut: at most 10,000 pixels a side; at most 8 times "
        "smaller than a DICOM level.",
    )
    return an_object(
        {
            "image_dimensions": dimensions,
            "transform_imaging_to_icc_profile": a_string(
                "Colour space to transform to by the image's own ICC profile; an image without one is left "
                "as it is. Names are understood in any case.",
                enum=[*IccTarget],
                default=IccTarget.NONE,
            ),
            "require_patches_fully_in_source_image": a_boolean(
                "Whether a patch that is partly outside of the image is an error; else it is black there. "
                "By default true."
            ),
            "source_um_per_px": an_object(
                {"x": _um("Along a row."), "y": _um("Down a column.")},
                ["x", "y"],
                "Size of a pixel as stored, in µm, in place of what the image says: what its magnification "
                "is judged by, and told as. It changes no pixel.",
            ),
            "provenance": a_boolean("Whether what the vectors are made of is told. By default false."),
            "patch_quality": a_boolean(
                "Whether each patch's pixels are measured: `quality` beside its vector. By default false."
            ),
            "per_patch_errors": a_boolean(
                "Whether a patch that cannot be read, is not of the model's size or lies outside of the "
                "image has an error of its own in place of a vector; else it is its instance's. By default "
                "false."
            ),
            "ez_wsi_state": {
                "type": "object",
                "description": "What ez-wsi-dicomweb already knows of the image. Other clients leave it out.",
            },
        },
        [],
        "How the image is read.",
    )


def _um(description: str) -> Schema:
    return {
        "type": "number",
        "minimum": LEAST_UM,
        "maximum": MOST_UM,
        "description": description,
    }


def parameters() -> Schema:
    """Return the schema of a request's parameters."""
    encoding = a_string(
        "How vectors are written: as lists of numbers, or as base64 of little-endian float32, which is half "
        "as long, of float16, or of int8 with a scale for each vector. In an Arrow answer, of which numbers "
        "vectors are; json stands for float32.",
        enum=[*Encoding],
        default=Encoding.JSON,
    )
    return an_object({"encoding": encoding}, [], "What holds for all instances.", title="PathserveParameters")


def error() -> Schema:
    """Return the schema of a coded error."""
    return an_object(
        {
            "code": a_string("A row of the table of errors.", enum=[*TABLE]),
            "description": a_string("What to do about it.", maxLength=MAX_DESCRIPTION_LENGTH),
        },
        ["code", "description"],
        "Why there is no result.",
    )


def prediction() -> Schema:
    """Return the schema of one prediction, the outcome of an instance."""
    vector: Schema = {
        "oneOf": [
            a_list({"type": "number"}, "The vector's numbers, exact as float32."),
            a_string("Base64 of the vector as little-endian float32, float16 or int8."),
        ],
        "description": "The patch's embedding, by parameters.encoding.",
    }
    embedding = an_object(
        {
            "patch_coordinate": patch_coordinate(),
            "embedding_vector": vector,
            "embedding_scale": {
                "type": "number",
                "description": "What the numbers of base64-int8 are multiplied by; others have none.",
            },
            "error": error(),
            "quality": _quality(),
        },
        ["patch_coordinate"],
        "A patch and its embedding; or its error, where extensions.per_patch_errors allows it one.",
        oneOf=[{"required": ["embedding_vector"]}, {"required": ["error"]}],
    )
    provenance: Schema = {
        "type": "object",
        "description": "What the vectors are made of, where extensions.provenance asks for it; its schema is "
        "docs/provenance.schema.json, and Provenance in the components of /openapi.json.",
    }
    result = an_object(
        {
            "patch_embeddings": a_list(embedding, "In the order of patch_coordinates."),
            "provenance": provenance,
        },
        ["patch_embeddings"],
        "The embeddings.",
    )
    return an_object(
        {"result": result, "error": error()},
        [],
        "The embeddings of one instance, or the one error that it met.",
        title="PathservePrediction",
        oneOf=[{"required": ["result"]}, {"required": ["error"]}],
    )


def _quality() -> Schema:
    measures: dict[str, Schema] = {
        str(one): {"type": "number", "description": MEANINGS[one], "minimum": 0, "maximum": 1}
        for one in Measure
    }
    return an_object(
        measures, [*measures], "What the patch's pixels are like, where extensions.patch_quality asks for it."
    )


def predict_request() -> Schema:
    """Return the schema of a predict request's body."""
    properties = {
        "instances": a_list(instance(), "Images with their patches.", minItems=1),
        "parameters": parameters(),
    }
    return an_object(properties, ["instances"], "Images, and the patches to embed.")


def predict_response() -> Schema:
    """Return the schema of an answered predict request's body."""
    return an_object(
        {
            "predictions": a_list(prediction(), "One for each instance, in the order of the request."),
            "deployedModelId": a_string("As Vertex AI knows it."),
            "model": a_string("The model's name."),
            "modelVersionId": a_string("Beginning of the weights' digest."),
            "modelDisplayName": a_string("The model's name for people."),
            "metadata": {
                "type": "object",
                "description": "Facts about the encoder that made the vectors, and warnings about instances.",
                "properties": {"warnings": a_list(_warning(), "Only where there is something to say.")},
            },
        },
        ["predictions", "deployedModelId", "model", "modelVersionId", "modelDisplayName", "metadata"],
        "What every instance gave.",
    )


def _warning() -> Schema:
    """Return the schema of what is said about an instance that has its vectors all the same."""
    return an_object(
        {
            "instance": an_integer("Index of the instance in the request.", minimum=0),
            "kind": a_string("What it is about.", enum=["magnification"]),
            "verdict": a_string(
                "Of the size of a pixel, beside what the model is made for.",
                enum=["too_fine", "too_coarse", "unknown"],
            ),
            "um_per_px": {
                "description": "Size of a pixel as the model saw it, in µm along a row and down a column; "
                "null where nothing tells.",
            },
            "description": a_string("What is wrong, and what to ask for instead."),
        },
        ["instance", "kind", "verdict", "um_per_px", "description"],
        "A warning.",
    )


def failed_request() -> Schema:
    """Return the schema of the body of a request that failed whole."""
    return an_object({"error": error()}, ["error"], "Why the whole request failed.")
