"""``pathserve store add``: files and folders of this machine are taken in."""

from __future__ import annotations

import argparse
import getpass
import sys

from serving.config.exit_status import ExitStatus
from serving.config.settings import Settings
from serving.store.doors.adding import Added, add_paths
from serving.store.doors.conversion import find_converter
from serving.store.doors.taking import FileTaker
from serving.store.ingest.outcome import Door, Origin
from serving.store.service.parts import Parts, open_ingest


def add(options: argparse.Namespace, settings: Settings, parts: Parts) -> ExitStatus:
    """Take in what is named; print a line a file. Files stay where they are."""
    ingest = open_ingest(parts, settings)
    count, failed = 0, 0
    try:
        taker = FileTaker(ingest, find_converter(settings.ingest.converter), Origin(Door.ADD, _user()))
        for added in add_paths(taker, options.paths):
            for line in _lines(added):
                print(line, flush=True)
            count += added.is_here
            failed += not added.is_here
    finally:
        ingest.close()
    print(f"{count} files are in the store, {failed} are not", file=sys.stderr)
    return ExitStatus.FAULT if failed or not count else ExitStatus.OK


def _lines(added: Added) -> list[str]:
    if added.fault:
        return [f"{added.path}: cannot be read: {added.fault}"]
    lines = []
    for outcome in added.outcomes:
        became = outcome.verdict.value
        if outcome.stored is not None:
            uids = outcome.stored
            lines.append(f"{added.path}: {became} {uids.study} {uids.series} {uids.sop}")
        else:
            lines.append(f"{added.path}: {became}: {outcome.reason}")
    return lines


def _user() -> str:
    """Return who runs the command, for the audit trail."""
    try:
        return f"command:{getpass.getuser()}"
    except (KeyError, OSError):
        return "command"
