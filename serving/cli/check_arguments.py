"""The arguments of ``pathserve check``."""

from __future__ import annotations

import argparse

from serving.cli.embed_arguments import add_scale, positive


def add_check(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
) -> argparse.ArgumentParser:
    """Add the command ``check``, and return its parser; its values make ``CheckOptions``."""
    check = commands.add_parser(
        "check",
        help="print what would run, or whether slides could be embedded; fail when anything is wrong",
        description="Without a slide: settings, model and a vector, tried for real. With slides: whether "
        "each could be embedded, and what every DICOM requirement comes to; no model is loaded, and no "
        "pixel decoded.",
        epilog="The store's token is taken from PATHSERVE_STORE_TOKEN.",
    )
    check.add_argument(
        "where",
        nargs="*",
        metavar="SLIDE",
        help="as pathserve embed names them: files, folders, globs, CSV lists, gs://BUCKET/OBJECT, or "
        "addresses of series",
    )
    add_scale(check)
    check.add_argument("--stride", type=positive, default=224, help="pixels between patches (default 224)")
    check.add_argument("--icc", default="NONE", help="colour space to transform to: SRGB, ADOBERGB, …")
    check.add_argument("--json", action="store_true", help="print JSON, a line for each slide")
    return check
