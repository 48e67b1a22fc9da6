"""The command line of ``pathserve head``."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_train(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """Add ``head train``, and return its parser."""
    head = commands.add_parser("head", help="heads: classifiers over vectors, for the analysis classify")
    train = head.add_subparsers(required=True, metavar="COMMAND").add_parser(
        "train",
        help="train a head on labelled vectors, and say how good it is",
        epilog="Labels are a CSV of x,y,label or slide,x,y,label, where x and y are the upper left corner of "
        "a patch in level-0 pixels, or GeoJSON from QuPath with classified areas, named as the slide's "
        "table. docs/analyses.md has the details.",
    )
    train.add_argument("vectors", nargs="+", type=Path, metavar="TABLE", help="Parquet of pathserve embed")
    train.add_argument("--labels", nargs="+", required=True, type=Path, metavar="FILE", help="CSV or GeoJSON")
    train.add_argument("--out", required=True, type=Path, help="the head's file to write (JSON)")
    train.add_argument("--name", help="of the head (default: the file's name)")
    train.add_argument("--mpp", type=_resolution, help="µm/px of the patches, where the tables do not tell")
    train.add_argument("--seed", type=int, default=0, help="of the split into folds (default 0)")
    return train


def _resolution(text: str) -> float:
    if not 0.05 <= (value := float(text)) <= 20:
        raise ValueError
    return value
