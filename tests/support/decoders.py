"""The decoding helpers of this process."""

from __future__ import annotations

import contextlib

import psutil


def helpers() -> list[psutil.Process]:
    """Children of this process that decode: others, such as multiprocessing's own, are none of a test's."""
    found = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):  # one of another test may end meanwhile
            if "dicom_io.decoding.child" in child.cmdline():
                found.append(child)
    return found
