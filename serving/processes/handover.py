"""How a child process is given its settings: one object, in a memory file that it inherits.

Not in arguments, which every user of the machine can read, nor in the environment, which each process that a
child starts would inherit. What a child is not given it cannot leak: the encoder, which runs the model's
code, gets its own group of settings; HTTP workers, which decode what strangers send, get no credentials of
the user of the command.
"""

from __future__ import annotations

import os
import pickle
from dataclasses import dataclass
from typing import Protocol, TypeVar

from serving.config.groups import CommandSettings, EncoderSettings, LogSettings
from serving.config.settings import Settings

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class EncoderStart:
    """What the encoder process is given.

    Attributes
    ----------
    launcher:
        Process id of the launcher.
    address:
        Path of the Unix socket to listen on.
    restarted:
        Whether an earlier encoder process died.
    """

    launcher: int
    address: str
    encoder: EncoderSettings
    log: LogSettings
    restarted: bool = False


@dataclass(frozen=True, slots=True)
class HttpStart:
    """What the HTTP side is given.

    Attributes
    ----------
    launcher:
        Process id of the launcher.
    listener:
        Descriptor of the listening socket.
    encoder_address:
        Path of the encoder's Unix socket.
    """

    launcher: int
    listener: int
    encoder_address: str
    settings: Settings


def without_command(settings: Settings) -> Settings:
    """Return settings without the credentials of the user of the command."""
    return settings.model_copy(update={"command": CommandSettings()})


class Start(Protocol):
    """What any child is given.

    Attributes
    ----------
    launcher:
        Process id of the launcher.
    """

    @property
    def launcher(self) -> int: ...


def hand_over(start: Start) -> int:
    """Write an object to a memory file; return its descriptor, which the caller closes."""
    # A pickle keeps what JSON does not: secrets, paths that are not text, an infinite number of seconds.
    fd = os.memfd_create("pathserve-start", os.MFD_CLOEXEC)
    try:
        with open(fd, "wb", closefd=False) as file:
            pickle.dump(start, file)
        os.lseek(fd, 0, os.SEEK_SET)  # the child inherits the position, too
    except BaseException:
        os.close(fd)
        raise
    return fd


def take_over(kind: type[T], fd: int) -> T:
    """Read the object that the launcher has written, and close the descriptor: nothing else may read it."""
    with open(fd, "rb") as file:
        start = pickle.load(file)  # noqa: S301  (the launcher alone can have written it)
    assert isinstance(start, kind)
    return start
