"""Golden files of encoders without a model."""

from __future__ import annotations

import functools

from model.encoder import Encoder
from model.golden.golden import Golden
from model.golden.guard import GoldenGuard, embedded_alone
from model.golden.patches import golden_patches

DIGEST = f"sha256:{'a' * 64}"


_patches = functools.cache(golden_patches)


def golden_of(encoder: Encoder) -> Golden:
    """Return what ``pathserve golden make`` would write."""
    names, patches = _patches()
    return Golden.of(
        encoder.facts,
        names,
        patches,
        embedded_alone(encoder, patches),
        made="2026-01-02T03:04:05+00:00",
        made_by="pathserve 0",
    )


def guard_of(encoder: Encoder, every_s: float = 3600.0, last_words_s: float = 60.0) -> GoldenGuard:
    """Return what holds an encoder to the vectors that this one gives."""
    return GoldenGuard(golden_of(encoder), DIGEST, every_s, last_words_s)
