"""What the processes of the store are given by their launcher."""

from __future__ import annotations

from dataclasses import dataclass

from serving.config.settings import Settings


@dataclass(frozen=True, slots=True)
class StoreStart:
    """What a process of the store is given.

    Attributes
    ----------
    launcher:
        Process id of the launcher.
    """

    launcher: int
    settings: Settings


@dataclass(frozen=True, slots=True)
class HttpStart(StoreStart):
    """What the HTTP side is given.

    Attributes
    ----------
    listener:
        Descriptor of the listening socket.
    """

    listener: int
