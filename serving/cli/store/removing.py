"""``pathserve store delete``: a study, a series or an instance."""

from __future__ import annotations

import argparse
import sys

from serving.cli.store.giving import WHO
from serving.config.exit_status import ExitStatus
from serving.config.settings import Settings
from serving.store.access.audit import Event, Result
from serving.store.service.parts import Parts


def delete(options: argparse.Namespace, _: Settings, parts: Parts) -> ExitStatus:
    """Delete instances and their files."""
    uids = [uid for uid in (options.study, options.series, options.instance) if uid is not None]
    count = parts.delete(*uids)
    if not count:
        print("pathserve: the store has nothing of these UIDs.", file=sys.stderr)
        return ExitStatus.FAULT
    parts.audit.write(Event.DELETED, WHO, uids, Result.SUCCESS, instances=count)
    print(f"{count} instances deleted")
    return ExitStatus.OK
