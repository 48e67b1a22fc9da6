"""A head's file: JSON of a stated format and version, so that reading it runs nothing."""

from __future__ import annotations

from pathlib import Path

from serving.webhooks.heads.head import Head


def read_head(path: Path) -> Head:
    """Read a head.

    Raises
    ------
    HeadError
        When the file cannot be read, is too large, or is not a whole head of a known version; the text
        names the file and the field.
    """
    raise NotImplementedError
