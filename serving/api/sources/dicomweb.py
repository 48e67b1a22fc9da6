"""``dicom_path``: a level of a slide, or a microscope image, in a DICOMweb store."""

from __future__ import annotations

from dicom_io.geometry import Patch
from dicom_io.sources.session import Source
from dicom_io.sources.slide_level import DicomWebSource
from dicom_io.web.series_path import is_uid, parse_series_path
from serving.api.ez_wsi import parse_slide_state
from serving.api.fields import JsonObject, bad, is_object, kind
from serving.api.json_schema import Schema, a_list, a_string, an_object
from serving.api.sources.kind import SourceKind, parse_token, write_token
from serving.errors import Code, ServiceError

_FIELD = "dicom_path"


def _parse(instance: JsonObject, _patches: tuple[Patch, ...], state: object) -> Source:
    token, value = parse_token(instance), instance[_FIELD]
    if not is_object(value):
        raise bad(f"{_FIELD} must be a JSON object, not {kind(value)}.")
    path, uids = value.get("series_path"), value.get("instance_uids")
    if not isinstance(path, str):
        raise bad(f"{_FIELD}.series_path must be a string.")
    if not isinstance(uids, list) or not uids or not all(isinstance(uid, str) for uid in uids):
        raise bad(f"{_FIELD}.instance_uids must be a list of at least one SOP instance UID.")
    try:
        series = parse_series_path(path)
    except ValueError as error:
        raise ServiceError(Code.DICOM_PATH_ERROR, f"series_path {error}.") from error
    if not all(is_uid(uid) for uid in uids):
        raise ServiceError(
            Code.DICOM_PATH_ERROR, f"{_FIELD}.instance_uids must be UIDs: digits and dots, at most 64."
        )
    return DicomWebSource(series, tuple(uids), token, parse_slide_state(state, series, uids))


def _write(source: Source) -> JsonObject | None:
    if not isinstance(source, DicomWebSource):
        return None
    path = {"series_path": str(source.path.url), "instance_uids": list(source.instance_uids)}
    return {_FIELD: path, **write_token(source.token)}


def _schema() -> Schema:
    return an_object(
        {
            "series_path": a_string("https://HOST/PREFIX/studies/STUDY_UID/series/SERIES_UID"),
            "instance_uids": a_list(
                a_string("SOP instance UID.", pattern=r"^[0-9]+(\.[0-9]+)*$", maxLength=64),
                "The level: one SOP instance, or parts of one concatenation.",
                minItems=1,
            ),
        },
        ["series_path", "instance_uids"],
        "A level of a slide, or a microscope image, in a DICOMweb store.",
    )


DICOMWEB = SourceKind(_FIELD, _parse, _write, _schema)
