"""``pathserve store check``: whether all that the index names is there and whole."""

from __future__ import annotations

import argparse
import sys

from serving.config.exit_status import ExitStatus
from serving.config.settings import Settings
from serving.store.service.checking import Check
from serving.store.service.parts import Parts


def check(options: argparse.Namespace, _: Settings, parts: Parts) -> ExitStatus:
    """Hold every file to the index; print what is wrong."""
    looking = Check(parts, mends=options.repair)
    wrong = 0
    for finding in looking.run():
        wrong += 1
        print(f"{finding.place}: {finding.fault}{'; mended' if finding.is_mended else ''}")
    print(f"{looking.whole} instances are whole, {wrong} were not")
    if wrong and not options.repair:
        print("pathserve: --repair makes the index say what is there.", file=sys.stderr)
    return ExitStatus.FAULT if wrong and not options.repair else ExitStatus.OK
