"""Whether golden vectors are reproduced: by which tolerance, and which patch is off by how much."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from model.encoder import Vectors


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far a vector may be from the golden one.

    Attributes
    ----------
    cosine:
        Least cosine similarity.
    difference:
        Largest difference of a number, as a share of the golden vector's root mean square.
    """

    cosine: float
    difference: float


BETWEEN_CPUS = Tolerance(0.99999999, 0.0002)
"""Of float32 on CPUs, by whichever runtime: all round each product and sum to 24 bits, as GPUs need not."""

TOLERANCES: Mapping[str, Tolerance] = {
    "float32": Tolerance(0.999999, 0.005),
    "bfloat16": Tolerance(0.9999, 0.1),
    "int8": Tolerance(0.9995, 0.2),
}
"""By precision, elsewhere. docs/trust.md says what all of these were measured to allow."""


def tolerance_of(*ran: tuple[str, str]) -> Tolerance:
    """Return the tolerance between vectors: that of the least exact of them.

    Parameters
    ----------
    ran:
        Precision and device of each, as in ``EncoderFacts``.
    """
    if all(one == ("float32", "CPU") for one in ran):
        return BETWEEN_CPUS
    return max((TOLERANCES[precision] for precision, _ in ran), key=lambda one: one.difference)


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check of golden patches found.

    Attributes
    ----------
    patch:
        Name of the patch whose vector is furthest off.
    cosine, difference:
        Of its vector, as in ``Tolerance``; 0 and infinite where it has none that is finite.
    missed:
        How many patches are not reproduced.
    patches:
        How many there are.
    """

    patch: str
    cosine: float
    difference: float
    tolerance: Tolerance
    missed: int
    patches: int

    @property
    def reproduced(self) -> bool:
        """Whether all vectors are within the tolerance."""
        return not self.missed

    def figures(self) -> dict[str, object]:
        """Return the patch and how far it is off, as a log takes them."""
        difference = self.difference if np.isfinite(self.difference) else None
        return {"patch": self.patch, "cosine": self.cosine, "difference": difference}

    def __str__(self) -> str:
        """Return the finding in words, without a full stop."""
        if self.reproduced:
            return (
                f"{self.patches} golden patches are reproduced; furthest off is {self.patch}: cosine "
                f"{self.cosine:.9f}, largest difference {self.difference:.2g} of its root mean square"
            )
        missed = (
            "1 golden patch is" if self.missed == 1 else f"{self.missed} of {self.patches} golden patches are"
        )
        if not np.isfinite(self.difference):
            return f"{missed} not reproduced; {self.patch} has no finite vector"
        return (
            f"{missed} not reproduced; furthest off is {self.patch}: cosine {self.cosine:.9f} "
            f"(at least {self.tolerance.cosine} needed), largest difference {self.difference:.2g} of its "
            f"root mean square (at most {self.tolerance.difference} allowed)"
        )


def compared(names: Sequence[str], expected: Vectors, actual: Vectors, tolerance: Tolerance) -> Finding:
    """Compare vectors with golden ones.

    Parameters
    ----------
    names:
        Of each row's patch; a patch may have several rows.
    expected:
        Golden vectors, finite and not zero, float32 ``[n, dimension]``.
    actual:
        float32 ``[n, dimension]``; a row that is not finite stands for a patch that could not be embedded.
    """
    golden = expected.astype(np.float64)
    found = np.where(np.isfinite(actual).all(axis=1, keepdims=True), actual, np.nan).astype(np.float64)
    lengths = np.linalg.norm(golden, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        cosines = (golden * found).sum(axis=1) / (lengths * np.linalg.norm(found, axis=1))
    cosines = np.where(np.isfinite(cosines), cosines, 0.0)
    differences = np.abs(golden - found).max(axis=1) / (lengths / golden.shape[1] ** 0.5)
    differences = np.where(np.isfinite(differences), differences, np.inf)
    # How much of what is allowed each takes, by whichever of the two rules it breaks first.
    taken = np.maximum((1 - cosines) / (1 - tolerance.cosine), differences / tolerance.difference)
    missed = (cosines < tolerance.cosine) | (differences > tolerance.difference)
    worst = int(taken.argmax())
    return Finding(
        patch=names[worst],
        cosine=float(cosines[worst]),
        difference=float(differences[worst]),
        tolerance=tolerance,
        missed=len({names[row] for row in np.flatnonzero(missed).tolist()}),
        patches=len(set(names)),
    )
