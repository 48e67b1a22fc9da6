"""What is asked of a slide, and what is said of it beside its vectors: the same whatever the command."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from dicom_io.codecs.encoded_image import DamagedImage
from dicom_io.colour.profiles import IccTarget
from dicom_io.errors import ImageError
from dicom_io.local.archive import dicom_files_in
from serving.batch.given_tissue import tissue_file
from serving.batch.min_quality import Bounds
from serving.batch.opened import OpenedSlide
from serving.batch.plan import CHUNK
from serving.batch.target import Target, Wanted
from serving.batch.worklist import NamedSlide, is_address
from serving.output.files import as_text
from serving.output.table import VERSION, About


class SlideOptions(Protocol):
    """What a command line asks for of every slide; see ``serving.cli.embed.EmbedOptions``."""

    @property
    def level(self) -> int | None: ...
    @property
    def mpp(self) -> float | None: ...
    @property
    def slide_mpp(self) -> float | None: ...
    @property
    def stride(self) -> int: ...
    @property
    def everything(self) -> bool: ...
    @property
    def min_tissue(self) -> float: ...
    @property
    def tissue(self) -> Path | None: ...
    @property
    def icc(self) -> str: ...
    @property
    def quality(self) -> bool: ...
    @property
    def min_quality(self) -> Bounds: ...


def mpp_of(options: SlideOptions, named: NamedSlide) -> float | None:
    """Return the size of a pixel of level 0 in µm that is given in place of what the slide says."""
    return named.mpp if named.mpp is not None else options.slide_mpp


def wanted_of(options: SlideOptions, named: NamedSlide) -> Wanted:
    """Return which patches of a slide are wanted.

    Raises
    ------
    TissueError
        When there is no file of tissue for it.
    """
    given = options.tissue if named.tissue is None else Path(named.tissue)
    return Wanted(
        None if options.mpp is not None else options.level or 0,
        options.mpp,
        options.stride,
        None if given is None or options.everything else tissue_file(given, named.name),
        None if options.everything else options.min_tissue,
    )


def run_of(options: SlideOptions, named: NamedSlide, wanted: Wanted) -> Mapping[str, Any]:
    """Return what was asked for, as JSON: outputs that differ in it are not taken for each other."""
    address = named.where if is_address(named.where) else None
    path = Path(named.where)
    return {
        "slide": address or as_text(path.name),
        "bytes": None if address else _bytes_of(path),
        "level": wanted.level,
        "mpp": wanted.mpp,
        "slide_mpp": mpp_of(options, named),
        "stride": wanted.stride,
        "min_tissue": wanted.least_tissue,
        "tissue": None if wanted.tissue is None else _digest_of(wanted.tissue),
        "icc": str(IccTarget.named(options.icc)),
        **quality_of(options),
    }


def quality_of(options: SlideOptions) -> Mapping[str, Any]:
    """Return what was asked for of patches' quality, as JSON: nothing, where nothing was."""
    bounds = {"min_quality": dict(options.min_quality)} if options.min_quality else {}
    return {"quality": True, **bounds} if options.quality or bounds else {}


def about_of(run: Mapping[str, Any], slide: OpenedSlide, target: Target) -> About:
    """Return what is said of a slide's vectors, but for the model: see docs/outputs.md."""
    return {
        "version": VERSION,
        "run": run,
        "slide": dataclasses.asdict(slide.identities[target.frame.level]) | dict(slide.facts),
        "frame": dataclasses.asdict(target.frame),
        "patches": len(target.origins),
        "chunk": CHUNK,
    }


def _bytes_of(path: Path) -> int | None:
    """Return the size of a file, or of the DICOM files in a folder; ``None`` where there is none.

    Of no other files: outputs may be written to the slide's own folder.
    """
    try:
        return _dicom_bytes_in(path) if path.is_dir() else path.stat().st_size
    except (OSError, DamagedImage, ImageError):
        return None  # it is said to be none when it is opened


def _dicom_bytes_in(folder: Path) -> int:
    size = 0
    for section in dicom_files_in(folder):
        size += section.size
        section.file.close()
    return size


def _digest_of(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None  # it is said to be none when it is read
