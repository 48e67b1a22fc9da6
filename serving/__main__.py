"""The command: ``pathserve serve`` or ``python -m serving serve``."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import io
import sys
from collections.abc import Iterator
from importlib.util import find_spec

from serving.cli.archive_arguments import add_archive
from serving.cli.check_arguments import add_check
from serving.cli.embed_arguments import add_embed
from serving.cli.golden_arguments import add_golden
from serving.cli.head_arguments import add_train
from serving.cli.parked_arguments import add_parked
from serving.cli.store_arguments import add_store
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
    add_parked(webhooks).set_defaults(run=_parked)
    add_check(commands).set_defaults(run=_check)
    add_golden(commands).set_defaults(run=_make_golden)
    add_embed(commands).set_defaults(run=_embed)
    add_archive(commands).set_defaults(run=_archive)
    add_train(commands).set_defaults(run=_train_head)
    add_store(commands).set_defaults(run=_store)
    # A path of this system may not be text; it is shown all the same.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    given, of_engine = _split(sys.argv[1:] if arguments is None else arguments)
    options = parser.parse_args(given, argparse.Namespace(engine=of_engine))
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

    if settings.slide_store.is_read_here and find_spec("sqlalchemy") is None:
        return _without("serve", ModuleNotFoundError(name="sqlalchemy"), "sqlalchemy", extra="store")
    log_as_json(settings.log.level, process="launcher")
    variable = "AIP_HTTP_PORT" if settings.http.sagemaker_port is None else "SAGEMAKER_BIND_TO_PORT"
    with _listening(settings.http.host, settings.http.listened_port, variable):
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


def _parked(options: argparse.Namespace, settings: Settings) -> ExitStatus:
    try:
        from serving.cli.parked import parked
    except ModuleNotFoundError as error:
        return _without("webhooks", error, "cryptography", "sqlalchemy")
    return parked(options.what, getattr(options, "id", ""), getattr(options, "wait", 0.0), settings)


def _store(options: argparse.Namespace, settings: Settings) -> ExitStatus:
    try:
        if options.action != "serve":
            from serving.cli.store.run import run

            return run(options, settings)
        from serving.store.service.launcher import StoreLauncher
    except ModuleNotFoundError as error:
        return _without("store", error, "pynetdicom", "python_multipart", "sqlalchemy")
    log_as_json(settings.log.level, process="launcher")
    with _listening(settings.http.host, settings.slide_store.port, "PATHSERVE_STORE_PORT"):
        launcher = StoreLauncher(settings)
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


def _without(
    command: str, error: ModuleNotFoundError, *libraries: str, extra: str | None = None
) -> ExitStatus:
    """Say which extra a command needs."""
    if (error.name or "").split(".")[0] not in libraries:
        raise error
    install = f"pip install 'pathserve[{extra or command}]'"
    print(f"pathserve: {command} needs more libraries: {install}", file=sys.stderr)
    return ExitStatus.FAULT


def _check(options: argparse.Namespace, settings: Settings) -> ExitStatus:
    if options.where:
        from serving.cli.check_slide import CheckOptions, check_slides

        return check_slides(CheckOptions.of(options), settings)
    from serving.cli.check import check

    return check(settings)


def _make_golden(options: argparse.Namespace, settings: Settings) -> ExitStatus:
    from serving.cli.golden import make_golden

    return make_golden(options.out, options.patch, settings)


def _embed(options: argparse.Namespace, settings: Settings) -> ExitStatus:
    try:
        from serving.cli.embed import EmbedOptions, embed
    except ModuleNotFoundError as error:
        return _without("embed", error, "pyarrow", "tqdm")
    return embed(EmbedOptions.of(options), settings)


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Return the command's own arguments, and those after ``--``, which an archive's engine is given."""
    if arguments[:1] != ["archive"] or "--" not in arguments:
        return arguments, []
    at = arguments.index("--")
    return arguments[:at], arguments[at + 1 :]


def _archive(options: argparse.Namespace, settings: Settings) -> ExitStatus:
    try:
        from serving.cli.archive import archive

        return archive(options, settings)  # what needs Beam or faiss imports them when it is asked for
    except ModuleNotFoundError as error:
        return _without("archive", error, "apache_beam", "faiss", "matplotlib", "pyarrow", "tqdm")


def _train_head(options: argparse.Namespace, _: Settings) -> ExitStatus:
    try:
        from serving.cli.head import TrainOptions, train_head
    except ModuleNotFoundError as error:
        return _without("head", error, "pyarrow", "shapely", "sklearn", "contourpy", extra="embed,webhooks")
    given = {field.name: getattr(options, field.name) for field in dataclasses.fields(TrainOptions)}
    return train_head(TrainOptions(**given))


if __name__ == "__main__":
    sys.exit(main())
