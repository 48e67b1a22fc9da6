"""Training of a head: logistic regression on labelled vectors, and what it does on those held out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from sklearn.preprocessing import StandardScaler

from serving.heads.head import Float32Array, Head, HeadError, softmax
from serving.webhooks.analyses.colours import legend_colour
from serving.webhooks.heads.evaluation import HeldOut, held_out

Int64Array = npt.NDArray[np.int64]
Float64Array = npt.NDArray[np.float64]

_FOLDS = 5
_ITERATIONS = 5000
"""Far more than regularised regression on scaled vectors takes."""


@dataclass(frozen=True, slots=True)
class LabelledVectors:
    """What a head is trained on.

    Attributes
    ----------
    vectors:
        float32 ``[n, dimension]``.
    labels:
        int64 ``[n]``, indexes of ``classes``.
    slides:
        int64 ``[n]``: which slide each patch is of.
    classes:
        Names, each with at least one patch.
    """

    vectors: Float32Array
    labels: Int64Array
    slides: Int64Array
    classes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Origin:
    """What the vectors were made with; a head is usable with nothing else."""

    encoder_digest: str
    um_per_px: float
    untrained: bool


def train(
    labelled: LabelledVectors, origin: Origin, name: str, colours: Mapping[str, str], *, seed: int = 0
) -> tuple[Head, HeldOut]:
    """Train a head on all labelled patches, and say how such heads do on patches that they have not seen.

    Raises
    ------
    HeadError
        When there are fewer than two classes, or fewer than two patches of one.
    """
    _require_enough(labelled)
    weights, bias = _fit(labelled.vectors, labelled.labels, len(labelled.classes), seed)
    head = Head(
        name=name,
        classes=labelled.classes,
        colours=tuple(colours.get(one, legend_colour(index)) for index, one in enumerate(labelled.classes)),
        weights=weights.astype(np.float32),
        bias=bias.astype(np.float32),
        um_per_px=origin.um_per_px,
        encoder_digest=origin.encoder_digest,
        untrained=origin.untrained,
    )
    return head, _evaluate(labelled, seed)


def _require_enough(labelled: LabelledVectors) -> None:
    if len(labelled.classes) < 2:
        raise HeadError(f"There are labels of {len(labelled.classes)} class only; a head needs two or more.")
    for name, count in zip(labelled.classes, np.bincount(labelled.labels), strict=True):
        if count < 2:
            raise HeadError(f'The class "{name}" has one labelled patch; label at least two, better fifty.')


def _evaluate(labelled: LabelledVectors, seed: int) -> HeldOut:
    folds, split, remarks = _folds(labelled, seed)
    probabilities = np.zeros((len(labelled.labels), len(labelled.classes)))
    for fold in np.unique(folds):
        mine = folds == fold
        weights, bias = _fit(labelled.vectors[~mine], labelled.labels[~mine], len(labelled.classes), seed)
        probabilities[mine] = softmax(labelled.vectors[mine] @ weights.T + bias)
    return held_out(labelled.labels, probabilities, labelled.classes, split, remarks)


def _folds(labelled: LabelledVectors, seed: int) -> tuple[Int64Array, str, tuple[str, ...]]:
    """Return which fold each patch is held out in, and how they were made, in words."""
    labels, slides = labelled.labels, labelled.slides
    in_slides = min(len(np.unique(slides[labels == one])) for one in range(len(labelled.classes)))
    # Patches of a slide look alike: only a slide that was never seen shows how a head does on the next.
    if in_slides >= 2:
        count = min(_FOLDS, in_slides)
        groups = StratifiedGroupKFold(count, shuffle=True, random_state=seed).split(labels, labels, slides)
        return _numbered(groups, len(labels)), f"{count} folds, split by slide", ()
    count = min(_FOLDS, int(np.bincount(labels).min()))
    parts = StratifiedKFold(count, shuffle=True, random_state=seed).split(labels, labels)
    why = (
        "All patches are of one slide"
        if len(np.unique(slides)) == 1
        else "A class is labelled on one slide only"
    )
    remark = f"{why}, so held-out patches are of slides that were trained on: expect less on others."
    return _numbered(parts, len(labels)), f"{count} folds, split by patch", (remark,)


def _numbered(parts: Iterable[tuple[Int64Array, Int64Array]], count: int) -> Int64Array:
    folds = np.zeros(count, np.int64)
    for number, (_, test) in enumerate(parts):
        folds[test] = number
    return folds


def _fit(
    vectors: Float32Array, labels: Int64Array, classes: int, seed: int
) -> tuple[Float64Array, Float64Array]:
    """Return weights float64 ``[classes, dimension]`` and bias ``[classes]``, of vectors as they come."""
    met = np.unique(labels)
    weights, bias = np.zeros((classes, vectors.shape[1])), np.full(classes, -np.inf)
    if len(met) == 1:  # slides held out together can have all patches of the others' classes
        bias[met] = 0
        return weights, bias
    scaler = StandardScaler().fit(vectors.astype(np.float64))
    found = LogisticRegression(max_iter=_ITERATIONS, random_state=seed)
    found.fit(scaler.transform(vectors), labels)
    # Of two classes there is one row, for the second: half of it against half is the same.
    rows = found.coef_ if len(met) > 2 else np.concatenate([-found.coef_, found.coef_]) / 2
    offsets = found.intercept_ if len(met) > 2 else np.concatenate([-found.intercept_, found.intercept_]) / 2
    weights[met] = rows / scaler.scale_
    bias[met] = offsets - weights[met] @ scaler.mean_
    return weights, bias
