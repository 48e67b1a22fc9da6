"""An encoder that takes a device's time and no core, in the service's own encoder process.

``a + b * n`` seconds for a batch of n patches. Python looks for a module ``sitecustomize`` on its path when
it starts; a benchmark puts one there that calls ``install``, which changes the encoder process only.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model.encoder import EncoderFacts, PixelBatch, Vectors
from model.golden.guard import GuardedEncoder
from serving.config.groups import EncoderSettings

DIMENSION = 384
_SPEC = "device:"
_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Device:
    """How long a device takes, in seconds.

    Attributes
    ----------
    batch_s, patch_s:
        For each batch, and for each patch of it.
    max_batch:
        Patches of the largest batch.
    """

    name: str
    batch_s: float
    patch_s: float
    max_batch: int = 128

    @property
    def peak(self) -> float:
        """Patches per second in the largest batches, one after the other."""
        return self.max_batch / self.seconds(self.max_batch)

    def seconds(self, patches: int) -> float:
        """Return the time that a batch takes."""
        return self.batch_s + self.patch_s * patches


DEVICES = {device.name: device for device in (Device("L4", 2e-3, 0.2e-3), Device("H100", 1.5e-3, 0.03e-3))}
"""What stands for two cards. ViT-S/16 is 9.2 GFLOP a patch. Where vision transformers of this size were
measured by others, in half precision, they reach 22 to 50 % of a card's peak (dense FP16: L4 121 TFLOP/s,
H100 SXM 989): L4 3,900 to 5,900 patches/s, H100 24,000 to 37,500. These do 4,600 and 24,000 in batches of
128; the time of a batch beside its patches', for copies and launches, is assumed. None was measured here."""


class DeviceEncoder:
    """Waits for as long as a device takes; the vectors show each patch's middle row."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self.facts = EncoderFacts(
            device.name, True, DIMENSION, f"GPU: {device.name}-like", "float32", "", "", "", device.max_batch
        )

    def embed(self, patches: PixelBatch) -> Vectors:
        """Map uint8 ``[n, 224, 224, 3]`` to float32 ``[n, 384]``."""
        time.sleep(self._device.seconds(len(patches)))
        return patches[:, 112, : DIMENSION // 3].reshape(len(patches), -1).astype(np.float32)


def environment(device: Device, site: Path) -> dict[str, str]:
    """Return a service's settings with which it runs a device; ``site`` is an empty folder."""
    (site / "sitecustomize.py").write_text(f"from {__name__} import install\n\ninstall()\n")
    return {"PATHSERVE_MODEL": _SPEC + device.name, "PYTHONPATH": f"{site}:{_ROOT}"}


def install() -> None:
    """Replace the loader of models, in the encoder process."""
    if "serving.processes.encoder" not in sys.orig_argv:
        return
    from serving.pipeline import encoder_loading

    def load(settings: EncoderSettings) -> GuardedEncoder:
        assert settings.model is not None
        return GuardedEncoder(DeviceEncoder(DEVICES[settings.model.removeprefix(_SPEC)]), None)

    encoder_loading.load_configured_encoder = load
