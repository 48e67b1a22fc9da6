"""One slide of a command: opened, embedded chunk by chunk, and written."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tqdm import tqdm

from dicom_io.codecs.encoded_image import DamagedImage
from dicom_io.colour.profiles import IccTarget
from dicom_io.errors import ImageError
from dicom_io.local.archive import dicom_files_in
from dicom_io.sources.session import ReadContext
from serving.cli.ahead import ahead
from serving.cli.chunks import ChunkEmbedder
from serving.cli.embedders import IN_FLIGHT, Embedders
from serving.cli.given_tissue import tissue_file
from serving.cli.opened import OpenedSlide, opened
from serving.cli.outputs import picture_of
from serving.cli.plan import CHUNK, Plan, plan
from serving.cli.target import Target, Wanted, find_target
from serving.cli.worklist import NamedSlide, is_address
from serving.config.group import revealed
from serving.config.settings import Settings
from serving.output.files import as_text
from serving.output.formats import Format
from serving.output.overview import picture, write_picture
from serving.output.run import Count, Output, Paths, Slide, convert
from serving.output.table import VERSION


class SlideOptions(Protocol):
    """What is asked for of every slide; see ``EmbedOptions``."""

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
    def picture(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a slide.

    Attributes
    ----------
    count:
        Of its rows; ``None`` where all had been written before.
    scale:
        What was read, in words; ``None`` where nothing was.
    """

    count: Count | None
    scale: str | None = None


class SlideEmbedder:
    """Embeds slides, one after the other, as a command asks for."""

    def __init__(
        self, options: SlideOptions, settings: Settings, context: ReadContext, embedders: Embedders
    ) -> None:
        self._options, self._settings = options, settings
        self._context, self._embedders = context, embedders

    def embed(self, named: NamedSlide, paths: Paths) -> Written:
        """Embed what is missing of a slide's output.

        Raises
        ------
        TargetError, TissueError, ImageError
            Of the slide.
        OutputError
        Stopped, ServiceFault
            What is done is kept.
        """
        mpp = named.mpp if named.mpp is not None else self._options.slide_mpp
        wanted = self._wanted(named)
        run = self._run(named, mpp, wanted)
        missing = paths.missing(run, self._embedders.digest)
        if not missing:
            return Written(None)
        if Format.PARQUET in paths.files and Format.PARQUET not in missing:
            return Written(convert(paths, missing))
        token = revealed(self._settings.command.store_token)
        with opened(named.where, mpp, token, self._context) as slide:
            target = find_target(slide, wanted, self._context)
            work = plan(target.origins)
            about = _about(run, slide, target)
            output = Output(paths, missing, Slide(slide.identities[target.frame.level], target.frame, about))
            try:
                self._write_chunks(named.name, slide, target, work, output)
                self._write_picture(paths, target)  # while the same command would still make up for it
                return Written(output.complete(work.bands), target.scale)
            finally:
                output.leave()

    def _wanted(self, named: NamedSlide) -> Wanted:
        options = self._options
        given = options.tissue if named.tissue is None else Path(named.tissue)
        return Wanted(
            None if options.mpp is not None else options.level or 0,
            options.mpp,
            options.stride,
            None if given is None or options.everything else tissue_file(given, named.name),
            None if options.everything else options.min_tissue,
        )

    def _run(self, named: NamedSlide, mpp: float | None, wanted: Wanted) -> Mapping[str, Any]:
        """Return what was asked for: outputs that differ in it are not taken for each other."""
        address = named.where if is_address(named.where) else None
        path = Path(named.where)
        return {
            "slide": address or as_text(path.name),
            "bytes": None if address else _bytes_of(path),
            "level": wanted.level,
            "mpp": wanted.mpp,
            "slide_mpp": mpp,
            "stride": wanted.stride,
            "min_tissue": wanted.least_tissue,
            "tissue": None if wanted.tissue is None else _digest_of(wanted.tissue),
            "icc": str(IccTarget.named(self._options.icc)),
        }

    def _write_chunks(
        self, name: str, slide: OpenedSlide, target: Target, work: Plan, output: Output
    ) -> None:
        """Embed the chunks that have not been written yet; each is written while the next are embedded."""
        todo = [number for number in range(len(work.chunks)) if not output.has(number)]
        done = work.patches - sum(len(work.chunks[number]) for number in todo)
        options = dataclasses.replace(target.options, icc_target=IccTarget.named(self._options.icc))
        with (
            tqdm(total=work.patches, initial=done, unit=" patches", desc=name, disable=None) as bar,
            self._embedders.lent(by_name=slide.by_name) as embedders,
        ):
            chunks = ChunkEmbedder(slide.source(target.frame.level), options, embedders)
            made = ahead(chunks.embed, (work.chunks[number] for number in todo), IN_FLIGHT)
            for number, (rows, model) in zip(todo, made, strict=True):
                output.write(number, rows, model)
                bar.update(len(rows.origins))

    def _write_picture(self, paths: Paths, target: Target) -> None:
        if self._options.picture and target.overview is not None:
            mask = None if target.tissue is None else target.tissue.mask
            write_picture(picture_of(paths), picture(target.overview, mask, target.origins, target.frame))


def _about(run: Mapping[str, Any], slide: OpenedSlide, target: Target) -> Mapping[str, Any]:
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
