"""The answer of ``POST /check``, as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import orjson

from dicom_io.geometry import Spacing
from dicom_io.slides.findings import Finding
from serving.errors import Fault
from serving.pipeline.magnification import Judgement
from serving.pipeline.preflight import Checked, LevelReport, Plan, Preflight

NOTHING_MEASURED = "This worker has embedded nothing lately."


def check_body(preflight: Preflight) -> bytes:
    """Return the JSON of a checked request: a verdict for each instance, and each level once."""
    answer = {
        "checks": [_check(checked) for checked in preflight.checked],
        "levels": [_level(level) for level in preflight.levels],
        "total": _total(preflight.checked),
    }
    return orjson.dumps(answer)


def finding_json(finding: Finding) -> dict[str, object]:
    """Return a rule and what it comes to."""
    return {
        "tag": f"({finding.tag})",
        "keyword": finding.keyword,
        "rule": finding.sentence,
        "grade": finding.grade,
        "outcome": finding.outcome,
        "found": finding.found,
        "instance_uid": finding.sop_uid,
        "source": finding.clause,
    }


def magnification_json(judgement: Judgement) -> dict[str, object]:
    """Return what the magnification guard says."""
    return {
        "verdict": judgement.verdict,
        "description": f"{judgement.description} {judgement.instead}".strip(),
    }


def _check(checked: Checked) -> dict[str, object]:
    verdict = checked.verdict
    if isinstance(verdict, Fault):
        return {"error": verdict.as_json(), "level": checked.level}
    plan = {"patches": 0} if verdict is None else _plan(verdict)
    faults = [{"patch": index, **fault.as_json()} for index, fault in checked.patch_faults.items()]
    return {"ok": True, **plan, "level": checked.level, **({"patch_errors": faults} if faults else {})}


def _plan(plan: Plan) -> dict[str, object]:
    sampling = plan.sampling
    return {
        "patches": plan.patches,
        "frames": plan.needs.frames,
        "bytes": _bytes(plan),
        "bytes_basis": _basis(plan),
        **_seconds(plan),
        "stored": size_json(sampling.stored_width, sampling.stored_height, sampling.stored_spacing),
        "read": size_json(sampling.width, sampling.height, sampling.spacing),
        "magnification": magnification_json(plan.magnification),
    }


def size_json(width: int, height: int, spacing: Spacing | None) -> dict[str, object]:
    """Return the size of a whole image, and of one of its pixels in µm along a row and down a column."""
    return {
        "width_px": width,
        "height_px": height,
        "um_per_px": None if spacing is None else [spacing.x, spacing.y],
    }


def _bytes(plan: Plan) -> int | None:
    return plan.needs.bytes if plan.is_fetched else 0


def _basis(plan: Plan) -> str:
    if not plan.is_fetched:
        return "it came with the request"
    if plan.needs.frames is None:
        return "the size of the object, which this check has fetched as well"
    return plan.needs.basis


def _seconds(plan: Plan) -> Mapping[str, object]:
    if plan.pace is None or plan.seconds is None:
        return {"seconds": None, "seconds_basis": NOTHING_MEASURED}
    rate, requests = plan.pace.patches_per_second, plan.pace.requests
    kind = "this kind" if plan.pace.is_alike else "other kinds"
    return {
        "seconds": round(plan.seconds, 3),
        "seconds_basis": f"{rate:.4g} patches a second, in {requests} requests of {kind} that this worker "
        "answered lately.",
    }


def _level(level: LevelReport) -> dict[str, object]:
    return {
        "study_uid": level.study_uid,
        "series_uid": level.series_uid,
        "instance_uids": level.sop_uids,
        "requirements": [finding_json(finding) for finding in level.findings],
    }


def _total(checked: Iterable[Checked]) -> dict[str, object]:
    """Return sums over the instances that would be embedded; where one is not known, neither is the sum."""
    verdicts = [one.verdict for one in checked]
    plans = [verdict for verdict in verdicts if isinstance(verdict, Plan)]
    return {
        "instances_ok": sum(not isinstance(verdict, Fault) for verdict in verdicts),
        "patches": sum(plan.patches for plan in plans),
        "frames": sum(plan.needs.frames or 0 for plan in plans),
        "bytes": _sum(map(_bytes, plans)),
        "seconds": _sum(plan.seconds for plan in plans),
    }


def _sum(values: Iterator[float | None] | Iterator[int | None]) -> float | None:
    known = 0.0
    for value in values:
        if value is None:
            return None
        known += value
    return round(known, 3) if known % 1 else int(known)
