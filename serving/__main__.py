"""The command: ``pathserve serve`` or ``python -m serving serve``."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import io
import sys
from collections.abc import Iterator
from pathlib import Path

from serving.config.exit_status import ExitStatus
from serving.config.settings import Settings, SettingsError, load_settings
from serving.telemetry.json_log import log_as_json


def main(arguments: list[str] | None = None) -> ExitStatus:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(
        prog="pathserve",
        description="An embedding service for digital pathology that speaks the Path Foundation API.",
        epilog="Settings come from environment variables; docs/operations.md lists them.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    serve = commands.add_parser("serve", help="serve until SIGTERM or Ctrl-C")
    serve.set_defaults(run=_serve)
    webhooks = commands.add_parser("webhooks", help="serve webhooks of other systems until SIGTERM or Ctrl-C")
    webhooks.set_defaults(run=_webhooks)
    check = commands.add_parser("check", help="print what would run; fail when anything is wrong")
    check.set_defaults(run=_check)
    _add_embed(commands)
    _add_head(commands)
    # A path of this system may not be text; it is shown all the same.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    options = parser.parse_args(arguments)
    try:
        return ExitStatus(options.run(options, load_settings()))
    except SettingsError as error:
        print(f"pathserve: {error}", file=sys.stderr)
        return ExitStatus.MISCONFIGURED
    except KeyboardInterrupt:
        print("pathserve: stopped.", file=sys.stderr)
        return ExitStatus.INTERRUPTED


def _serve(_: argparse.Namespace, settings: Settings) -> ExitStatus:
    from serving.processes.launcher import Launcher

    log_as_json(settings.log.level, process="launcher")
    with _listening(settings.http.host, settings.http.port, "AIP_HTTP_PORT"):
        launcher = Launcher(settings)
    return launcher.run()


def _webhooks(_: argparse.Namespace, settings: Settings) -> ExitStatus:
    try:
        from serving.webhooks.service.launcher import WebhooksLauncher
    except ModuleNotFoundError as error:
        return _without("webhooks", error, "cryptography", "sqlalchemy")
    log_as_json(settings.log.level, process="launcher")
    with _listening(settings.http.host, settings.webhooks.port, "PATHSERVE_WEBHOOKS_PORT"):
        launcher = WebhooksLauncher(settings)
    return launcher.run()


@contextlib.contextmanager
def _listening(host: str, port: int, variable: str) -> Iterator[None]:
    """Say which settings to change when a port cannot be listened on."""
    try:
        yield
    except OSError as error:
        raise SettingsError(
            f"cannot listen on {host}:{port} (PATHSERVE_HOST, {variable}): {error.strerror}"
        ) from error


def _without(extra: str, error: ModuleNotFoundError, *libraries: str) -> ExitStatus:
    """Say which extra a command needs."""
    if (error.name or "").split(".")[0] not in libraries:
        raise error
    print(f"pathserve: {extra} needs more libraries: pip install 'pathserve[{extra}]'", file=sys.stderr)
    return ExitStatus.FAULT


def _check(_: argparse.Namespace, settings: Settings) -> ExitStatus:
    from serving.cli.check import check

    return check(settings)


def _add_embed(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    embed = commands.add_parser(
        "embed",
        help="write the vectors of an image's or a slide level's patches to a Parquet file",
        epilog="The store's token is taken from PATHSERVE_STORE_TOKEN, the service's key from "
        "PATHSERVE_API_KEY. A run that was stopped goes on when the same command is given again.",
    )
    embed.add_argument("where", metavar="FILE|gs://…|https://…/studies/…/series/…")
    embed.add_argument("--out", required=True, type=Path, help="the Parquet file to write")
    embed.add_argument("--service", metavar="URL", help="a running service (default: in this process)")
    embed.add_argument("--level", type=int, default=0, help="level of a series, 0 is the largest (default)")
    embed.add_argument("--stride", type=_positive, default=224, help="pixels between patches (default 224)")
    embed.add_argument("--all", dest="everything", action="store_true", help="patches without tissue, too")
    embed.add_argument(
        "--min-tissue", type=_share, default=0.05, help="least share of tissue in a patch (default 0.05)"
    )
    embed.add_argument("--icc", default="NONE", help="colour space to transform to: SRGB, ADOBERGB, …")
    embed.set_defaults(run=_embed)


def _positive(text: str) -> int:
    if (value := int(text)) < 1:
        raise ValueError
    return value


def _share(text: str) -> float:
    if not 0 <= (value := float(text)) <= 1:
        raise ValueError
    return value


def _embed(options: argparse.Namespace, settings: Settings) -> ExitStatus:
    try:
        from serving.cli.embed import EmbedOptions, embed
    except ModuleNotFoundError as error:
        return _without("embed", error, "pyarrow", "tqdm")
    given = {field.name: getattr(options, field.name) for field in dataclasses.fields(EmbedOptions)}
    return embed(EmbedOptions(**given), settings)


def _add_head(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
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
    train.set_defaults(run=_train_head)


def _resolution(text: str) -> float:
    if not 0.05 <= (value := float(text)) <= 20:
        raise ValueError
    return value


def _train_head(options: argparse.Namespace, _: Settings) -> ExitStatus:
    try:
        from serving.cli.head import TrainOptions, train_head
    except ModuleNotFoundError as error:
        if error.name not in ("pyarrow", "shapely", "sklearn", "contourpy"):
            raise
        print(
            "pathserve: head needs more libraries: pip install 'pathserve[embed,webhooks]'", file=sys.stderr
        )
        return ExitStatus.FAULT
    given = {field.name: getattr(options, field.name) for field in dataclasses.fields(TrainOptions)}
    return train_head(TrainOptions(**given))


if __name__ == "__main__":
    sys.exit(main())
