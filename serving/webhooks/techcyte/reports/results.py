"""What is posted for a task: results of its scans, and of the case."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import (
    AliasChoices,
    BeforeValidator,
    Field,
    JsonValue,
    StrictBool,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import from_json

from serving.webhooks.techcyte.reports.faults import ReportError, faults_of
from serving.webhooks.techcyte.reports.geojson import FeatureCollection
from serving.webhooks.techcyte.reports.values import Free, Name, Number, Record, Shown
from serving.webhooks.techcyte.reports.workflows import Report

_TRUTHS: Mapping[str, bool] = {"true": True, "false": False}


def _truth(value: Any, info: ValidationInfo) -> Any:
    """Take ``"True"``, as the page's second version has it in an example, for true where that is wanted."""
    lenient = isinstance(info.context, Mapping) and info.context.get("lenient")
    return _TRUTHS.get(value.lower(), value) if lenient and isinstance(value, str) else value


def _identifier(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


class Workflow(Record):
    """A model and its report.

    Attributes
    ----------
    ruo:
        Whether the model is for research use only.
    key, value:
        Name and value of the headline.
    """

    model_name: Name
    provider: Name
    ruo: Annotated[StrictBool, BeforeValidator(_truth)]
    report: Report
    key: Name | None = None
    value: Shown | None = None


class ScanResult(Record):
    """Results of one scan.

    Attributes
    ----------
    scan_id:
        As the trigger named it.
    results:
        Of any form; ``summary`` and ``external_url`` are texts.
    geojson:
        Annotations, each with a text ``annotation_type`` among its properties.
    qc_fail_reasons:
        Why the scan cannot be used. An empty list records that quality was checked and is good: leave it
        ``None`` unless it was.
    """

    scan_id: Annotated[Name, BeforeValidator(_identifier)] = Field(
        validation_alias=AliasChoices("scanId", "scan_id")
    )
    workflow: Workflow | None = None
    results: Free | None = None
    geojson: FeatureCollection | None = None
    qc_fail_reasons: list[Name] | None = Field(
        default=None, validation_alias=AliasChoices("qcFailReasons", "qc_fail_reasons")
    )

    @field_validator("results")
    @classmethod
    def _with_texts(cls, results: Free | None) -> Free | None:
        faulty = [
            name for name in ("summary", "external_url") if not isinstance((results or {}).get(name, ""), str)
        ]
        if faulty:
            raise ValueError(f"{' and '.join(faulty)} should be a text")
        return results

    @field_validator("geojson")
    @classmethod
    def _with_types(cls, geojson: FeatureCollection | None) -> FeatureCollection | None:
        features = geojson.features if geojson else []
        faulty = [
            str(number)
            for number, feature in enumerate(features)
            if not isinstance(feature.properties.get("annotation_type"), str)
        ]
        if faulty:
            raise ValueError(f"features {', '.join(faulty)} have no text annotation_type")
        return geojson


class Triage(Record):
    """What the worklist shows of the case."""

    category: Name
    score: Number


class Results(Record):
    """All results of a task.

    Attributes
    ----------
    case_results:
        Of any form, over all scans. A ``triage`` in it becomes ``triage``.
    triage:
        Sent in the case's results (second version), or by a request of its own (third).
    """

    scan_results: Annotated[list[ScanResult], Field(min_length=1)] = Field(
        validation_alias=AliasChoices("scanResults", "scan_results")
    )
    case_results: Free | None = Field(
        default=None, validation_alias=AliasChoices("caseResults", "case_results")
    )
    triage: Triage | None = None

    @model_validator(mode="before")
    @classmethod
    def _triage_out_of_the_case(cls, data: Any) -> Any:
        case = data.get("caseResults") if isinstance(data, Mapping) else None
        if not isinstance(case, Mapping) or "triage" not in case:
            return data
        rest = {name: value for name, value in case.items() if name != "triage"}
        return {"triage": case["triage"], **data, "caseResults": rest}

    @model_validator(mode="after")
    def _with_each_scan_once(self) -> Results:
        names = [scan.scan_id for scan in self.scan_results]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"scan {', '.join(twice)} has results twice; they would be shown side by side")
        return self


def read_results(data: str | bytes | Mapping[str, JsonValue], *, lenient: bool = False) -> Results:
    """Read results from JSON.

    Parameters
    ----------
    lenient:
        Whether ``"True"`` and ``"False"`` are taken for ``ruo``, which is a bool.

    Raises
    ------
    ReportError
        With all that is wrong: what is not JSON (NaN is not, nor is .55), fields that are missing, misspelt
        or of another type, a report of an unknown kind.
    """
    try:
        content = data if isinstance(data, Mapping) else from_json(data, allow_inf_nan=False)
    except ValueError as error:
        raise ReportError([f"the results are not JSON: {error}"]) from error
    try:
        return Results.model_validate(content, context={"lenient": lenient})
    except ValidationError as error:
        raise ReportError(faults_of(error)) from error
