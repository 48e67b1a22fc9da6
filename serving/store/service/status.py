"""The door of monitoring: health and metrics."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence

import orjson
from flask import Blueprint, Response, request
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from pydantic import SecretStr

from serving.errors import ServiceError, unavailable
from serving.http.access import ApiKeys
from serving.http.answers import JSON
from serving.http.route_telemetry import RouteTelemetry
from serving.store.access.roles import Role
from serving.store.door import Right, StoreDoor
from serving.store.files import DiskFull
from serving.store.service.parts import Parts


def status_door(parts: Parts, telemetry: RouteTelemetry, keys: Sequence[SecretStr] | None) -> StoreDoor:
    """Return the door.

    Parameters
    ----------
    keys:
        Any of them opens the metrics, so that what collects these needs no administrator's token.
    """
    known = ApiKeys(keys)
    routes = Blueprint("status", __name__)

    def health() -> Response:
        parts.index.instance("0", "0", "0")  # this worker, too, must reach the index
        if not parts.files.incoming.is_dir():
            raise unavailable("The store's folder is away.")
        return Response(orjson.dumps({"status": "ok", "takes": _takes(parts)}), content_type=JSON)

    def metrics() -> Response:
        authorization = request.headers.get("Authorization")
        if keys:
            known.require(authorization)
        else:
            parts.tokens.authorise(authorization, Role.ADMIN)
        return Response(telemetry.exposition(), content_type="text/plain; version=0.0.4; charset=utf-8")

    routes.add_url_rule("/health", "health", health)
    routes.add_url_rule("/metrics", "metrics", metrics)
    return StoreDoor(
        routes,
        {"health": Right(None, is_at_once=True), "metrics": Right(None, is_at_once=True)},
    )


def _takes(parts: Parts) -> bool:
    """Return whether instances are taken in; what is there is given out all the same."""
    try:
        parts.files.require_space()
    except DiskFull:
        return False
    return True


class StoreGauges(Collector):
    """How much there is, when it is asked; an index that is away is no reason to have no metrics at all."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        try:
            studies = len(self._parts.index.studies())
            free = shutil.disk_usage(self._parts.folder).free
        except (ServiceError, OSError):
            return
        yield GaugeMetricFamily("pathserve_store_studies", "Studies in the store.", studies)
        yield GaugeMetricFamily(
            "pathserve_store_free_bytes", "Free bytes on the disk of the store's folder.", free
        )
