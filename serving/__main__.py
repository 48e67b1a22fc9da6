"""The command: ``pathserve serve`` or ``python -m serving serve``."""

from __future__ import annotations

import argparse
import io
import sys

from serving.cli.embed_arguments import add_embed
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
    check = commands.add_parser("check", help="print what would run; fail when anything is wrong")
    check.set_defaults(run=_check)
    embed_parser = add_embed(commands)
    embed_parser.set_defaults(run=_embed)
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
    try:
        launcher = Launcher(settings)
    except OSError as error:
        raise SettingsError(
            f"cannot listen on {settings.http.host}:{settings.http.port} (PATHSERVE_HOST, AIP_HTTP_PORT): "
            f"{error.strerror}"
        ) from error
    return launcher.run()


def _check(_: argparse.Namespace, settings: Settings) -> ExitStatus:
    from serving.cli.check import check

    return check(settings)


def _embed(options: argparse.Namespace, settings: Settings) -> ExitStatus:
    try:
        from serving.cli.embed import EmbedOptions, embed
    except ModuleNotFoundError as error:
        if error.name not in ("pyarrow", "tqdm"):
            raise
        print("pathserve: embed needs more libraries: pip install 'pathserve[embed]'", file=sys.stderr)
        return ExitStatus.FAULT
    return embed(EmbedOptions.of(options), settings)


if __name__ == "__main__":
    sys.exit(main())
