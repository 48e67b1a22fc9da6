"""What Slide Score posts, and what of it a job is given: nothing that names a patient or a user."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Self

import orjson
from shapely.geometry import MultiPoint

from dicom_io.errors import ImageError
from dicom_io.json_size import unfolds_beyond
from dicom_io.web.credentials import BearerToken
from serving.api.fields import JsonObject, bad, is_object, kind
from serving.webhooks.analyses.regions import Region
from serving.webhooks.slidescore.answers import Answers, as_json, as_number, from_json

_MAX_CONTAINERS = 100_000
"""Braces in answers are counted, too, and a drawn line has one for each of its points."""

_LARGEST_ID = 1 << 63
_UM_PER_PX_AT_1 = 10.0
"""A slide that shows 10 µm a pixel is at 1x: so 20x is 0.5 µm a pixel, and 40x is 0.25."""


class AnalysisName(StrEnum):
    """The analyses, as the routes name them."""

    SIMILAR = "similar"
    CLUSTER = "cluster"
    CLASSIFY = "classify"


@dataclass(frozen=True, slots=True)
class Asked:
    """What a job has to do; all of it is stored with the job.

    Attributes
    ----------
    server:
        Address of the Slide Score server.
    image_id:
        The slide.
    region:
        What is analysed, in level-0 pixels; ``None`` is the whole slide.
    exemplar:
        For ``similar``: a region, or points.
    um_per_px:
        Resolution in µm; ``None`` is the service's.
    clusters:
        For ``cluster``: how many; ``None`` is the service's.
    max_patches:
        A bound of its own, below the service's.
    """

    analysis: AnalysisName
    server: str
    image_id: int
    region: Region | None = None
    exemplar: Region | MultiPoint | None = None
    um_per_px: float | None = None
    clusters: int | None = None
    max_patches: int | None = None

    def within(self, most: int) -> Self:
        """Return the same with at most so many patches."""
        return replace(self, max_patches=most)

    def payload(self) -> bytes:
        """Return it as JSON."""
        fields: dict[str, object] = {
            "analysis": self.analysis,
            "server": self.server,
            "image_id": self.image_id,
            "region": None if self.region is None else as_json(self.region),
            "exemplar": None if self.exemplar is None else as_json(self.exemplar),
            "um_per_px": self.um_per_px,
            "clusters": self.clusters,
            "max_patches": self.max_patches,
        }
        return orjson.dumps(fields)

    @classmethod
    def of_payload(cls, payload: bytes) -> Self:
        """Return what ``payload`` has written."""
        fields = orjson.loads(payload)
        for name in ("region", "exemplar"):
            fields[name] = None if fields[name] is None else from_json(fields[name])
        fields["analysis"] = AnalysisName(fields["analysis"])
        return cls(**fields)


@dataclass(frozen=True, slots=True)
class Body:
    """A posted body before its answers have been read.

    Attributes
    ----------
    host:
        Where the browser of the user was, as it says itself.
    secret:
        What shows that the caller may call; ``None`` where the template has none.
    fields:
        All of it, names of patients and users included: never logged, never stored.
    """

    host: object
    secret: object = field(repr=False)
    fields: JsonObject = field(repr=False)

    def token(self) -> BearerToken:
        """Return the analysis' token.

        Raises
        ------
        ServiceError
            INVALID_REQUEST_FIELD_ERROR
        """
        value = self.fields.get("apitoken")
        if not isinstance(value, str) or not value:
            raise bad('apitoken is missing; the template needs "apitoken": "%API_TOKEN%".')
        try:
            return BearerToken(value)
        except ImageError as error:
            raise bad("apitoken cannot be sent in a header.") from error

    def asked(self, analysis: AnalysisName, server: str) -> Asked:
        """Return what is to be done.

        Raises
        ------
        ServiceError
            INVALID_REQUEST_FIELD_ERROR with what is wrong.
        """
        image_id = _id(self.fields, "imageid")
        for name in ("studyid", "analysisid", "caseid"):
            if self.fields.get(name) not in (None, ""):
                _id(self.fields, name)
        answers = Answers(self.fields.get("answers"))
        exemplar = None
        if analysis is AnalysisName.SIMILAR:
            exemplar = answers.region_or_points("Exemplar")
            if exemplar is None:
                raise bad("similar needs an answer named Exemplar: a region, or points, of what to look for.")
        return Asked(
            analysis,
            server,
            image_id,
            answers.region("ROI"),
            exemplar,
            _um_per_px(answers.text("Magnification")),
            _clusters(answers.text("Clusters")) if analysis is AnalysisName.CLUSTER else None,
        )


def parse_body(data: bytes | bytearray) -> Body:
    """Parse a posted body.

    Raises
    ------
    ServiceError
        INVALID_REQUEST_FIELD_ERROR when it is not a JSON object; nothing of it is quoted.
    """
    if unfolds_beyond(data, _MAX_CONTAINERS):
        raise bad("The body unfolds to too many values.")
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise bad(
            "The body is not JSON; load Slide Score's example for the template, and put texts in quotes."
        ) from error
    if not is_object(document):
        raise bad(f"The body must be a JSON object, not {kind(document)}.")
    return Body(document.get("host"), document.get("secret"), document)


def key_of(what: str, token: BearerToken, asked: Asked) -> str:
    """Return what is the same for a request that is sent twice, and for no other.

    A token is made for one click of a user; its hash tells nothing about it.
    """
    parts = f"{what} {asked.analysis} {asked.server} {asked.image_id} {token.reveal()}"
    return "slidescore:" + hashlib.sha256(parts.encode()).hexdigest()


def _id(fields: JsonObject, name: str) -> int:
    """Return a number that names something; templates may have put it in quotes."""
    value = fields.get(name)
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdecimal():
        value = int(value) if len(value) < 20 else None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < _LARGEST_ID:
        raise bad(f"{name} must be a whole number.")
    return value


def _um_per_px(text: str | None) -> float | None:
    """Return the resolution of an answer: ``20x`` is 0.5 µm a pixel, as is ``0.5`` or ``0.5 µm``."""
    if text is None:
        return None
    plain = text.lower().replace("µm/px", "").replace("µm", "").replace("um", "").strip()
    times = plain.removesuffix("x").strip()
    number = as_number(times) or 0.0
    if number > 0 and (times != plain or number >= _UM_PER_PX_AT_1 / 2):
        number = _UM_PER_PX_AT_1 / number
    if not 0 < number < math.inf:
        raise bad("Magnification must be like 20x, or like 0.5: a number of µm a pixel.")
    return number


def _clusters(text: str | None) -> int | None:
    if text is None:
        return None
    number = as_number(text)
    if number is None or not number.is_integer() or not 2 <= number <= 12:
        raise bad("Clusters must be a whole number from 2 to 12.")
    return int(number)
