"""Which action is which function."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from importlib import import_module

from serving.config.exit_status import ExitStatus
from serving.config.settings import Settings
from serving.errors import ServiceError
from serving.store.service.parts import Parts, open_parts
from serving.telemetry.json_log import log_as_json

Action = Callable[[argparse.Namespace, Settings, Parts], ExitStatus]

_PLACES = {
    "add": "adding:add",
    "token": "giving:token",
    "share": "giving:share",
    "mapping": "reading:mapping",
    "audit": "audit:audit",
    "check": "checking:check",
    "delete": "removing:delete",
    "export": "exchange:export_studies",
    "send": "exchange:send",
    "pull": "exchange:pull",
}
"""Of each action, module and function: who makes a token need not wait for what speaks DIMSE."""


def run(options: argparse.Namespace, settings: Settings) -> ExitStatus:
    """Do what was asked for; return an exit status.

    Raises
    ------
    SettingsError
        When the store cannot be used.
    """
    log_as_json("WARNING", process="store")
    module, name = _PLACES[options.action].split(":")
    action: Action = getattr(import_module(f"serving.cli.store.{module}"), name)
    parts = open_parts(settings)
    try:
        return action(options, settings, parts)
    except ServiceError as error:
        print(f"pathserve: {error.description}", file=sys.stderr)
        return ExitStatus.FAULT
    finally:
        parts.close()
