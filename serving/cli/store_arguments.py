"""The arguments of ``pathserve store``; importing them imports nothing of the store."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROLES = ("read", "write", "share", "admin")

Subparsers = Any
"""``argparse`` has no public name for it."""


def add_store(commands: Subparsers) -> argparse.ArgumentParser:
    """Add the command; ``options.action`` names what is to be done."""
    store: argparse.ArgumentParser = commands.add_parser(
        "store",
        help="keep, find and share slides by DICOMweb",
        description="The slide store in PATHSERVE_STORE_DIR; docs/store.md explains it.",
    )
    actions = store.add_subparsers(required=True, metavar="ACTION", dest="action")
    actions.add_parser("serve", help="serve until SIGTERM or Ctrl-C")
    for add in _ACTIONS:
        add(actions)
    return store


def _token(actions: Subparsers) -> None:
    token = actions.add_parser("token", help="make, list and revoke tokens")
    what = token.add_subparsers(required=True, metavar="WHAT", dest="what")
    made = what.add_parser("add", help="make a token and print it, once")
    made.add_argument("name", help="whom it is for")
    made.add_argument(
        "--role", dest="roles", action="append", choices=ROLES, required=True,
        help="what it allows; may be given several times. share includes read; admin includes all",
    )  # fmt: skip
    _studies(made, "the studies that it is for; by default all")
    made.add_argument("--days", type=float, metavar="N", help="how long it is valid (until revoked)")
    what.add_parser("list", help="list tokens, as JSON lines")
    revoked = what.add_parser("revoke", help="end a token from the next request on")
    revoked.add_argument("id", help="its id, as listed")


def _share(actions: Subparsers) -> None:
    share = actions.add_parser("share", help="make a token to read some studies for some days, and print it")
    share.add_argument("studies", nargs="+", metavar="STUDY", help="Study Instance UID")
    share.add_argument("--name", default="", help="whom it is for")
    share.add_argument("--days", type=float, default=14.0, metavar="N", help="how long it is valid (14)")


def _mapping(actions: Subparsers) -> None:
    mapping = actions.add_parser("mapping", help="print what pseudonyms stand for, as CSV")
    which = mapping.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "pseudonyms", nargs="*", default=[], metavar="UID", help="UID or identifier of the store"
    )
    which.add_argument("--all", action="store_true", help="print the whole mapping")


def _delete(actions: Subparsers) -> None:
    delete = actions.add_parser("delete", help="delete a study, a series or an instance")
    for name in ("study", "series", "instance"):
        delete.add_argument(name, nargs=None if name == "study" else "?", metavar=name.upper())


def _check(actions: Subparsers) -> None:
    check = actions.add_parser("check", help="hold every file to the index")
    check.add_argument("--repair", action="store_true", help="make the index say what is there")


def _audit(actions: Subparsers) -> None:
    audit = actions.add_parser("audit", help="print rows of the audit trail, as JSON lines")
    audit.add_argument("--since", metavar="TIME", help="from then on: 2026-11-29, or with T and a time (UTC)")
    audit.add_argument("--until", metavar="TIME", help="before then")
    audit.add_argument("--who", metavar="ID", help="of one token or door")
    audit.add_argument("--event", metavar="CODE", help="of one DICOM event code, as 110107 (import)")
    audit.add_argument("--uid", metavar="UID", help="of one study, series or instance")
    audit.add_argument("--outcome", choices=("success", "refused", "failed"), help="of one outcome")


def _add(actions: Subparsers) -> None:
    add = actions.add_parser("add", help="take in DICOM files and slides, and folders of them")
    add.add_argument(
        "paths", nargs="+", type=Path, metavar="PATH", help="a file, or a folder with all below it"
    )


def _export(actions: Subparsers) -> None:
    export = actions.add_parser("export", help="write studies to a folder or a ZIP file")
    export.add_argument("target", type=Path, help="a folder, or a file that ends in .zip; neither may exist")
    export.add_argument("studies", nargs="+", metavar="STUDY", help="Study Instance UID")


def _send(actions: Subparsers) -> None:
    send = actions.add_parser("send", help="send studies to a peer, by C-STORE or STOW-RS")
    send.add_argument("peer", help="its name in PATHSERVE_STORE_PEERS_FILE")
    send.add_argument("studies", nargs="+", metavar="STUDY", help="Study Instance UID")
    send.add_argument("--again", action="store_true", help="send what has been sent before, too")


def _pull(actions: Subparsers) -> None:
    pull = actions.add_parser("pull", help="take in studies or series of a DICOMweb store or a Slicebox")
    pull.add_argument("peer", help="its name in PATHSERVE_STORE_PEERS_FILE")
    pull.add_argument("study", metavar="STUDY", help="Study Instance UID there")
    pull.add_argument("series", nargs="?", metavar="SERIES", help="one series of it; by default all")


def _studies(parser: argparse.ArgumentParser, explained: str) -> None:
    parser.add_argument("--study", dest="studies", action="append", metavar="UID", help=explained)


_ACTIONS: tuple[Callable[[Subparsers], None], ...] = (
    _add, _token, _share, _mapping, _delete, _audit, _check, _export, _send, _pull,
)  # fmt: skip
