"""DICOM JSON of an instance (PS3.18, annex F), and the bulk data that it refers to."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

MARK = "pathserve-instance:"
"""What a BulkDataURI begins with in the index, in place of the instance's address."""

_INLINE = 1024
"""Characters of base64 up to which binary values are part of the JSON."""

_UTF8 = "ISO_IR 192"

Document = dict[str, dict[str, Any]]


def metadata_json(dataset: Dataset, syntax: str) -> Document:
    """Return the DICOM JSON of a header, the transfer syntax that it is stored in as (0008,3002).

    Binary values beyond a kilobyte are numbered in the order of the data set, nested ones included, and
    referred to as ``pathserve-instance:bulkdata/NUMBER``.
    """
    count = 0

    def refer(_: DataElement) -> str:
        nonlocal count
        count += 1
        return f"{MARK}bulkdata/{count}"

    document = _as_json(dataset, refer)
    document["00083002"] = {"vr": "UI", "Value": [syntax]}
    if "00080005" in document:
        document["00080005"] = {"vr": "CS", "Value": [_UTF8]}  # JSON is always that
    return dict(sorted(document.items()))


def bulk_value(dataset: Dataset, number: int) -> bytes | None:
    """Return the value that ``metadata_json`` gave a number to; ``None`` where there is none."""
    values: list[bytes] = []

    def collect(element: DataElement) -> str:
        values.append(bytes(element.value))
        return "-"

    _as_json(dataset, collect)
    return values[number - 1] if 1 <= number <= len(values) else None


def _as_json(dataset: Dataset, refer: Callable[[DataElement], str]) -> Document:
    """Return a data set as DICOM JSON, without elements that pydicom cannot write."""
    document: Document = {}
    for tag in dataset.keys():  # noqa: SIM118  # a data set yields elements, and reads them for that
        with contextlib.suppress(Exception):
            document[f"{tag:08X}"] = dataset[tag].to_json_dict(refer, _INLINE)
    return document
