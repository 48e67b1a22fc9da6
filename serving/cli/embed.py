"""``pathserve embed``: the patches of slides, as tables of vectors."""

from __future__ import annotations

import argparse
import dataclasses
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from dicom_io.colour.profiles import IccTarget
from dicom_io.errors import ImageError
from serving.batch.chunks import Stopped
from serving.batch.embedders import Embedders, InProcess, client_of
from serving.batch.given_tissue import TissueError
from serving.batch.min_quality import Bounds, ordered
from serving.batch.opened import TargetError
from serving.batch.worklist import NamedSlide, WorklistError, worklist
from serving.cli.one_slide import SlideEmbedder
from serving.cli.outputs import paths_of
from serving.cli.report import Report, Result
from serving.client import ServiceFault
from serving.config.exit_status import ExitStatus
from serving.config.settings import Settings, SettingsError
from serving.errors import ServiceError, fault_of
from serving.output.files import OutputError
from serving.output.formats import Format
from serving.output.run import Paths
from serving.pipeline.in_process import embedder_in_process
from serving.processes.assembly import read_context
from serving.telemetry.json_log import log_as_json

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EmbedOptions:
    """The command line.

    Attributes
    ----------
    where:
        Files, folders, globs, CSV files, ``gs://BUCKET/OBJECT``, or addresses of series.
    out:
        As it was typed: a file, or a folder.
    formats:
        Kinds of files; empty takes what ``out`` says, else Parquet.
    service:
        Address of a running service; ``None`` embeds in this process.
    level, mpp:
        Level that is read as it is, or the size of a pixel in µm that slides are brought to.
    slide_mpp:
        Size of a pixel of the largest level in µm, in place of what the slides say.
    everything:
        Whether patches without tissue are embedded, too.
    tissue:
        File, or folder of files, that people have outlined tissue in.
    quality, min_quality:
        Whether there are columns of the patches' quality, and how good those are that are kept.
    picture:
        Whether a picture of what was embedded is written.
    """

    where: tuple[str, ...]
    out: str
    formats: tuple[Format, ...]
    service: str | None
    level: int | None
    mpp: float | None
    slide_mpp: float | None
    stride: int
    everything: bool
    min_tissue: float
    tissue: Path | None
    icc: str
    quality: bool
    min_quality: Bounds
    picture: bool

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> Self:
        """Return what ``serving.cli.embed_arguments`` has parsed."""
        given = {field.name: getattr(arguments, field.name) for field in dataclasses.fields(cls)}
        formats = tuple(Format(name) for name in dict.fromkeys(arguments.formats))
        bounds = ordered(arguments.min_quality)
        return cls(**given | {"where": tuple(arguments.where), "formats": formats, "min_quality": bounds})


class _Failed(Exception):
    """A slide that could not be embedded, or the whole run if every other slide would meet the same."""

    def __init__(self, sentence: str, *, ends_run: bool = False) -> None:
        super().__init__(sentence)
        self.ends_run = ends_run


def embed(
    options: EmbedOptions, settings: Settings, in_process: InProcess = embedder_in_process
) -> ExitStatus:
    """Run the command; return an exit status.

    Parameters
    ----------
    in_process:
        Makes the embedder where there is no service.
    """
    log_as_json("ERROR", process="embed")
    try:
        _require_usable(options, settings)
        work = worklist(options.where)
        slides = paths_of(options.out, options.formats, work)
    except (TargetError, WorklistError) as error:
        print(f"pathserve: {error}", file=sys.stderr)
        return ExitStatus.FAULT
    report = Report(len(slides), many=work.many)
    context = read_context(settings)
    try:
        with Embedders(options.service, settings, context, in_process) as embedders:
            embedder = SlideEmbedder(options, settings, context, embedders)
            for slide, paths in slides:
                if not _embed_one(slide, paths, embedder, report):
                    break
            untrained = bool(embedders.metadata.get("untrained"))
    except KeyboardInterrupt:
        print("pathserve: stopped; the same command goes on from here.", file=sys.stderr)
        report.end()
        return ExitStatus.INTERRUPTED
    finally:
        context.decoders.close()
    report.end()
    if untrained:
        print("The encoder is UNTRAINED: its vectors mean nothing.")
    return ExitStatus.FAULT if report.failed else ExitStatus.OK


def _embed_one(slide: NamedSlide, paths: Paths, embedder: SlideEmbedder, report: Report) -> bool:
    """Embed a slide and report it; return whether the next one is worth trying."""
    began = time.monotonic()
    written, failed = None, None
    try:
        with _sentences():
            written = embedder.embed(slide, paths)
    except _Failed as error:
        failed = error
    failure = None if failed is None else str(failed)
    report.add(Result(slide.name, paths.first, written, failure, time.monotonic() - began))
    return failed is None or not failed.ends_run


@contextmanager
def _sentences() -> Iterator[None]:
    """Turn what can be wrong with a slide, its output or a service into one sentence."""
    try:
        yield
    except (TargetError, TissueError, Stopped, ServiceError) as error:
        raise _Failed(str(error)) from error
    except OutputError as error:
        raise _Failed(str(error), ends_run=error.full) from error
    except ServiceFault as error:
        raise _Failed(str(error), ends_run=True) from error
    except ImageError as error:
        fault = fault_of(error.fault)
        raise _Failed(f"{fault.code}: {fault.description}") from error
    except OSError as error:  # the system's folder for small files is full, for one
        raise _Failed(f"{error.filename or 'the system'}: {error.strerror or error}.") from error
    except SettingsError:  # of the model, which every slide needs
        raise
    except Exception as error:  # a mistake here or in a library, met with this slide
        log.error("a slide failed unexpectedly", exc_info=error)
        kind = type(error).__name__
        raise _Failed(
            f"unexpected {kind}; please report it, with the line of the log above. What is done is kept."
        ) from error


def _require_usable(options: EmbedOptions, settings: Settings) -> None:
    """Raise TargetError for a mistyped option, before anything is read or written."""
    try:
        IccTarget.named(options.icc)
    except ValueError:
        names = ", ".join(IccTarget)
        raise TargetError(f"--icc {options.icc} is not a colour space; there are {names}.") from None
    if options.service is not None:
        try:
            client_of(options.service, settings)
        except ValueError as error:
            raise TargetError(f"{error}.") from None
