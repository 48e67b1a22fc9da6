"""``make view``: serve with the page on, and a slide of real tissue to look at."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image
from skimage import color, data

from scripts.example import UInt8Array, encode

TILE = 256
WIDTH, HEIGHT = 5376, 4032
"""24 x 18 patches, less than half of them tissue: seconds for the untrained encoder on a laptop."""

_DESCRIPTION = (
    "Aperio Image Library v12.0.15 \r\n{0}x{1} [0,0 {0}x{1}] ({2}x{2}) JPEG/RGB Q=90|AppMag = 20|MPP = 0.5"
)


def main() -> int:
    """Make the slide and serve; return the service's exit status."""
    port = os.environ.get("AIP_HTTP_PORT") or "8080"
    with tempfile.TemporaryDirectory(prefix="pathserve-view-") as folder:
        write_demo(Path(folder) / "demo.svs")
        environment = {"PATHSERVE_VIEW": "1", "PATHSERVE_VIEW_FOLDER": folder, "PATHSERVE_WORKERS": "2"}
        print(f"When the log says that the encoder is ready, open http://127.0.0.1:{port}/view")
        print("Press Open, then click a patch. Ctrl-C stops the service.\n", flush=True)
        command = [sys.executable, "-m", "serving", "serve"]
        service = subprocess.Popen(command, env=environment | dict(os.environ))
        # Whoever ends this ends the service; by Ctrl-C the terminal has told it so already.
        signal.signal(signal.SIGTERM, lambda *_: service.terminate())
        while True:
            try:
                return service.wait()
            except KeyboardInterrupt:
                pass


def write_demo(path: Path) -> None:
    """Write the demo slide: tissue on glass, a pyramid as scanners write it."""
    pixels = demo_slide()
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        for number, times in enumerate((1, 4)):
            level = pixels if times == 1 else np.asarray(Image.fromarray(pixels).reduce(times), np.uint8)
            _write_level(tiff, level)
            if number == 0:  # where such files have their thumbnail
                small = np.asarray(Image.fromarray(pixels).reduce(8), np.uint8)
                tiff.write(small, rowsperstrip=64, description=_description(pixels), metadata=None)


def demo_slide() -> UInt8Array:
    """Return real tissue of two stains on glass, uint8 RGB ``[HEIGHT, WIDTH, 3]``."""
    rng = np.random.default_rng(5)
    glass = np.clip(rng.normal(243, 1.5, (512, 512, 3)), 0, 255).astype(np.uint8)
    canvas = np.tile(glass, (-(-HEIGHT // 512), -(-WIDTH // 512), 1))[:HEIGHT, :WIDTH].copy()
    tile = np.asarray(data.immunohistochemistry(), np.uint8)
    left, right = _mirrored(tile, 2250, 3300), _mirrored(_recoloured(tile), 1950, 2850)
    for pixels, x, y in ((left, 330, 360), (right, 2970, 630)):
        height, width = pixels.shape[:2]
        inside = _blob(width, height, rng)
        canvas[y : y + height, x : x + width][inside] = pixels[inside]
    return canvas


def _mirrored(tile: UInt8Array, width: int, height: int) -> UInt8Array:
    """Return a tile, mirrored to a size: no seams."""
    tile = np.concatenate([tile, tile[:, ::-1]], axis=1)
    tile = np.concatenate([tile, tile[::-1]], axis=0)
    return np.ascontiguousarray(np.tile(tile, (-(-height // 1024), -(-width // 1024), 1))[:height, :width])


def _recoloured(tile: UInt8Array) -> UInt8Array:
    """Return brown and blue tissue as if it were stained with hematoxylin and eosin."""
    stains = color.rgb2hed(tile)
    stains[..., 1], stains[..., 2] = stains[..., 2], 0
    return np.asarray((color.hed2rgb(stains) * 255).round(), np.uint8)


def _blob(
    width: int, height: int, rng: np.random.Generator
) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    """Return which pixels are inside of a rounded shape, bool ``[height, width]``."""
    y, x = np.mgrid[0 : height // 8, 0 : width // 8]
    y, x = y * 8 / height - 0.5, x * 8 / width - 0.5
    angle = np.arctan2(y, x)
    edge = 0.42 + sum(0.04 / k * np.sin(k * angle + rng.uniform(0, 6)) for k in range(2, 9))
    depth = Image.fromarray((edge - np.hypot(y, x)).astype(np.float32))
    return np.asarray(depth.resize((width, height), Image.Resampling.BILINEAR)) > 0


def _write_level(tiff: tifffile.TiffWriter, pixels: UInt8Array) -> None:
    tiles = []
    for y in range(0, pixels.shape[0], TILE):
        for x in range(0, pixels.shape[1], TILE):
            tile = pixels[y : y + TILE, x : x + TILE]
            pad = ((0, TILE - tile.shape[0]), (0, TILE - tile.shape[1]), (0, 0))
            tiles.append(encode(np.pad(tile, pad, mode="edge"), "JPEG"))
    tiff.write(
        iter(tiles),
        shape=pixels.shape,
        dtype=np.uint8,
        tile=(TILE, TILE),
        photometric="ycbcr",
        compression="jpeg",
        subsampling=(2, 2),
        description=_description(pixels),
        metadata=None,
    )


def _description(pixels: UInt8Array) -> str:
    return _DESCRIPTION.format(pixels.shape[1], pixels.shape[0], TILE)


if __name__ == "__main__":
    sys.exit(main())
