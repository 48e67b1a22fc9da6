"""The arguments of ``pathserve archive``. Imports nothing that only an archive needs."""

from __future__ import annotations

import argparse

from serving.cli.embed_arguments import add_scale, add_selection, positive


def add_archive(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
) -> argparse.ArgumentParser:
    """Add the command ``archive`` with what can be asked of an archive; return its parser."""
    archive = commands.add_parser(
        "archive",
        help="embed slides by the thousand through Apache Beam, each once, whatever is killed meanwhile",
        epilog="What stands after -- is for Beam: pathserve archive --slides list.csv --out gs://B/F -- "
        "--runner=DataflowRunner … A run that was stopped goes on when the same command is given again. "
        "docs/archive.md says more.",
    )
    archive.set_defaults(act="run")
    _add_run(archive)
    acts = archive.add_subparsers(metavar="ACT")
    status = acts.add_parser("status", help="say how far an archive is, running or not")
    status.add_argument("out", help="the output")
    status.add_argument("--failed", action="store_true", help="list what failed as CSV, a row each")
    status.set_defaults(act="status")
    index = acts.add_parser("index", help="build the index that search needs")
    index.add_argument("out", help="the output")
    index.set_defaults(act="index")
    search = acts.add_parser("search", help="find the patches that look most like a picture")
    search.add_argument("out", help="the output")
    search.add_argument("--like", required=True, metavar="PATCH", help="a picture of 224 x 224 pixels")
    search.add_argument("--most", type=positive, default=10, help="patches to find (default 10)")
    search.add_argument("--service", metavar="URL", help="a running service (default: in this process)")
    search.set_defaults(act="search")
    return archive


def _add_run(archive: argparse.ArgumentParser) -> None:
    archive.add_argument(
        "--slides",
        nargs="+",
        metavar="SLIDE",
        default=[],
        help="what pathserve embed takes: a CSV of slides and series, a folder, a glob, addresses; or a "
        "query, https://…/series?Modality=SM",
    )
    archive.add_argument("--out", help="a folder that all workers see, or gs://BUCKET/FOLDER")
    archive.add_argument(
        "--service", metavar="URL", help="a running service (default: a model in each worker)"
    )
    add_scale(archive)
    add_selection(archive)
    archive.add_argument(
        "--retry-failed", action="store_true", help="do what has failed before, and nothing else"
    )
    archive.add_argument(
        "--workers", type=positive, default=1, help="worker processes that the engine has (default 1)"
    )
    archive.add_argument(
        "--store-requests",
        type=positive,
        default=32,
        metavar="N",
        help="requests in flight to one store, of all workers together (default 32)",
    )
    token = archive.add_mutually_exclusive_group()
    token.add_argument(
        "--google-credentials",
        action="store_true",
        help="read stores with each worker's application default credentials",
    )
    token.add_argument(
        "--token-command",
        metavar="COMMAND",
        help="read stores with the token that a command prints on each worker, and again when it has expired",
    )
