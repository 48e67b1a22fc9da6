"""Which action is which function."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping

from serving.cli.store import adding, audit, exchange, giving, reading, removing
from serving.config.exit_status import ExitStatus
from serving.config.settings import Settings
from serving.errors import ServiceError
from serving.store.service.parts import Parts, open_parts
from serving.telemetry.json_log import log_as_json

Action = Callable[[argparse.Namespace, Settings, Parts], ExitStatus]

ACTIONS: Mapping[str, Action] = {
    "add": adding.add,
    "token": giving.token,
    "share": giving.share,
    "mapping": reading.mapping,
    "audit": audit.audit,
    "delete": removing.delete,
    "export": exchange.export_studies,
    "send": exchange.send,
    "pull": exchange.pull,
}


def run(options: argparse.Namespace, settings: Settings) -> ExitStatus:
    """Do what was asked for; return an exit status.

    Raises
    ------
    SettingsError
        When the store cannot be used.
    """
    log_as_json("WARNING", process="store")
    parts = open_parts(settings)
    try:
        return ACTIONS[options.action](options, settings, parts)
    except ServiceError as error:
        print(f"pathserve: {error.description}", file=sys.stderr)
        return ExitStatus.FAULT
    finally:
        parts.close()
