"""Typed instances to a service: it reads what was meant."""

from __future__ import annotations

import json

from dicom_io.colour.profiles import IccTarget
from dicom_io.geometry import Patch
from dicom_io.reading import ReadOptions
from dicom_io.sources.encoded import GcsSource
from dicom_io.sources.slide_level import DicomWebSource
from dicom_io.web.gcs import parse_gcs_uri
from dicom_io.web.series_path import parse_series_path
from serving.api.request import parse_request
from serving.client import Fault, PathserveClient
from serving.client.embedder import ServiceEmbedder
from serving.pipeline.embedder import Embedder
from serving.pipeline.types import Instance
from tests.support.loopback import Handler, Loopback

BODIES: list[bytes] = []


class _Service(Handler):
    def respond(self) -> None:
        BODIES.append(self.rfile.read(int(self.headers["Content-Length"])))
        faults = [{"error": {"code": "IMAGE_ERROR", "description": "x"}}] * 2
        self.answer(200, [], json.dumps({"predictions": faults, "metadata": {"digest": "d"}}).encode())


def test_a_service_is_asked_for_the_instances_that_are_given() -> None:
    patches = tuple(Patch(x, -3, 224, 224) for x in range(3))
    instances = [
        Instance(GcsSource(parse_gcs_uri("gs://bucket/a.png"), None), patches, ReadOptions()),
        Instance(
            DicomWebSource(parse_series_path("https://host/studies/1.2/series/1.3"), ("1.4",), None),
            patches[:1],
            ReadOptions((300, 400), IccTarget.SRGB, require_inside=False),
        ),
    ]
    service = Loopback(_Service)
    try:
        embedder: Embedder = ServiceEmbedder(PathserveClient(service.origin))
        assert embedder.embed(instances) == [Fault("IMAGE_ERROR", "x")] * 2
        assert embedder.metadata == {"digest": "d"}
    finally:
        service.end()
    assert list(parse_request(BODIES.pop(), 10).items) == instances
