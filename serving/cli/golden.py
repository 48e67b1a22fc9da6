"""``pathserve golden make``: the vectors of fixed patches become a file that services are held to."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np

from dicom_io.codecs.raster import RasterFile
from dicom_io.errors import ImageError
from model.batching import EncoderBroken
from model.encoder import PATCH_SHAPE, PATCH_SIDE, Encoder, ModelError
from model.golden.file import FILE_NAME, MAX_PATCHES, NAME, write_golden
from model.golden.golden import Golden, GoldenError
from model.golden.guard import GoldenGuard, embedded_alone
from model.golden.patches import Pixels, golden_patches
from model.weights.locate import ModelFolder
from serving.config.exit_status import ExitStatus
from serving.config.groups import EncoderSettings
from serving.config.settings import Settings
from serving.pipeline.encoder_loading import find_configured_model, load_found_encoder
from serving.telemetry.json_log import log_as_json

_MAX_PICTURE_BYTES = 4_000_000


def make_golden(out: Path | None, pictures: Sequence[Path], settings: Settings) -> ExitStatus:
    """Run the command; return an exit status.

    Parameters
    ----------
    out:
        The file to write; by default ``golden.json`` in the model's folder.
    pictures:
        Further patches.
    """
    log_as_json("WARNING", process="golden")
    try:
        folder = find_configured_model(settings.encoder)
        file = out or _beside(settings.encoder, folder)
        if file.exists():  # known before the model has been loaded
            raise GoldenError(f"{file} is there already; name another file, or remove it.")
        names, patches = golden_patches()
        own = [_picture(path) for path in pictures]
        golden = _made(
            load_found_encoder(settings.encoder, folder),
            (*names, *(path.stem for path in pictures)),
            np.stack([*patches, *own]),
        )
        digest = write_golden(file, golden)
    except ModelError as error:
        print(f"pathserve: {error}", file=sys.stderr)
        return ExitStatus.MISCONFIGURED
    except (GoldenError, EncoderBroken) as error:
        print(f"pathserve: {error}", file=sys.stderr)
        return ExitStatus.FAULT
    print(f"{file}: {len(golden.names)} patches, {golden.vectors.shape[1]} numbers each")
    print(
        f"  model     {golden.model}{' (UNTRAINED: its vectors mean nothing)' if golden.untrained else ''}, "
        f"{golden.model_digest}"
    )
    print(f"  made with {golden.runtime}, {golden.precision}, {golden.device}")
    print(f"  digest    {digest}")
    if file.name != FILE_NAME or folder is None or file.parent.resolve() != folder.path.resolve():
        print(f"Services use it with PATHSERVE_GOLDEN={file}")
    return ExitStatus.OK


def _beside(settings: EncoderSettings, folder: ModelFolder | None) -> Path:
    """Return the file in a model's folder.

    Raises
    ------
    GoldenError
        When the model has no folder that may be written to.
    """
    if folder is None or "://" in settings.spec:
        # A download is trusted only as it came; a file in it would be a damage.
        raise GoldenError(f"{settings.spec} has no folder on this machine to write to; name a file by --out.")
    return folder.path / FILE_NAME


def _picture(path: Path) -> Pixels:
    """Return the pixels of a picture of one patch.

    Raises
    ------
    GoldenError
    """
    if not re.match(NAME, path.stem):
        raise GoldenError(
            f"{path} cannot be the name of a patch; call it by letters, digits, '.', '_' and '-', 64 at most."
        )
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_PICTURE_BYTES)
        pixels = RasterFile(data, PATCH_SIDE * PATCH_SIDE).decode().pixels
    except OSError as error:
        raise GoldenError(f"{path} cannot be read: {error.strerror}.") from error
    except ImageError as error:
        raise GoldenError(f"{path}: {error.fault.description}") from error
    if pixels.shape != PATCH_SHAPE:
        height, width, channels = pixels.shape
        raise GoldenError(
            f"{path} has {width} x {height} pixels of {channels} channels; a patch has {PATCH_SIDE} x "
            f"{PATCH_SIDE} of 3 (RGB)."
        )
    return pixels


def _made(encoder: Encoder, names: tuple[str, ...], patches: np.ndarray) -> Golden:
    """Return what a file is to hold, once the encoder has reproduced it.

    Raises
    ------
    GoldenError
        When it does not give the same vectors in batches of other sizes.
    EncoderBroken
    """
    if len(names) > MAX_PATCHES:
        raise GoldenError(f"{len(names)} patches are too many; a golden file has at most {MAX_PATCHES}.")
    golden = Golden.of(
        encoder.facts,
        names,
        patches,
        embedded_alone(encoder, patches),
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        made_by=f"pathserve {version('pathserve')}",
    )
    finding = GoldenGuard(golden, "", every_s=1.0, last_words_s=1.0).whole_round(encoder)
    if not finding.reproduced:
        raise GoldenError(f"The model does not reproduce its own vectors, so no file is written: {finding}.")
    return golden
