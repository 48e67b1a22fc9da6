"""The command line of ``pathserve webhooks parked``."""

from __future__ import annotations

import argparse
import math


def add_parked(webhooks: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Add ``parked``, and return its parser."""
    commands = webhooks.add_subparsers(metavar="COMMAND")
    parked = commands.add_parser(
        "parked", help="results of which it is not known whether they were taken: you decide"
    )
    what = parked.add_subparsers(required=True, metavar="COMMAND", dest="what")
    what.add_parser("list", help="list what is parked")
    for name, help_text in (
        ("show", "print what is known about one, and what would be sent"),
        ("resend", "have the runner send one, unless it turns out to be there"),
        ("discard", "never send one, and delete it"),
    ):
        command = what.add_parser(name, help=help_text)
        command.add_argument("id", metavar="ID", help="of the list; its first characters are enough")
        if name == "resend":
            command.add_argument(
                "--wait", type=_seconds, default=120.0, metavar="S", help="for its end (default 120 s)"
            )
    return parked


def _seconds(text: str) -> float:
    seconds = float(text)
    if not (math.isfinite(seconds) and seconds >= 0):  # of NaN, no end would ever come
        raise argparse.ArgumentTypeError("must be a number of seconds, 0 or more")
    return seconds
