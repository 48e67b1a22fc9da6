"""Studies that have been here for long enough are deleted, where a setting says so."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from serving.store.access.audit import Event, Result
from serving.store.index.query import Stored
from serving.store.service.parts import Parts

log = logging.getLogger(__name__)

_DAY_S = 86_400.0
_LOOK_S = 600.0
WHO = "retention"


class Retention:
    """Deletes each study that nothing was added to for so long.

    Parameters
    ----------
    days:
        How long; by the index's clock at the last instance that came.
    """

    def __init__(self, parts: Parts, days: float, clock: Callable[[], float] = time.time) -> None:
        self._parts = parts
        self._seconds = days * _DAY_S
        self._clock = clock

    def run(self, stopped: threading.Event) -> None:
        """Look again and again until told to stop."""
        while not stopped.is_set():
            try:
                self.look(stopped)
            except Exception:  # the index or the disk may be away; what is due stays due
                log.exception("what is old could not be deleted")
            stopped.wait(_LOOK_S)

    def look(self, stopped: threading.Event | None = None) -> list[str]:
        """Delete what is due; return the studies."""
        deleted = []
        for study in self._parts.index.studies():
            if stopped is not None and stopped.is_set():
                break
            if self._is_young(self._parts.index.instances(study)):
                continue
            # One may come in at this moment: the study is young again then.
            count = self._parts.delete(study, unless=self._is_young)
            if count:
                self._parts.audit.write(
                    Event.DELETED, WHO, (study,), Result.SUCCESS, "kept for as long as the setting says",
                    instances=count,
                )  # fmt: skip
                deleted.append(study)
        return deleted

    def _is_young(self, instances: Sequence[Stored]) -> bool:
        newest = max((instance.added_at for instance in instances), default=None)
        return newest is None or self._clock() - newest <= self._seconds
