"""Convert one slide by wsidicomizer: run as a script by the interpreter that has it; imports nothing of ours.

``python convert_slide.py SLIDE FOLDER DIGEST``
"""

from __future__ import annotations

import hashlib
import itertools
import sys


def main(slide: str, folder: str, digest: str) -> None:
    """Write the instances to a new folder; their UIDs are made of the digest."""
    from pydicom.uid import UID  # noqa: PLC0415
    from wsidicomizer import WsiDicomizer  # noqa: PLC0415

    numbers = itertools.count()

    def uid() -> UID:
        name = hashlib.sha256(f"{digest} {next(numbers)}".encode()).digest()[:16]
        return UID(f"2.25.{int.from_bytes(name, 'big')}")  # PS3.5, B.2

    WsiDicomizer.convert(
        slide,
        folder,
        uid_generator=uid,
        include_label=False,
        include_overview=False,
        include_confidential=False,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
