"""``pathserve head train``: labelled vectors become a head's file, with figures of how good it is."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from serving.config.exit_status import ExitStatus
from serving.heads.file import write_head
from serving.heads.head import SAME_RESOLUTION, HeadError
from serving.webhooks.heads.labels import Labels, read_labels
from serving.webhooks.heads.training import LabelledVectors, Origin, train
from serving.webhooks.heads.vectors import SlideVectors, read_vectors


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """The command line.

    Attributes
    ----------
    vectors:
        Tables of ``pathserve embed``, one a slide.
    labels:
        CSV or GeoJSON files.
    out:
        The head's file.
    name:
        Of the head; ``None`` takes the file's.
    mpp:
        Resolution of the patches in µm/px, where the tables do not tell.
    """

    vectors: Sequence[Path]
    labels: Sequence[Path]
    out: Path
    name: str | None
    mpp: float | None
    seed: int


def train_head(options: TrainOptions) -> ExitStatus:
    """Run the command; return an exit status."""
    try:
        if options.out.exists():
            raise HeadError(f"{options.out} is there already; name another file, or remove it.")
        slides = [read_vectors(path) for path in options.vectors]
        labels = [read_labels(path) for path in options.labels]
        origin = _origin(slides, options.mpp)
        labelled = _labelled(slides, labels)
        colours = {name: colour for file in labels for name, colour in file.colours.items()}
        head, report = train(labelled, origin, options.name or options.out.stem, colours, seed=options.seed)
        write_head(options.out, head, report.as_json())
    except HeadError as error:
        print(f"pathserve: {error}", file=sys.stderr)
        return ExitStatus.FAULT
    of_slides = len(np.unique(labelled.slides))
    print(
        f"{options.out}: {len(head.classes)} classes from {len(labelled.labels):,} patches of {of_slides} "
        f"slide{'' if of_slides == 1 else 's'} at {head.um_per_px:g} µm/px."
    )
    print(report.text())
    if head.untrained:
        print("The encoder is UNTRAINED: its vectors mean nothing, and so does this head.")
    return ExitStatus.OK


def _origin(slides: Sequence[SlideVectors], mpp: float | None) -> Origin:
    """Return what made all of the vectors.

    Raises
    ------
    HeadError
        When tables differ in it, or the resolution is not known.
    """
    first = slides[0]
    for slide in slides[1:]:
        if slide.encoder_digest != first.encoder_digest or slide.vectors.shape[1] != first.vectors.shape[1]:
            raise HeadError(
                f"{first.slide} and {slide.slide} were embedded by different encoders; embed them by one."
            )
    known = {slide.slide: slide.um_per_px for slide in slides if slide.um_per_px is not None}
    if mpp is None and len(known) < len(slides):
        unknown = next(slide.slide for slide in slides if slide.um_per_px is None)
        raise HeadError(
            f"{unknown} does not tell its resolution; give the size of its patches' pixels by --mpp (µm)."
        )
    wanted = mpp if mpp is not None else next(iter(known.values()))
    for name, found in known.items():
        if abs(found / wanted - 1) > SAME_RESOLUTION:
            raise HeadError(f"{name} was embedded at {found:g} µm/px, not at {wanted:g}; embed all at one.")
    return Origin(first.encoder_digest, wanted, any(slide.untrained for slide in slides))


def _labelled(slides: Sequence[SlideVectors], labels: Sequence[Labels]) -> LabelledVectors:
    """Return the patches that have a label.

    Raises
    ------
    HeadError
        When none has, or two files disagree about one.
    """
    vectors, names, numbers = [], [], []
    # A file that names no slide, or another, is of the only one that there is.
    only = len(slides) == 1 and len(labels) == 1
    for number, slide in enumerate(slides):
        mine: list[str | None] = [None] * len(slide.origins)
        for file in labels:
            if only or file.are_of(slide):
                mine = [_agreed(slide, *both) for both in zip(mine, file.of(slide), strict=True)]
        chosen = [index for index, name in enumerate(mine) if name is not None]
        vectors.append(slide.vectors[chosen])
        names += [name for name in mine if name is not None]
        numbers += [number] * len(chosen)
    if not names:
        raise HeadError(
            "No patch has a label. A GeoJSON file is of the table that has its name (a.geojson, a.parquet), "
            "a CSV file names the table in its column slide."
        )
    classes = tuple(sorted(set(names)))
    indexes = {name: index for index, name in enumerate(classes)}
    return LabelledVectors(
        np.concatenate(vectors), np.array([indexes[name] for name in names]), np.array(numbers), classes
    )


def _agreed(slide: SlideVectors, one: str | None, other: str | None) -> str | None:
    if one is not None and other is not None and one != other:
        raise HeadError(f"A patch of {slide.slide} is {one} by one file, and {other} by another.")
    return one if one is not None else other
