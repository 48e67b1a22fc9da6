"""The arguments of ``pathserve embed``. Imports nothing that only embedding needs."""

from __future__ import annotations

import argparse
from pathlib import Path

from serving.batch.min_quality import bounds
from serving.batch.pixel_size import pixel_size

FORMATS = ("parquet", "h5", "zarr", "geojson")
"""Those of ``serving.output.formats``, whose libraries may be missing."""


def add_embed(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
) -> argparse.ArgumentParser:
    """Add the command ``embed``, and return its parser: it gives ``serving.cli.embed.EmbedOptions``."""
    embed = commands.add_parser(
        "embed",
        help="write the vectors of slides' patches to Parquet, HDF5, Zarr or GeoJSON files",
        epilog="The store's token is taken from PATHSERVE_STORE_TOKEN, the service's key from "
        "PATHSERVE_API_KEY. A run that was stopped goes on when the same command is given again. "
        "docs/outputs.md has the columns and attributes of the files.",
    )
    embed.add_argument(
        "where",
        nargs="+",
        metavar="SLIDE",
        help="a slide or a picture; a folder of slides, or of one slide's DICOM files; a glob in quotes; "
        "a CSV with the columns slide or series, and mpp and tissue if you like; gs://BUCKET/OBJECT; "
        "the address of a series, https://…/studies/…/series/…",
    )
    embed.add_argument(
        "--out", required=True, help="the file to write; a folder, where there may be several slides"
    )
    embed.add_argument(
        "--format",
        dest="formats",
        action="extend",
        type=_formats,
        default=[],
        metavar="FORMAT[,…]",
        help="parquet, h5 (TRIDENT's and CLAM's), zarr (AnnData's), geojson (QuPath's); by default as --out "
        "ends, else parquet",
    )
    embed.add_argument("--service", metavar="URL", help="a running service (default: in this process)")
    add_scale(embed)
    add_selection(embed)
    embed.add_argument(
        "--no-overview",
        dest="picture",
        action="store_false",
        help="write no picture of the tissue and the patches beside the output",
    )
    return embed


def add_scale(command: argparse.ArgumentParser) -> None:
    """Add which pixels of slides are read."""
    scale = command.add_mutually_exclusive_group()
    scale.add_argument("--level", type=int, help="level that is read as it is, 0 is the largest (default)")
    scale.add_argument(
        "--mpp",
        type=_mpp,
        metavar="UM|20x",
        help="size of a pixel in µm that slides are brought to, 0.5, or a magnification, 20x, which is "
        "10 µm / 20",
    )
    command.add_argument(
        "--slide-mpp",
        type=_mpp,
        metavar="UM|40x",
        help="size of a pixel of the largest level, in place of what the slide says",
    )


def add_selection(command: argparse.ArgumentParser) -> None:
    """Add which patches of slides are embedded, and in which colours."""
    command.add_argument("--stride", type=positive, default=224, help="pixels between patches (default 224)")
    command.add_argument("--all", dest="everything", action="store_true", help="patches without tissue, too")
    command.add_argument(
        "--min-tissue", type=_share, default=0.05, help="least share of tissue in a patch (default 0.05)"
    )
    command.add_argument(
        "--tissue",
        type=Path,
        metavar="FILE|FOLDER",
        help="tissue that you have outlined: a mask of the whole slide (PNG, not black is tissue), or "
        "GeoJSON in pixels of the largest level; or a folder with one of the slide's name",
    )
    command.add_argument(
        "--quality",
        action="store_true",
        help="columns for the quality of each patch: tissue, blur, brightness, saturation, pen, black, white",
    )
    command.add_argument(
        "--min-quality",
        action="append",
        type=_bounds,
        default=[],
        metavar="NAME=VALUE[,…]",
        help="leave out patches that are not so good: tissue=0.5,blur=0.6 keeps those with at least 0.5 of "
        "tissue and at most 0.6 of blur (pen, black and white are at most, too); with the columns of "
        "--quality",
    )
    command.add_argument("--icc", default="NONE", help="colour space to transform to: SRGB, ADOBERGB, …")


def _formats(text: str) -> list[str]:
    names = [name.strip().lower() for name in text.split(",")]
    if wrong := [name for name in names if name not in FORMATS]:
        raise argparse.ArgumentTypeError(f"'{wrong[0]}' is not a format; there are {', '.join(FORMATS)}")
    return names


def _mpp(text: str) -> float:
    try:
        return pixel_size(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"'{text}' {error}") from None


def _bounds(text: str) -> dict[str, float]:
    try:
        return bounds(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"'{text}' {error}") from None


def positive(text: str) -> int:
    """Return a whole number of at least 1 that was typed."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number of at least 1")
    return value


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a share, from 0 to 1")
    return value
