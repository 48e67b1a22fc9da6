"""DICOM JSON from a store (PS3.18, annex F): bounded, and tolerant of bad values that are not needed."""

from __future__ import annotations

import codecs
import json

import orjson

from dicom_io.errors import ImageCode, ImageError
from dicom_io.json_size import unfolds_beyond

MAX_METADATA_BYTES = 64 << 20
MAX_INSTANCES = 10_000

_MAX_CONTAINERS = 1_500_000
_MAX_LENIENT_BYTES = 16 << 20


def parse_datasets(body: bytes) -> list[dict[str, object]]:
    """Return the data sets of a store's answer; an empty answer holds none.

    Raises
    ------
    ImageError
        DICOM_ERROR when it is not a list of data sets, or unfolds to too much.
    """
    body = body.removeprefix(codecs.BOM_UTF8)
    if unfolds_beyond(body, _MAX_CONTAINERS):
        raise ImageError(ImageCode.DICOM_ERROR, "The store's metadata holds too many data sets.")
    document = _parse(body) if body.strip() else []
    if not isinstance(document, list) or not all(isinstance(item, dict) for item in document):
        raise ImageError(ImageCode.DICOM_ERROR, "The store's metadata is not a list of DICOM data sets.")
    if len(document) > MAX_INSTANCES:
        raise ImageError(ImageCode.DICOM_ERROR, f"The series has more than {MAX_INSTANCES} instances.")
    return document


def _parse(body: bytes) -> object:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        # NaN and Infinity, bytes that are not UTF-8, halves of surrogate pairs: stores send them in values
        # that are not read here, and this parser, slower and hungrier, takes them.
        if len(body) <= _MAX_LENIENT_BYTES:
            try:
                return json.loads(body.decode("utf-8", "replace"))
            except (ValueError, RecursionError):
                pass
        raise ImageError(ImageCode.DICOM_ERROR, "The store's metadata is not valid JSON.") from error
