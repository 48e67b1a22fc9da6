"""The command: ``pathserve serve`` or ``python -m serving serve``."""

from __future__ import annotations

import argparse
import sys

from model.json_log import log_as_json
from serving.settings import EXIT_BAD_SETTING, Settings, SettingsError, load_settings


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(
        prog="pathserve",
        description="An embedding service for digital pathology that speaks the Path Foundation API.",
        epilog="Settings come from environment variables; README.md lists them.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    serve = commands.add_parser("serve", help="serve until SIGTERM or Ctrl-C")
    serve.set_defaults(run=_serve)
    check = commands.add_parser("check", help="print what would run; fail when anything is wrong")
    check.set_defaults(run=_check)
    options = parser.parse_args(arguments)
    try:
        return int(options.run(load_settings()))
    except SettingsError as error:
        print(f"pathserve: {error}", file=sys.stderr)
        return EXIT_BAD_SETTING


def _serve(settings: Settings) -> int:
    from serving.launcher import Launcher

    log_as_json(settings.log_level, process="launcher")
    try:
        launcher = Launcher(settings)
    except OSError as error:
        raise SettingsError(
            f"cannot listen on {settings.host}:{settings.port} (PATHSERVE_HOST, AIP_HTTP_PORT): "
            f"{error.strerror}"
        ) from error
    return launcher.run()


def _check(settings: Settings) -> int:
    from serving.check import check

    return check(settings)


if __name__ == "__main__":
    sys.exit(main())
