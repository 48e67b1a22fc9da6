"""What is wrong with a scan, for people to read."""

from __future__ import annotations


class ScanError(Exception):
    """A scan cannot be fetched, opened or analysed.

    The text says why and what to do, without a link, a secret or the name of a file.
    """
