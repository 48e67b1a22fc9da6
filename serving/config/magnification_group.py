"""The magnification guard: at which sizes of a pixel the model is used, and what becomes of others."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from serving.config.group import Group, setting


class MagnificationSettings(Group):
    """Whether images of a magnification that the model is not made for are embedded."""

    guard: Literal["off", "warn", "refuse", "strict"] = setting(
        "PATHSERVE_MAGNIFICATION_GUARD",
        "off",
        "What becomes of images whose pixels are larger or smaller than the model is made for: `off`, "
        "`warn` (embedded, and said), `refuse` (MAGNIFICATION_ERROR), or `strict`, which also refuses those "
        "of unknown size; `refuse` embeds these, and says so.",
    )
    finest_um: float = setting(
        "PATHSERVE_MAGNIFICATION_FINEST_UM",
        0.5,
        "Smallest pixels that the model is made for, in µm; 0.5 is 20x (Path Foundation's model card).",
        gt=0,
        le=1000,
    )
    coarsest_um: float = setting(
        "PATHSERVE_MAGNIFICATION_COARSEST_UM",
        2.0,
        "Largest pixels that the model is made for, in µm; 2.0 is 5x (Path Foundation's model card).",
        gt=0,
        le=1000,
    )
    tolerance: float = setting(
        "PATHSERVE_MAGNIFICATION_TOLERANCE",
        0.15,
        "Share by which pixels may be beyond either end: scanners' 20x has 0.44 to 0.55 µm.",
        ge=0,
        le=1,
    )

    @model_validator(mode="after")
    def _range_is_one(self) -> Self:
        if self.finest_um > self.coarsest_um:
            raise ValueError(
                "PATHSERVE_MAGNIFICATION_FINEST_UM must not be above PATHSERVE_MAGNIFICATION_COARSEST_UM"
            )
        return self
