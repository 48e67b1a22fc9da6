"""Kinds of sources: what the API writes of one is what it reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import pytest

from dicom_io.geometry import Patch
from dicom_io.sources.client_state import ImageState
from dicom_io.sources.sent_pixels import ClientImageSource
from serving.api.sources.registry import KINDS, kind_of, write_source
from serving.errors import Code, ServiceError

PATCHES = (Patch(0, 0, 224, 224),)
SERIES = "https://host.example:8443/any/studies/1.2/series/1.2.3"
SOURCES: list[Mapping[str, object]] = [
    {"raw_image_bytes": "QUJDRA=="},
    {"image_file_uri": "gs://bucket/a folder/image.png"},
    {"image_file_uri": "gs://bucket/image.png", "bearer_token": "s3cr3t"},
    {"dicom_path": {"series_path": SERIES, "instance_uids": ["1.2.3.4", "1.2.3.5"]}},
    {"dicom_path": {"series_path": SERIES, "instance_uids": ["1.2"]}, "bearer_token": "s3cr3t"},
]


@pytest.mark.parametrize("fields", SOURCES)
def test_a_source_is_written_as_it_was_read(fields: Mapping[str, object]) -> None:
    source = kind_of(fields).parse(fields, PATCHES, None)
    assert write_source(source) == fields
    assert "s3cr3t" not in repr(source)


def test_every_kind_is_tried() -> None:
    assert {kind_of(fields).field for fields in SOURCES} == {kind.field for kind in KINDS}


def test_an_instance_names_exactly_one_source() -> None:
    for fields in ({}, {"raw_image_bytes": None}, {**SOURCES[0], **SOURCES[1]}):
        with pytest.raises(ServiceError, match="Exactly one of") as caught:
            kind_of(cast("Mapping[str, object]", fields))
        assert caught.value.code is Code.INVALID_REQUEST_FIELD_ERROR


def test_a_source_that_no_field_names_cannot_be_written() -> None:
    with pytest.raises(TypeError, match="ClientImageSource"):
        write_source(ClientImageSource(cast("ImageState", None), None))
