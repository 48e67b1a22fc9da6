"""A slide's plan: which patches, in which blocks, by which model; written once, and then only followed.

It is a text: a line with what is said about the slide, then a line for each block. So its head can be read
without its blocks, and whoever looks at it sees it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dicom_io.colour.profiles import IccTarget
from dicom_io.geometry import Spacing
from dicom_io.reading import ReadOptions
from serving.batch.plan import Origin
from serving.output.files import OutputError
from serving.output.table import About, Identity, Model, PatchFrame

VERSION = 1
"""Of this file, and of the output's layout."""

MOST_HEAD = 1 << 16
"""Bytes that the first line is found in."""


@dataclass(frozen=True, slots=True)
class Head:
    """The first line.

    Attributes
    ----------
    about:
        What is said about the slide in its shard, but for the model.
    model:
        What makes the vectors, and their length.
    options:
        How the level is read.
    bands:
        Numbers of the blocks of each band; a band's rows come before those of the next.
    """

    slide: str
    about: About
    identity: Identity
    frame: PatchFrame
    options: ReadOptions
    model: Model
    dimension: int
    patches: int
    blocks: int
    bands: tuple[tuple[int, ...], ...]

    @property
    def run(self) -> Mapping[str, Any]:
        """What was asked for of the slide."""
        run: Mapping[str, Any] = self.about["run"]
        return run


@dataclass(frozen=True, slots=True)
class SlidePlan:
    """A head, and for each block the (x, y) of its patches."""

    head: Head
    blocks: tuple[tuple[Origin, ...], ...]


def to_bytes(plan: SlidePlan) -> bytes:
    """Return a plan as it is written."""
    head = plan.head
    spacing = head.options.stored_spacing
    facts = {
        "version": VERSION,
        "slide": head.slide,
        "patches": head.patches,
        "blocks": head.blocks,
        "dimension": head.dimension,
        "model": dataclasses.asdict(head.model),
        "identity": dataclasses.asdict(head.identity),
        "frame": dataclasses.asdict(head.frame),
        "image_dimensions": head.options.image_dimensions,
        "icc": str(head.options.icc_target),
        "stored_um_per_px": None if spacing is None else [spacing.x, spacing.y],
        "bands": head.bands,
        "about": head.about,
    }
    lines = [json.dumps(facts), *(json.dumps(block, separators=(",", ":")) for block in plan.blocks)]
    return "".join(f"{line}\n" for line in lines).encode()


def head_from(data: bytes, name: str) -> Head:
    """Return the head of a plan from its first bytes.

    Raises
    ------
    OutputError
        When it is none.
    """
    try:
        facts = json.loads(data[: data.index(b"\n")])
        if facts["version"] != VERSION:
            raise OutputError(f"{name} is of another version of this program; name another output.")
        size, scale = facts["image_dimensions"], facts.get("stored_um_per_px")
        return Head(
            facts["slide"],
            facts["about"],
            Identity(**facts["identity"]),
            PatchFrame(**facts["frame"]),
            ReadOptions(
                None if size is None else (size[0], size[1]),
                IccTarget.named(facts["icc"]),
                stored_spacing=None if scale is None else Spacing(*scale),
            ),
            Model(**facts["model"]),
            facts["dimension"],
            facts["patches"],
            facts["blocks"],
            tuple(tuple(band) for band in facts["bands"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise OutputError(f"{name} is damaged; remove it with the slide's parts, and run again.") from error


def from_bytes(data: bytes, name: str) -> SlidePlan:
    """Return a plan.

    Raises
    ------
    OutputError
        When it is none.
    """
    head = head_from(data, name)
    try:
        lines = data.splitlines()[1:]
        blocks = tuple(tuple((x, y) for x, y in json.loads(line)) for line in lines)
    except (ValueError, TypeError) as error:
        raise OutputError(f"{name} is damaged; remove it with the slide's parts, and run again.") from error
    if len(blocks) != head.blocks:
        raise OutputError(f"{name} is cut off; remove it with the slide's parts, and run again.")
    return SlidePlan(head, blocks)
