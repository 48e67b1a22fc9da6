"""What the page is told of a slide that it opens: levels, scale, the grid of patches, the model."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pybase64

from model.encoder import PATCH_SIDE, EncoderFacts
from serving.api.response import display_name
from serving.heads.head import Head, HeadError
from serving.view.levels import DrawnLevel
from serving.view.plan import PatchPlan
from serving.view.slides import ViewedSlide
from serving.view.tiles import levels_of


def described(
    handle: str, slide: ViewedSlide, plan: PatchPlan, facts: EncoderFacts, head: Head | None
) -> dict[str, object]:
    """Return a slide as JSON."""
    whole, spacing = slide.slide, slide.slide.spacing
    return {
        **slide.facts,
        "slide": handle,
        "width": whole.width,
        "height": whole.height,
        "mpp": None if spacing is None else [spacing.x, spacing.y],
        "why_unscaled": "" if spacing is not None else whole.why_unscaled,
        "levels": [_level(level) for level in levels_of(slide)],
        "grid": _grid(plan),
        "source": slide.source(plan.view.index),
        "model": described_model(facts),
        "head": None if head is None else _head(head, facts, plan),
    }


def described_model(facts: EncoderFacts) -> Mapping[str, object]:
    """Return what the page is told of the model."""
    return {
        "name": display_name(facts),
        "digest": facts.digest,
        "dimension": facts.dimension,
        "untrained": facts.untrained,
    }


def packed(mask: npt.NDArray[np.bool_]) -> str:
    """Return a mask as base64 of its bits, the first one the lowest of its byte."""
    return pybase64.b64encode_as_string(np.packbits(mask, bitorder="little").tobytes())


def _level(level: DrawnLevel) -> Mapping[str, int]:
    return {
        "width": level.width,
        "height": level.height,
        "tile_width": level.tile_width,
        "tile_height": level.tile_height,
    }


def _grid(plan: PatchPlan) -> Mapping[str, object]:
    view = plan.view
    spacing = view.spacing
    size = view.image_dimensions
    return {
        "level": view.index,
        "width": view.width,
        "height": view.height,
        "mpp": None if spacing is None else (spacing.x + spacing.y) / 2,
        "image_dimensions": None if size is None else {"width_px": size[0], "height_px": size[1]},
        "side": PATCH_SIDE,
        "columns": plan.columns,
        "rows": plan.rows,
        "tissue": None if plan.tissue is None else packed(plan.tissue),
        "why_all": plan.why_all,
    }


def _head(head: Head, facts: EncoderFacts, plan: PatchPlan) -> Mapping[str, object]:
    spacing = plan.view.spacing
    if spacing is None:
        return {"name": head.name, "refused": "The slide does not say how large its pixels are."}
    try:
        head.require(facts.digest, (spacing.x + spacing.y) / 2)
    except HeadError as error:
        return {"name": head.name, "refused": str(error)}
    return {
        "name": head.name,
        "classes": list(head.classes),
        "colours": list(head.colours),
        "weights": head.weights.tolist(),
        "bias": head.bias.tolist(),
    }
