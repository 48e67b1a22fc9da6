"""The command line of ``pathserve golden``."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_golden(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """Add ``golden make``, and return its parser."""
    golden = commands.add_parser(
        "golden", help="golden files: patches whose vectors a service must reproduce"
    )
    make = golden.add_subparsers(required=True, metavar="COMMAND").add_parser(
        "make",
        help="write the vectors that the model gives for fixed patches",
        epilog="Make it where the model is known to be right, with the settings that name the model, its "
        "runtime and its precision. docs/trust.md has the details.",
    )
    make.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="the file to write (default: golden.json in the model's folder)",
    )
    make.add_argument(
        "--patch",
        nargs="+",
        default=[],
        type=Path,
        metavar="PICTURE",
        help="further patches of your own: pictures of 224 x 224 pixels, PNG for instance",
    )
    return make
