"""``pathserve store mapping``: what pseudonyms stand for."""

from __future__ import annotations

import argparse
import csv
import sys

from serving.cli.store.giving import WHO
from serving.config.exit_status import ExitStatus
from serving.config.settings import Settings
from serving.store.access.audit import Event, Result
from serving.store.service.mapping import reversed_by
from serving.store.service.parts import Parts, open_mapping


def mapping(options: argparse.Namespace, _: Settings, parts: Parts) -> ExitStatus:
    """Print what pseudonyms stand for: pseudonym, kind, original."""
    known = open_mapping(parts)
    rows = csv.writer(sys.stdout)
    rows.writerow(("pseudonym", "kind", "original"))
    if options.all:
        parts.audit.write(Event.SECURITY_ALERT, WHO, (), Result.SUCCESS, "the whole mapping was asked")
        for pair in known.everything():
            rows.writerow((pair.pseudonym, pair.kind, pair.original))
        return ExitStatus.OK
    found = reversed_by(known, parts.audit, WHO, options.pseudonyms)
    for pseudonym, originals in found.items():
        for kind, original in originals.items():
            rows.writerow((pseudonym, kind, original))
    if missing := [pseudonym for pseudonym, originals in found.items() if not originals]:
        print(f"pathserve: not in the mapping: {', '.join(missing)}", file=sys.stderr)
        return ExitStatus.FAULT
    return ExitStatus.OK
