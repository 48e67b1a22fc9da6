"""JSON to frozen, typed instances: each item is an Instance, or the Fault that it has.

The request's shape is that of the Path Foundation predict API. Nothing here decodes an image
or reaches a store.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TypeGuard

import orjson
import pybase64

from dicom_io.colour.profiles import IccTarget
from dicom_io.errors import ImageError
from dicom_io.geometry import Patch, Spacing
from dicom_io.json_size import unfolds_beyond
from dicom_io.reading import ReadOptions
from model.encoder import PATCH_SIDE
from serving.api.encodings import Encoding
from serving.api.fields import JsonObject, bad, boolean, integer, is_object, kind, size, um
from serving.api.sources.kind import SourceKind
from serving.api.sources.registry import FIELDS, KINDS, kind_of
from serving.errors import Code, Fault, ServiceError, fault_of
from serving.pipeline.types import EXTRAS, NO_EXTRAS, Extras, Instance, Item, patch_count

MAX_CONTAINERS = 500_000
"""Objects and lists in a request: a hundred for each of 4,000 patches, and more."""


_AS_STORED = ReadOptions()
_FAR = 1 << 31
"""Pixels: farther out lies no patch of an image, and an origin is looked at closely."""


@dataclass(frozen=True, slots=True)
class PredictRequest:
    """A request that could be parsed as a whole; each item is an instance, or the fault in it."""

    items: tuple[Item, ...]
    encoding: Encoding = Encoding.JSON

    @property
    def patch_count(self) -> int:
        """Patches of all instances that can be read."""
        return patch_count(self.items)


def parse_request(
    body: bytes | bytearray, max_patches: int, kinds: tuple[SourceKind, ...] = KINDS
) -> PredictRequest:
    """Parse a request's body.

    Parameters
    ----------
    body:
        UTF-8 JSON.
    max_patches:
        Patches that all instances together may list.
    kinds:
        The kinds of sources that instances may name.

    Raises
    ------
    ServiceError
        INVALID_REQUEST_FIELD_ERROR when the body is not JSON, ``instances`` is not a list of at least one
        item, or ``parameters`` cannot be followed; TOO_MANY_PATCHES_ERROR when the instances list too many
        patches.
    """
    document = _load(body)
    if not is_object(document):
        raise bad("The body must be a JSON object with the key `instances`.")
    instances = document.get("instances")
    if not isinstance(instances, list) or not instances:
        raise bad("`instances` must be a list of at least one instance.")
    encoding = _parse_encoding(document.get("parameters"))
    instances = [_unwrapped(instance) for instance in instances]
    listed = max(len(instances), sum(_listed_patches(instance) for instance in instances))
    if listed > max_patches:
        raise ServiceError(
            Code.TOO_MANY_PATCHES_ERROR,
            f"The request lists {listed} patches; at most {max_patches} are allowed. "
            "Split it into several requests.",
        )
    return PredictRequest(tuple(_parse_item(instance, kinds) for instance in instances), encoding)


def _load(body: bytes | bytearray) -> object:
    if unfolds_beyond(body, MAX_CONTAINERS):
        raise bad(f"The body holds more than {MAX_CONTAINERS:,} JSON objects and lists. Split it.")
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        pass
    try:
        # Python's own parser lets NaN, Infinity and 1e400 through, so that only their instance fails.
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise bad("The body is not valid JSON (UTF-8).") from error


def _parse_encoding(parameters: object) -> Encoding:
    if parameters is None:
        return Encoding.JSON
    if not is_object(parameters):
        raise bad(f"`parameters` must be a JSON object, not {kind(parameters)}.")
    value = parameters.get("encoding")
    if value is None:
        return Encoding.JSON
    try:
        return Encoding(str(value))
    except ValueError:
        raise bad(f"parameters.encoding must be one of {', '.join(Encoding)}.") from None


def _unwrapped(value: object) -> object:
    """Take an instance out of the wrapping that batch prediction adds (Vertex AI, batch prediction input).

    Lines with keys come as ``{"instance": …, "key": …}``; records and files as ``{"b64": …}``.
    """
    if not is_object(value):
        return value
    if len(value) == 1 and isinstance(text := value.get("b64"), str):
        try:
            value = orjson.loads(_small(pybase64.b64decode(text, validate=True)))
        except ValueError:
            return bad("b64 must be the base64 of an instance in JSON.").fault
    if is_object(value) and "instance" in value and not any(name in value for name in FIELDS):
        return value["instance"]
    return value


def _small(text: bytes) -> bytes:
    if unfolds_beyond(text, MAX_CONTAINERS // 100):
        raise ValueError
    return text


def _listed_patches(instance: object) -> int:
    patches = instance.get("patch_coordinates") if is_object(instance) else None
    return len(patches) if isinstance(patches, list) else 0


def _parse_item(value: object, kinds: tuple[SourceKind, ...]) -> Item:
    if isinstance(value, Fault):
        return value
    try:
        return _parse_instance(value, kinds)
    except ServiceError as error:
        return error.fault
    except ImageError as error:
        return fault_of(error.fault)


def _parse_instance(value: object, kinds: tuple[SourceKind, ...]) -> Instance:
    if not is_object(value):
        raise bad(f"An instance must be a JSON object, not {kind(value)}.")
    source = kind_of(value, kinds)
    extensions = value.get("extensions")
    if extensions is None:
        extensions = {}
    if not is_object(extensions):
        raise bad(f"extensions must be a JSON object, not {kind(extensions)}.")
    extras = _parse_extras(extensions)
    patches = _parse_patches(value, of_any_size=extras.per_patch_errors)
    parsed = source.parse(value, patches, extensions.get("ez_wsi_state") or None)
    return Instance(parsed, patches, _parse_options(extensions), extras)


def _parse_patches(instance: JsonObject, *, of_any_size: bool) -> tuple[Patch, ...]:
    """Parse the patches; where sizes may be any, who reads them says which the model does not take."""
    values = instance.get("patch_coordinates")
    if not isinstance(values, list) or not values:
        raise bad("patch_coordinates must be a list of at least one patch.")
    return tuple(_parse_patch(index, value, of_any_size=of_any_size) for index, value in enumerate(values))


def _parse_patch(index: int, value: object, *, of_any_size: bool) -> Patch:
    if (patch := _plain_patch(value)) is not None:
        return patch
    name = f"patch_coordinates[{index}]"
    if not is_object(value):
        raise bad(f"{name} must be a JSON object, not {kind(value)}.")
    x_origin, y_origin = (integer(value, key, name) for key in ("x_origin", "y_origin"))
    width, height = (size(value, key, name, PATCH_SIDE) for key in ("width", "height"))
    if (width, height) != (PATCH_SIDE, PATCH_SIDE) and not of_any_size:
        raise ServiceError(
            Code.INCOMPATIBLE_PATCH_DIMENSIONS_ERROR,
            f"{name} is {width}x{height} pixels; the model takes {PATCH_SIDE}x{PATCH_SIDE}.",
        )
    return Patch(x_origin, y_origin, width, height)


def _plain_patch(value: object) -> Patch | None:
    """Return a patch as nearly all clients write it; ``None`` for whatever must be looked at closely.

    A request has 4,000 of them: this takes a fifth of the time.
    """
    if isinstance(value, dict):
        x, y = value.get("x_origin"), value.get("y_origin")
        sizes = value.get("width", PATCH_SIDE), value.get("height", PATCH_SIDE)
        if sizes == (PATCH_SIDE, PATCH_SIDE) and _is_near(x) and _is_near(y):
            return Patch(x, y, PATCH_SIDE, PATCH_SIDE)
    return None


def _is_near(origin: object) -> TypeGuard[int]:
    return type(origin) is int and -_FAR < origin < _FAR  # by its type, as a boolean is an int, too


def _parse_options(extensions: JsonObject) -> ReadOptions:
    if not extensions:
        return _AS_STORED
    return ReadOptions(
        image_dimensions=_parse_dimensions(extensions.get("image_dimensions")),
        icc_target=_parse_icc_target(extensions.get("transform_imaging_to_icc_profile")),
        require_inside=boolean(
            extensions.get("require_patches_fully_in_source_image"),
            "extensions.require_patches_fully_in_source_image",
            default=True,
        ),
        stored_spacing=_parse_spacing(extensions.get("source_um_per_px")),
    )


def _parse_spacing(value: object) -> Spacing | None:
    if value is None:
        return None
    name = "extensions.source_um_per_px"
    if not is_object(value):
        raise bad(f"{name} must be a JSON object with x and y.")
    return Spacing(um(value, "x", name), um(value, "y", name))


def _parse_extras(extensions: JsonObject) -> Extras:
    wanted = {
        name: boolean(extensions[name], f"extensions.{name}", default=False)
        for name in EXTRAS
        if name in extensions
    }
    return Extras(**wanted) if wanted else NO_EXTRAS


def _parse_dimensions(value: object) -> tuple[int, int] | None:
    if value is None:
        return None
    name = "extensions.image_dimensions"
    if not is_object(value):
        raise bad(f"{name} must be a JSON object with width_px and height_px.")
    return size(value, "width_px", name), size(value, "height_px", name)


def _parse_icc_target(value: object) -> IccTarget:
    try:
        return IccTarget.named(value)
    except ValueError:
        raise ServiceError(
            Code.INVALID_ICC_PROFILE_TRANSFORM_ERROR,
            f"extensions.transform_imaging_to_icc_profile must be one of {', '.join(IccTarget)}.",
        ) from None
