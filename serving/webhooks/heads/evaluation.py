"""How good a head is on patches that it was not trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, roc_auc_score

Int64Array = npt.NDArray[np.int64]
Float64Array = npt.NDArray[np.float64]

_BINS = 10


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Figures over all labelled patches, each predicted by a head that was trained without it.

    Attributes
    ----------
    split:
        What was held out together, in words.
    patches:
        How many patches.
    accuracy:
        Share of patches whose most probable class is theirs.
    balanced_accuracy:
        The same share of each class, averaged.
    auc:
        Area under the ROC curve, of each class against the rest, averaged.
    ece:
        Expected calibration error: by how much the probability of the predicted class is off, in ten bins.
    classes:
        Names.
    confusion:
        int64 ``[classes, classes]``: patches by their class (rows) and the predicted one (columns).
    remarks:
        What a reader must know to trust the figures.
    """

    split: str
    patches: int
    accuracy: float
    balanced_accuracy: float
    auc: float
    ece: float
    classes: tuple[str, ...]
    confusion: Int64Array
    remarks: tuple[str, ...] = ()

    def as_json(self) -> Mapping[str, Any]:
        """Return it as JSON, for the head's file."""
        return {
            "split": self.split,
            "patches": self.patches,
            "accuracy": round(self.accuracy, 4),
            "balanced_accuracy": round(self.balanced_accuracy, 4),
            "auc": round(self.auc, 4),
            "ece": round(self.ece, 4),
            "confusion": self.confusion.tolist(),
            "remarks": list(self.remarks),
        }

    def text(self) -> str:
        """Return it in lines, for a person."""
        wide = max(len(str(self.confusion.max())), *(len(name) for name in self.classes)) + 2
        rows = [
            "  " + name.ljust(wide) + "".join(str(count).rjust(wide) for count in counts)
            for name, counts in zip(self.classes, self.confusion, strict=True)
        ]
        lines = [
            f"On {self.patches:,} held-out patches ({self.split}):",
            f"  accuracy {self.accuracy:.3f}, balanced {self.balanced_accuracy:.3f}; AUC {self.auc:.3f}; "
            f"calibration error {self.ece:.3f}",
            "  patches by their class (rows) and the predicted one (columns):",
            "  " + " " * wide + "".join(name.rjust(wide) for name in self.classes),
            *rows,
        ]
        return "\n".join([*lines, *self.remarks])


def held_out(
    labels: Int64Array,
    probabilities: Float64Array,
    classes: tuple[str, ...],
    split: str,
    remarks: tuple[str, ...] = (),
) -> HeldOut:
    """Return the figures.

    Parameters
    ----------
    labels:
        int64 ``[n]``, indexes of ``classes``, each of which is met.
    probabilities:
        float64 ``[n, classes]``: of heads that were trained without the patch.
    """
    known = np.arange(len(classes))
    predicted = probabilities.argmax(axis=1)
    one_for_two = probabilities[:, 1] if len(classes) == 2 else probabilities
    return HeldOut(
        split=split,
        patches=len(labels),
        accuracy=float((predicted == labels).mean()),
        balanced_accuracy=float(balanced_accuracy_score(labels, predicted)),
        auc=float(roc_auc_score(labels, one_for_two, multi_class="ovr", labels=known)),
        ece=calibration_error(labels, probabilities),
        classes=classes,
        confusion=np.asarray(confusion_matrix(labels, predicted, labels=known), np.int64),
        remarks=remarks,
    )


def calibration_error(labels: Int64Array, probabilities: Float64Array) -> float:
    """Return the expected calibration error of the predicted class, in ten bins of equal width.

    See Guo et al., "On Calibration of Modern Neural Networks", ICML 2017.
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    bins = np.minimum((confidence * _BINS).astype(np.int64), _BINS - 1)
    gaps = np.bincount(bins, right - confidence, _BINS)
    return float(np.abs(gaps).sum() / len(labels))
