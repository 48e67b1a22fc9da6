"""What an instance's vectors are made of, as JSON: see docs/trust.md and ``serving.api.provenance_schema``.

The record of one that was read here and embedded elsewhere is put together from both places' parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version

from dicom_io.codecs.software import colour_engine
from dicom_io.colour.profiles import IccTarget
from dicom_io.geometry import Spacing
from dicom_io.made_of import INTENT, UNREAD, ColourReading, Reading
from model.encoder import EncoderFacts
from serving.provenance import Provenance, as_one

VERSION = 1
"""Of the record: a field that comes to mean something else makes another one."""


@cache
def service_version() -> str:
    """Return the version of this program."""
    return version("pathserve")


def provenance(reading: Reading, facts: EncoderFacts) -> Provenance:
    """Return the record of vectors that were read and embedded by this process, at this time."""
    return {"version": VERSION, **reading_part(reading), **encoder_part(facts)}


def reading_part(reading: Reading) -> Provenance:
    """Return what whoever has read the pixels knows."""
    identity, sampling = reading.identity, reading.sampling
    stored = sampling.stored_spacing
    return {
        "image": {
            "kind": identity.kind,
            "format": identity.format,
            "name": identity.name,
            "digest": _sha256(identity.digest),
            "study_instance_uid": identity.study_uid,
            "series_instance_uid": identity.series_uid,
            "sop_instance_uids": list(identity.sop_uids),
            "level": identity.level,
            "width": sampling.stored_width,
            "height": sampling.stored_height,
            "um_per_px": _pair(stored),
            "um_per_px_from": None if stored is None else "caller" if reading.scaled_by_caller else "image",
        },
        "read": {
            "width": sampling.width,
            "height": sampling.height,
            "um_per_px": _pair(sampling.spacing),
            "resampling": str(reading.resampling),
            "resizer": reading.resizer,
            "outside": "refused" if reading.require_inside else "black",
            "transfer_syntaxes": list(reading.transfer_syntaxes),
            "decoders": list(reading.decoders),
            **_colour(reading.colour),
            "reader": f"pathserve {service_version()}",
        },
    }


def encoder_part(facts: EncoderFacts) -> Provenance:
    """Return what whoever has embedded the pixels knows."""
    return {
        "model": {
            "name": facts.model,
            "digest": facts.digest,
            "untrained": facts.untrained,
            "runtime": facts.runtime,
            "precision": facts.precision,
            "device": facts.device,
            "reproducible": facts.reproducible,
        },
        "service": {
            "version": service_version(),
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
        },
    }


def put_together(read_here: Reading, told: Sequence[Provenance]) -> Provenance | None:
    """Return the record of pixels that were read here and embedded by a service.

    Parameters
    ----------
    told:
        What the service says of the pixels that it was sent; nothing, where it knows no provenance.
    """
    own = {"version": VERSION, **reading_part(read_here)}
    return as_one({**own, "model": one["model"], "service": one["service"]} for one in told)


def _colour(colour: ColourReading) -> Provenance:
    transformed = colour.transform is not IccTarget.NONE and not colour.by_client
    return {
        "icc_profile": colour.profile if colour.profile == UNREAD else _sha256(colour.profile),
        "transform": str(colour.transform),
        "target_profile": _sha256(colour.target_profile),
        "rendering_intent": INTENT if transformed else None,
        "colour_engine": colour_engine() if transformed else None,
        "transformed_by": (
            None if colour.transform is IccTarget.NONE else "client" if colour.by_client else "service"
        ),
    }


def _sha256(digest: str | None) -> str | None:
    return None if digest is None else f"sha256:{digest}"


def _pair(spacing: Spacing | None) -> list[float] | None:
    return None if spacing is None else [spacing.x, spacing.y]
