"""Slides as Techcyte sends them: glass with two kinds of tissue, and what embeds them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from dicom_io.geometry import Rect
from dicom_io.sources.session import ReadContext
from dicom_io.waiting import Cancellation
from model.transport.local import encoder_in_process
from serving.pipeline.embedder import Embedder
from serving.pipeline.predictor import Predictor
from tests.support.local_slides import write_svs
from tests.support.service import wait_until
from tests.support.slides import stained
from tests.support.tissue import UInt8Array, tissue
from tests.support.webhook_app import BoundEmbedder, QuietProbe

WIDTH, HEIGHT = 4480, 3136
FIRST, SECOND = Rect(448, 448, 1344, 1792), Rect(2464, 672, 1120, 1568)
"""Where the first kind of tissue lies, and where the second; at 1 µm a pixel of 448 level-0 pixels."""

GLASS = 242
DIGEST = QuietProbe.facts.digest


def slide_pixels(*, blur: float = 0, pen: bool = False, empty: bool = False) -> UInt8Array:
    """Return a slide of 0.5 µm a pixel, uint8 RGB ``[HEIGHT, WIDTH, 3]``."""
    whole = np.full((HEIGHT, WIDTH, 3), GLASS, np.uint8)
    if not empty:
        for area, pixels in ((FIRST, stained), (SECOND, tissue)):
            whole[area.y : area.bottom, area.x : area.right] = pixels(area.width, area.height)
    if blur:
        whole = np.asarray(cv2.GaussianBlur(whole, (0, 0), blur), np.uint8)
    if pen:
        whole = np.asarray(cv2.line(whole, (300, 2800), (4200, 2500), (15, 70, 190), 40), np.uint8)
    return whole


def write_slide(path: Path, pixels: UInt8Array, mpp: float | None = 0.5) -> Path:
    """Write a slide as SVS, with a second level a quarter of the first."""
    small = cv2.resize(pixels, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    return write_svs(path, [pixels, np.asarray(small, np.uint8)], mpp=mpp)


@contextmanager
def probing(context: ReadContext, waits: Cancellation) -> Iterator[Embedder]:
    """Yield an embedder whose vectors are the mean colours of a patch's parts."""
    with encoder_in_process(QuietProbe) as client:
        wait_until(lambda: client.facts is not None, "the encoder")
        predictor = Predictor(client, context, threads=2, max_reads=100_000)
        yield BoundEmbedder(predictor, waits)
