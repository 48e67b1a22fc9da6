"""One slide of a command: opened, embedded chunk by chunk, and written."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Protocol

from tqdm import tqdm

from dicom_io.colour.profiles import IccTarget
from dicom_io.sources.session import ReadContext
from serving.batch.ahead import ahead
from serving.batch.asked import SlideOptions, about_of, mpp_of, quality_of, run_of, wanted_of
from serving.batch.chunks import ChunkEmbedder
from serving.batch.embedders import IN_FLIGHT, Embedders
from serving.batch.opened import OpenedSlide, opened
from serving.batch.plan import Plan, plan
from serving.batch.target import Target, find_target
from serving.batch.worklist import NamedSlide
from serving.cli.outputs import picture_of
from serving.config.group import revealed
from serving.config.settings import Settings
from serving.output.formats import Format
from serving.output.overview import picture, write_picture
from serving.output.run import Count, Output, Paths, Slide, convert
from serving.processes.assembly import magnification_guard


class EmbedSlideOptions(SlideOptions, Protocol):
    """What is asked for of every slide; see ``EmbedOptions``."""

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
    warning:
        What the magnification guard says of that; empty for nothing.
    """

    count: Count | None
    scale: str | None = None
    warning: str = ""


class SlideEmbedder:
    """Embeds slides, one after the other, as a command asks for."""

    def __init__(
        self, options: EmbedSlideOptions, settings: Settings, context: ReadContext, embedders: Embedders
    ) -> None:
        self._options, self._settings = options, settings
        self._context, self._embedders = context, embedders
        self._guard = magnification_guard(settings)

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
        wanted = wanted_of(self._options, named)
        run = run_of(self._options, named, wanted)
        missing = paths.missing(run, self._embedders.digest)
        if not missing:
            return Written(None)
        if Format.PARQUET in paths.files and Format.PARQUET not in missing:
            return Written(convert(paths, missing))
        token = revealed(self._settings.command.store_token)
        with opened(named.where, mpp_of(self._options, named), token, self._context) as slide:
            target = find_target(slide, wanted, self._context, self._guard)
            work = plan(target.origins)
            about = about_of(run, slide, target)
            output = Output(paths, missing, Slide(slide.identities[target.frame.level], target.frame, about))
            try:
                warned = self._write_chunks(named.name, slide, target, work, output)
                self._write_picture(paths, target)  # while the same command would still make up for it
                return Written(output.complete(work.bands), target.scale, target.warning or warned)
            finally:
                output.leave()

    def _write_chunks(self, name: str, slide: OpenedSlide, target: Target, work: Plan, output: Output) -> str:
        """Embed the chunks that have not been written yet; each is written while the next are embedded.

        Returns
        -------
        What a service's guard says of their magnification.
        """
        todo = [number for number in range(len(work.chunks)) if not output.has(number)]
        done = work.patches - sum(len(work.chunks[number]) for number in todo)
        options = dataclasses.replace(target.options, icc_target=IccTarget.named(self._options.icc))
        with (
            tqdm(total=work.patches, initial=done, unit=" patches", desc=name, disable=None) as bar,
            self._embedders.lent(by_name=slide.by_name) as embedders,
        ):
            chunks = ChunkEmbedder(
                slide.source(target.frame.level),
                options,
                embedders,
                quality=bool(quality_of(self._options)),
                bounds=self._options.min_quality,
            )
            made = ahead(chunks.embed, (work.chunks[number] for number in todo), IN_FLIGHT)
            for number, (rows, model) in zip(todo, made, strict=True):
                output.write(number, rows, model)
                bar.update(len(work.chunks[number]))
            return chunks.warning

    def _write_picture(self, paths: Paths, target: Target) -> None:
        if self._options.picture and target.overview is not None:
            mask = None if target.tissue is None else target.tissue.mask
            write_picture(picture_of(paths), picture(target.overview, mask, target.origins, target.frame))
