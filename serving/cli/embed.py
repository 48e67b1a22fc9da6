"""``pathserve embed``: every patch of an image or of a level, as a table of vectors."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from dicom_io.colour.profiles import IccTarget
from dicom_io.errors import ImageError
from dicom_io.geometry import Patch
from dicom_io.reading import ReadOptions
from dicom_io.sources.session import ReadContext
from model.encoder import PATCH_SIDE, Vectors
from serving.cli.target import Target, TargetError, find_target
from serving.client import PathserveClient, ServiceFault
from serving.client.embedder import ServiceEmbedder
from serving.config.exit_status import ExitStatus
from serving.config.group import revealed
from serving.config.settings import Settings
from serving.errors import Code, Fault, fault_of
from serving.output import Output, OutputError, Rows
from serving.pipeline.embedder import Embedder
from serving.pipeline.in_process import embedder_in_process
from serving.pipeline.types import Instance
from serving.processes.assembly import predictor, read_context
from serving.telemetry.json_log import log_as_json

CHUNK = 512
"""Patches that are sent, and written, at once."""

OUTAGE = 20
"""A run stops when the store or the service has failed for this many patches in a row."""

_OF_OUTAGES = {Code.HTTP_ERROR, Code.INTERNAL_ERROR}
_OF_ONE_PATCH = {
    Code.DICOM_ERROR,
    Code.IMAGE_ERROR,
    Code.HTTP_ERROR,
    Code.INTERNAL_ERROR,
    Code.PATCH_OUTSIDE_OF_IMAGE_DIMENSIONS_ERROR,
    Code.TOO_MANY_PATCHES_ERROR,
}
"""Codes that may concern only some of the patches."""


@dataclass(frozen=True, slots=True)
class EmbedOptions:
    """The command line.

    Attributes
    ----------
    where:
        A file, ``gs://BUCKET/OBJECT``, or the address of a series.
    service:
        Address of a running service; ``None`` embeds in this process.
    everything:
        Whether patches without tissue are embedded, too.
    """

    where: str
    out: Path
    service: str | None
    level: int
    stride: int
    everything: bool
    min_tissue: float
    icc: str


class _Stopped(Exception):
    """A fault that every further patch would meet as well."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(
            f"{fault.code}: {fault.description} What is done is kept; the same command goes on from there."
        )


def embed(options: EmbedOptions, settings: Settings) -> ExitStatus:
    """Run the command; return an exit status."""
    log_as_json("ERROR", process="embed")
    try:
        _require_usable(options, settings)
        context = read_context(settings)
        token = revealed(settings.command.store_token)
        target = find_target(
            options.where, options.level, token, context, look_for_tissue=not options.everything
        )
        origins = target.grid(options.stride, options.min_tissue)
        if not origins:
            raise TargetError(
                f"No patch to embed in {target.width}x{target.height} pixels; "
                "--all takes those without tissue, too."
            )
        output = Output(options.out, _about(options, target, len(origins)))
        try:
            with _embedder(options, settings, context) as embedder:
                chunks = _ChunkWriter(target, IccTarget.named(options.icc), embedder, output).run(origins)
            rows, errors = output.complete(chunks)
        finally:
            output.leave()
    except (TargetError, OutputError, ServiceFault, _Stopped) as error:
        print(f"pathserve: {error}", file=sys.stderr)
        return ExitStatus.FAULT
    except ImageError as error:
        fault = fault_of(error.fault)
        print(f"pathserve: {fault.code}: {fault.description}", file=sys.stderr)
        return ExitStatus.FAULT
    except OSError as error:  # the system's folder for small files is full, for one
        print(f"pathserve: {error.filename or 'the system'}: {error.strerror or error}.", file=sys.stderr)
        return ExitStatus.FAULT
    except KeyboardInterrupt:
        print("pathserve: stopped; the same command goes on from here.", file=sys.stderr)
        return ExitStatus.INTERRUPTED
    print(f"{options.out}: {rows} patches of {target.width}x{target.height} pixels, {errors} with an error.")
    if embedder.metadata.get("untrained"):
        print("The encoder is UNTRAINED: its vectors mean nothing.")
    return ExitStatus.OK


def _require_usable(options: EmbedOptions, settings: Settings) -> None:
    """Raise TargetError for a mistyped option, before anything is read or written."""
    try:
        IccTarget.named(options.icc)
    except ValueError:
        names = ", ".join(IccTarget)
        raise TargetError(f"--icc {options.icc} is not a colour space; there are {names}.") from None
    if options.service is not None:
        try:
            PathserveClient(options.service, api_key=revealed(settings.command.api_key))
        except ValueError as error:
            raise TargetError(f"{error}.") from None


def _about(options: EmbedOptions, target: Target, patches: int) -> dict[str, Any]:
    return {
        "where": options.where,
        "instance": target.instance,
        "digest": target.digest,
        "level": target.level,
        "width": target.width,
        "height": target.height,
        "stride": options.stride,
        "min_tissue": None if options.everything else options.min_tissue,
        "icc": IccTarget.named(options.icc),
        "patches": patches,
        "chunk": CHUNK,
    }


@contextlib.contextmanager
def _embedder(options: EmbedOptions, settings: Settings, context: ReadContext) -> Iterator[Embedder]:
    if options.service is not None:
        with PathserveClient(
            options.service,
            api_key=revealed(settings.command.api_key),
            max_request_bytes=settings.requests.max_bytes,
            use_proxy=settings.stores.use_proxy,
        ) as client:
            yield ServiceEmbedder(client)
    else:
        with embedder_in_process(settings, partial(predictor, settings, context)) as embedder:
            yield embedder


class _ChunkWriter:
    """Embeds a target's patches and writes them, chunk by chunk."""

    def __init__(self, target: Target, icc: IccTarget, embedder: Embedder, output: Output) -> None:
        self._target = target
        self._options = ReadOptions(icc_target=icc)
        self._embedder = embedder
        self._output = output
        self._failed_in_a_row = 0

    def run(self, origins: Sequence[tuple[int, int]]) -> int:
        """Embed the chunks that have not been written yet; return the number of all chunks."""
        target = self._target
        constants = {
            "study": target.study,
            "series": target.series,
            "instance": target.instance,
            "level": target.level,
        }
        starts = range(0, len(origins), CHUNK)
        with tqdm(total=len(origins), unit=" patches", disable=None) as bar:
            for chunk, start in enumerate(starts):
                mine = origins[start : start + CHUNK]
                if not self._output.has(chunk):
                    rows = list(self._isolating(mine))
                    vectors, errors = [v for v, _ in rows], [e for _, e in rows]
                    model = str(self._embedder.metadata["digest"])
                    self._output.write(chunk, Rows(mine, vectors, errors), constants, model)
                bar.update(len(mine))
        return len(starts)

    def _isolating(self, origins: Sequence[tuple[int, int]]) -> Iterator[tuple[Vectors | None, str | None]]:
        """Yield a vector or an error for each patch; patches that fail together are retried in halves."""
        patches = tuple(Patch(x, y, PATCH_SIDE, PATCH_SIDE) for x, y in origins)
        (found,) = self._embedder.embed([Instance(self._target.source, patches, self._options)])
        if not isinstance(found, Fault):
            self._failed_in_a_row = 0
            yield from ((vector, None) for vector in found)
        elif found.code not in _OF_ONE_PATCH:
            raise _Stopped(found)
        elif len(origins) > 1:
            middle = len(origins) // 2
            yield from self._isolating(origins[:middle])
            yield from self._isolating(origins[middle:])
        else:
            self._failed_in_a_row += found.code in _OF_OUTAGES
            if self._failed_in_a_row >= OUTAGE:
                raise _Stopped(found)
            # A table holds text; a service may send halves of characters.
            yield None, f"{found.code}: {found.description}".encode("utf-8", "replace").decode("utf-8")
